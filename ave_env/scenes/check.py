"""Reports on a whole data set: `python -m ave_env.scenes.check ROOT`, or `ave-check`."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from ave_env.scenes.base import UNLABELLED
from ave_env.scenes.command import add_source_options, exit_on_sigterm, new_parser
from ave_env.scenes.errors import SceneError, enumerate_some, note_unused, printable
from ave_env.scenes.files.layouts import Source

if TYPE_CHECKING:
    from ave_env.scenes.files.encoded import EncodedScenes
    from ave_env.scenes.files.splits import SplitChoice

    OpenSplit = Callable[[], EncodedScenes]

FirstSeen = dict[bytes, tuple[str, str]]
AS_IT_IS = (1, 1)  # an image size: images are decoded here, and not resized

DESCRIPTION = """\
Decode every image of a data set and report what is broken.

ROOT is a folder or an HDF5 file of packed scenes. The exit code is 1 if anything is broken. Notes
(images that are in two splits, classes without images in one) do not change it."""


class Image(NamedTuple):
    """What is known of an image that can be decoded.

    Attributes:
        size: Height and width in pixels.
        digest: Hash of the encoded image.
    """

    size: tuple[int, int]
    digest: bytes


@dataclass
class Report:
    """What was found in a data set.

    Attributes:
        source: Its layout.
        class_names: Its classes.
        images: Number of images of each class, by split.
        sizes: How many images have which height and width.
        broken: What cannot be used.
        notes: What can be used but may be a mistake.
    """

    source: str
    class_names: tuple[str, ...] = ()
    images: dict[str, list[int]] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    broken: list[SceneError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        count = 0 if self.class_names == UNLABELLED else len(self.class_names)
        lines = [
            f"{self.source}, {f'{count:,}' if count else 'no'} class{'' if count == 1 else 'es'}"
        ]
        for split, counts in self.images.items():
            per_class = f"{min(counts):,} to {max(counts):,} a class"
            lines.append(f"  {split:<6}{sum(counts):>10,} images, {per_class}")
        common = [f"{h}x{w} ({n:,})" for (h, w), n in self.sizes.most_common()]
        lines.append(f"  height x width: {enumerate_some(common, 4)}")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  broken: {error}" for error in self.broken]
        lines.append(f"  {len(self.broken):,} broken" if self.broken else "  nothing is broken")
        return printable("\n".join(lines))


def check(
    root: str | os.PathLike[str],
    *,
    source: Source | None = None,
    list_file: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Decodes every image of a data set.

    Args:
        root: A folder or an HDF5 file of packed scenes.
        source: Layout expected there; None = recognise it.
        list_file: List of the panoramas of a SUN360 folder.
        workers: Threads; None = one per core.
        progress: Show a progress bar.

    Raises:
        SceneError: `root` has none of the known layouts.
    """
    root = os.path.abspath(os.path.expanduser(root))
    look = _look_into_file if os.path.isfile(root) else _look_into_folder
    report, splits = look(root, source, list_file)
    first_seen: FirstSeen = {}
    seamless = False
    for split, open_split in splits.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the notes say it
                scenes = open_split()
        except SceneError as error:
            report.broken.append(error)
        else:
            images = _decode_all(scenes, split, workers, progress)
            _add_split(report, split, scenes, images, first_seen)
            seamless = scenes.seamless
    if not seamless and report.sizes and all(width == 2 * height for height, width in report.sizes):
        report.notes.append(
            "all images are twice as wide as high; if they are 360-degree panoramas, say so where "
            "they are opened or packed (seamless=True, --seamless)"
        )
    return report


def _look_into_file(
    root: str, source: Source | None, list_file: str | os.PathLike[str] | None
) -> tuple[Report, dict[str, OpenSplit]]:
    """Finds the stored splits of an HDF5 file and how to open each."""
    from ave_env.scenes.files.splits import HELD_OUT_NOTE
    from ave_env.scenes.packed.hdf5 import Hdf5Scenes
    from ave_env.scenes.packed.schema import find_unused, open_file, read_header, read_names

    header = read_header(root)
    report = Report(header.source)
    if "train" in header.splits and "val" not in header.splits:
        report.notes.append(HELD_OUT_NOTE)
    if unused := find_unused(root):
        report.notes.append(note_unused(unused))
    for split in header.splits:
        try:
            with open_file(root) as file:
                if "images" in file[split]:  # else the split cannot be opened, which says so
                    read_names(root, file[split])
        except SceneError as error:
            report.broken.append(error)
    return report, {
        split: partial(Hdf5Scenes, root, choice, image_size=AS_IT_IS, source=source)
        for split, choice in _whole(header.splits).items()
    }


