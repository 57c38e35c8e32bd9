"""Reports on a whole data set: `python -m ave_env.scenes.check ROOT`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ave_env.scenes.errors import SceneError, enumerate_some, printable
from ave_env.scenes.files.parallel import positive

if TYPE_CHECKING:
    from ave_env.scenes.files.encoded import EncodedScenes
    from ave_env.scenes.files.folder import Source

DESCRIPTION = """\
Decode every image of a data set and report what is broken.

ROOT is a folder or an HDF5 file of packed scenes. The exit code is 1 if anything is broken. Notes
(images that are in two splits, classes without images in one) do not change it."""


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
        lines = [f"{self.source}, {len(self.class_names):,} classes"]
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
    report, splits = _look(root, source, list_file)
    seen: dict[bytes, tuple[str, str]] = {}
    for split, open_split in splits.items():
        try:
            scenes = open_split()
        except SceneError as error:
            report.broken.append(error)
            continue
        counts = [0] * len(scenes.class_names)
        repeated: list[str] = []
        for index, result in enumerate(_decode_all(scenes, split, workers, progress)):
            if isinstance(result, SceneError):
                report.broken.append(result)
                continue
            size, digest = result
            report.sizes[size] += 1
            counts[scenes.labels[index]] += 1
            place = scenes.locate(index)
            first_split, first_place = seen.setdefault(digest, (split, place))
            if first_split != split:
                repeated.append(f"{place} = {first_place}")
        report.class_names, report.images[split] = scenes.class_names, counts
        empty = [name for name, count in zip(scenes.class_names, counts, strict=True) if not count]
        if empty:
            report.notes.append(f"no usable image in {split} of: {enumerate_some(empty)}")
        if repeated:
            report.notes.append(
                f"images of {split} in another split: {enumerate_some(repeated, 3)}"
            )
    return report


def _look(
    root: str, source: Source | None, list_file: str | os.PathLike[str] | None
) -> tuple[Report, dict[str, Callable[[], EncodedScenes]]]:
    """Finds the stored splits of a data set and how to open each."""
    from ave_env.scenes.files.folder import FolderScenes, SceneFolder, recognise_source
    from ave_env.scenes.files.splits import SplitChoice
    from ave_env.scenes.packed.hdf5 import Hdf5Scenes, read_header

    size = (1, 1)  # images are decoded as they are
    if os.path.isfile(root):
        header = read_header(root)
        choices = {split: SplitChoice(split, "all") for split in header.splits}
        return Report(header.source), {
            split: partial(Hdf5Scenes, root, choice, image_size=size, source=source)
            for split, choice in choices.items()
        }
    folder = SceneFolder(root, source or recognise_source(root), list_file)
    report = Report(folder.source)
    ignored = []
    for split in folder.splits:
        with contextlib.suppress(SceneError):  # comes again when the split is opened
            ignored += folder.list(split).ignored
    if ignored:
        ignored = sorted(set(ignored))
        report.notes.append(f"{len(ignored):,} not read as images: {enumerate_some(ignored, 3)}")
    choices = {split: SplitChoice(split, "all") for split in folder.splits}
    options: dict[str, Any] = {"source": folder.source, "list_file": list_file, "image_size": size}
    return report, {
        split: partial(FolderScenes, root, choice, **options) for split, choice in choices.items()
    }


def _decode_all(
    scenes: EncodedScenes, split: str, workers: int | None, progress: bool
) -> Iterator[tuple[tuple[int, int], bytes] | SceneError]:
    """Yields height and width and a digest of each image, or what is wrong with it."""
    from ave_env.scenes.files.decoding import decode
    from ave_env.scenes.files.parallel import map_in_threads, progress_bar

    def examine(index: int) -> tuple[tuple[int, int], bytes] | SceneError:
        try:
            data = scenes.read(index)
            image = decode(data, scenes.locate(index))
        except SceneError as error:
            return error
        return (image.shape[0], image.shape[1]), blake2b(data, digest_size=16).digest()

    with progress_bar(split, len(scenes), progress) as bar:
        for result in map_in_threads(examine, range(len(scenes)), workers):
            yield result
            bar.update()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        Exit code: 0, 1 if anything is broken, 130 after Ctrl-C; argparse exits with 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ave_env.scenes.check",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="ROOT", help="folder, or HDF5 file of packed scenes")
    parser.add_argument(
        "--source",
        choices=("sun360", "imagenet", "imagefolder"),
        help="layout expected there (default: recognise it)",
    )
    parser.add_argument(
        "--list-file", metavar="FILE", help="list of the panoramas of a SUN360 folder"
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="threads (default: one per core)"
    )
    options = parser.parse_args(arguments)
    try:
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
