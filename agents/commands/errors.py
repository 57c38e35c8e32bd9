"""How the commands speak of themselves and how they end; imports little: `--help` is quick."""

from __future__ import annotations

import contextlib
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def program_name() -> str:
    """The name the user called this command by: a script's or that of a console script."""
    return Path(sys.argv[0]).name.removesuffix(".exe")


def called_as() -> str:
    """What to type to call this command again."""
    script = sys.argv[0]
    return f"python {script}" if script.endswith(".py") else program_name()


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends a command with one line where the user can put things right, and on Ctrl-C.

    Errors of the program itself keep their traceback. Warnings are one line too.
    """
    format_before = warnings.formatwarning
    warnings.formatwarning = _sentence
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"{program_name()}: interrupted")
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"{program_name()}: error: {error}")
    except Exception as error:
        from gymnasium.error import Error

        if not isinstance(error, Error):  # what Gymnasium says of ids and arguments
            raise
        sys.exit(f"{program_name()}: error: {error}")
    finally:
        warnings.formatwarning = format_before


def _sentence(message: Warning | str, *place: Any, **options: Any) -> str:
    """A warning without the line of source that it came from."""
    return f"{program_name()}: warning: {message}\n"


def interrupt_when_terminated() -> None:
    """Makes SIGTERM, with which schedulers of clusters end a run, save as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
