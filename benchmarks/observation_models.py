"""Observation models side by side: TORE, angular attention, convolutions on a canvas, latents.

Usage: python benchmarks/observation_models.py --minutes 2 --seeds 0 1 2 --output OUT
       python benchmarks/observation_models.py --env AVE-ImageFolder-v0 --data-root cifar10.h5
           --image-size 32 32 --patch-size 4 --glimpse-size 2 --num-glimpses 6
       python benchmarks/observation_models.py --smoke

Every model has as many parameters as tore-nano, or a third of it with `--scale pico` (10 % more or
less, or it is refused), and learns from scratch for the same processor time on one thread: seconds
per step are measured first, all models taking turns at each step, and from them the number of
steps. Agents then explore the test scenes through each encoder; one of them learns to. Reading or
making scenes is no training time; where it takes long, `--train-scenes 8192` keeps some in memory.

Each training, each agent and each spectrum is a file in OUTPUT and is not computed again; so two
processors can share the work: begin with `--parts speed`, then run the command twice at once with
other `--models` or `--seeds` and the same OUTPUT, and `--parts cost picture` at the end. The tables
`models.csv`, `cost.csv` and `spectrum.csv` and the pictures `models.png` and `spectrum.png` are
made of all that is there. A point is computed again as it was with the `speed.json` that it was
computed with (`--speed`).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from encoders.support.files import write_json
from encoders.training.config import TrainingConfig
from observation import tables
from observation.cost import measure_cost
from observation.exploring import explore_missing
from observation.picture import draw
from observation.settings import MODELS, SCALES, Settings, compare_counts
from observation.spectra import measure_spectrum
from observation.spectra_picture import draw_spectra
from observation.training import FewScenes, measure_speed, train

AGENTS = ("random", "checkerboard", "ame", "regions")
PARTS = ("speed", "train", "agents", "spectrum", "cost", "picture")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="AVE-Synthetic-v0", help="whose scenes")
    parser.add_argument("--data-root", help="folder or file of the scenes")
    parser.add_argument("--image-size", type=int, nargs=2, default=(128, 256))
    parser.add_argument("--patch-size", type=int, default=16)
    parser.add_argument("--glimpse-size", type=int, default=2, help="in patches")
    parser.add_argument("--num-glimpses", type=int, default=8)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument(
        "--scale", choices=SCALES, default="nano", help="parameters: tore-nano's, or a third of it"
    )
    parser.add_argument("--sizes", type=json.loads, default={}, help="JSON: sizes by model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=2.0, help="of training an encoder")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--curriculum",
        type=float,
        default=TrainingConfig.curriculum,
        help="share of the steps with many glimpses, at the beginning",
    )
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--agents", nargs="+", default=list(AGENTS), help="that learn nothing")
    parser.add_argument("--learner", choices=("ppo", "guided"), default="ppo")
    parser.add_argument("--agent-steps", type=int, default=16_384, help="0 = no learner")
    parser.add_argument("--agent-rows", type=int, default=128)
    parser.add_argument("--scenes", type=int, default=1000, help="of the test split")
    parser.add_argument(
        "--train-scenes", type=int, default=0, help="kept in memory; 0 = all, read when needed"
    )
    parser.add_argument("--spectrum-scenes", type=int, default=128)
    parser.add_argument("--measured-steps", type=int, default=40, help="for seconds per step")
    parser.add_argument("--speed", type=Path, help="JSON: seconds per step, instead of measuring")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 64], help="of timed episodes")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of time")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, default=Path("results/observation_models"))
    parser.add_argument("--smoke", action="store_true", help="few short trainings in small scenes")
    options = parser.parse_args()
    if options.smoke:
        options.image_size, options.num_glimpses = (64, 128), 3
        options.models, options.seeds, options.scale = ["tore", "sparseformer"], [0], "pico"
        options.minutes, options.batch_size, options.measured_steps = 0.002, 8, 1
        options.agents, options.agent_steps, options.agent_rows = ["random", "ame"], 48, 8
        options.scenes, options.spectrum_scenes, options.train_scenes = 32, 8, 64
        options.rows, options.rounds = [1, 4], 1
    return options


def settings_of(options: argparse.Namespace) -> Settings:
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)}
    if unknown := sorted(set(options.sizes) - set(MODELS)):
        sys.exit(f"--sizes names {', '.join(unknown)}; expected some of {', '.join(MODELS)}")
    return Settings(**{**values, "image_size": tuple(options.image_size)})


def main() -> None:
    """Computes what is missing, then tables and the picture."""
    options = parse()
    torch.set_num_threads(1)
    settings, output = settings_of(options), options.output
    (output / "points").mkdir(parents=True, exist_ok=True)
    settings.keep(output)
    scenes = settings.open_scenes("train")
    names = tuple(scenes.class_names)
    compare_counts(settings, names)
    speed = output / "speed.json"
    if options.speed is not None and not speed.is_file():
        write_json(speed, json.loads(options.speed.read_text("utf-8")))
    if "speed" in options.parts and not speed.is_file():
        write_json(speed, measure_speed(settings, scenes))
    if {"train", "agents", "spectrum"} & set(options.parts):
        if not speed.is_file():
            sys.exit(f"{speed} is missing: run --parts speed first, or give --speed FILE")
        seconds = json.loads(speed.read_text("utf-8"))

        @functools.cache
        def open_train() -> Any:
            few = settings.train_scenes
            return FewScenes.of(scenes, few) if few else scenes

        for seed in options.seeds:
            for model in options.models:
                one_model(options, settings, model, seed, seconds[model], open_train)
    if "cost" in options.parts and not (output / "cost.json").is_file():
        rows = tuple(options.rows)
        write_json(output / "cost.json", measure_cost(settings, names, rows, options.rounds))
    if "picture" in options.parts:
        show(settings, output)


def one_model(
    options: argparse.Namespace,
    settings: Settings,
    model: str,
    seed: int,
    seconds_per_step: float,
    open_train: Callable[[], Any],
) -> None:
    """What is missing of one training: the encoder, its agents, its spectrum."""
    output, begun = options.output, time.process_time()
    folder = output / "encoders" / f"{model}-{seed}"
    if "train" not in options.parts and not (folder / "training.json").is_file():
        return
    encoder, record = train(model, seed, settings, seconds_per_step, open_train, folder)
    if record is not None:
        print(
            f"{model}, seed {seed}: {record['steps']:,} steps in {record['seconds']:.1f} s, with "
            f"loading and validation {time.process_time() - begun:.1f} s",
            flush=True,
        )
    if "agents" in options.parts:
        learner = [settings.learner] if settings.agent_steps else []
        explore_missing(settings, model, seed, encoder, [*options.agents, *learner], output)
    path = output / "spectra" / f"{model}-{seed}.json"
    if "spectrum" in options.parts and not path.is_file():
        path.parent.mkdir(exist_ok=True)
        test = settings.open_scenes("test")
        write_json(path, measure_spectrum(model, seed, encoder, test, options.spectrum_scenes))


def show(settings: Settings, output: Path) -> None:
    """Tables and picture of all that is there."""
    points = tables.read_points(output)
    costs = json.loads(path.read_text()) if (path := output / "cost.json").is_file() else []
    paths = sorted((output / "spectra").glob("*.json"))
    spectra = [row for path in paths for row in json.loads(path.read_text("utf-8"))]
    tables.write_table(tables.model_rows(points), tables.MODEL_COLUMNS, output / "models.csv")
    tables.write_table(costs, tables.COST_COLUMNS, output / "cost.csv")
    tables.write_table(spectra, tables.SPECTRUM_COLUMNS, output / "spectrum.csv")
    if not points:
        print("no points yet")
        return
    curves = tables.curves_of(points)
    print(tables.training_in_words(output))
    print(tables.in_words(curves, costs))
    title = f"{settings.env}, {points[0]['scenes']:,} test scenes, {settings.minutes:g} minutes"
    draw(curves, costs, output / "models.png", f"{title} of training on one thread")
    if spectra:
        draw_spectra(spectra, output / "spectrum.png", f"{settings.env}, whole scenes")
    print(f"{len(points)} points: {output / 'models.csv'}, {output / 'models.png'}")


if __name__ == "__main__":
    main()
