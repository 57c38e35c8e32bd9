"""Accuracy over (K, M), recomputed with the encoder's own forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from studies import CLASSES, encoder, load_images, read_table, scenes, study  # noqa: F401

from ave_env.registration import configure
from encoders.layers.divisions import Division, divisions
from encoders.storage import load_encoder


def open_split(root, split):
    return configure(
        "AVE-ImageFolder-v0", data_root=root, split=split, image_size=(32, 64)
    ).open_scenes()


def own_features(encoder, images, way, split):  # noqa: F811
    pixels = encoder.normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
    labels = torch.from_numpy(way.labels(encoder.grid))
    with torch.no_grad():
        return encoder.forward_divided(pixels, labels, split)


def test_every_point_is_there_and_three_are_recomputed(study, encoder, scenes):  # noqa: F811
    folder = study("grid")
    rows = read_table(folder, "grid")
    ways = divisions((4, 8))
    assert len(rows) == 3 * 4 * len(ways)  # readouts, K, divisions
    test, loaded = open_split(scenes, "test"), load_encoder(encoder)
    images, labels = load_images(test), test.labels
    for split, way in ((0, Division(1)), (2, Division(6, True)), (3, Division(16))):
        hits = own_features(loaded, images, way, split).logits.argmax(1).numpy() == labels
        (row,) = [
            row
            for row in rows
            if (row["readout"], row["split_block"]) == ("own", str(split))
            and (row["parts"], row["orientation"]) == (str(way.parts), way.orientation)
        ]
        assert float(row["accuracy"]) == pytest.approx(hits.mean())
        assert int(row["n"]) == len(labels) == 24


def test_the_probe_is_that_of_plain_features(study, encoder, scenes):  # noqa: F811
    folder = study("grid", "--readouts", "probe", "--parts", 4, "--probe-weight-decay", 0.01)
    loaded, train, test = (
        load_encoder(encoder),
        *(open_split(scenes, s) for s in ("train", "test")),
    )
    features = own_features(loaded, load_images(train), Division(1), 0).latent.double().numpy()
    mean, spread = features.mean(0), features.std(0)
    theirs = LogisticRegression(C=1 / (0.01 * len(features)), tol=1e-10, max_iter=10_000)
    theirs.fit((features - mean) / spread, train.labels)
    for row in read_table(folder, "grid"):
        split = int(row["split_block"])
        latent = own_features(loaded, load_images(test), Division(4), split).latent.double()
        predicted = theirs.predict((latent.numpy() - mean) / spread)
        assert float(row["accuracy"]) == pytest.approx((predicted == test.labels).mean())


def test_points_that_are_one_computation_are_one_number(study):  # noqa: F811
    rows = read_table(study("grid", "--split-blocks", 0, 3, "--parts", 1, 8), "grid")
    for readout in ("own", "probe", "sampled"):
        plain = {
            row["accuracy"]
            for row in rows
            if row["readout"] == readout and (row["split_block"] == "0" or row["parts"] == "1")
        }
        assert len(plain) == 1
    differences = [float(row["difference"]) for row in rows if row["split_block"] == "0"]
    assert np.allclose(differences, 0)


def test_an_encoder_without_a_head_has_probes_alone(study, tmp_path, capsys):  # noqa: F811
    from helpers import tiny_encoder

    from encoders.storage import save_encoder

    headless = save_encoder(tiny_encoder(num_classes=0), tmp_path / "headless")
    folder = study("grid", "--parts", 2, encoder=headless)
    assert {row["readout"] for row in read_table(folder, "grid")} == {"probe", "sampled"}
    assert "has no class head: probes alone are trained" in capsys.readouterr().out
    assert "has no class head" in (folder / "report.html").read_text()
    with pytest.raises(SystemExit, match="has no class head; choose another readout: probe"):
        study("grid", "--readouts", "own", encoder=headless)


def test_heads_for_other_classes_are_left_out(study, tmp_path):  # noqa: F811
    from helpers import tiny_encoder

    from encoders.storage import save_encoder

    names = tuple(reversed(CLASSES))  # the same ones, in another order
    other = tiny_encoder(num_classes=3, class_names=names)
    with pytest.raises(SystemExit, match="was not trained for the 3 classes"):
        study("grid", "--readouts", "own", encoder=save_encoder(other, tmp_path / "other"))
