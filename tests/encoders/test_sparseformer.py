"""SparseFormer: the authors' numbers, and what holds when only part of a scene is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from golden_numbers import DTYPES, Golden
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import MemoryScenes, raises_naming, tiny_vector_env
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from encoders import create_encoder
from encoders.families.sparseformer import regions as primitives
from encoders.families.sparseformer.config import SparseFormerConfig, SparseFormerShape
from encoders.families.sparseformer.model import build_sparseformer
from encoders.families.sparseformer.network import SparseFormer
from encoders.layers.patches import patchify
from encoders.storage import load_encoder, save_encoder
from encoders.testing import check_encoder

FORMS = ("v1", "btsp")
SHAPES = {
    "v1": {"latents": 9, "points": 9, "bottleneck": 16},
    "btsp": {"latents": 8, "points": 4, "bottleneck": 128},
}


def published_shape(form):
    sizes = {"features": 8, "width": 64, "cortex_width": 128, "repeats": 2, "cortex_depth": 1}
    return SparseFormerShape(form=form, **SHAPES[form], **sizes)


def weights_of(golden, form):
    start = f"{form}/w/"
    return {key[len(start) :]: golden[key] for key in golden._arrays.files if key.startswith(start)}


def published(form, dtype):
    """The authors' weights in an encoder of this package, for images of 48x48 pixels."""
    golden = Golden("sparseformer", dtype)
    shape = published_shape(form)
    config = SparseFormerConfig(form, (48, 48), 8, 10, shape, 16, unseen="zero")
    encoder = build_sparseformer(config).to(dtype)
    encoder.network.load_state_dict(weights_of(golden, form))
    return golden, encoder


def random_encoder(form="v1", seed=0, **changes):
    """A small encoder whose every parameter matters."""
    shape = SparseFormerShape(
        form=form,
        latents=5,
        points=4,
        features=8,
        width=64,
        cortex_width=64,
        repeats=2,
        cortex_depth=1,
        bottleneck=8,
    )
    values = {"image_size": (32, 64), "patch_size": 8, "num_classes": 5, "shape": shape}
    encoder = build_sparseformer(
        SparseFormerConfig(**{"name": "sparse", "decoder_width": 16, **values, **changes}), seed
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return encoder


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_authors_primitives(dtype):
    golden = Golden("sparseformer", dtype)
    roi = golden["prim/roi"]
    golden.check(primitives.adjust_regions(roi, golden["prim/adjust"]), "prim/roi_adjusted")
    offsets = golden["prim/offset"].unflatten(2, (5, 2))
    golden.check(primitives.sampling_points(roi, offsets)[:, :, None], "prim/sampling_points")
    points = golden["prim/sampling_points"][:, :, 0]
    for padding in ("border", "zeros"):
        sampled = primitives.sample(golden["prim/img_feat"], points, padding)
        golden.check(sampled[:, :, None], f"prim/sampled_{padding}")
    golden.check(primitives.encode_regions(roi, 32), "prim/position_encoding_dim32")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_the_authors_models(form, dtype):
    golden = Golden("sparseformer", dtype)
    network = SparseFormer(published_shape(form), 10).to(dtype)
    network.load_state_dict(weights_of(golden, form))
    features = network.feat_extractor(golden[f"{form}/image"])
    golden.check(features, f"{form}/img_feat")
    latents = network.look(features)
    for number, regions in enumerate(latents.after_units):
        golden.check(regions, f"{form}/roi_after_layer{number}")
    golden.check(latents.regions, f"{form}/token_roi")
    golden.check(latents.tokens, f"{form}/token_embedding_normed")
    golden.check(network(golden[f"{form}/image"]), f"{form}/logits")


@pytest.mark.parametrize("form", FORMS)
def test_a_scene_seen_piece_by_piece_is_the_published_model_on_the_whole(form):
    golden, encoder = published(form, torch.float64)
    patches = patchify(golden[f"{form}/image"], 8)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(0)).view(9, 4)
    state = encoder.init_state(2)
    for ids in order:
        belief, state = encoder.observe(
            patches[:, ids], ids.expand(2, -1), state, outputs=("logits", "tokens", "regions")
        )
    golden.check(belief.logits, f"{form}/logits")
    golden.check(belief.tokens, f"{form}/token_embedding_normed")
    golden.check(belief["regions"][..., [1, 0, 3, 2]], f"{form}/token_roi")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("unseen", ["learned", "zero"])
def test_the_laws_of_encoders(form, unseen):
    check_encoder(random_encoder(form, unseen=unseen))


