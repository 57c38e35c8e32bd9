"""Image files of every kind become upright RGB, or one error with the path."""

import io
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scene_trees import CORNERS, encoded, noise, quadrants

from ave_env.scenes.errors import SceneError
from ave_env.scenes.files import jpeg
from ave_env.scenes.files.decoding import decode, decode_strictly, fit


def corners(image: np.ndarray) -> np.ndarray:
    """The colours in the middle of the four quarters, row-major."""
    height, width = image.shape[:2]
    return np.array(
        [image[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)],
        np.int64,
    )


def assert_shows_quadrants(image: np.ndarray, tolerance: int = 6) -> None:
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert np.abs(corners(image) - np.array(CORNERS)).max() <= tolerance


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM"])
def test_common_formats_are_read(image_format: str) -> None:
    assert_shows_quadrants(decode(encoded(quadrants(), image_format), "x"), tolerance=25)


def test_progressive_jpeg_is_read() -> None:
    assert_shows_quadrants(decode(encoded(quadrants(), progressive=True), "x"))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_grey_images_get_three_equal_channels(image_format: str) -> None:
    grey = noise(0)[..., 0]
    image = decode(encoded(grey, image_format), "x")
    assert np.abs(image.astype(int) - grey[..., None]).max() <= (0 if image_format == "PNG" else 8)
    assert (image == image[..., :1]).all()


def test_cmyk_jpeg_keeps_its_colours() -> None:
    cmyk = Image.fromarray(quadrants()).convert("CMYK")
    assert_shows_quadrants(decode(encoded(cmyk), "x"), tolerance=12)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(orientation: int, image_format: str) -> None:
    stored_as = {  # how a viewer has to undo the camera's turn
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(stored_as[orientation](quadrants()))
    image = decode(encoded(stored, image_format, exif=exif), "x")
    assert image.shape == (32, 64, 3)
    assert_shows_quadrants(image)


def test_transparent_pixels_show_white() -> None:
    rgba = np.dstack([quadrants(), np.full((32, 64), 255, np.uint8)])
    rgba[:16, :32, 3] = 0
    image = decode(encoded(rgba, "PNG"), "x")
    assert corners(image).tolist() == [[255, 255, 255], *map(list, CORNERS[1:])]


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    rgba = np.full((4, 4, 4), (200, 100, 0, 128), np.uint8)
    expected = np.array((200, 100, 0)) * 128 / 255 + 255 * 127 / 255
    assert np.abs(decode(encoded(rgba, "PNG"), "x")[0, 0] - expected).max() <= 1


def test_palette_and_one_colour_transparency() -> None:
    palette = Image.fromarray(quadrants()).quantize(4)
    assert_shows_quadrants(decode(encoded(palette, "PNG"), "x"))
    keyed = decode(encoded(quadrants(), "PNG", transparency=CORNERS[0]), "x")
    assert corners(keyed)[0].tolist() == [255, 255, 255]
    assert corners(keyed)[1:].tolist() == [list(c) for c in CORNERS[1:]]


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_images_keep_their_high_byte(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (8, 9, channels), dtype=np.uint16)
    data = cv2.imencode(".png", values[..., ::-1])[1].tobytes()
    image = decode(data, "x")
    assert np.array_equal(image, np.broadcast_to(values >> 8, (8, 9, 3)))


@pytest.mark.parametrize("highest", [4095, 65535])
def test_sixteen_bit_pgm_keeps_its_high_byte(highest: int) -> None:
    values = np.random.default_rng(0).integers(0, highest + 1, (8, 9), dtype=np.uint16)
    data = b"P5\n9 8\n%d\n" % highest + values.astype(">u2").tobytes()
    expected = values.astype(np.int64) * 256 // (highest + 1)
    assert np.array_equal(decode(data, "x")[..., 0], expected)


def test_floating_point_images_are_refused_with_advice() -> None:
    data = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(SceneError, match=r"a\.tif: .*floating-point.*8 or 16 bits"):
        decode(data, "a.tif")


@settings(deadline=None, max_examples=60)
@given(
    share=st.floats(0.0, 0.999),
    image_format=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]),
    variant=st.sampled_from(["plain", "exif", "grey", "progressive"]),
)
def test_no_truncated_file_is_read(share: float, image_format: str, variant: str) -> None:
    options = {}
    image = noise(1)
    if variant == "exif" and image_format in ("JPEG", "PNG"):
        exif = Image.Exif()
        exif[0x0112] = 6
        options["exif"] = exif
    elif variant == "progressive" and image_format == "JPEG":
        options["progressive"] = True
    elif variant == "grey":
        image = image[..., 0]
    data = encoded(image, image_format, **options)
    with pytest.raises(SceneError, match=r"^some/file\.jpg: "):
        decode(data[: int(share * len(data))], "some/file.jpg")


def test_truncated_jpeg_with_a_whole_thumbnail_is_not_read() -> None:
    thumbnail = encoded(noise(2, 8, 8))
    data = encoded(noise(1))
    segment = b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2, "big") + b"thumb\0" + thumbnail
    with_thumbnail = data[:2] + segment + data[2:]
    assert decode(with_thumbnail, "x").shape == (24, 32, 3)
    with pytest.raises(SceneError, match="truncated JPEG"):
        decode(with_thumbnail[:-20], "x")


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    data = encoded(noise(1))
    assert np.array_equal(decode(data + b"\0" * 100, "x"), decode(data, "x"))


