"""The command that says what an episode costs, and numbers known from elsewhere."""

from __future__ import annotations

import csv
import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import tiny_encoder
from PIL import Image

import encoders
from encoders.flops import report as flops_report
from encoders.flops.episode import REGIMES, episode_costs
from encoders.storage import save_encoder

ROOT = Path(encoders.__file__).parent.parent
SHARED_PIXELS = ("logits", "entropy", "pixels")
SPLITS = (0, 4, 8, 12)


@functools.cache
def vit_base(regime: str):
    """A ViT-B with 26 classes in a regime's images, and how it looks at them."""
    chosen = REGIMES[regime]
    encoder = encoders.create_encoder(
        "timm/vit_base_patch16_224",
        image_size=chosen.image_size,
        class_names=tuple(map(str, range(26))),
        pretrained=False,
        device="cpu",
    )
    look = {"glimpse_size": chosen.glimpse_pixels // 16, "num_glimpses": chosen.num_glimpses}
    return encoder, look


@pytest.mark.parametrize(
    ("regime", "ame", "tore"),
    [
        ("ame-128x256-8x32", 44.70, (13.35, 10.16, 6.97, 3.77)),
        ("tore-224x224-12x32", 99.03, (28.60, None, 13.52, 5.98)),
    ],
)
def test_the_ledger_gives_the_known_costs_of_ame_and_tore(regime, ame, tore):
    encoder, look = vit_base(regime)
    patches, width = encoder.grid[0] * encoder.grid[1], encoder.width
    patch = 3 * 16**2

    # AME: the belief before the first glimpse is charged, every pass embeds the whole image, and
    # the decoder's last layer makes pixels of the class token too.
    costs = episode_costs(encoder, **look, charge_prior=True)
    passes = len(costs.glimpses)
    unseen = int((patches - costs.tokens).sum())
    total = costs.heavy.total.sum() + unseen * patch * width + passes * patch * 512
    assert round(total / 1e9, 2) == ame

    # TORE: patches are embedded once for every K, and the first belief is not charged.
    costs = episode_costs(encoder, **look, split_blocks=SPLITS)
    for split, known in zip(SPLITS, tore, strict=True):
        total = costs.recycled[split].total.sum() + look["num_glimpses"] * patch * 128
        if known is not None:
            assert round(total / 1e9, 2) == known


def test_savings_by_the_decoder_and_by_recycling_add_up():
    encoder, look = vit_base("ame-128x256-8x32")
    costs = episode_costs(encoder, **look, split_blocks=SPLITS, charge_prior=True)
    heavy = costs.heavy.total.sum()
    for split, count in costs.recycled.items():
        together = costs.saved_by_decoder + costs.saved_by_recycling(split)
        assert together == pytest.approx(1 - count.total.sum() / heavy)
    assert costs.saved_by_decoder == pytest.approx(0.70, abs=0.01)
    shares = [costs.saved_by_recycling(split) for split in SPLITS]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0, abs=0.002)


def test_an_episode_is_the_sum_of_the_encoders_own_steps():
    encoder = tiny_encoder()
    costs = episode_costs(encoder, glimpse_size=2, num_glimpses=3, charge_prior=True)
    assert list(costs.recycled) == [0, 1, 2, 3]
    for split, count in costs.recycled.items():
        steps = [encoder.flops(0, 0, split, SHARED_PIXELS)]
        steps += [encoder.flops(4, 4 * step, split, SHARED_PIXELS) for step in range(3)]
        assert [step.total for step in steps] == count.total.tolist()
    anew = [encoder.flops(tokens, 0, 0, SHARED_PIXELS).total for tokens in (0, 4, 8, 12)]
    assert costs.light.total.tolist() == anew


