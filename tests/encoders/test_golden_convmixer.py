"""ConvMixer against the authors' numbers and against timm's."""

from __future__ import annotations

import pytest
import timm
import torch
from golden_numbers import DTYPES, Golden
from timm.models.convmixer import ConvMixer as TimmConvMixer
from torch import Tensor

from encoders.families.canvas.build import build_canvas_encoder
from encoders.families.canvas.config import CanvasConfig
from encoders.families.canvas.model import CanvasEncoder

# Our layers as timm calls them, in the order of its Sequential: convolution, then norm.
_BLOCK = {
    "0.fn.0": "depthwise",
    "0.fn.2": "depthwise_norm",
    "1": "pointwise",
    "3": "pointwise_norm",
}


def encoder(width, depth, kernel, patch, size, classes, activation="gelu", **more) -> CanvasEncoder:
    body = {"width": width, "depth": depth, "kernel_size": kernel, "activation": activation}
    config = CanvasConfig(
        "test",
        body,
        image_size=size,
        patch_size=patch,
        num_classes=classes,
        decoder_width=0,
        **more,
    )
    return build_canvas_encoder("convmixer", config)


def load_body(target: CanvasEncoder, weights: dict[str, Tensor], depth: int) -> None:
    """Copies weights that are named as timm's."""
    names = {"stem.0": "body.layers.0.conv", "stem.2": "body.layers.0.norm", "head": "head"}
    for block in range(depth):
        for theirs, ours in _BLOCK.items():
            names[f"blocks.{block}.{theirs}"] = f"body.layers.{block + 1}.{ours}"
    renamed = {}
    for name, tensor in weights.items():
        layer, _, own = name.rpartition(".")
        renamed[f"{names[layer]}.{own}"] = tensor
    missing, unexpected = target.load_state_dict(renamed, strict=False)
    assert (missing, unexpected) == (["unseen"], [])


@pytest.mark.parametrize("dtype", DTYPES)
def test_convmixer_is_the_authors(dtype):
    golden = Golden("mixers", dtype)
    stem = {"0": "stem.0", "2": "stem.2", "8": "head"}
    weights = {}
    for key, tensor in golden.group("convmixer/w/").items():
        layer, _, rest = key.partition(".")
        name = f"{stem[layer]}.{rest}" if layer in stem else f"blocks.{int(layer) - 3}.{rest}"
        weights[name] = tensor
    ours = encoder(24, 3, 5, 8, (32, 48), 10).to(dtype)
    load_body(ours, weights, 3)
    with torch.no_grad():
        belief = ours.forward_full(golden["convmixer/x"])
    golden.check(belief.logits, "convmixer/logits")


@pytest.mark.parametrize(
    ("width", "depth", "kernel", "patch", "size", "activation"),
    [
        (20, 4, 7, 7, (42, 63), "gelu"),
        (36, 2, 9, 14, (56, 56), "relu"),
        (8, 5, 3, 4, (20, 8), "gelu"),
    ],
)
def test_convmixer_is_timms_when_everything_was_seen(width, depth, kernel, patch, size, activation):
    torch.manual_seed(1)
    layer = {"gelu": torch.nn.GELU, "relu": torch.nn.ReLU}[activation]
    theirs = TimmConvMixer(width, depth, kernel, patch, num_classes=6, act_layer=layer).train()
    images = torch.randn(3, 3, *size)
    theirs(images)  # statistics of batch norms that are not those of a new one
    theirs.eval()
    ours = encoder(width, depth, kernel, patch, size, 6, activation)
    load_body(ours, theirs.state_dict(), depth)
    expected = theirs(images).detach()
    torch.testing.assert_close(ours.forward_full(images).logits.detach(), expected)
    rows, columns = ours.grid
    cells = (
        images.reshape(3, 3, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    )
    order = torch.randperm(rows * columns)
    state = ours.init_state(3)
    for ids in order.split(5):
        belief, state = ours.observe(cells[:, ids], ids.expand(3, -1), state)
    torch.testing.assert_close(belief.logits, expected)
    assert state.tokens.tolist() == [rows * columns] * 3


def test_the_published_shapes_have_timms_parameters():
    for name, width, depth, kernel, patch, activation in (
        ("convmixer_768_32", 768, 32, 7, 7, "relu"),
        ("convmixer_1024_20_ks9_p14", 1024, 20, 9, 14, "gelu"),
    ):
        with torch.device("meta"):
            expected = sum(each.numel() for each in timm.create_model(name).parameters())
            body = encoder(
                width, depth, kernel, patch, (14 * patch,) * 2, 1000, activation, unseen="zero"
            )
        assert sum(each.numel() for each in body.parameters()) == expected
