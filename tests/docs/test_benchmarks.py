"""The scripts behind the tables of `docs/results.md` count what they say they count."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_encoder
from PIL import Image
from scene_trees import make_tree
from tiny import raises_naming
from torchmetrics.functional.classification import binary_auroc, multiclass_f1_score

from encoders import build_encoder
from encoders.storage import save_encoder
from observation.settings import MODELS, SCALES, Settings, compare_counts

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


def load(name):
    specification = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def attempt(script, *arguments):
    command = [sys.executable, ROOT / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def run(script, *arguments):
    done = attempt(script, *arguments)
    assert not done.returncode, done.stderr
    return done.stdout


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_explains_itself(script):
    assert "options" in run(f"benchmarks/{script}.py", "--help")


def test_the_area_under_the_curve_is_torchmetrics():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (20, 15)).astype(np.float32)  # with ties
    positive, useful = rng.random((2, 20, 15)) < 0.6
    areas = load("entropy_maps").area_under_roc(scores, positive, useful)
    assert np.isnan(load("entropy_maps").area_under_roc(scores, useful, useful)).all()
    for row, area in enumerate(areas):
        kept = useful[row]
        expected = binary_auroc(
            torch.from_numpy(scores[row, kept] / 6), torch.from_numpy(positive[row, kept])
        )
        assert area == pytest.approx(float(expected))


def test_seen_shares_are_those_of_a_count_of_pixels():
    factors = load("synthetic_factors")
    rng = np.random.default_rng(0)
    size, steps, side = (128, 256), 4, int(2 * factors.HALF_SIZE)
    first = rng.integers(0, [size[0] - side, size[1]], (6, 3, 2))  # top left pixel of a square
    centers = first + factors.HALF_SIZE
    corners = rng.integers(0, [7, 16], (6, steps + 1, 2)) * factors.PATCH
    boxes = np.concatenate([corners, corners + 2 * factors.PATCH], axis=-1)  # some cross the seam
    walk = factors.Walk(np.arange(6), np.zeros(6, int), np.zeros((6, steps + 1), int), boxes)
    shares = factors.seen_shares(walk, centers, size)
    for scene in range(6):
        seen = np.zeros(size, bool)
        for step in range(1, steps + 1):
            y0, x0, y1, x1 = boxes[scene, step]
            seen[y0:y1, np.arange(x0, x1) % size[1]] = True
            for band, (y, x) in enumerate(first[scene]):
                square = seen[y : y + side, np.arange(x, x + side) % size[1]]
                assert shares[scene, step, band] == pytest.approx(square.mean())


def test_every_result_and_every_column_is_explained():
    text = (ROOT / "results/README.md").read_text("utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    explained = set(re.findall(r"`([^`]+)`", text))
    tables = sorted((ROOT / "results").glob("*.csv"))
    assert {path.name for path in tables} == {name for name in explained if name.endswith(".csv")}
    encoders = set()
    for path in tables:
        with path.open(newline="") as file:
            table = csv.DictReader(file)
            assert tuple(table.fieldnames) == load("collect_results").COLUMNS
            encoders |= {row["encoder"] for row in table}
    assert set(load("collect_results").COLUMNS) | encoders <= explained


def test_curves_of_a_table_join_the_seeds_of_one_agent(tmp_path):
    script = load("draw_curves")
    rows = script.read_rows(ROOT / "results/synthetic.csv", ["sweep-4", "oracle"])
    curves = {curve.style.label: curve for curve in script.curves_of(rows)}
    assert set(curves) == {
        *("random, 3 seeds", "checkerboard", "ame", "ame_normalised", "ppo, 3 seeds"),
        "oracle\n300 scenes",
    }
    ppo = [row for row in rows if row["agent"].startswith("ppo") and row["t"] == "4"]
    means = [float(row["mean"]) for row in ppo]
    assert len(set(means)) == 3
    curve = curves["ppo, 3 seeds"]
    assert curve.mean[4] == pytest.approx(np.mean(means))
    assert (curve.low[4], curve.high[4]) == (min(means), max(means))
    spent = [float(row["gflops_total"]) + float(row["gflops_policy_total"]) for row in ppo]
    assert curve.gflops[4] == pytest.approx(np.mean(spent))
    (row,) = [row for row in rows if row["agent"] == "checkerboard" and row["t"] == "8"]
    one = curves["checkerboard"]
    assert [one.low[8], one.high[8]] == [float(row["ci_lo"]), float(row["ci_hi"])]
    assert curves["oracle\n300 scenes"].style.dashed

    metric = script.metric_of(rows, 26)
    assert metric.chance == pytest.approx(1 / 26)
    assert script.metric_of(rows, None).chance is None
    run(
        "benchmarks/draw_curves.py",
        ROOT / "results/reconstruction.csv",
        tmp_path / "out.png",
        "--runs",
        "reconstruction-0",
        "reconstruction-1",
    )
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("runs", "words"),
    [(["nowhere"], ["nowhere", "sweep-4"]), (["sweep-4", "sweep-6"], ["split_block", "4, 6"])],
)
def test_runs_that_cannot_stand_in_one_figure_are_refused(runs, words):
    with raises_naming(SystemExit, words):
        load("draw_curves").read_rows(ROOT / "results/synthetic.csv", runs)


def test_a_bounded_memory_stops_growing(tmp_path):
    table = tmp_path / "bounded.csv"
    run("benchmarks/bounded_memory.py", "--smoke", "--output", table)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    bounded = [row for row in rows if row["max_tokens"] == "8"]
    free = [row for row in rows if row["max_tokens"] == "none"]
    assert [row["tokens"] for row in bounded] == ["8", "8"]
    assert bounded[0]["gflops"] == bounded[1]["gflops"]
    assert bounded[0]["bytes"] == bounded[1]["bytes"]
    assert float(free[0]["gflops"]) < float(free[1]["gflops"])


def test_points_of_accuracy_and_cost_are_computed_once(tmp_path):
    first = run("benchmarks/pareto.py", "--smoke", "--seeds", 0, 1, "--output", tmp_path)
    points = {path: path.stat().st_mtime_ns for path in (tmp_path / "points").iterdir()}
    assert len(points) == first.count("GFLOPs") == 6
    again = run("benchmarks/pareto.py", "--smoke", "--seeds", 0, 1, "--output", tmp_path)
    assert "GFLOPs" not in again
    assert points == {path: path.stat().st_mtime_ns for path in (tmp_path / "points").iterdir()}
    assert (tmp_path / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    rows = {(row["reduction"], row["seed"]): row for row in table(tmp_path / "pareto.csv")}
    for seed in "01":
        alone = rows["none", seed]
        assert alone["way"] == "TORE alone"
        assert float(alone["gflops_share"]) == float(alone["time_share"]) == 1
        assert float(alone["difference"]) == 0
        for text in ("tome:r=2", "evit:keep_rate=0.5"):
            assert rows[text, seed]["way"] == "both"
            assert float(rows[text, seed]["gflops"]) < float(alone["gflops"])
    for row in table(tmp_path / "named.csv"):
        assert row["seeds"] == "-/0 -/1"
        assert row["different_scenes"] == "64"
        own = [float(rows[row["reduction"], seed]["accuracy"]) for seed in "01"]
        assert float(row["accuracy"]) == pytest.approx(np.mean(own))
        low, high = (float(row[f"difference_{end}"]) for end in ("lo", "hi"))
        assert low <= float(row["difference"]) <= high


def test_trained_encoders_are_on_the_map_beside_what_they_started_from(tmp_path):
    def train(name, *arguments):
        run("train_encoder.py", "--smoke", "--name", name, "--output", tmp_path, *arguments)
        (folder,) = tmp_path.glob(f"*-{name}-*")
        return folder

    plain = train("plain")
    reducing = train("reducing", "--init-from", plain, "--reduction", "tome:r=1", "--seed", 3)
    control = train("control", "--init-from", plain, "--seed", 3)
    output = tmp_path / "map"
    script = ("benchmarks/pareto.py", "--smoke", "--split-blocks", 1, "--output", output)
    script += ("--reductions", "none", "--beside", "timm/vit_tiny_patch16_224")
    run(*script, "--encoder", plain, "--trained", reducing, "--control", control)
    rows = {
        (row["training"], row["training_seed"], row["reduction"]): row
        for row in table(output / "pareto.csv")
    }
    assert set(rows) == {
        ("none", "0", "none"),
        *(("with the reduction", "3", text) for text in ("none", "tome:r=1")),
        *(("as long without", "3", text) for text in ("none", "tome:r=1")),
    }
    for row in rows.values():
        assert row["plain_hash"] == rows["none", "0", "none"]["weights_hash"]
        assert row["beside_split_block"] == "6"
        assert float(row["beside_time_share"]) > 0
    named = table(output / "named.csv")
    compared = {row["reference"] for row in named if row["training"] == "with the reduction"}
    assert "most accurate K of the control" in compared
    assert {row["against"] for row in named} == {"K=1"}

    for arguments, words in (
        (("--trained", plain), r"--trained .*no reduction.*--control"),
        (("--control", reducing), r"--control .*tome:r=1.*--trained"),
        (("--encoder", control, "--trained", reducing), r"trained from weights .*--encoder"),
        (
            ("--reductions", "none", "tome:r=99"),
            r"error: .*r=99 is beyond half of",
        ),
    ):
        failed = attempt(*script, "--encoder", plain, *arguments)
        assert failed.returncode
        assert re.fullmatch(f".*{words}.*\n", failed.stderr)


def test_the_macro_f1_is_torchmetrics():
    rng = np.random.default_rng(0)
    predicted, labels = rng.integers(0, 5, (2, 200))
    expected = multiclass_f1_score(
        torch.from_numpy(predicted), torch.from_numpy(labels), 5, average="macro"
    )
    found = load("avit_study").macro_f1(predicted, labels, 5)
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_the_study_of_halting_trains_its_models_once(tmp_path):
    run("benchmarks/avit_study.py", "--smoke", "--output", tmp_path)
    with (tmp_path / "study.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["plain", "avit", "avit-finetuned", "plain-continued"]
    assert rows["avit-finetuned"]["starts_from"] == "plain"
    for row in rows.values():
        assert float(row["gflops"]) <= float(rows["plain"]["gflops"])
        assert 1 <= float(row["blocks_per_token"]) <= 3
    with (tmp_path / "depths.csv").open() as file:
        assert len(list(csv.DictReader(file))) == int(rows["plain"]["scenes"])
    weights = tmp_path / "plain" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    run("benchmarks/avit_study.py", "--smoke", "--output", tmp_path)
    assert weights.stat().st_mtime_ns == before


def test_linear_attention_costs_what_the_encoders_say(tmp_path):
    table = tmp_path / "linear.csv"
    run("benchmarks/linear_attention.py", "--smoke", "--output", table)
    rows = list(csv.DictReader(table.open()))
    by_key = {(row["order"], row["split_block"], row["cached"]): row for row in rows}
    assert len(by_key) == len(rows) == 6  # of three blocks both K are 2
    softmax, angular = (
        [float(by_key[order, "2", cached]["mmacs"]) for cached in ("4", "16")]
        for order in ("none", "grid")
    )
    assert softmax[0] < softmax[1]
    assert angular[0] == angular[1]
    for row in rows:
        assert float(row["ms"]) > 0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("image_size", "patch_size"), [((128, 256), 16), ((32, 32), 4)])
def test_observation_models_have_about_as_many_parameters(scale, image_size, patch_size):
    settings = Settings(
        env="AVE-Synthetic-v0",
        data_root=None,
        image_size=image_size,
        patch_size=patch_size,
        glimpse_size=2,
        num_glimpses=6,
        minutes=1.0,
        batch_size=64,
        curriculum=0.125,
        precision="auto",
        learner="ppo",
        agent_steps=0,
        agent_rows=8,
        scenes=8,
        scale=scale,
        sizes={},
        measured_steps=1,
        train_scenes=64,
    )
    counts = compare_counts(settings, tuple(map(str, range(10))))
    assert counts.keys() == MODELS.keys()
    few, many = {"nano": (1_200_000, 1_600_000), "pico": (300_000, 420_000)}[scale]
    assert all(few < count < many for count in counts.values())


def test_observation_models_are_trained_once_and_compared(tmp_path):
    run("benchmarks/observation_models.py", "--smoke", "--output", tmp_path)
    with (tmp_path / "models.csv").open() as file:
        rows = list(csv.DictReader(file))
    agents = {"tore": {"random", "ame", "ppo"}, "sparseformer": {"random", "ame", "ppo"}}
    for model, expected in agents.items():
        assert {row["agent"] for row in rows if row["model"] == model} == expected
    assert len({row["parameters"] for row in rows}) == 2
    reference, other = sorted({int(row["parameters"]) for row in rows})
    assert other <= 1.1 * reference
    with (tmp_path / "cost.csv").open() as file:
        costs = {
            (row["model"], row["outputs"]): row
            for row in csv.DictReader(file)
            if row["rows"] == "4"
        }
    for row in rows:
        if row["agent"] == "random" and row["glimpses"] == "3":  # other glimpses, of one kind
            own = float(costs[row["model"], "logits"]["gflops_per_episode"])
            assert float(row["gflops"]) == pytest.approx(own, rel=0.1)
    with (tmp_path / "spectrum.csv").open() as file:
        spectrum = list(csv.DictReader(file))
    assert {row["model"] for row in spectrum} == {"tore"}
    assert len({row["layer"] for row in spectrum}) == 7  # six blocks, and before the first
    for picture in ("models.png", "spectrum.png"):
        assert (tmp_path / picture).read_bytes()[:4] == b"\x89PNG"

    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    run("benchmarks/observation_models.py", "--smoke", "--output", tmp_path)
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    options = ("--smoke", "--learner", "guided", "--output", tmp_path)
    refused = attempt("benchmarks/observation_models.py", *options)
    assert refused.returncode
    assert "learner='ppo'" in refused.stderr


def test_neighbours_among_pixels_and_features_vote_as_in_plain_numpy(tmp_path):
    images = {f"{split}/{name}": 12 for split in ("train", "val", "test") for name in "abc"}
    root = make_tree(tmp_path / "data", images, ".png")
    encoder = tiny_encoder(image_size=(24, 32))
    folder = save_encoder(encoder, tmp_path / "encoder")
    said = run("benchmarks/knn_features.py", "--encoders", folder, "--data-root", root)

    def read(split):
        paths = sorted((root / split).rglob("*.png"))
        pixels = np.stack([np.asarray(Image.open(path)) for path in paths]) / 255
        return pixels, np.array(["abc".index(path.parent.name) for path in paths])

    def share(train, test):
        own, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (train, test))
        right = 0
        for similarities, label in zip(other @ own.T, test_labels, strict=True):
            nearest = np.argsort(-similarities)[:20]
            votes = np.bincount(train_labels[nearest], np.exp(similarities[nearest] / 0.07), 3)
            right += votes.argmax() == label
        return right / len(test)

    def latents(module, pixels):
        scenes = torch.from_numpy(pixels).float().permute(0, 3, 1, 2)
        mean, std = (
            torch.tensor(each)[:, None, None] for each in (module.config.mean, module.config.std)
        )
        with torch.no_grad():
            return module.forward_full((scenes - mean) / std, ("latent",)).latent.numpy()

    (train, train_labels), (test, test_labels) = read("train"), read("test")
    expected = [share(*(each.reshape(len(each), -1) for each in (train, test)))]
    centred = (each - train.mean((0, 1, 2)) for each in (train, test))
    expected.append(share(*(each.reshape(len(each), -1) for each in centred)))
    modules = (build_encoder(encoder.config, 0).eval(), encoder.eval())
    expected += [share(*(latents(each, pixels) for pixels in (train, test))) for each in modules]
    rows = [line for line in said.splitlines() if " to " in line]
    found = [float(re.search(r"([\d.]+) \(", row)[1]) for row in rows]
    assert found == pytest.approx([100 * each for each in expected], abs=0.05)
    assert ["untrained" in row for row in rows] == [False, False, True, False]
