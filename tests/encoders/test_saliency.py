"""Saliency of encoders without embeddings of patches is gradient times pixels."""

from __future__ import annotations

import pytest
import torch
from canvases import BODIES, tiny_canvas

from encoders.analysis.saliency import ClassSaliency
from encoders.families.sparseformer.config import SparseFormerConfig, SparseFormerShape
from encoders.families.sparseformer.model import build_sparseformer
from encoders.layers.patches import patchify


def sparseformer():
    shape = SparseFormerShape(
        latents=5, points=4, features=8, width=64, cortex_width=64, repeats=1, cortex_depth=1
    )
    encoder = build_sparseformer(SparseFormerConfig("sparse", (64, 96), 16, 5, shape))
    with torch.no_grad():  # offsets begin at zero, and regions at the same place
        for parameter in encoder.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape))
    return encoder


@pytest.mark.parametrize("name", [*BODIES, "sparseformer"])
def test_saliency_of_a_canvas_is_gradient_times_pixels_of_the_whole_scene(name):
    torch.manual_seed(0)
    encoder = sparseformer() if name == "sparseformer" else tiny_canvas(name)
    images = torch.randint(0, 256, (3, 64, 96, 3), dtype=torch.uint8)
    labels = torch.tensor([0, 4, 2])
    found = ClassSaliency(encoder)(images, labels)

    pixels = encoder.normalise(images.permute(0, 3, 1, 2).contiguous()).requires_grad_()
    logits = encoder.forward_full(pixels, outputs=("logits",)).logits
    logits.log_softmax(1)[torch.arange(3), labels].sum().backward()
    product = patchify((pixels.grad * pixels).detach(), encoder.config.patch_size)
    expected = product.square().sum((2, 3, 4)).sqrt().view(3, 4, 6)
    assert (expected.flatten(1).amax(1) > 0).all()  # regions may leave some patches out
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
