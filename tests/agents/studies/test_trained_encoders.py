"""Studies that train: what they compare is alike but for K and M, and second test sets count."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scene_trees import make_tree
from studies import (  # noqa: F401
    CLASSES,
    NEW,
    TRAINING,
    encoder,
    load_images,
    read_table,
    scenes,
    study,
)

from agents.studies.training import RECIPES, training_gflops
from ave_env.registration import configure
from ave_env.scenes.corrupt import LIST_FILE, STRENGTHS, corrupt, main, write_corrupted
from encoders.analysis.divided import divided_flops
from encoders.layers.divisions import Division, divisions
from encoders.storage import load_encoder
from encoders.training.divided_views import DividedViews, WholeViews


def open_split(root, split="test"):
    return configure(
        "AVE-ImageFolder-v0", data_root=root, split=split, image_size=(32, 64), seamless=False
    ).open_scenes()


def test_both_curves_on_a_second_test_set(study, scenes, tmp_path):  # noqa: F811
    second = tmp_path / "second"
    assert main([str(scenes), str(second), "--image-size", "32", "64", "--severity", "5"]) == 0
    where = ("--second-data-root", second, "--seed", 3, "--parts", 1, 4)
    folder = study("end_to_end", *NEW, *TRAINING, *where, encoder=None)
    rows = read_table(folder, "end_to_end")
    assert len(rows) == 2 * 2 * 3 * 2  # sets, recipes, K, divisions
    for recipe in RECIPES:
        trained = load_encoder(folder / "encoders" / f"{recipe}-seed-3")
        for name, root in (("first", scenes), ("second", second)):
            test = open_split(root)
            pixels = torch.from_numpy(load_images(test)).permute(0, 3, 1, 2)
            parts = torch.from_numpy(Division(4).labels(trained.grid))
            with torch.no_grad():
                logits = trained.forward_divided(trained.normalise(pixels), parts, 1).logits
            (row,) = [
                row
                for row in rows
                if (row["recipe"], row["test_set"]) == (recipe, name)
                and (row["split_block"], row["parts"]) == ("1", "4")
            ]
            expected = (logits.argmax(1).numpy() == test.labels).mean()
            assert float(row["accuracy"]) == pytest.approx(expected)
    assert "Do the curves keep their shape?" in (folder / "report.html").read_text()


def test_a_second_test_set_of_other_classes_is_refused(study, tmp_path):  # noqa: F811
    other = make_tree(tmp_path / "other", {f"test/{name}": 20 for name in ("cat", "dog")})
    with pytest.raises(SystemExit, match=r"a test set with 2 classes .*expected the same"):
        study("end_to_end", *NEW, "--second-data-root", other, encoder=None)
    assert not list((tmp_path / "runs").glob("*"))


def test_pairs_begin_alike(study, encoder):  # noqa: F811
    folder = study("transfer", *TRAINING, "--learning-rate", 0)
    weights = [
        load_encoder(folder / "encoders" / f"00-{recipe}-seed-0").state_dict() for recipe in RECIPES
    ]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    rows = read_table(folder, "transfer")
    assert [row["split_block"] for row in rows[:3]] == ["0", "1", "2"]  # of 3 blocks
    assert {float(row["difference"]) for row in rows} == {0.0}


def test_the_masked_autoencoder_alone_is_fine_tuned(study, encoder):  # noqa: F811
    folder = study("emergent", *TRAINING, "--num-glimpses", 2, "--glimpse-size", 1)
    before = load_encoder(encoder).state_dict()
    after = load_encoder(folder / "encoders" / "fine-tuned")
    assert after.config.num_classes == 0
    changed = [
        name for name, each in after.state_dict().items() if not torch.equal(each, before[name])
    ]
    assert any(name.startswith("decoder.") for name in changed)
    assert any(name.startswith("backbone.") for name in changed)
    rows = read_table(folder, "emergent")
    assert {row["agent"] for row in rows} == {"ame", "random", "checkerboard"}
    for row in rows:
        if row["agent"] == "random":
            assert float(row["difference"]) == 0
        if row["weights"] == "untouched":
            assert float(row["difference_untouched"]) == 0


def test_an_encoder_without_a_decoder_is_no_masked_autoencoder(study, tmp_path):  # noqa: F811
    from helpers import tiny_encoder

    from encoders.storage import save_encoder

    plain = save_encoder(tiny_encoder(decoder=None, num_classes=3), tmp_path / "plain")
    with pytest.raises(SystemExit, match="has no decoder, so it is no masked autoencoder"):
        study("emergent", encoder=plain)


def test_views_for_training():
    rng, grid = np.random.default_rng(0), (4, 8)
    whole = WholeViews(grid)(np.arange(3), rng, False)
    assert whole.shape == (3, 1, 32)
    views = DividedViews(grid)
    drawn = [views(np.arange(2), rng, False) for _ in range(300)]
    for ids in drawn:
        assert sorted(ids[0][ids[0] >= 0]) == list(range(32))
    counts = np.bincount([ids.shape[1] for ids in drawn])
    assert set(np.flatnonzero(counts)) == {1, 2, 3, 4, 6, 8, 9, 12, 16}
    assert counts[counts > 0].min() > 10  # each about 33 times
    masked = DividedViews(grid, visible=0.25)(np.arange(50), rng, False)
    seen = [frozenset(each[each >= 0].tolist()) for each in masked]
    assert {len(each) for each in seen} == {8}
    assert len(set(seen)) == 50
    with pytest.raises(ValueError, match="visible=0"):
        DividedViews(grid, visible=0)


def test_flops_of_training_are_the_mean_over_what_is_drawn(encoder):  # noqa: F811
    loaded = load_encoder(encoder)
    by_parts = {}
    for way in divisions((4, 8)):
        for split in range(4):
            flops = divided_flops(loaded, way.labels((4, 8)), split)
            by_parts.setdefault(way.parts, []).append(flops)
    mean = np.mean([np.mean(each) for each in by_parts.values()])
    assert training_gflops(loaded, "sampled") == pytest.approx(mean / 1e9)
    whole = divided_flops(loaded, Division(1).labels((4, 8)), 0)
    assert training_gflops(loaded, "classic") == pytest.approx(whole / 1e9)


def test_corruptions_grow_with_severity_and_are_seeded():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(6, 0).repeat(6, 1)
    for kind in STRENGTHS:
        errors = []
        for severity in range(1, 6):
            once, again = (
                corrupt(image, kind, severity, np.random.default_rng(3)) for _ in range(2)
            )
            assert once.dtype == np.uint8
            assert once.shape == image.shape
            assert np.array_equal(once, again)
            errors.append(np.abs(once.astype(int) - image).mean())
        assert 0 < errors[0] < errors[-1], kind


def test_a_corrupted_copy_appears_whole_or_not_at_all(scenes, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "second"
    settings = {"data_root": scenes, "image_size": (32, 64)}
    assert write_corrupted("imagefolder", out, seed=5, **settings) == 24
    test, copy = open_split(scenes), open_split(out)
    assert copy.class_names == test.class_names == CLASSES
    assert np.array_equal(copy.labels, test.labels)
    listed = (out / LIST_FILE).read_text().splitlines()
    assert len(listed) == 25
    assert len({line.split(",")[2] for line in listed[1:]}) > 3
    again = tmp_path / "again"
    write_corrupted("imagefolder", again, seed=5, **settings)
    assert (again / LIST_FILE).read_text() == (out / LIST_FILE).read_text()
    assert all(
        np.array_equal(*pair)
        for pair in zip(load_images(copy), load_images(open_split(again)), strict=True)
    )
    assert main([str(scenes), str(out), "--image-size", "32", "64"]) == 1
    assert "exists; choose another folder" in capsys.readouterr().err
    for path in scenes.rglob("*.jpg"):
        path.write_bytes(b"no image")
    assert main([str(scenes), str(tmp_path / "none"), "--image-size", "32", "64"]) == 1
    assert re.match(r"error: .*\n$", capsys.readouterr().err)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "second", "again"}
