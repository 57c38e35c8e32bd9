"""Evaluation: every scene once, what is written down is what happened, and how sure it is."""

import csv
import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tiny import CLASS_NAMES, SETTINGS, MemoryScenes, raises_naming, tiny_encoder

from agents import Agent, make_agent, required_observables
from agents.evaluation.comparison import evaluate_agents
from agents.evaluation.config import EvaluationConfig
from agents.evaluation.exploring import explore as explore_scenes
from agents.evaluation.statistics import newcombe_interval
from agents.evaluation.walk import EpisodeRecorder, balanced_rows, evaluate
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from agents.learning.windows.agent import OBSERVABLES
from agents.registry import agent_class
from agents.reports.files import write_results
from agents.reports.tables import print_comparison
from ave_env import ActiveExplorationEnv, ActiveExplorationVectorEnv
from encoders import replace_head
from encoders.storage import save_encoder
from encoders.support.rounding import written

SCENES = MemoryScenes()
ENCODER = tiny_encoder()
QUIET = {"progress": False}


def make_env(name, num_envs=5, **changes):
    settings = {"encoder": ENCODER, "observe": required_observables([name]), **SETTINGS, **changes}
    return ActiveExplorationVectorEnv(
        num_envs, **{"scenes": SCENES, "autoreset_mode": "DISABLED", **settings}
    )


def explore(name, num_envs=5, num_scenes=None, watch=None, **changes):
    env = make_env(name, num_envs, **changes)
    return evaluate(make_agent(name, env), env, num_scenes=num_scenes, watch=watch, progress=False)


def compare(agents, seeds=(0,), episodes=0, **changes):
    settings = {"scenes": SCENES, "encoder": ENCODER, **SETTINGS, **changes}
    config = EvaluationConfig(num_envs=5, seeds=seeds, episodes=episodes, progress=False)
    return evaluate_agents(agents, "AVE-Synthetic-v0", settings, config)


def untrained():
    return replace_head(tiny_encoder(), CLASS_NAMES)


def read(path):
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(text.decode().splitlines()))


# The walk ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_envs", [1, 5, 12, 20])
def test_each_scene_is_explored_exactly_once_for_any_number_of_rows(num_envs):
    visits = []

    def watch(env, t, num_rows):
        visits.extend((t, scene) for scene in env.scene_ids[:num_rows].tolist())

    evaluation = explore("raster", num_envs, watch=watch)
    assert sorted(visits) == [(t, scene) for t in range(5) for scene in range(12)]
    assert evaluation.scene_ids.tolist() == list(range(12))
    assert evaluation.labels.tolist() == SCENES.labels.tolist()


@pytest.mark.parametrize("name", ["checkerboard", "ame"])
def test_results_without_chance_do_not_depend_on_the_number_of_rows(name):
    reference, *others = (explore(name, num_envs) for num_envs in (1, 5, 20))
    assert not reference.uses_chance
    for other in others:
        np.testing.assert_array_equal(other.boxes, reference.boxes)
        for exact in ("flops", "flops_without_recycling", "tokens", "coverage"):
            np.testing.assert_array_equal(other.columns[exact], reference.columns[exact])
        close = (each.columns["log_probability"] for each in (other, reference))
        np.testing.assert_allclose(*close, atol=1e-5)


