"""Crops and colours of self-distillation: torchvision's numbers, laws, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as torchvision

from encoders.training.distillation import colours
from encoders.training.distillation.config import DistillationConfig
from encoders.training.distillation.crops import (
    CropSizes,
    MultiCrop,
    crop_sizes,
    draw_box,
    resize,
)

PLAIN = DistillationConfig(color_jitter=0, grayscale=0, blur=False, solarize=0, flip=0)


def picture(height=37, width=53, seed=0):
    rng = np.random.default_rng(seed)
    smooth = rng.random((height // 8 + 2, width // 8 + 2, 3)).repeat(8, 0).repeat(8, 1)
    return (255 * smooth[:height, :width]).astype(np.uint8)


def as_tensor(image):
    return torch.from_numpy(image.transpose(2, 0, 1).copy())


@pytest.mark.parametrize("size", [(12, 12), (96, 20), (37, 53)])
def test_resizing_is_torchvisions(size):
    image = as_tensor(picture())
    cut = image[None, :, 3:20, 5:41]
    expected = torchvision.resize(
        cut, size, interpolation=torchvision.InterpolationMode.BICUBIC, antialias=True
    )
    assert torch.equal(resize(cut, size), expected)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(0.5, 1.5), shift=st.floats(-0.5, 0.5))
def test_colours_are_torchvisions(seed, factor, shift):
    image = torch.from_numpy(np.random.default_rng(seed).random((3, 5, 6), np.float32))
    image[:, 0, :2] = image[0, 0, :2]  # greys have no hue
    for own, theirs, amount in (
        (colours.adjust_brightness, torchvision.adjust_brightness, factor),
        (colours.adjust_contrast, torchvision.adjust_contrast, factor),
        (colours.adjust_saturation, torchvision.adjust_saturation, factor),
        (colours.adjust_hue, torchvision.adjust_hue, shift),
    ):
        expected = theirs(image.clone(), amount)
        torch.testing.assert_close(own(image, amount), expected, atol=3e-5, rtol=0)
    expected = torchvision.rgb_to_grayscale(image, num_output_channels=3)
    torch.testing.assert_close(colours.grayscale(image), expected, atol=1e-5, rtol=0)
    expected = torchvision.solarize(image, 128 / 255)
    torch.testing.assert_close(colours.solarize(image), expected)


def test_blurs_are_torchvisions():
    image = torch.from_numpy(picture().transpose(2, 0, 1).copy()).float() / 255
    for sigma in (0.4, 1.0, 2.0):
        side = 2 * int(np.ceil(3 * sigma)) + 1
        expected = torchvision.gaussian_blur(image, [side, side], [sigma, sigma])
        torch.testing.assert_close(colours.blur(image, sigma), expected, atol=1e-5, rtol=0)


def test_small_crops_are_blurred_less():
    draws = [colours.draw_sigma(np.random.default_rng(0), (side, side)) for side in (224, 32)]
    assert draws[1] == pytest.approx(draws[0] / 7)


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(8, 90),
    width=st.integers(8, 90),
    low=st.floats(0.05, 1.0),
)
def test_boxes_lie_in_the_image_and_have_the_areas_asked_for(seed, height, width, low):
    top, left, rows, columns = draw_box(
        np.random.default_rng(seed), (height, width), (low, 1.0), smallest=4
    )
    assert 0 <= top <= height - rows
    assert 0 <= left <= width - columns
    assert min(rows, columns) >= 4
    rounding = (rows + columns + 1) / (height * width)
    assert low - rounding <= rows * columns / (height * width) <= 1


def test_areas_are_spread_over_their_range():
    rng = np.random.default_rng(0)
    boxes = [draw_box(rng, (200, 400), (0.1, 0.5)) for _ in range(2000)]
    areas = np.array([rows * columns / 80_000 for _, _, rows, columns in boxes])
    assert np.histogram(areas, 4, (0.1, 0.5))[0].min() > 400
    ratios = np.array([columns / 2 / rows for _, _, rows, columns in boxes])
    assert 0.74 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.35


def test_crops_are_cut_from_the_image_and_follow_from_the_generator():
    image = picture(64, 96)
    sizes = crop_sizes(PLAIN, (64, 96), 16)
    assert sizes.grids == ((4, 6), (2, 3))
    make = MultiCrop(PLAIN, sizes, seamless=False)
    large, small = make(image, np.random.default_rng(5))
    assert (large.shape, small.shape) == ((2, 3, 64, 96), (4, 3, 32, 48))
    again = make(image, np.random.default_rng(5))
    assert torch.equal(large, again[0])
    assert torch.equal(small, again[1])
    box = draw_box(np.random.default_rng(5), (64, 96), PLAIN.global_scale, 32)
    expected = torchvision.resized_crop(
        as_tensor(image),
        *box,
        [64, 96],
        interpolation=torchvision.InterpolationMode.BICUBIC,
        antialias=True,
    )
    assert torch.equal(large[0], expected)


def test_crops_of_panoramas_cross_the_seam():
    columns = np.arange(128, dtype=np.uint8)
    image = np.broadcast_to(columns[None, :, None], (64, 128, 3)).copy()
    config = dataclasses.replace(PLAIN, local_crops=0, global_scale=(0.25, 0.25))
    sizes = CropSizes((64, 128), None, 16)
    rng = np.random.default_rng(0)

    def crossing(seamless):
        make = MultiCrop(config, sizes, seamless)
        rows = [make(image, rng)[0][:, 0, 32].int() for _ in range(40)]
        return np.mean([bool((row.diff(dim=-1) < -20).any()) for row in torch.cat(rows)])

    assert crossing(seamless=False) == 0
    assert 0.3 < crossing(seamless=True) < 0.7


@pytest.mark.parametrize(
    ("changes", "size", "local"),
    [
        ({}, (224, 224), (96, 96)),
        ({}, (128, 256), (48, 112)),
        ({}, (32, 32), (16, 16)),
        ({"local_size": (16, 32)}, (64, 64), (16, 32)),
        ({"local_crops": 0}, (64, 64), None),
    ],
)
def test_small_crops_are_three_sevenths_of_an_image_in_whole_patches(changes, size, local):
    assert crop_sizes(DistillationConfig(**changes), size, 16).local == local


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"local_size": (20, 16)}, "multiples of the patch size 16"),
        ({"local_size": (80, 80)}, r"at most the scenes' \(64, 64\)"),
        ({"local_size": (16, 16), "local_crops": 0}, "does nothing with local_crops=0"),
        ({"local_scale": (0.5, 0.4)}, r"local_scale=0\.5 0\.4 ends before it begins"),
        ({"parts": (5,)}, "5 is none of 1, 2"),
        ({"parts": ()}, "expected at least one"),
        ({"parts": (4,), "divide_student": False}, "do nothing with divide_student=False"),
        ({"head_outputs": 1}, "head_outputs=1"),
        ({"student_temperature": 0}, "student_temperature=0"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        crop_sizes(DistillationConfig(**changes), (64, 64), 16)


def test_without_changes_of_colour_values_are_kept_to_the_byte():
    image = picture(32, 32)
    config = dataclasses.replace(PLAIN, global_scale=(1.0, 1.0), local_crops=0)
    make = MultiCrop(config, CropSizes((32, 32), None, 8), seamless=False)
    assert torch.equal(make(image, np.random.default_rng(0))[0][0], as_tensor(image))
