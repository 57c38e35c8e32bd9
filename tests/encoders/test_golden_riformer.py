"""RIFormer gives the authors' numbers, while it is trained and when it is used."""

from __future__ import annotations

import pytest
import torch
from canvases import tiny_canvas
from golden_numbers import DTYPES, Golden
from torch import Tensor

from encoders.families.canvas.build import build_canvas_encoder
from encoders.families.canvas.config import CanvasConfig
from encoders.families.canvas.riformer import fold_weights
from encoders.storage import load_encoder, save_encoder

_OURS = {
    "token_mixer.affine.weight": "mixer.scale",
    "token_mixer.affine.bias": "mixer.shift",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
    "norm_reparam": "norm1",
}


def our_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights under our names, bodies alone."""
    renamed = {}
    for key, tensor in weights.items():
        name = key.replace("patch_embed.proj", "layers.0.embed").replace("norm6", "final")
        parts = name.split(".")
        if parts[0] == "network":
            stage = (int(parts[1]) + 1) // 2
            inner = "embed" if parts[2] == "proj" else f"blocks.{parts[2]}"
            name = ".".join([f"layers.{stage}", inner, *parts[3:]])
        for theirs, ours in _OURS.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor.flatten() if "mixer.scale" in name else tensor
    return renamed


def golden_encoder(golden: Golden):
    body = {"layers": [1, 2, 1, 1], "widths": [12, 16, 24, 32]}
    config = CanvasConfig("golden", body, (64, 96), 32, decoder_width=0)
    encoder = build_canvas_encoder("riformer", config).to(golden.dtype)
    encoder.body.load_state_dict(our_names(golden.group("riformer/w/")))
    return encoder


@pytest.mark.parametrize("dtype", DTYPES)
def test_riformer_is_the_authors_in_both_forms(dtype):
    golden = Golden("mixers", dtype)
    encoder = golden_encoder(golden)
    with torch.no_grad():
        golden.check(encoder.train().body(golden["riformer/x"]), "riformer/y_train_structure")
        golden.check(encoder.eval().body(golden["riformer/x"]), "riformer/y_deploy")
        folded = encoder.folded()
        golden.check(folded.body(golden["riformer/x"]), "riformer/y_deploy")


def test_the_folded_weights_are_the_authors():
    golden = Golden("mixers", torch.float64)
    folded = fold_weights(golden_encoder(golden).body)
    expected = our_names(golden.group("riformer/w_deploy/"))
    assert len(expected) == 10
    for name, tensor in expected.items():
        torch.testing.assert_close(folded[name], tensor, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["riformer", "riformer-patches"])
def test_folding_changes_no_belief(name, tmp_path):
    encoder = tiny_canvas(name).double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    folded = load_encoder(save_encoder(encoder.folded(), tmp_path))
    outputs = ("latent", "logits", "pixels")
    trained = encoder.train().forward_full(images, outputs)
    used = encoder.eval().forward_full(images, outputs)
    kept = folded.forward_full(images, outputs)
    for output in outputs:
        torch.testing.assert_close(used[output], trained[output], rtol=0, atol=1e-10)
        torch.testing.assert_close(kept[output], used[output], rtol=0, atol=1e-10)
    fewer = sum(each.numel() for each in encoder.parameters())
    fewer -= sum(each.numel() for each in folded.parameters())
    assert fewer == 2 * sum(
        depth * width
        for depth, width in zip(
            encoder.config.body["layers"], encoder.config.body["widths"], strict=True
        )
    )
    with pytest.raises(ValueError, match="no affines to fold"):
        folded.folded()


def test_without_a_mixer_patches_do_not_meet_before_the_last_stage():
    """As an extractor it is per patch: what a step costs is what its patches cost, whatever was
    seen, and the maps do not depend on the order."""
    encoder = tiny_canvas("riformer-patches")
    patches = torch.randn(1, 24, 3, 16, 16)
    whole = encoder.flops(24, 0)
    states = []
    for order in (torch.arange(24), torch.randperm(24)):
        state = encoder.init_state(1)
        for step, ids in enumerate(order.split(1)):
            observed = encoder.observe(patches[:, ids], ids[None], state, recycle=True)
            if step:
                assert observed.cost.spent.extractor.tolist() == [whole.extractor // 24]
                assert observed.cost.spent.aggregator.tolist() == [whole.aggregator // 6]
        states.append(state)
    for one, other in zip(states[0].maps, states[1].maps, strict=True):
        torch.testing.assert_close(one, other)