@pytest.mark.parametrize("name", ["sparseformer", "sparseformer-btsp"])
def test_encoders_known_by_name_keep_the_laws(name):
    check_encoder(create_encoder(name, device="cpu"))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), form=st.sampled_from(FORMS), side=st.sampled_from((4, 8)))
def test_features_repaired_in_windows_are_those_of_the_whole_canvas(seed, form, side):
    random = np.random.default_rng(seed)
    size = 4 * side, 8 * side
    encoder = random_encoder(form, seed % 5, image_size=size, patch_size=side)
    images = torch.from_numpy(random.normal(size=(2, 3, *size)).astype(np.float32))
    patches, state = patchify(images, side), encoder.init_state(2)
    known = torch.zeros(2, 32, dtype=torch.bool)
    for _ in range(4):
        ids = torch.from_numpy(np.stack([random.permutation(32)[:3] for _ in range(2)]))
        ids[torch.from_numpy(random.random((2, 3)) < 0.2)] = -1
        rows = torch.arange(2)[:, None]
        before = known.clone()
        observed = encoder.observe(patches[rows, ids.clamp(min=0)], ids, state)
        for row in range(2):
            known[row, ids[row][ids[row] >= 0]] = True
        shown = patches * known[:, :, None, None, None]
        canvas = shown.view(2, 4, 8, 3, side, side).permute(0, 3, 1, 4, 2, 5).reshape(2, 3, *size)
        with torch.no_grad():
            whole = encoder.network.feat_extractor(canvas)
        cells = known.view(2, 1, 4, 1, 8, 1).expand(-1, -1, -1, side // 4, -1, side // 4)
        cells = cells.reshape(2, 1, side, 2 * side)
        torch.testing.assert_close(state.features, whole * cells, rtol=1e-4, atol=1e-5)
        # A patch's features are made of five pixels before it and two behind it.
        ahead = {8: 1, 4: 2}[side]
        near = torch.zeros(2, 32, dtype=torch.bool)
        for row in range(2):
            for each in ids[row][ids[row] >= 0].tolist():
                y, x = divmod(each, 8)
                for other in range(32):
                    steps = other // 8 - y, other % 8 - x
                    reached = all(-1 <= step <= ahead for step in steps)
                    near[row, other] |= reached and bool(known[row, other])
        per_patch = (side // 2 + 1) ** 2 * encoder.network.feat_extractor.conv1.weight.numel()
        assert observed.cost.spent.extractor.tolist() == (near.sum(1) * per_patch).tolist()
        assert bool((before <= known).all())
        new, seen = (ids >= 0).sum(1), before.sum(1)
        most = encoder.flops(new.numpy(), seen.numpy()).extractor
        assert (observed.cost.spent.extractor <= most).all()


@pytest.mark.parametrize("form", FORMS)
def test_entropy_is_that_of_what_cells_ask_the_latent_tokens(form):
    encoder = random_encoder(form)
    kept = {}
    for name in ("query", "key_value"):
        layer = getattr(encoder.decoder, name)
        layer.register_forward_hook(lambda _, __, out, name=name: kept.update({name: out}))
    patches = torch.randn(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 9, 10], [31, -1, -1]])
    outputs = ("entropy", "normalised_entropy")
    state = encoder.init_state(2)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        observed = encoder.observe(patches, ids, state, outputs)
    assert int(observed.cost.spent.total.sum()) == counter.get_total_flops() // 2
    belief, classes = observed.belief, int(form == "btsp")

    def heads(values):  # four of four channels
        return values.double().unflatten(2, (4, 4)).transpose(1, 2)

    query, key = heads(kept["query"]), heads(kept["key_value"][..., :16])
    attention = (query @ key.mT / 2).softmax(-1)[..., classes:]
    told = torch.distributions.Categorical(attention).entropy() / np.log(2)
    rows = -(attention * attention.log2()).sum(-1)
    for name, expected in (("normalised_entropy", told), ("entropy", rows)):
        expected = expected.sum(1).masked_fill(state.known, 0.0).view(2, 4, 8).float()
        torch.testing.assert_close(belief[name], expected, rtol=1e-4, atol=1e-5)
        assert (belief[name] > 0).sum((1, 2)).tolist() == [29, 31]
    if not classes:
        torch.testing.assert_close(belief.entropy, belief.normalised_entropy)


