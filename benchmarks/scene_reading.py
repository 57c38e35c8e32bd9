"""Reading packed HDF5 against reading the same tree of image files.

    python benchmarks/scene_reading.py ROOT [--image-size 224 224]

Packs ROOT twice into a temporary folder: byte for byte, and at the size the scenes are read at.
Then the three take turns at reading the same random scenes; medians over the rounds are printed, in
microseconds per scene. Before a "cold" reading the system is asked to forget the contents of the
files; it keeps the folders of the tree in mind, so that on a fresh machine the tree is slower.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from ave_env.scenes import open_scenes
from ave_env.scenes.files.encoded import EncodedScenes
from ave_env.scenes.pack import Storage, pack
from ave_env.scenes.packed.hdf5 import Hdf5Scenes

Times = dict[tuple[str, str, str], list[float]]  # by store, bytes or image, cold or warm


def forget_pages(paths: set[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def files_of(scenes: EncodedScenes, indices: np.ndarray) -> set[str]:
    if isinstance(scenes, Hdf5Scenes):
        return {scenes.path}
    return {scenes.locate(int(index)) for index in indices}


def microseconds(read: Callable[[int], object], indices: np.ndarray) -> float:
    start = time.perf_counter()
    for index in indices.tolist():
        read(index)
    return (time.perf_counter() - start) / len(indices) * 1e6


def measure(
    roots: dict[str, str], split: str, size: tuple[int, int], scenes: int, rounds: int
) -> Times:
    """Lets the stores take turns at reading the same random scenes.

    Args:
        roots: Where the data are, by the name of the store.
        split: The split to read.
        size: Height and width of the scenes in pixels.
        scenes: Scenes read in a round.
        rounds: Rounds.
    """
    times: Times = defaultdict(list)
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        order = rng.random(2**22)
        for name, root in roots.items():
            opened = open_scenes("imagefolder", split=split, data_root=root, image_size=size)
            assert isinstance(opened, EncodedScenes)
            indices = np.argsort(order[: len(opened)])[:scenes]
            for what, read in (("bytes", opened.read), ("image", opened.load)):
                forget_pages(files_of(opened, indices))
                for state in ("cold", "warm"):
                    times[name, what, state].append(microseconds(read, indices))
            if isinstance(opened, Hdf5Scenes):
                opened.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("root", help="folder of the scenes, {train,val,test}/<class>/<image>")
    parser.add_argument("--split", default="val")
    parser.add_argument("--image-size", nargs=2, type=int, default=(32, 32), metavar=("H", "W"))
    parser.add_argument("--scenes", type=int, default=500, help="scenes read in a round")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    size = tuple(options.image_size)

    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(options.root))) as folder:
        roots = {
            "tree of files": options.root,
            "HDF5, byte for byte": f"{folder}/same.h5",
            f"HDF5, {size[0]}x{size[1]}": f"{folder}/small.h5",
        }
        pack(options.root, f"{folder}/same.h5")
        pack(options.root, f"{folder}/small.h5", storage=Storage(size))
        os.sync()  # pages not yet written cannot be forgotten
        times = measure(roots, options.split, size, options.scenes, options.rounds)

    print(f"\n{options.root}, {options.split}, {platform.platform()}, Python {sys.version[:6]}")
    count = f"{options.rounds} interleaved rounds of up to {options.scenes} scenes"
    print(f"medians of {count}, us per scene")
    print(f"{'':24}{'bytes cold':>12}{'bytes warm':>12}{'image cold':>12}{'image warm':>12}")
    for name in roots:
        row = [
            statistics.median(times[name, what, state])
            for what in ("bytes", "image")
            for state in ("cold", "warm")
        ]
        print(f"{name:24}" + "".join(f"{value:12.1f}" for value in row))


if __name__ == "__main__":
    main()
