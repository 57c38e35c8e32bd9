"""Packs a folder of scenes into one HDF5 file.

`python -m ave_env.scenes.pack SOURCE OUT.h5`, or `ave-pack`. The schema is described in
`ave_env.scenes.packed.schema`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import get_args

from ave_env.scenes.command import add_source_options, exit_on_sigterm, new_parser, positive
from ave_env.scenes.errors import printable
from ave_env.scenes.files.layouts import Source
from ave_env.scenes.packed.storage import ImageFormat, Storage

DESCRIPTION = """\
Pack a folder of scenes into one HDF5 file.

Pack photos at the size that will be looked at, e.g. --image-size 224 224: decoding is what reading
costs, and small images of ImageNet are read 3.5 times as fast. Without --image-size JPEG and PNG
files are stored byte for byte (other formats become PNG): one file in the place of many, which is
read no faster once the system holds the files.

Every image is decoded once, so that no broken one gets in. The splits are those of the folder.

A run that was stopped continues where it left off when the same command is given again: its work
is kept in OUT.partial. OUT appears only when it is complete and has been read back."""


def pack(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    source: Source | None = None,
    list_file: str | os.PathLike[str] | None = None,
    seamless: bool | None = None,
    storage: Storage | None = None,
    workers: int | None = None,
    skip_broken: bool = False,
    progress: bool = True,
) -> dict[str, int]:
    """Packs a folder of scenes into one HDF5 file.

    Args:
        root: The folder.
        out: The file to write; it must not exist.
        source: Layout of the folder, "sun360", "imagenet" or "imagefolder"; None = recognise it.
        list_file: List of the panoramas of a SUN360 folder.
        seamless: Whether the images are 360-degree panoramas; None = those of SUN360 are.
        storage: How images are stored; None = as they are.
        workers: Threads that decode and encode; None = one per core.
        skip_broken: Leave broken images out instead of failing.
        progress: Show progress bars.

    Returns:
        The number of images in each split.

    Raises:
        FileExistsError: `out` exists.
        SceneError: The folder cannot be used; images are broken; `out` reads back differently.
        OSError: `out` cannot be written.
    """
    from ave_env.scenes.files.folder import open_folder
    from ave_env.scenes.packed.packing import Packing, refuse_to_overwrite

    out = os.path.abspath(os.path.expanduser(out))
    refuse_to_overwrite(out)
    root = os.path.abspath(os.path.expanduser(root))
    folder = open_folder(root, source, list_file)
    packing = Packing(
        folder, out, storage=storage or Storage(), seamless=seamless, progress=progress
    )
    return packing.run(workers, skip_broken)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        Exit code: 0, 1 for data or disks that fail, 130 after Ctrl-C; argparse exits with 2, and
        SIGTERM with 143.
    """
    options = _parser().parse_args(arguments)
    kept = f"work so far is kept in {options.out}.partial; run the same command again to continue"
    try:
        with exit_on_sigterm():
            counts = pack(
                options.root,
                options.out,
                source=options.source,
                list_file=options.list_file,
                seamless=options.seamless,
                storage=_storage(options),
                workers=options.workers,
                skip_broken=options.skip_broken,
            )
    except KeyboardInterrupt:
        print(f"stopped; {kept}", file=sys.stderr)
        return 130
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot write {options.out}: {error}; {kept}", file=sys.stderr)
        return 1
    images = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    size = os.path.getsize(os.path.expanduser(options.out))
    print(printable(f"{options.out}: {images} images, {size / 1e6:,.1f} MB"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "ave_env.scenes.pack",
        DESCRIPTION,
        epilog="Example: %(prog)s ~/sun360 sun360.h5 --image-size 128 256",
    )
    parser.add_argument("root", metavar="SOURCE", help="folder of the scenes")
    parser.add_argument("out", metavar="OUT", help="HDF5 file to write; must not exist")
    add_source_options(parser)
    parser.add_argument(
        "--seamless",
        action=argparse.BooleanOptionalAction,
        help="the images are 360-degree panoramas (default: those of SUN360 are)",
    )
    parser.add_argument(
        "--image-size",
        nargs=2,
        type=positive,
        metavar=("H", "W"),
        help="store images at this size: panoramas are resized, others also cropped",
    )
    parser.add_argument(
        "--image-format",
        choices=get_args(ImageFormat),
        default=Storage.image_format,
        help="format of images that are resized (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=int,
        choices=range(1, 101),
        metavar="1..100",
        default=Storage.quality,
        help="quality of JPEG where images are resized (default: %(default)s)",
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out images that cannot be decoded"
    )
    return parser


def _storage(options: argparse.Namespace) -> Storage:
    size = tuple(options.image_size) if options.image_size else None
    return Storage(size, options.image_format, options.quality)


if __name__ == "__main__":
    sys.exit(main())
