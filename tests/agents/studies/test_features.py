"""Studies of features and single scenes, recomputed with other code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import take_patches, tiny_encoder
from scipy.stats import binomtest
from studies import (  # noqa: F401
    CLASSES,
    SIZE,
    encoder,
    load_images,
    read_table,
    scenes,
    study,
)

from ave_env.registration import configure
from encoders.layers.divisions import Division, part_ids
from encoders.storage import load_encoder, save_encoder


def open_split(root, split="test"):
    return configure(
        "AVE-ImageFolder-v0", data_root=root, split=split, image_size=SIZE, seamless=False
    ).open_scenes()


def pixels_of(loaded, images):
    return loaded.normalise(torch.from_numpy(images).permute(0, 3, 1, 2))


@torch.no_grad()
def belief(loaded, images, parts, split):
    labels = torch.from_numpy(Division(parts).labels(loaded.grid))
    return loaded.forward_divided(pixels_of(loaded, images), labels, split)


def test_drift_at_three_points(study, encoder, scenes):  # noqa: F811
    rows = read_table(study("drift", "--parts", 4, "--neighbours", 5), "drift")
    loaded, test, train = load_encoder(encoder), open_split(scenes), open_split(scenes, "train")
    images = load_images(test)
    known = belief(loaded, load_images(train), 1, 0).latent.double().numpy()
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    plain = belief(loaded, images, 1, 0).latent.double().numpy()
    for split in (0, 1, 3):
        moved = belief(loaded, images, 4, split).latent.double().numpy()
        (row,) = [row for row in rows if row["split_block"] == str(split)]
        distance = np.linalg.norm(moved - plain, axis=1).mean()
        assert float(row["l2"]) == pytest.approx(distance, abs=1e-4)
        lengths = np.linalg.norm(moved, axis=1) * np.linalg.norm(plain, axis=1)
        cosine = 1 - (moved * plain).sum(1) / lengths
        assert float(row["cosine"]) == pytest.approx(cosine.mean(), abs=1e-5)
        similar = moved / np.linalg.norm(moved, axis=1, keepdims=True) @ known.T
        hits = []
        for line, label in zip(similar, test.labels, strict=True):
            nearest = line.argsort()[::-1][:5]  # at K = 0, whatever the K of the test scene
            votes = np.bincount(train.labels[nearest], np.exp(line[nearest] / 0.07), 3)
            hits.append(votes.argmax() == label)
        assert float(row["knn"]) == pytest.approx(np.mean(hits))


def test_the_last_part_is_the_whole_image(study, encoder, scenes):  # noqa: F811
    folder = study("sequential", "--parts", 8, "--split-blocks", 2, "--agent", "raster")
    rows = read_table(folder, "sequential")
    loaded, test = load_encoder(encoder), open_split(scenes)
    images = load_images(test)
    hits = belief(loaded, images, 8, 2).logits.argmax(1).numpy() == test.labels
    by_order = {}
    for row in rows:
        by_order.setdefault(row["order"], []).append(row)
    assert list(by_order) == ["fixed", "shuffled", "raster"]
    for order in ("fixed", "shuffled"):
        assert len(by_order[order]) == 8
        assert float(by_order[order][-1]["accuracy"]) == pytest.approx(hits.mean())
        assert float(by_order[order][-1]["seen"]) == 1
    # Half way, in fixed order: streamed by hand.
    ids = part_ids(Division(8).labels(loaded.grid))
    state, spent = loaded.init_state(len(images)), 0
    for part in range(4):
        own = torch.from_numpy(ids[part]).expand(len(images), -1)
        patches = take_patches(loaded, pixels_of(loaded, images), own)
        observed = loaded.observe(patches, own, state, 2)
        spent = spent + observed.cost.spent.total
    found = observed.belief.logits.argmax(1).numpy() == test.labels
    assert float(by_order["fixed"][3]["accuracy"]) == pytest.approx(found.mean())
    assert float(by_order["fixed"][3]["gflops"]) == pytest.approx(spent.mean() / 1e9)
    # The agent's glimpses are 2x2 patches in raster order, all new until the image is seen whole.
    seen = [float(row["seen"]) for row in by_order["raster"]]
    assert seen == pytest.approx([4 * (1 + t) / 32 for t in range(8)])


def test_classes_that_change(study, encoder, scenes):  # noqa: F811
    folder = study("classes", "--parts", 16, "--second-split", 3, "--maps", 2)
    rows = read_table(folder, "classes")
    loaded, test = load_encoder(encoder), open_split(scenes)
    images = load_images(test)
    first, second = (
        belief(loaded, images, 16, split).logits.argmax(1).numpy() == test.labels
        for split in (0, 3)
    )
    assert rows[0]["class"] == "all classes"
    for row in rows:
        own = np.ones(len(test), bool)
        if row["class"] != "all classes":
            own = test.labels == CLASSES.index(row["class"])
        lost, won = int((first & ~second & own).sum()), int((second & ~first & own).sum())
        assert (int(row["lost"]), int(row["won"])) == (lost, won)
        expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
        assert float(row["p"]) == pytest.approx(expected)
    flips = read_table(folder, "flips")
    assert {int(row["scene"]) for row in flips} == set(np.flatnonzero(first != second).tolist())
    assert (folder / "maps.png").is_file() == bool(flips)
    with pytest.raises(SystemExit, match="give another K as --second-split"):
        study("classes", "--first-split", 2)  # two thirds of 3 blocks


def test_an_encoder_without_a_class_token(study, tmp_path, capsys):  # noqa: F811
    shape = {"embed_dim": 24, "depth": 3, "num_heads": 3, "class_token": False}
    plain = tiny_encoder(
        vit={**shape, "global_pool": "avg"}, decoder=None, num_classes=3, class_names=CLASSES
    )
    where = save_encoder(plain, tmp_path / "plain")
    folder = study("classes", "--parts", 4, encoder=where)
    assert "has no class token: maps of its attention are left out" in capsys.readouterr().out
    assert not (folder / "maps.png").exists()
    assert len(read_table(study("grid", "--parts", 4, encoder=where), "grid")) == 12
    assert len(read_table(study("drift", "--parts", 4, encoder=where), "drift")) == 4


def test_spectra_of_the_encoders_own_tokens(study, encoder, scenes):  # noqa: F811
    rows = read_table(study("spectrum", "--parts", 4, "--split-blocks", 0), "spectrum")
    loaded, images = load_encoder(encoder), load_images(open_split(scenes))
    with torch.no_grad():
        embedded = loaded.embed(pixels_of(loaded, images)).double().numpy()
    maps = embedded.transpose(0, 2, 1).reshape(len(images), -1, *loaded.grid)
    variance = maps.reshape(*maps.shape[:2], -1).var(2, ddof=1).mean()
    amplitude = np.log(np.abs(np.fft.fft2(maps)) + 1e-6).mean((0, 1))
    before = [row for row in rows if row["block"] == "0"]
    assert [float(row["frequency"]) for row in before] == [0, 0.5]
    assert float(before[0]["variance"]) == pytest.approx(variance)
    # A cycle along the 4 rows has the frequency of two along the 8 columns.
    expected = amplitude[1, 2] - amplitude[0, 0]
    assert float(before[1]["log_amplitude"]) == pytest.approx(expected)


def test_t_sne_of_what_does_not_move(study, monkeypatch):  # noqa: F811
    rows = read_table(study("projection", "--parts", 1, "--perplexity", 5), "projection")
    by_scene = {}
    for row in rows:
        by_scene.setdefault(row["scene"], []).append((float(row["x"]), float(row["y"])))
    places = np.array(list(by_scene.values()))  # with one part nothing depends on K
    within = np.linalg.norm(places - places.mean(1, keepdims=True), axis=2).mean()
    assert within < 0.2 * np.linalg.norm(places.mean(1) - places.mean((0, 1)), axis=1).mean()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs scikit-learn, .*\[tsne\]"):
        study("projection", "--parts", 1)
