"""What the commands `ave-pack` and `ave-check` share; imports nothing heavy."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from ave_env.scenes.files.layouts import LAYOUTS


def new_parser(module: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """A parser that calls the program what its user typed: a console script or `python -m`.

    Args:
        module: What `python -m` runs.
        description: Shown by `--help`, line by line as it is.
        epilog: Shown below the options; `%(prog)s` stands for the program.
    """
    script = Path(sys.argv[0]).stem
    return argparse.ArgumentParser(
        prog=script if script.startswith("ave-") else f"python -m {module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which images a data set holds, and how many threads read them."""
    parser.add_argument(
        "--source",
        choices=tuple(LAYOUTS),
        help="layout of the images (default: recognise it)",
    )
    parser.add_argument(
        "--list-file",
        metavar="FILE",
        help="list of the panoramas of a SUN360 folder; its first tenth is val",
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="threads (default: one per core)"
    )


def positive(text: str) -> int:
    """Reads a positive number from a command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Lets SIGTERM, with which schedulers of clusters end a run, unwind the stack and so clean up.

    The exit code is the customary 143. Signals reach the main thread alone, so that nothing is
    changed in another.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