def photo(seed: int = 0, noise_level: float = 20) -> np.ndarray:
    """Something with detail everywhere, 96x128 pixels."""
    rng = np.random.default_rng(seed)
    return (
        (noise(seed, 96, 128) + rng.normal(0, noise_level, (96, 128, 3)))
        .clip(0, 255)
        .astype(np.uint8)
    )


@settings(deadline=None, max_examples=40)
@given(
    share=st.floats(0.0, 0.9),
    options=st.sampled_from([{}, {"optimize": True}, {"subsampling": 2}, {"quality": 30}]),
)
def test_a_hole_in_a_jpeg_is_found(share: float, options: dict) -> None:
    data = bytearray(encoded(photo(), **options))
    scan = jpeg.read_header(bytes(data)).scan + 14
    start = scan + int(share * (len(data) - scan))
    length = max(64, (len(data) - scan) // 6)
    data[start : start + length] = bytes(len(data[start : start + length]))
    data[-2:] = jpeg.END
    with pytest.raises(SceneError, match=r"^a\.jpg: damaged JPEG: "):
        decode_strictly(bytes(data), "a.jpg")


@settings(deadline=None, max_examples=40)
@given(
    level=st.sampled_from([0, 127, 255]),
    noise_level=st.sampled_from([0, 0.3, 60]),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    progressive=st.booleans(),
    optimize=st.booleans(),
    quality=st.sampled_from([1, 30, 75, 95]),
)
def test_no_sound_jpeg_is_called_damaged(
    level: int, noise_level: float, mode: str, progressive: bool, optimize: bool, quality: int
) -> None:
    image = photo(1, noise_level)
    image[20:, :90] = level  # a flat part, which some tables store as zeros
    data = encoded(
        Image.fromarray(image).convert(mode).resize((512, 384)),
        progressive=progressive,
        optimize=optimize,
        quality=quality,
    )
    assert np.array_equal(decode_strictly(data, "x"), decode(data, "x"))
    padded = data[:-2] + bytes(3) + data[-2:]
    assert np.array_equal(decode_strictly(padded, "x"), decode(data, "x"))


def test_headers_that_no_encoder_writes_are_found() -> None:
    data = encoded(photo(), quality=90)
    quantisation = data.index(b"\xff\xdb") + 10
    symbols = data.index(b"\xff\xc4") + 21
    for position in (quantisation, symbols + 1):
        damaged = bytearray(data)
        damaged[position] = 0
        with pytest.raises(SceneError, match=r"damaged JPEG: a (quantisation|Huffman) table"):
            decode_strictly(bytes(damaged), "x")


@pytest.mark.parametrize("position", [0.3, 0.6])
def test_damaged_png_is_not_read(position: float) -> None:
    data = bytearray(encoded(noise(1), "PNG"))
    data[int(position * len(data))] ^= 0x55
    with pytest.raises(SceneError, match=r"^a\.png: "):
        decode(bytes(data), "a.png")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"<html>404 not found</html>", "not an image in a known format"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "damaged or truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated PNG"),
    ],
)
def test_other_files_are_named(data: bytes, message: str) -> None:
    with pytest.raises(SceneError, match=rf"^a/b c\.jpg: .*{message}"):
        decode(data, "a/b c.jpg")


def test_the_suffix_does_not_matter() -> None:
    assert np.array_equal(decode(encoded(noise(3), "PNG"), "lies.jpg"), noise(3))


def test_large_jpeg_decoded_at_a_fraction_looks_the_same() -> None:
    large = noise(5, 1024, 2048)
    data = encoded(large)
    reduced = decode(data, "x", target=(64, 128))
    assert reduced.shape == (128, 256, 3)
    small, expected = fit(reduced, (64, 128), "stretch"), fit(large, (64, 128), "stretch")
    assert np.abs(small.astype(int) - expected).mean() < 1.5


@settings(deadline=None, max_examples=60)
@given(
    source=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    target=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    how=st.sampled_from(["stretch", "crop"]),
)
def test_any_size_fits_any_other(
    source: tuple[int, int], target: tuple[int, int], how: str
) -> None:
    image = fit(np.full((*source, 3), (10, 100, 250), np.uint8), target, how)
    assert image.shape == (*target, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert (image == (10, 100, 250)).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(0, 9))
def test_shrinking_by_a_whole_factor_is_the_mean(h: int, w: int, factor: int, seed: int) -> None:
    large = np.random.default_rng(seed).integers(0, 256, (h * factor, w * factor, 3), np.uint8)
    mean = large.reshape(h, factor, w, factor, 3).mean((1, 3))
    assert np.abs(fit(large, (h, w), "stretch") - mean).max() <= 0.51


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_crop_takes_the_middle_of_the_longer_side(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    top, left = (shape[0] - 20) // 2, (shape[1] - 20) // 2
    assert np.array_equal(fit(image, (20, 20), "crop"), image[top : top + 20, left : left + 20])


def test_decoding_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        palette = Image.fromarray(quadrants()).quantize(4)
        buffer = io.BytesIO()
        palette.save(buffer, "PNG", transparency=bytes([0, 128, 255, 255]))
        decode(buffer.getvalue(), "x")
