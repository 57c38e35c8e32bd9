"""ToMe gives the numbers of its authors' code: matchings, schedules, whole models."""

from __future__ import annotations

import pytest
import torch
from golden_numbers import DTYPES, Golden
from reduced_vit import run_reduced

from encoders.checkpoints.importing import build_from_state_dict
from encoders.reduction.config import Tome
from encoders.reduction.tome import (
    match_alternating,
    match_every_kth,
    merge,
    merge_weighted,
    unmerge,
)

CASES = ("m_cls_r4", "m_nocls_r4", "m_nocls_odd_r5", "m_clsdist_r5", "m_cls_cap", "m_nocls_cap")
VARIANTS = {
    "r4_prop": Tome(r=4),
    "r4_noprop": Tome(r=4, proportional=False),
    "r6dec_prop": Tome(r=6, inflection=-1),
    "list_prop": Tome(r=(9, 0, 5)),
    "r40cap_prop": Tome(r=40),
    "r0": Tome(r=0),
}


@pytest.fixture(params=DTYPES, ids=str)
def golden(request):
    return Golden("tome", request.param)


def match_case(golden, case):
    number, *special = golden[f"match/{case}/args_r_cls_dist"].tolist()
    return match_alternating(golden[f"match/{case}/metric"], number, sum(special))


@pytest.mark.parametrize("case", CASES)
def test_tokens_are_matched_as_published(golden, case):
    matching = match_case(golden, case)
    target = matching.target
    rows = torch.arange(2)[:, None]
    gone, taker = golden[f"match/{case}/src_idx"], golden[f"match/{case}/dst_idx"]
    assert torch.equal(target[rows, 2 * gone], target[rows, 2 * taker + 1])
    kept = golden[f"match/{case}/unm_idx"]
    places = target[rows, 2 * kept]
    assert bool((places.diff(dim=1) > 0).all())  # in the order of the authors' code
    assert matching.count == golden[f"match/{case}/merge_sum"].shape[1]


@pytest.mark.parametrize("case", CASES)
def test_tokens_are_merged_as_published(golden, case):
    matching = match_case(golden, case)
    x, size = golden[f"match/{case}/x"], golden[f"match/{case}/size"]
    for reduce in ("mean", "sum", "amax"):
        golden.check(merge(x, matching, reduce), f"match/{case}/merge_{reduce}")
    values, sizes = merge_weighted(x, size[..., 0], matching)
    golden.check(values, f"match/{case}/wavg_x")
    golden.check(sizes[..., None], f"match/{case}/wavg_size")
    values, sizes = merge_weighted(x, torch.ones_like(size[..., 0]), matching)
    golden.check(values, f"match/{case}/wavg_nosize_x")
    golden.check(sizes[..., None], f"match/{case}/wavg_nosize_size")
    members = torch.arange(matching.count)[:, None] == matching.target[:, None]
    assert torch.equal(members.long(), golden[f"match/{case}/source"])
    if (key := f"match/{case}/unmerge_of_merge_mean") in golden:
        golden.check(unmerge(merge(x, matching, "mean"), matching), key)


@pytest.mark.parametrize("k", [2, 4])
def test_every_kth_token_takes_the_others(golden, k):
    matching = match_every_kth(golden[f"kth/k{k}/metric"], k)
    whole = matching.target.shape[1]
    others = torch.arange(whole) % k != k - 1
    assert torch.equal(matching.target[:, others], golden[f"kth/k{k}/dst_idx"])
    merged = merge(golden[f"kth/k{k}/x"], matching)
    golden.check(merged, f"kth/k{k}/merge_mean")
    golden.check(unmerge(merged, matching), f"kth/k{k}/unmerge_of_merge_mean")


@pytest.mark.parametrize("number", range(10))
def test_schedules_of_r(number):
    golden = Golden("tome", torch.float64)
    kind, values = golden[f"parse_r/{number}/kind"].item(), golden[f"parse_r/{number}/arg"].tolist()
    config = {
        0: lambda: Tome(r=int(values[0])),
        1: lambda: Tome(r=int(values[0]), inflection=values[1]),
        2: lambda: Tome(r=tuple(map(int, values))),
    }[kind]()
    depth = int(golden[f"parse_r/{number}/num_layers"])
    assert list(config.per_block(depth)) == golden[f"parse_r/{number}/out"].tolist()


@pytest.mark.parametrize("variant", VARIANTS)
def test_whole_models(golden, variant):
    weights = golden.weights
    encoder = build_from_state_dict(weights, image_size=(64, 64), num_heads=3)
    found = run_reduced(encoder, golden["vit/image"], VARIANTS[variant])
    golden.check(found.logits, f"vit/{variant}/logits")
    golden.check(found.normalised, f"vit/{variant}/tokens")
    assert [row[0] for row in found.counts] == golden[f"vit/{variant}/counts"].tolist()
    per_block = VARIANTS[variant].per_block(4)
    assert list(per_block) == golden[f"vit/{variant}/r_per_block"].tolist()
    if variant == "r0":
        assert found.tokens.sizes is None
        return
    golden.check(found.tokens.sizes[..., None], f"vit/{variant}/size")
    members = golden[f"vit/{variant}/source"]  # [2, N', 65]
    assert torch.equal(members[:, :, 1:].argmax(1), found.tokens.source)  # the class token is 0


@pytest.mark.parametrize("proportional", [False, True])
@pytest.mark.parametrize("pooled", [False, True])
def test_masked_autoencoders_pool_merged_tokens_by_size(golden, pooled, proportional):
    weights = golden.weights
    if pooled:
        weights = {
            key.replace("norm.", "fc_norm.") if key.startswith("norm.") else key: value
            for key, value in weights.items()
        }
    encoder = build_from_state_dict(weights, image_size=(64, 64), num_heads=3)
    assert encoder.backbone.pools_patches == pooled
    reduction = Tome(r=4, proportional=proportional)
    found = run_reduced(encoder, golden["vit/image"], reduction)
    golden.check(found.logits, f"mae_gp{pooled:d}_r4_prop{proportional:d}/logits")