@pytest.mark.parametrize("task", ["classification", "reconstruction"])
def test_what_is_written_down_is_what_single_environments_report(task):
    evaluation = explore("ame", task=task)
    env = ActiveExplorationEnv(
        scenes=SCENES, encoder=ENCODER, observe=("entropy", "logits"), task=task, **SETTINGS
    )
    agent = make_agent("ame", env)
    measured = evaluation.columns
    for scene in (0, 7, 11):
        observation, info = env.reset(options={"scene_id": scene})
        for t in range(5):
            if t:
                observation, _, _, _, info = env.step(agent.predict(observation)[0])
            row = (scene, t)
            assert evaluation.boxes[row].tolist() == info["glimpse_box"].tolist()
            assert measured["coverage"][row] == info["coverage"]
            assert measured["tokens"][row] == info["tokens"]
            if task == "reconstruction":
                assert measured["rmse"][row] == pytest.approx(info["rmse"], abs=0.05)
                continue
            assert evaluation.flops[row] == info["flops"]
            assert evaluation.flops_total[row] == info["flops_total"]
            assert measured["flops_without_recycling"][row] == info["flops_without_recycling"]
            assert measured["prediction"][row] == info["prediction"]
            probabilities = np.exp(observation["logits"].astype(np.float64))
            probabilities /= probabilities.sum()
            true = probabilities[SCENES.labels[scene]]
            assert measured["log_probability"][row] == pytest.approx(np.log(true), abs=1e-5)
            assert measured["confidence"][row] == pytest.approx(probabilities.max(), abs=1e-5)
            assert measured["rank"][row] == (probabilities > true).sum()
    assert ("correct" in measured) == (task == "classification")


def test_a_score_is_the_mean_after_the_last_glimpse_and_more_is_better():
    evaluation = explore("raster")
    hits = evaluation.columns["prediction"][:, -1] == SCENES.labels
    assert evaluation.final_score() == hits.mean()
    painted = explore("raster", task="reconstruction")
    assert painted.final_score() == -painted.columns["rmse"][:, -1].mean() < 0


def test_fewer_scenes_are_spread_over_the_split():
    assert explore("raster", num_scenes=4).scene_ids.tolist() == [0, 3, 6, 9]


