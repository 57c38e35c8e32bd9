"""Pictures of attention: what is outlined, what is grey, and what is written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from agents.reports.attention import attention_figure, draw_attention


def example():
    images = np.full((2, 32, 64, 3), 200, np.uint8)
    maps = torch.zeros(2, 3, 2, 4)
    maps[:, :, 0, 1] = 0.7
    maps[:, :, 1, 3] = 0.1
    maps[1, :, 1, 0] = torch.nan
    return images, maps


def test_the_patches_of_the_mass_are_outlined():
    figure = attention_figure(*example(), title="t", names=["a", "b"], mass=0.6)
    assert len(figure.axes) == 2 * 5
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert titles == ["image", "head 1", "head 2", "head 3", "mean"]
    outline = [line.get_xydata() for line in figure.axes[1].lines]
    corners = {tuple(point) for line in outline for point in line.tolist()}
    assert corners == {(15.5, -0.5), (31.5, -0.5), (15.5, 15.5), (31.5, 15.5)}
    assert len(outline) == 4
    hidden = figure.axes[6].images[0].get_array()
    assert np.ma.getmaskarray(hidden).tolist() == [[False] * 4, [True, False, False, False]]
    assert "60%" in figure._suptitle.get_text()


def test_a_picture_is_written_whole(tmp_path):
    draw_attention(*example(), tmp_path / "maps.png", title="t")
    with Image.open(tmp_path / "maps.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height
    assert [path.name for path in tmp_path.iterdir()] == ["maps.png"]


def test_images_and_maps_belong_together():
    images, maps = example()
    with pytest.raises(ValueError, match="2 maps for 1 images"):
        attention_figure(images[:1], maps, title="t")
