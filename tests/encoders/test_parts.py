"""Parts of encoders: an output changes with the parts that it reads, and with no other."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from helpers import tiny_encoder

from encoders import OUTPUTS, DecoderConfig, changed_parts, encoder_parts, part_hashes, parts_read
from encoders.families.tore.model import GlimpseEncoder


def _encoder(**changes):
    return tiny_encoder(
        num_classes=3, decoder=DecoderConfig(width=16, depth=2, num_heads=2), **changes
    )


def _beliefs(encoder):
    images = torch.randn(2, 3, *encoder.config.image_size, generator=torch.manual_seed(0))
    return encoder.forward_full(images, encoder.outputs)


def _perturbed(encoder, part):
    changed = copy.deepcopy(encoder)
    noise = torch.manual_seed(1)
    with torch.no_grad():
        for tensor in encoder_parts(changed)[part].tensors.values():
            tensor.add_(torch.randn(tensor.shape, generator=noise))
    return changed


@pytest.mark.parametrize("part", ["backbone", "class_head", "decoder", "pixel_head"])
def test_an_output_changes_with_the_parts_that_it_reads(part):
    encoder = _encoder()
    changed = _perturbed(encoder, part)
    before, after = _beliefs(encoder), _beliefs(changed)
    for output in OUTPUTS:
        reads = part in parts_read(encoder, [output])
        same = torch.equal(before[output], after[output])
        # A decoder that is seen whole knows every patch, whose entropy is 0 whatever it thinks.
        if output not in ("entropy", "normalised_entropy"):
            assert same != reads, output
        known, given = (part_hashes(each, [output]) for each in (encoder, changed))
        assert changed_parts(known, given) == ((part,) if reads else ())
    assert changed_parts(part_hashes(encoder), part_hashes(changed)) == (part,)


def test_parts_hold_every_tensor_once():
    encoder = _encoder()
    names = [name for part in encoder_parts(encoder).values() for name in part.tensors]
    assert sorted(names) == sorted(encoder.state_dict())


def test_a_new_head_leaves_the_other_parts_alone():
    encoder = _encoder()
    known = part_hashes(encoder, ["latent", "cells"])
    headed = encoder.with_head(("one", "two"), seed=5)
    assert part_hashes(headed, ["latent", "cells"]) == known


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"mean": (0.1, 0.2, 0.3)}, ("backbone",)),
        ({"std": (0.1, 0.2, 0.3)}, ("backbone",)),
        ({"norm_eps": 1e-3}, ("backbone", "decoder")),
        ({"patch_normalised_pixels": True}, ("pixel_head",)),
        ({"name": "other"}, ()),
        ({"class_names": ("a", "b", "c")}, ()),
        ({"default_split_block": 1}, ()),
    ],
)
def test_settings_that_alter_outputs_count(change, part):
    assert changed_parts(part_hashes(_encoder()), part_hashes(_encoder(**change))) == part


@pytest.mark.parametrize("option", [{"num_heads": 6}, {"act_layer": "quick_gelu"}])
def test_what_no_tensor_says_counts(option):
    config = _encoder().config
    other = _encoder(vit={**config.vit, **option})
    other.load_state_dict(_encoder().state_dict())
    assert changed_parts(part_hashes(_encoder()), part_hashes(other)) == ("backbone",)


def test_a_family_without_parts_is_one_part(monkeypatch):
    encoder = _encoder()
    monkeypatch.delattr(GlimpseEncoder, "parts")
    assert parts_read(encoder, ["latent"]) == ("encoder",)
    known = part_hashes(encoder)
    encoder.config = dataclasses.replace(encoder.config, name="other")
    assert part_hashes(encoder) == known
