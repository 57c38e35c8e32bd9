"""How the commands speak of themselves and how they end; imports little: `--help` is quick."""

from __future__ import annotations

import contextlib
import errno
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agents.reports.provenance import run_as_module
from encoders.support.files import is_disk_full

# What is wrong with a path, and what to do, by the error of the operating system.
_ADVICE = {
    errno.EEXIST: "there is a file of that name, where a folder is needed; choose another",
    errno.ENOTDIR: "a part of that path is a file, where a folder is needed; choose another",
    errno.EISDIR: "a folder, where a file is needed; choose another",
    errno.ENOENT: "no such file or folder",
    errno.EACCES: "no permission; choose another, or ask for the right to read and write it",
    errno.EPERM: "not permitted; choose another, or ask for the right to read and write it",
    errno.EROFS: "on a disk that can only be read; choose another",
    errno.ENOSPC: "the disk is full; free some space, or choose another disk",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another disk",
    errno.EFBIG: "larger than a file may be here; choose another disk, or raise the limit",
    errno.ENAMETOOLONG: "a name too long for this disk; choose a shorter one",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
}


def program_name() -> str:
    """The name the user called this command by: of a script, a console script or a package."""
    if (module := run_as_module()) is not None:
        return f"python -m {module}"
    return Path(sys.argv[0]).name.removesuffix(".exe")


def called_as() -> str:
    """What to type to call this command again."""
    script = sys.argv[0]
    is_script = script.endswith(".py") and run_as_module() is None
    return f"python {script}" if is_script else program_name()


@contextlib.contextmanager
def one_line_errors(options: Mapping[str, str] | None = None) -> Iterator[None]:
    """Ends a command with one line where the user can put things right, and on Ctrl-C.

    Errors of the program itself keep their traceback. Warnings are one line too.

    Args:
        options: What the user types for values that the parts of the program call otherwise, e.g.
            `{"num_scenes": "--scenes"}`: messages say it in place of the other name.
    """
    format_before = warnings.formatwarning
    warnings.formatwarning = _sentence
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"{program_name()}: interrupted")
    except OSError as error:
        sys.exit(f"{program_name()}: error: {as_typed(explain(error), options or {})}")
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        sys.exit(f"{program_name()}: error: {as_typed(str(error), options or {})}")
    except Exception as error:
        from gymnasium.error import Error

        if is_disk_full(error):
            sys.exit(f"{program_name()}: error: {_ADVICE[errno.ENOSPC]}")
        if not isinstance(error, Error):  # what Gymnasium says of ids and arguments
            raise
        sys.exit(f"{program_name()}: error: {as_typed(str(error), options or {})}")
    finally:
        warnings.formatwarning = format_before


def explain(error: OSError) -> str:
    """One sentence about an error of the operating system: the path, what is wrong, what to do.

    Errors that were raised with a message of their own keep it.
    """
    if error.errno not in _ADVICE:
        return str(error)
    path = error.filename2 or error.filename
    return f"{path}: {_ADVICE[error.errno]}" if path is not None else _ADVICE[error.errno]


def as_typed(message: str, options: Mapping[str, str]) -> str:
    """A message that calls values as the user typed them.

    Args:
        message: With values as `name=value`.
        options: What was typed, by the name in the message.
    """
    if not options:
        return message
    names = "|".join(map(re.escape, options))
    return re.sub(rf"(?<![\w.-])({names})=", lambda found: f"{options[found[1]]}=", message)


def _sentence(message: Warning | str, *place: Any, **options: Any) -> str:
    """A warning without the line of source that it came from."""
    return f"{program_name()}: warning: {message}\n"


def interrupt_when_terminated() -> None:
    """Makes SIGTERM, with which schedulers of clusters end a run, save as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
