"""Packs a folder of scenes into one HDF5 file.

`python -m ave_env.scenes.pack SOURCE OUT.h5`. The schema is described in
`ave_env.scenes.packed.hdf5`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ave_env.scenes.errors import SceneError, printable
from ave_env.scenes.files.parallel import positive

if TYPE_CHECKING:
    import numpy as np

    from ave_env.scenes.files.decoding import Fit
    from ave_env.scenes.files.folder import Listing, Source
    from ave_env.scenes.packed.hdf5 import Header
    from ave_env.scenes.packed.hdf5_writer import Contents
    from ave_env.scenes.packed.spool import Entry, Spool

DESCRIPTION = """\
Pack a folder of scenes into one HDF5 file.

Every image is decoded once, so that no broken one gets in. JPEG and PNG files are stored byte for
byte unless --image-size asks for another size; other formats become PNG. The splits are those of
the folder.

A run that was stopped goes on where it was when the same command is given again: what it has done
is kept in OUT.partial. OUT appears only when it is complete and has been read back."""


@dataclass(frozen=True)
class Storage:
    """How images are stored.

    Attributes:
        image_size: Height and width in pixels to store them at; None = as they are.
        image_format: "jpeg" or "png", for images that have to be encoded anew.
        quality: Quality of JPEG, 1 to 100.
    """

    image_size: tuple[int, int] | None = None
    image_format: str = "jpeg"
    quality: int = 95


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
    from ave_env.scenes.files.folder import SceneFolder, recognise_source
    from ave_env.scenes.files.parallel import map_in_threads, progress_bar
    from ave_env.scenes.packed.hdf5 import Header
    from ave_env.scenes.packed.spool import Spool

    storage = storage or Storage()
    out = os.path.abspath(os.path.expanduser(out))
    _refuse_to_overwrite(out)
    root = os.path.abspath(os.path.expanduser(root))
    folder = SceneFolder(root, source or recognise_source(root), list_file)
    seamless = folder.source == "sun360" if seamless is None else seamless
    how: Fit = "stretch" if seamless else "crop"
    listings = {split: folder.list(split) for split in folder.splits}
    paths = {
        split: [os.path.join(listing.folder, name) for name in listing.names]
        for split, listing in listings.items()
    }
    keys = {path: _key(path) for of_split in paths.values() for path in of_split}

    with Spool(f"{out}.partial", json.dumps({**asdict(storage), "fit": how})) as spool:
        pending = [path for path, key in keys.items() if key not in spool.entries]
        broken: list[SceneError] = []
        with progress_bar("reading", len(keys), progress) as bar:
            bar.update(len(keys) - len(pending))
            for path, result in zip(
                pending,
                map_in_threads(lambda path: _prepare(path, storage, how), pending, workers),
                strict=True,
            ):
                if isinstance(result, SceneError):
                    broken.append(result)
                else:
                    spool.append(keys[path], *result)
                bar.update()
        if broken and not skip_broken:
            raise _summarise(broken, root)
        for error in broken:
            print(f"left out: {error}", file=sys.stderr)

        entries = {path: spool.entries[key] for path, key in keys.items() if key in spool.entries}
        sizes = {entry.size for entry in entries.values()}
        header = Header(
            source=folder.source,
            class_names=next(iter(listings.values())).class_names,
            image_size=sizes.pop() if len(sizes) == 1 else (0, 0),
            seamless=seamless,
            splits=folder.splits,
        )
        splits = {
            split: _contents(listing, paths[split], entries, spool)
            for split, listing in listings.items()
        }
        _require_space(out, sum(entry.length for entry in entries.values()), len(entries))
        with progress_bar("writing", len(entries), progress) as bar:
            _publish(out, header, splits, bar)
    os.unlink(spool.path)
    return {split: len(contents.names) for split, contents in splits.items()}


def _refuse_to_overwrite(out: str) -> None:
    if os.path.lexists(out):
        raise FileExistsError(f"{out} exists; delete it or choose another name")
    if not os.path.isdir(os.path.dirname(out)):
        raise FileNotFoundError(f"{os.path.dirname(out)}: no such folder to write into")


def _key(path: str) -> bytes:
    """Names a file and its state: an edited file is not the one an earlier run has seen."""
    state = ""
    with contextlib.suppress(OSError):  # reading it will tell what is wrong
        status = os.stat(path)
        state = f"{status.st_size} {status.st_mtime_ns}"
    return os.fsencode(path) + b"\0" + state.encode()


def _prepare(path: str, storage: Storage, how: Fit) -> tuple[Entry, bytes | None] | SceneError:
    """Decodes one file and, if need be, encodes it anew.

    Returns:
        What to remember, and the new encoding (None: the file as it is); or what is wrong.
    """
    import cv2

    from ave_env.scenes.files.decoding import decode, fit, image_kind
    from ave_env.scenes.files.folder import read_file
    from ave_env.scenes.packed.spool import Entry

    try:
        data = read_file(path)
        image = decode(data, path, storage.image_size)
    except SceneError as error:
        return error
    resize = storage.image_size is not None and image.shape[:2] != storage.image_size
    encoded = None
    if resize or image_kind(data) == "other":
        if storage.image_size is not None:
            image = fit(image, storage.image_size, how)
        suffix = ".jpg" if resize and storage.image_format == "jpeg" else ".png"
        quality = (cv2.IMWRITE_JPEG_QUALITY, storage.quality) if suffix == ".jpg" else ()
        encoded = cv2.imencode(suffix, image[..., ::-1], quality)[1].tobytes()
        data = encoded
    return Entry(image.shape[:2], len(data), zlib.crc32(data), None), encoded


def _contents(
    listing: Listing, paths: Sequence[str], entries: dict[str, Entry], spool: Spool
) -> Contents:
    import numpy as np

    from ave_env.scenes.packed.hdf5_writer import Contents

    rows = [row for row, path in enumerate(paths) if path in entries]
    if not rows:
        raise SceneError(listing.folder, "every image is broken")
    chosen = [paths[row] for row in rows]
    checksums: np.ndarray = np.array([entries[path].checksum for path in chosen], np.uint32)
    return Contents(
        names=[listing.names[row] for row in rows],
        labels=listing.labels[rows],
        checksums=checksums,
        images=_read_back(chosen, entries, spool),
    )


def _read_back(paths: Sequence[str], entries: dict[str, Entry], spool: Spool) -> Iterator[bytes]:
    """Yields images as they are to be stored, from the spool or from where they were."""
    from ave_env.scenes.files.folder import read_file

    for path in paths:
        entry = entries[path]
        data = read_file(path) if entry.offset is None else spool.read(entry)
        if zlib.crc32(data) != entry.checksum:
            raise SceneError(path, "changed while it was being packed; pack again")
        yield data


def _require_space(out: str, num_bytes: int, num_images: int) -> None:
    needed = int(1.15 * num_bytes) + 256 * num_images + 2**20
    free = shutil.disk_usage(os.path.dirname(out)).free
    if free < needed:
        raise OSError(f"about {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free")


def _publish(out: str, header: Header, splits: dict[str, Contents], bar: Any) -> None:
    """Writes a file under another name, reads it back, and gives it its name."""
    from ave_env.scenes.packed import hdf5_writer

    stop = threading.Event()

    def watch(images: Iterable[bytes]) -> Iterator[bytes]:
        for image in images:
            if stop.is_set():
                raise InterruptedError
            yield image
            bar.update()

    watched = {
        split: replace(contents, images=watch(contents.images))
        for split, contents in splits.items()
    }
    temporary = f"{out}.tmp"
    try:
        # Ctrl-C reaches the main thread alone. In another, HDF5 is never interrupted in mid-write.
        with ThreadPoolExecutor(1) as executor:
            try:
                executor.submit(hdf5_writer.write, temporary, header, watched).result()
            except BaseException:
                stop.set()
                raise
        hdf5_writer.verify(temporary, header, splits)
        _refuse_to_overwrite(out)
        os.replace(temporary, out)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _summarise(broken: list[SceneError], root: str) -> SceneError:
    shown = "\n  ".join(str(error) for error in broken[:20])
    more = f"\n  and {len(broken) - 20:,} more" if len(broken) > 20 else ""
    return SceneError(
        root,
        f"{len(broken):,} broken images; repair or remove them, or leave them out with "
        f"--skip-broken:\n  {shown}{more}",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        Exit code: 0, 1 for data or disks that fail, 130 after Ctrl-C; argparse exits with 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ave_env.scenes.pack",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m ave_env.scenes.pack ~/sun360 sun360.h5 --image-size 128 256",
    )
    parser.add_argument("root", metavar="SOURCE", help="folder of the scenes")
    parser.add_argument("out", metavar="OUT", help="HDF5 file to write; must not exist")
    parser.add_argument(
        "--source",
        choices=("sun360", "imagenet", "imagefolder"),
        help="layout of the folder (default: recognise it)",
    )
    parser.add_argument(
        "--list-file",
        metavar="FILE",
        help="list of the panoramas of a SUN360 folder; its first tenth is val",
    )
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
        help="store images at this size: panoramas resized, of others the middle",
    )
    parser.add_argument(
        "--image-format",
        choices=("jpeg", "png"),
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
        "--workers", type=positive, metavar="N", help="threads (default: one per core)"
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out images that cannot be decoded"
    )
    options = parser.parse_args(arguments)
    storage = Storage(
        tuple(options.image_size) if options.image_size else None,
        options.image_format,
        options.quality,
    )
    kept = f"what is done is kept in {options.out}.partial; run the same command to go on"
    try:
        counts = pack(
            options.root,
            options.out,
            source=options.source,
            list_file=options.list_file,
            seamless=options.seamless,
            storage=storage,
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


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and clean up
    sys.exit(main())
