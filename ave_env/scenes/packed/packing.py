"""The work of `ave_env.scenes.pack`: a folder of scenes becomes one HDF5 file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np

from ave_env.scenes.errors import SceneError, printable
from ave_env.scenes.files.decoding import Fit, decode_strictly, fit, image_kind
from ave_env.scenes.files.disk import read_file
from ave_env.scenes.files.folder import PANORAMA_DOUBT
from ave_env.scenes.files.parallel import ProgressBar, map_in_threads, progress_bar
from ave_env.scenes.files.scene_folder import SceneFolder
from ave_env.scenes.packed import hdf5_writer
from ave_env.scenes.packed.hdf5_writer import Contents
from ave_env.scenes.packed.schema import Header
from ave_env.scenes.packed.spool import Entry, Spool
from ave_env.scenes.packed.storage import Storage


@dataclass(frozen=True)
class Preparation:
    """What is done to every image before it is stored.

    Attributes:
        storage: How images are stored.
        how: How they are brought to the size they are stored at.
    """

    storage: Storage
    how: Fit

    @property
    def purpose(self) -> str:
        """Describes it to the spool: images prepared in another way are of no use."""
        return json.dumps({**asdict(self.storage), "fit": self.how})

    def prepare(self, path: str) -> tuple[Entry, bytes | None] | SceneError:
        """Decodes one file and, if need be, encodes it anew.

        Returns:
            What to remember, and the new encoding (None: the file as it is); or what is wrong.
        """
        try:
            data = read_file(path)
            image = decode_strictly(data, path, self.storage.image_size)
        except SceneError as error:
            return error
        size = self.storage.image_size or (image.shape[0], image.shape[1])
        encoded = None
        if image.shape[:2] != size or image_kind(data) == "other":
            data = encoded = self._encode(image, size)
        return Entry(size, len(data), zlib.crc32(data), None), encoded

    def _encode(self, image: np.ndarray, size: tuple[int, int]) -> bytes:
        lossy = image.shape[:2] != size and self.storage.image_format == "jpeg"
        quality = (cv2.IMWRITE_JPEG_QUALITY, self.storage.quality) if lossy else ()
        fitted = fit(image, size, self.how)
        return cv2.imencode(".jpg" if lossy else ".png", fitted[..., ::-1], quality)[1].tobytes()


@dataclass(frozen=True)
class Prepared:
    """Images that are ready to be stored.

    Attributes:
        entries: What is known of each, by its path.
        spool: Holds those that were encoded anew.
    """

    entries: dict[str, Entry]
    spool: Spool

    def read(self, path: str) -> bytes:
        """Returns an image as it is to be stored, from the spool or from where it was.

        Raises:
            SceneError: The file is no longer what it was when it was prepared.
        """
        entry = self.entries[path]
        data = read_file(path) if entry.offset is None else self.spool.read(entry)
        if zlib.crc32(data) != entry.checksum:
            raise SceneError(path, "changed while it was being packed; pack again")
        return data

    @property
    def num_bytes(self) -> int:
        """Bytes of all images together."""
        return sum(entry.length for entry in self.entries.values())

    @property
    def common_size(self) -> tuple[int, int]:
        """Height and width of the images; (0, 0) when they differ."""
        sizes = self.sizes
        return sizes.pop() if len(sizes) == 1 else (0, 0)

    @property
    def sizes(self) -> set[tuple[int, int]]:
        """Heights and widths of the images."""
        return {entry.size for entry in self.entries.values()}


class Packing:
    """A folder of scenes on its way into one file.

    First every image is prepared, which a spool beside the file (`OUT.partial`) remembers from one
    run to the next. Then the file is written and read back (`OUT.tmp`), and appears.
    """

    def __init__(
        self,
        folder: SceneFolder,
        out: str,
        *,
        storage: Storage,
        seamless: bool | None = None,
        progress: bool = True,
    ) -> None:
        """Lists what is to be packed.

        Args:
            folder: The scenes.
            out: The file to write, an absolute path.
            storage: How images are stored.
            seamless: Whether the images are 360-degree panoramas; None = those of SUN360 are.
            progress: Show progress bars.

        Raises:
            FileExistsError: `out` exists.
            SceneError: The folder holds no images, or cannot be read.
        """
        self.folder = folder
        self.out = out
        self.seamless = folder.source == "sun360" if seamless is None else seamless
        # At a size that was asked for, images have the shape that was asked for.
        self._is_doubtful = seamless is None and not self.seamless and not storage.image_size
        self.preparation = Preparation(storage, "stretch" if self.seamless else "crop")
        self.progress = progress
        self.listings = {split: folder.list_split(split) for split in folder.splits}
        self.paths = {split: listing.paths for split, listing in self.listings.items()}
        self.keys = {path: _key(path) for paths in self.paths.values() for path in paths}

    def run(self, workers: int | None = None, skip_broken: bool = False) -> dict[str, int]:
        """Packs, or continues where an earlier run was stopped.

        Args:
            workers: Threads that decode and encode; None = one per core.
            skip_broken: Leave broken images out instead of failing.

        Returns:
            The number of images in each split.

        Raises:
            SceneError: Images are broken, or changed meanwhile; the file reads back differently.
            OSError: The disk is full or cannot be written to.
        """
        for note in self.folder.notes():
            print(printable(f"note: {note}"), file=sys.stderr)
        with Spool(f"{self.out}.partial", self.preparation.purpose) as spool:
            broken = self._prepare_all(spool, workers)
            if broken and not skip_broken:
                raise _summarise(broken, self.folder.root)
            for error in broken:
                print(f"left out: {error}", file=sys.stderr)
            known = spool.entries
            entries = {path: known[key] for path, key in self.keys.items() if key in known}
            prepared = Prepared(entries, spool)
            if self._is_doubtful and all(w == 2 * h for h, w in prepared.sizes):
                print(f"note: {PANORAMA_DOUBT}", file=sys.stderr)
            header = Header(
                source=self.folder.source,
                class_names=next(iter(self.listings.values())).class_names,
                image_size=prepared.common_size,
                seamless=self.seamless,
                splits=self.folder.splits,
            )
            splits = {split: self._contents(split, prepared) for split in self.listings}
            _require_space(self.out, prepared.num_bytes, len(entries))
            with progress_bar("writing", len(entries), self.progress) as bar:
                _publish(self.out, header, splits, bar)
        os.unlink(spool.path)
        return {split: len(contents.names) for split, contents in splits.items()}

    def _prepare_all(self, spool: Spool, workers: int | None) -> list[SceneError]:
        """Prepares the images that the spool does not know, and returns what is broken."""
        pending = [path for path, key in self.keys.items() if key not in spool.entries]
        broken: list[SceneError] = []
        with progress_bar("reading", len(self.keys), self.progress) as bar:
            bar.update(len(self.keys) - len(pending))
            results = map_in_threads(self.preparation.prepare, pending, workers)
            for path, result in zip(pending, results, strict=True):
                if isinstance(result, SceneError):
                    broken.append(result)
                else:
                    spool.append(self.keys[path], *result)
                bar.update()
        return broken

    def _contents(self, split: str, prepared: Prepared) -> Contents:
        """What is to be stored of one split; its images are read when they are written."""
        listing, paths = self.listings[split], self.paths[split]
        rows = [row for row, path in enumerate(paths) if path in prepared.entries]
        if not rows:
            raise SceneError(listing.folder, "every image is broken")
        chosen = [paths[row] for row in rows]
        return Contents(
            names=[listing.names[row] for row in rows],
            labels=listing.labels[rows],
            checksums=np.array([prepared.entries[path].checksum for path in chosen], np.uint32),
            images=map(prepared.read, chosen),
        )


def refuse_to_overwrite(out: str) -> None:
    """Makes sure that a file can be written where there is none yet.

    Raises:
        FileExistsError: There is one.
        FileNotFoundError: There is no folder for it.
    """
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


def _require_space(out: str, num_bytes: int, num_images: int) -> None:
    needed = int(1.15 * num_bytes) + 256 * num_images + 2**20
    free = shutil.disk_usage(os.path.dirname(out)).free
    if free < needed:
        raise OSError(f"about {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free")


def _publish(out: str, header: Header, splits: dict[str, Contents], bar: ProgressBar) -> None:
    """Writes a file under another name, reads it back, and gives it its name."""
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
    # The same name in every run: what a killed one leaves behind is large, and overwritten here.
    temporary = f"{out}.tmp"
    try:
        # Ctrl-C reaches the main thread alone. In another, HDF5 is never interrupted in mid-write.
        with ThreadPoolExecutor(1) as executor:
            try:
                executor.submit(hdf5_writer.write_packed, temporary, header, watched).result()
            except BaseException:
                stop.set()
                raise
        hdf5_writer.verify_packed(temporary, header, splits)
        refuse_to_overwrite(out)
        os.replace(temporary, out)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _summarise(broken: Sequence[SceneError], root: str) -> SceneError:
    shown = "\n  ".join(str(error) for error in broken[:20])
    more = f"\n  and {len(broken) - 20:,} more" if len(broken) > 20 else ""
    return SceneError(
        root,
        f"{len(broken):,} broken images; repair or remove them, or leave them out with "
        f"--skip-broken:\n  {shown}{more}",
    )
