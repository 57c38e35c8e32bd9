"""EViT gives the numbers of its authors' code, in every way of calling it."""

from __future__ import annotations

import pytest
import torch
from golden_numbers import DTYPES, Golden
from reduced_vit import run_reduced

from encoders.checkpoints.importing import build_from_state_dict
from encoders.reduction.config import Evit, eased_share
from encoders.reduction.evit import EvitPass, class_attention, rank

CALLS = {
    "default": {"keep_rate": (1.0, 0.7, 1.0, 0.7)},
    "kr0.5": {"keep_rate": 0.5, "blocks": (1, 3)},
    "kr_list": {"keep_rate": (1.0, 0.9, 1.0, 0.5)},
    "kr1": {"keep_rate": 1.0, "blocks": (1, 3)},
    "tokens20": {"tokens": (None, 40, None, 20)},
}


class Recording(EvitPass):
    """Notes what ranks the patches of every block that reduces."""

    def __init__(self, config, depth):
        super().__init__(config, depth)
        self.seen = []

    def within(self, block):
        reduce = super().within(block)
        if reduce is None:
            return None

        def recorded(tokens, attended):
            scores = class_attention(attended, tokens.num_prefix_tokens)
            counts = (tokens.lengths - tokens.num_prefix_tokens).numpy()
            kept = torch.as_tensor(self.config.patches_kept(counts, block, self.depth))
            self.seen.append((scores, rank(tokens, scores, kept), int(kept[0])))
            return reduce(tokens, attended)

        return recorded


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_whole_models(dtype, fuse, call):
    golden = Golden("evit", dtype)
    encoder = build_from_state_dict(golden.weights, image_size=(64, 64), num_heads=3)
    config = Evit(**CALLS[call], fuse=fuse)
    recording = Recording(config, 4)
    found = run_reduced(encoder, golden["image"], config, recording)
    group = f"{'fuse' if fuse else 'nofuse'}/{call}"
    golden.check(found.logits, f"{group}/logits")
    golden.check(found.latent, f"{group}/feat")
    after = golden[f"{group}/tokens_after_block"].tolist()
    assert [row[0] for row in found.counts] == after
    assert golden[f"{group}/n_tokens_minus1"].tolist() == [count - 1 for count in after]
    number = sum(f"{group}/idx{block}" in golden for block in range(4))
    assert len(recording.seen) == number
    for block, (scores, order, kept) in enumerate(recording.seen):
        golden.check(scores, f"{group}/cls_attn{block}")
        assert torch.equal(order[:, :kept], golden[f"{group}/idx{block}"])
        rest = order[:, kept:].sort(1).values
        assert torch.equal(rest, golden[f"{group}/complement{block}"])


def test_the_schedule_of_training():
    golden = Golden("evit", torch.float64)
    rows = golden["schedule/columns_iter_epoch_warmup_total_iters_base_rate"].tolist()
    for iteration, epoch, warmup, total, per_epoch, base, rate in rows:
        # The authors look at whole epochs for the ends, and at iterations in between.
        share = eased_share(iteration / per_epoch, warmup, total)
        if epoch < warmup:
            share = 0.0
        elif epoch >= total:
            share = 1.0
        eased = Evit(keep_rate=base).eased(share)
        assert eased.keep_rate == pytest.approx(rate, abs=1e-12)