def _look_into_folder(
    root: str, source: Source | None, list_file: str | os.PathLike[str] | None
) -> tuple[Report, dict[str, OpenSplit]]:
    """Finds the stored splits of a folder and how to open each."""
    from ave_env.scenes.files.folder import FolderScenes, open_folder

    folder = open_folder(root, source, list_file)
    report = Report(folder.source)
    with contextlib.suppress(SceneError):  # raised again when the split is opened
        report.notes += folder.notes()
    return report, {
        split: partial(
            FolderScenes,
            root,
            choice,
            source=folder.source,
            image_size=AS_IT_IS,
            list_file=list_file,
        )
        for split, choice in _whole(folder.splits).items()
    }


def _whole(splits: Iterable[str]) -> dict[str, SplitChoice]:
    """All that is stored of each split, nothing held out."""
    from ave_env.scenes.files.splits import SplitChoice

    return {split: SplitChoice(split, "all") for split in splits}


def _decode_all(
    scenes: EncodedScenes, split: str, workers: int | None, progress: bool
) -> Iterator[Image | SceneError]:
    """Yields what every image is, or what is wrong with it."""
    from ave_env.scenes.files.decoding import decode_strictly
    from ave_env.scenes.files.parallel import map_in_threads, progress_bar

    def examine(index: int) -> Image | SceneError:
        try:
            data = scenes.read(index)
            pixels = decode_strictly(data, scenes.locate(index))
        except SceneError as error:
            return error
        size = (pixels.shape[0], pixels.shape[1])
        return Image(size, blake2b(data, digest_size=16).digest())

    with progress_bar(split, len(scenes), progress) as bar:
        for result in map_in_threads(examine, range(len(scenes)), workers):
            yield result
            bar.update()


def _add_split(
    report: Report,
    split: str,
    scenes: EncodedScenes,
    images: Iterable[Image | SceneError],
    first_seen: FirstSeen,
) -> None:
    """Adds the images of one split to a report.

    Args:
        report: What was found so far.
        split: The split.
        scenes: Its images.
        images: What each of them is, in order.
        first_seen: Split and place of every image so far, by its digest.
    """
    counts = [0] * len(scenes.class_names)
    repeated: list[str] = []
    for index, image in enumerate(images):
        if isinstance(image, SceneError):
            report.broken.append(image)
            continue
        report.sizes[image.size] += 1
        counts[scenes.labels[index]] += 1
        place = scenes.locate(index)
        first_split, first_place = first_seen.setdefault(image.digest, (split, place))
        if first_split != split:
            repeated.append(f"{place} = {first_place}")
    report.class_names, report.images[split] = scenes.class_names, counts
    names = [
        name if name == shown else f"{name} ({shown})"
        for name, shown in zip(scenes.class_names, scenes.display_names, strict=True)
    ]
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        report.notes.append(f"no usable image in {split} of: {enumerate_some(empty)}")
    if repeated:
        some = enumerate_some(repeated, 3)
        report.notes.append(f"images of {split} in another split: {some}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        Exit code: 0, 1 if anything is broken, 130 after Ctrl-C; argparse exits with 2, and SIGTERM
        with 143.
    """
    parser = new_parser("ave_env.scenes.check", DESCRIPTION)
    parser.add_argument("root", metavar="ROOT", help="folder, or HDF5 file of packed scenes")
    add_source_options(parser)
    options = parser.parse_args(arguments)
    try:
        with exit_on_sigterm():
            report = check(
                options.root,
                source=options.source,
                list_file=options.list_file,
                workers=options.workers,
            )
    except KeyboardInterrupt:
        return 130
    except ValueError as error:  # a SceneError, or arguments that do not go together
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(printable(f"{options.root}: {report}"))
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