def test_an_encoder_without_head_and_decoder_gets_a_decoder():
    encoder = tiny_encoder(decoder=None, num_classes=0)
    costs = episode_costs(encoder, glimpse_size=2, num_glimpses=3)
    assert costs.light_decoder == "128 x 1"
    assert np.all(costs.light.decoder > 0)
    assert np.all(costs.light.head == 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_glimpses": 9}, "do not fit side by side into a grid of 4x8"),
        ({"glimpse_size": 5, "num_glimpses": 1}, "grid of 4x8"),
        ({"split_blocks": (1, 4)}, r"\[4\] are outside \[0, 3\]"),
        ({"outputs": ("pixel",)}, "unknown outputs"),
    ],
)
def test_an_impossible_episode_is_refused(change, message):
    arguments = {"glimpse_size": 2, "num_glimpses": 3, **change}
    with pytest.raises(ValueError, match=message):
        episode_costs(tiny_encoder(), **arguments)


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["flops", *map(str, arguments)])
    flops_report.main()


def test_the_command_prints_a_table_and_draws(tmp_path, monkeypatch, capsys):
    folder = save_encoder(tiny_encoder(), tmp_path / "encoder")
    picture = tmp_path / "pictures" / "flops.png"
    sizes = ["--glimpse-size", 1, "--num-glimpses", 5, "--split-blocks", 0, 2]
    run(monkeypatch, "--encoder", folder, *sizes, "--output", picture)
    shown = capsys.readouterr().out
    for words in ("5 glimpses of 1x1 patches", "K = 2", "by recycling", "One multiply-accumulate"):
        assert words in shown
    assert Image.open(picture).size == (1600, 672)
    assert [path.name for path in picture.parent.iterdir()] == ["flops.png"]
    run(monkeypatch, "--encoder", folder, "--image-size", 64, 64, "--output", picture)
    shown = capsys.readouterr().out
    assert "in 64x64 pixels" in shown
    assert "GFLOPs per step" in shown
    assert "MAC" not in shown


def test_what_is_written_is_what_the_extension_says(tmp_path, monkeypatch, capsys):
    folder = save_encoder(tiny_encoder(), tmp_path / "encoder")
    sizes = ["--encoder", folder, "--glimpse-size", 1, "--num-glimpses", 3, "--split-blocks", 0, 2]
    for suffix, begin in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")):
        path = tmp_path / f"flops{suffix}"
        run(monkeypatch, *sizes, "--output", path)
        content = path.read_bytes()
        assert content.startswith(begin)
        run(monkeypatch, *sizes, "--output", path)
        assert path.read_bytes() == content, "the same command writes the same bytes"
    run(monkeypatch, *sizes, "--output", tmp_path / "flops.csv")
    assert f"table: {tmp_path / 'flops.csv'}" in capsys.readouterr().out
    with open(tmp_path / "flops.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split_block"] for row in rows] == [*[""] * 6, *["0"] * 3, *["2"] * 3]
    last = rows[-1]
    expected = tiny_encoder().flops(1, 2, 2, ("logits", "entropy", "pixels"))
    for part in ("extractor", "aggregator", "decoder", "head"):
        assert int(last[f"flops_{part}"]) == getattr(expected, part)
    assert int(last["flops"]) == expected.total
    with pytest.raises(SystemExit):
        run(monkeypatch, *sizes, "--output", tmp_path / "flops.jpg")
    assert "ends in .png, .svg, .pdf (a picture) or .csv (a table)" in " ".join(
        capsys.readouterr().err.replace("│", " ").split()
    )


def test_the_command_explains_what_does_not_fit(tmp_path, monkeypatch):
    folder = save_encoder(tiny_encoder(patch_size=16), tmp_path / "encoder")
    with pytest.raises(SystemExit, match="do not fit side by side"):
        run(monkeypatch, "--encoder", folder, "--num-glimpses", 30)
    folder = save_encoder(tiny_encoder(patch_size=14, image_size=(224, 224)), tmp_path / "fourteen")
    with pytest.raises(SystemExit, match="not a whole number of the encoder's patches of 14"):
        run(monkeypatch, "--encoder", folder, "--regime", "tore-224x224-12x32")


def test_help_does_not_wait_for_torch():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['flops', '--help']\n"
        "try:\n"
        "    runpy.run_module('encoders.flops', run_name='__main__')\n"
        "except SystemExit:\n"
        "    pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--regime" in done.stdout