def test_pixels_that_were_not_seen_have_no_influence():
    encoder = random_encoder()
    beliefs = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(1, 3, 32, 64, generator=generator)
        images[..., 8:16, 16:32] = 0.5  # patches 10 and 11
        patches, ids = patchify(images, 8), torch.tensor([[10, 11]])
        outputs = ("latent", "pixels", "regions")
        beliefs.append(
            encoder.observe(patches[:, [10, 11]], ids, encoder.init_state(1), outputs).belief
        )
        with torch.no_grad():
            whole = encoder(patches[:, None, [10, 11]], ids[:, None], outputs)
        torch.testing.assert_close(whole.latent, beliefs[-1].latent)
    for name in ("latent", "pixels", "regions"):
        assert torch.equal(beliefs[0][name], beliefs[1][name])


def test_gradients_reach_the_regions_and_what_stands_for_nothing():
    encoder = random_encoder().train()
    patches = torch.randn(2, 1, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[[0, 1, 9]], [[5, 6, -1]]])
    belief = encoder(patches, ids, outputs=("logits", "pixels"))
    (belief.logits.square().sum() + belief.pixels.square().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_regions_stay_where_they_are_while_nothing_adjusts_them():
    for form in FORMS:
        config = dataclasses.replace(random_encoder(form).config, name="new")
        encoder = build_sparseformer(config)
        start = encoder.network.initial_roi.weight[None, :, [1, 0, 3, 2]]
        torch.testing.assert_close(encoder.prior(("regions",))["regions"], start)


@pytest.mark.parametrize("form", FORMS)
def test_costs_grow_with_tokens_and_points_and_not_with_the_scene(form):
    encoder = random_encoder(form)
    outputs = ("latent", "logits", "tokens", "cells", "pixels", "regions")
    for ids in (torch.tensor([[0, 1, 2]]), torch.tensor([[3, 8, 20]])):
        patches = torch.randn(1, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            observed = encoder.observe(patches, ids, encoder.init_state(1), outputs)
        assert observed.cost.spent.total.tolist() == [counter.get_total_flops() // 2]
    larger = encoder.resized((64, 128))
    assert larger.flops(3, 9).total == encoder.flops(3, 9).total
    shape = encoder.config.shape

    def aggregator(**changes):
        changed = dataclasses.replace(encoder.config, shape=dataclasses.replace(shape, **changes))
        return build_sparseformer(changed).flops(1, 0).aggregator

    by_points = [aggregator(points=points) for points in (4, 6, 8)]
    assert by_points[2] - by_points[1] == by_points[1] - by_points[0] > 0
    assert encoder.sampling_macs == 3 * 4 * 5 * 4 * 8


def test_in_the_environment_it_explores_and_is_saved(tmp_path):
    scenes = MemoryScenes()
    shape = random_encoder().config.shape
    names = tuple(scenes.class_names)
    config = SparseFormerConfig(
        "sparse", scenes.image_size, 16, len(names), shape, 16, class_names=names, weights="trained"
    )
    folder = save_encoder(build_sparseformer(config), tmp_path / "encoder")
    read = load_encoder(folder)
    assert read.config == config
    for task in ("classification", "reconstruction"):
        env = tiny_vector_env(
            2, scenes=scenes, encoder=str(folder), task=task, observe=("latent", "cells", "regions")
        )
        observation, _ = env.reset(seed=0)
        for _ in range(env.num_glimpses):
            actions = env.single_action_space.sample(), env.single_action_space.sample()
            observation, _, ended, _, info = env.step(np.array(actions))
        assert ended.all()
        assert (info["flops_extractor"] >= 0).all()
        assert observation["regions"].shape == (2, 5, 4)


def test_what_does_not_go_together_is_refused_in_a_sentence():
    with raises_naming(ValueError, ["form='v2'", "v1, btsp"]):
        SparseFormerShape(form="v2")
    with raises_naming(ValueError, ["width=100", "multiple of 64"]):
        SparseFormerShape(width=100)
    with raises_naming(ValueError, ["early_transition=False", "'btsp'"]):
        SparseFormerShape(form="btsp", early_transition=False)
    with raises_naming(ValueError, ["patch_size=2", "multiple of 4"]):
        random_encoder(patch_size=2)
    with raises_naming(ValueError, ["unseen='mean'", "zero, learned"]):
        random_encoder(unseen="mean")
    encoder = random_encoder(decoder_width=0)
    with raises_naming(ValueError, ["'sparse'", "['pixels']", "regions"]):
        encoder.prior(("pixels",))
    with raises_naming(ValueError, ["split_block", "leave them out"]):
        encoder.resolve_options({"split_block": 1})
