"""How the commands end when something is wrong; imports little, so that `--help` is quick."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Ends a command with one line where its user can mend what is wrong, and on Ctrl-C.

    Errors of the program itself keep their traceback.

    Args:
        program: What the line begins with.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"{program}: interrupted")
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"{program}: error: {error}")
    except Exception as error:
        from gymnasium.error import Error

        if not isinstance(error, Error):  # what Gymnasium says of ids and arguments
            raise
        sys.exit(f"{program}: error: {error}")


def interrupt_when_terminated() -> None:
    """Makes SIGTERM, with which schedulers of clusters end a run, save as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