@given(st.integers(1, 500), st.integers(1, 500))
def test_balanced_rows_need_no_more_batches_and_pad_less_than_one_row_per_batch(scenes, most):
    rows = balanced_rows(scenes, most)
    batches = -(-scenes // rows)
    assert rows <= most
    assert batches <= -(-scenes // most)
    assert batches * rows - scenes < batches


def test_an_environment_that_resets_itself_is_refused():
    env = make_env("raster", autoreset_mode="SAME_STEP")
    with raises_naming(ValueError, ["SAME_STEP", "DISABLED"]):
        evaluate(make_agent("raster", env), env, **QUIET)


def test_an_environment_without_a_belief_is_refused():
    env = make_env("raster", encoder=None, observe=())
    with raises_naming(ValueError, ["encoder"]):
        evaluate(make_agent("raster", env), env, **QUIET)


def test_recorded_episodes_are_those_of_the_chosen_scenes():
    recorder = EpisodeRecorder([2, 11])
    evaluation = explore("random", watch=recorder)
    for scene, snapshots in recorder.episodes.items():
        assert [len(snapshot.boxes) for snapshot in snapshots] == [0, 1, 2, 3, 4]
        np.testing.assert_array_equal(snapshots[-1].scene, SCENES.images[scene])
        np.testing.assert_array_equal(snapshots[-1].boxes, evaluation.boxes[scene, 1:])


def test_exploring_spends_nothing_on_glimpses_that_nobody_asks_for():
    env = make_env("raster")
    for t, observation, info in explore_scenes(make_agent("raster", env), env, np.array([7, 2])):
        assert info["step"].tolist() == [t] * 5
        np.testing.assert_allclose(observation["progress"], t / 4)
        if t == 2:
            break
    assert env.scene_ids.tolist() == [7, 2, 7, 2, 7]
    assert env.visited.sum(axis=(1, 2)).tolist() == info["tokens"].tolist()
    assert env.snapshot(0).boxes.shape == (2, 4)


# Comparisons -------------------------------------------------------------------------------------


def test_agents_are_charged_for_what_they_look_at_and_nothing_else():
    comparison = compare(["raster", "ame"])
    raster, ame = (result.evaluations[0] for result in comparison.results)
    split = comparison.record["split_block"]
    for evaluation, outputs in ((raster, ("logits",)), (ame, ("entropy", "logits"))):
        tokens = evaluation.columns["tokens"][:, 1:]
        new = np.diff(tokens, axis=1, prepend=0)
        cost = ENCODER.flops(new, tokens - new, split, outputs).total
        np.testing.assert_array_equal(evaluation.flops[:, 1:], np.where(new > 0, cost, 0))
        assert (evaluation.flops[:, 0] == 0).all()


def test_the_cost_of_choosing_stands_apart_from_the_encoders():
    comparison = compare(["oracle", "raster"])
    oracle, raster = comparison.results
    assert oracle.privileged
    assert not raster.privileged
    per_action = oracle.evaluations[0].flops_per_action
    assert per_action > 0
    np.testing.assert_allclose(oracle.gflops("policy"), np.arange(5) * per_action / 1e9)
    assert (raster.gflops("policy") == 0).all()
    most = raster.evaluations[0].flops.max()
    assert oracle.evaluations[0].flops.max() <= most
    assert comparison.ranked() == [raster]


def test_differences_are_paired_over_scenes():
    comparison = compare(["raster", "center_out", "ame"])
    assert list(comparison.differences) == [
        ("raster", "center_out"),
        ("raster", "ame"),
        ("center_out", "ame"),
    ]
    hits = {result.label: result.evaluations[0].columns["correct"] for result in comparison.results}
    expected = newcombe_interval(hits["raster"], hits["ame"])
    interval = comparison.differences["raster", "ame"]
    np.testing.assert_allclose(interval.low[1:], expected.low[1:])
    # Before the first glimpse they know the same of the same scenes.
    assert interval.mean[0] == interval.low[0] == interval.high[0] == 0


def test_spread_over_seeds_and_over_scenes_are_kept_apart(tmp_path):
    comparison = compare(["random", "raster"], seeds=(3, 4, 5))
    chance, fixed = comparison.results
    assert chance.seeds == (3, 4, 5)
    assert fixed.seeds == (3,)  # the other seeds would do the same
    assert fixed.over_seeds("accuracy") is None
    per_seed = np.array([one.columns["correct"].mean(axis=0) for one in chance.evaluations])
    np.testing.assert_allclose(chance.over_seeds("accuracy"), per_seed.std(axis=0, ddof=1))
    np.testing.assert_allclose(chance.over_scenes["accuracy"].mean, per_seed.mean(axis=0))
    write_results(comparison, tmp_path)
    rows = [row for row in read(tmp_path / "per_step.csv") if row["metric"] == "accuracy"]
    found = {(row["agent"], row["seed"], row["t"]): float(row["mean"]) for row in rows}
    assert len(found) == 4 * 5
    for seed, means in zip((3, 4, 5), per_seed, strict=True):
        assert [found["random", str(seed), str(t)] for t in range(5)] == pytest.approx(means)


def test_mistakes_show_before_anything_is_explored(monkeypatch):
    explored = []
    monkeypatch.setattr(
        "agents.evaluation.comparison.evaluate", lambda *_, **__: explored.append(1)
    )
    with raises_naming(ValueError, ["decoder"]):
        compare(["raster", "ame"], encoder=tiny_encoder(decoder=False))
    with raises_naming(ValueError, ["nonsense"]):
        compare(["raster", "nonsense"])
    with raises_naming(ValueError, ["oracle", "reconstruction"]):
        compare(["raster", "oracle"], task="reconstruction")
    with raises_naming(ValueError, ["twice", "raster"]):
        compare(["raster", "raster"])
    assert not explored


@pytest.mark.parametrize(
    "wrong", [{"num_scenes": 0}, {"num_envs": 0}, {"episodes": -1}, {"seeds": (1, 1)}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with raises_naming(ValueError, list(wrong)):
        EvaluationConfig(**wrong)


def test_trained_agents_go_by_their_shortest_distinct_names(tmp_path):
    env = make_env("raster", 2, observe=OBSERVABLES, autoreset_mode="SAME_STEP")
    trainer = PpoLearner(env, PpoConfig(batch_size=8))
    for name in ("a", "b"):
        trainer.save(tmp_path / name)
    labels = [result.label for result in compare(["random", tmp_path / "a"]).results]
    assert labels == ["random", "ppo"]
    labels = [result.label for result in compare([tmp_path / "a", tmp_path / "b"]).results]
    assert labels == ["a", "b"]
    with raises_naming(ValueError, [str(tmp_path / "a"), "encoder"]):
        compare([tmp_path / "a"], encoder=tiny_encoder(depth=4))


class TopLeftAgent(Agent):
    """Takes the first or, if it is told so, the last place that shows something new."""

    name = "top_left"

    def __init__(self, env, seed=0, last=False):
        super().__init__(env, seed)
        self.last = last

    def choose(self, observation, deterministic):
        useful = self.sensor.reveals(observation["visited"])
        if self.last:
            return useful.shape[1] - 1 - useful[:, ::-1].argmax(axis=1)
        return useful.argmax(axis=1)


def test_ones_own_agents_stand_beside_the_others():
    made = TopLeftAgent(make_env("raster", 2), last=True)
    comparison = compare(["raster", TopLeftAgent, made])
    assert [result.label for result in comparison.results] == ["raster", "top_left-1", "top_left-2"]
    assert comparison.results[1].source.endswith(":TopLeftAgent")
    first, last = (result.evaluations[0].boxes[:, 1, :2] for result in comparison.results[1:])
    assert (first == 0).all()
    assert (last == (32, 64)).all()
    named = compare({"mine": TopLeftAgent, "yours": made})
    assert [result.label for result in named.results] == ["mine", "yours"]


def test_agents_that_were_made_are_copied_and_draw_from_the_seeds_given():
    env = make_env("random", 3)
    made = make_agent("random", env, seed=77)
    before = made.random.bit_generator.state
    by_name, by_hand = compare({"name": "random", "made": made}, seeds=(3, 4)).results
    assert made.random.bit_generator.state == before
    assert made.sensor is env.sensor
    for one, other in zip(by_name.evaluations, by_hand.evaluations, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
    # One that is told the answer is told that of the scenes it explores.
    oracle = make_agent("oracle", make_env("oracle", 2))
    by_name, by_hand = compare({"name": "oracle", "made": oracle}).results
    np.testing.assert_array_equal(by_name.evaluations[0].boxes, by_hand.evaluations[0].boxes)


def test_agents_that_cannot_take_part_are_refused_by_name():
    made = make_agent("raster", make_env("raster", glimpse_size=3))
    with raises_naming(ValueError, ["raster", "glimpse_size=3", "glimpse_size=2"]):
        compare([made])
    for wrong in (dict, 3, object()):
        with raises_naming(TypeError, ["no agent", "agents.Agent"]):
            compare(["raster", wrong])
    with raises_naming(TypeError, ["'random'", "['random']"]):
        compare("random")
    with raises_naming(ValueError, ["twice", "TopLeftAgent"]):
        compare([TopLeftAgent, TopLeftAgent])


def test_what_is_no_agent_is_told_apart(tmp_path):
    save_encoder(ENCODER, tmp_path / "encoder")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("randm", ["did you mean 'random'"]),
        ("./nofolder", ["no such folder", "./nofolder"]),
        (str(tmp_path / "runs" / "train-7"), ["no such folder", "train-7"]),
        (str(tmp_path / "empty"), ["empty", "no agent.json"]),
        (str(tmp_path / "encoder"), ["--encoder"]),
        ("nomodule:Agent", ["nomodule"]),
        ("json:dumps", ["json:dumps", "no agent"]),
    ):
        with raises_naming((ValueError, TypeError), words):
            agent_class(name)


# Files and tables --------------------------------------------------------------------------------


def test_the_means_in_files_are_those_of_the_scenes_in_them(tmp_path):
    write_results(compare(["random", "oracle"]), tmp_path)
    steps, scenes = read(tmp_path / "per_step.csv"), read(tmp_path / "per_scene.csv.gz")
    assert len(scenes) == 2 * 12 * 5
    measures = {"accuracy", "negative_log_likelihood", "coverage", "calibration_error"}
    assert {step["metric"] for step in steps} == measures
    for step in steps:
        rows = [row for row in scenes if (row["agent"], row["t"]) == (step["agent"], step["t"])]
        assert len({row["scene_id"] for row in rows}) == int(step["n"]) == 12

        def mean(column, rows=rows):
            return np.mean([float(row[column]) for row in rows])

        assert float(step["gflops_step"]) == pytest.approx(mean("flops") / 1e9)
        assert float(step["gflops_total"]) == pytest.approx(mean("flops_total") / 1e9)
        policy = mean("flops_policy_total") / 1e9
        assert float(step["gflops_policy_total"]) == pytest.approx(policy)
        if step["metric"] == "calibration_error":  # of all scenes together
            assert step["ci_lo"] == step["ci_hi"] == ""
            continue
        names = {"accuracy": "correct", "negative_log_likelihood": "log_probability"}
        sign = -1 if step["metric"] == "negative_log_likelihood" else 1
        column = names.get(step["metric"], step["metric"])
        assert float(step["mean"]) == pytest.approx(sign * mean(column), rel=1e-5)
        assert float(step["ci_lo"]) <= float(step["mean"]) <= float(step["ci_hi"])


def test_the_summary_says_what_the_table_of_steps_says(tmp_path):
    write_results(compare(["random", "oracle"]), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["scenes"]["name"] == SCENES.name
    assert summary["scenes"]["num_scenes"] == 12
    assert summary["agents"]["oracle"]["privileged"]
    assert summary["main_metric"] == "accuracy"
    for step in read(tmp_path / "per_step.csv"):
        if step["t"] == "4":
            final = summary["agents"][step["agent"]]["final"][step["metric"]]
            assert final["mean"] == pytest.approx(float(step["mean"]))
            if "ci_lo" in final:
                assert final["ci_lo"] == pytest.approx(float(step["ci_lo"]))


def test_there_is_a_picture_of_each_agents_gaze_and_episodes(tmp_path):
    write_results(compare(["random", "oracle"], episodes=1), tmp_path)
    for files in ("episodes/*.gif", "episodes/*.mp4", "gaze/*.png"):
        names = [path.name for path in tmp_path.glob(files)]
        assert len(names) == 2
        assert {re.match("[a-z]+", name)[0] for name in names} == {"random", "oracle"}


def test_the_same_run_writes_the_same_bytes(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        write_results(compare(["random"], episodes=1), folder)
    names = [path.relative_to(folders[0]) for path in folders[0].rglob("*.*")]
    files = {"summary.json", "curves.png", "per_scene.csv.gz", "report.html", "gaze/random.png"}
    assert files | {"episodes/random-scene-0.mp4"} <= {str(name) for name in names}
    for name in names:
        same = (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
        assert same, name


def test_an_untrained_head_has_no_accuracy_anywhere(tmp_path):
    with pytest.warns(UserWarning, match="head"):
        comparison = compare(["raster", "ame"], encoder=untrained())
    evaluation = comparison.results[0].evaluations[0]
    assert comparison.main_metric is None
    assert "correct" not in evaluation.columns
    with pytest.raises(ValueError, match="untrained head"):
        evaluation.final_score()
    write_results(comparison, tmp_path)
    assert {row["metric"] for row in read(tmp_path / "per_step.csv")} == {"coverage"}
    for row in read(tmp_path / "per_scene.csv.gz"):
        assert row["correct"] == row["prediction"] == row["log_probability"] == ""
        assert int(row["flops"]) > 0 or row["t"] == "0"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["agents"]["ame"]["final"].keys() == {"coverage"}
    assert summary["agents"]["ame"]["gflops_per_episode"] > 0
    assert (tmp_path / "curves.png").stat().st_size > 0


def printed(comparison, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_comparison(comparison, console)
    return console.export_text()


def test_the_table_shows_means_intervals_and_costs():
    comparison = compare(["raster", "oracle"])
    text = printed(comparison)
    for result in comparison.results:
        for t in (1, 2, 4):
            interval = result.over_scenes["accuracy"]
            assert f"{100 * interval.mean[t]:.1f}" in text
        assert f"{result.gflops()[-1]:#.3g}" in text
        assert f"{result.gflops('flops_without_recycling')[-1]:#.3g}" in text
    for word in ("multiply-accumulate", "upper bound", "12 scenes of memory", "tiny", "saved"):
        assert word in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_number_is_cut_where_the_terminal_is_narrow(width):
    comparison = compare(["random", "raster", "oracle"], seeds=(0, 1))
    text = printed(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\u2026" not in text
    for result in comparison.results:
        interval = result.over_scenes["accuracy"]
        for t in (1, 2, 4):
            low, high = (written(100 * end[t], ".1f") for end in (interval.low, interval.high))
            assert f"{low}-{high}" in text


def test_the_table_says_how_intervals_were_computed_and_what_bounds_them():
    text = " ".join(printed(compare(["raster", "center_out", "oracle"])).split())
    assert "95% Wilson score interval (bootstrap for negative log-likelihood) over scenes" in text
    assert "Newcombe's paired score interval" in text
    assert "Chance: 20.0 %" in text
    assert "Upper bound: oracle" in text
    text = " ".join(printed(compare(["raster", "ame"], task="reconstruction")).split())
    assert "95% bootstrap interval over scenes" in text
    assert "paired over scenes, bootstrap interval" in text
    assert "Chance" not in text


def test_nobody_is_certain_of_a_few_scenes(tmp_path):
    comparison = compare(["raster", "oracle"])
    hits = comparison.results[1].over_scenes["accuracy"]
    assert (hits.high - hits.low > 0.05).all()
    write_results(comparison, tmp_path)
    rows = [row for row in read(tmp_path / "per_step.csv") if row["agent"] == "oracle"]
    assert {(row["metric"], row["interval"]) for row in rows} == {
        ("accuracy", "wilson"),
        ("negative_log_likelihood", "bootstrap"),
        ("coverage", "bootstrap"),
        ("calibration_error", ""),
    }
    assert {(row["environment"], row["split_block"], row["num_glimpses"]) for row in rows} == {
        ("AVE-Synthetic-v0", "2", "4")
    }
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["intervals"]["main"] == "Wilson score"


def test_a_single_scene_has_errors_without_intervals(tmp_path):
    scenes = MemoryScenes(count=1)
    comparison = compare(["raster", "center_out"], episodes=1, task="reconstruction", scenes=scenes)
    write_results(comparison, tmp_path)
    final = json.loads((tmp_path / "summary.json").read_text())["agents"]["raster"]["final"]
    assert final["rmse"].keys() == {"mean"}
    assert "nan" not in printed(comparison)
    assert "NaN" not in (tmp_path / "report.html").read_text().split("<script", 1)[0]


def test_the_table_prints_untrained_head_in_place_of_every_accuracy():
    with pytest.warns(UserWarning, match="head"):
        comparison = compare(["raster", "random"], encoder=untrained())
    text = printed(comparison)
    rows = [line for line in text.splitlines() if line.strip().startswith(("raster", "random"))]
    assert len(rows) == 2
    assert all("untrained head" in row for row in rows)
    assert "bootstrap" not in text


def test_the_table_of_a_reconstruction_shows_errors():
    comparison = compare(["raster", "ame"], task="reconstruction")
    text = printed(comparison)
    error = comparison.results[0].over_scenes["rmse"].mean[-1]
    assert f"{error:.1f}" in text
    assert "RMSE" in text
    assert "accuracy" not in text
    assert comparison.ranked()[0].over_scenes["rmse"].mean[-1] == min(
        result.over_scenes["rmse"].mean[-1] for result in comparison.results
    )
