"""Variable-length data reads as HDF5 reads it, and damage to it is an error."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_trees import make_tree

from ave_env.scenes import SceneError
from ave_env.scenes.pack import pack
from ave_env.scenes.packed.global_heap import VariableLengthData, is_plain, read_heap
from ave_env.scenes.packed.hdf5 import Hdf5Scenes
from ave_env.scenes.packed.schema import BYTES

SIZE = (24, 32)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("heaps") / "a.h5"


def write(path: Path, elements: list[bytes], **storage) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("data", (len(elements),), BYTES, **storage)
        for row, element in enumerate(elements):
            dataset[row] = np.frombuffer(element, np.uint8)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.one_of(st.integers(0, 40), st.integers(0, 9000)), st.integers(0, 255)),
        min_size=1,
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_elements_are_those_that_hdf5_reads(scratch, shapes, random) -> None:
    write(scratch, [bytes([value]) * length for length, value in shapes])
    with h5py.File(scratch, "r") as file, open(scratch, "rb") as raw:
        dataset = file["data"]
        assert is_plain(dataset)
        data = VariableLengthData(dataset, raw.fileno())
        expected = [element.tobytes() for element in dataset[()]]
        assert list(data) == expected
        row = random.randrange(len(expected))
        assert data[row] == expected[row]


@pytest.mark.parametrize("storage", [{"chunks": (2,)}, {"compression": "gzip"}])
def test_what_only_hdf5_can_follow_is_left_to_it(scratch, storage) -> None:
    write(scratch, [b"one", b"two"], **storage)
    with h5py.File(scratch, "r") as file, open(scratch, "rb") as raw:
        assert not is_plain(file["data"])
        with pytest.raises(ValueError, match="/data is not stored as one plain block"):
            VariableLengthData(file["data"], raw.fileno())


@pytest.mark.parametrize(
    ("position", "patch", "message"),
    [
        (0, b"GONE", "no heap"),
        (8, (2**60).to_bytes(8, "little"), "1152921504606846976 bytes at byte"),
        (8, bytes(8), "no heap"),
        (16, bytes(64), None),  # index 0: free space, over which HDF5 would loop
        (24, (2**40).to_bytes(8, "little"), "object 1 leaves the heap"),
    ],
)
def test_a_damaged_heap_is_described(scratch, position, patch, message) -> None:
    write(scratch, [b"x" * 100])
    content = bytearray(scratch.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + position : heap + position + len(patch)] = patch
    scratch.write_bytes(content)
    with open(scratch, "rb") as raw:
        if message is None:
            assert read_heap(raw.fileno(), heap) == {}
            return
        with pytest.raises(ValueError, match=message):
            read_heap(raw.fileno(), heap)


def test_a_hole_anywhere_in_the_images_is_named_by_image(tmp_path: Path) -> None:
    pack(
        make_tree(tmp_path / "data", {"train/cat": 8, "val/cat": 2}),
        tmp_path / "a.h5",
        progress=False,
    )
    content = (tmp_path / "a.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        heaps = np.frombuffer(
            content,
            np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")]),
            8,
            file["train/images"].id.get_offset(),
        )["heap"]
    for begin in (heap + inside for heap in set(heaps.tolist()) for inside in (0, 16, 512)):
        holed = bytearray(content)
        holed[begin : begin + 512] = bytes(512)
        path = tmp_path / f"{begin}.h5"
        path.write_bytes(holed[: len(content)])
        scenes = Hdf5Scenes(path, "train", image_size=SIZE)
        damaged = []
        for index in range(len(scenes)):
            try:
                scenes.load(index)
            except SceneError as error:
                damaged.append(str(error))
        assert damaged
        assert all(message.startswith(f"{path}:/train/images[") for message in damaged)
