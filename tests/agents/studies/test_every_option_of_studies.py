"""Every option of every study changes something: it reaches the part that uses it, or is refused.

The options are read off the parsers, so that a new one without a case below fails. Studies open
small scenes and encoders and measure as ever; only training, t-SNE and drawing are written down
instead of being run, and so is what arrives at encoders, explorers, probes and bars of progress.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from helpers import tiny_encoder
from noted_runs import Notes, idle_cases, options_of, outcome, parameter_sum, plain
from scene_trees import make_tree

import encoders
from agents.studies import (
    classes_figure,
    command,
    curves_figure,
    drift_figure,
    emergent_figure,
    end_to_end_figure,
    exploring,
    glimpse_head,
    grid_figure,
    page,
    projection_figure,
    readouts,
    sequential_figure,
    spectrum_figure,
    streaming,
    subjects,
    transfer_figure,
)
from agents.studies.registry import STUDIES
from encoders.analysis import knn, projection
from encoders.registry import TIMM_PREFIX
from encoders.storage import save_encoder
from encoders.support import precision
from encoders.training import trainer

CLASSES = ("bridge", "harbour", "meadow")
SIZE = (32, 64)  # 4x8 patches
FIGURES = (
    *(classes_figure, curves_figure, drift_figure, emergent_figure, end_to_end_figure),
    *(grid_figure, projection_figure, sequential_figure, spectrum_figure, transfer_figure),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the words in capitals stand for."""
    root = tmp_path_factory.mktemp("places")
    six = {f"{split}/{name}": 6 for split in ("train", "val", "test") for name in CLASSES}
    seven = dict.fromkeys(six, 7)
    (root / "run").mkdir()
    record = {"made_by": "train_agent", "configuration": {}}
    (root / "run" / "run.json").write_text(json.dumps(record))
    for seed, name in enumerate(("encoder", "another")):
        built = tiny_encoder(
            seed, image_size=SIZE, num_classes=3, class_names=CLASSES, weights="trained"
        )
        save_encoder(built, root / name)
    return {
        "ENCODER": root / "encoder",
        "ANOTHER": root / "another",
        "FOLDER": make_tree(root / "folder", six),
        "MORE": make_tree(root / "more", seven),
        "RUN": root / "run",
    }


def scenes_noted(scenes: Any) -> list[Any]:
    """What a set of scenes is, and how much of it is kept in memory."""
    cached = getattr(scenes, "max_bytes", 0)
    first = int(scenes.load(0).astype(int).sum())
    return [scenes.name, scenes.split, len(scenes), scenes.seamless, first, cached]


def plan_study(notes: Notes, patch: pytest.MonkeyPatch, places: Mapping[str, Any]) -> None:
    """Writes down what arrives where."""

    def counted(part: str) -> Callable[[Any], None]:
        def note(value: Any) -> None:
            notes.setdefault(part, []).append(value)

        return note

    def around(module: Any, name: str, note: Callable[..., Any], part: str) -> None:
        """Notes what a function is given, and lets it work."""
        original, add = getattr(module, name), counted(part)

        def noted(*arguments: Any, **keywords: Any) -> Any:
            add(note(*arguments, **keywords))
            return original(*arguments, **keywords)

        patch.setattr(module, name, noted)

    def note_probe(features, labels, classes, weight_decay=1e-3):
        return [len(labels), float(features.double().sum()), weight_decay]

    def note_parts(subject, images, patch_ids, split_block):
        weights = 1 + (patch_ids.reshape(-1) * 31 + 7) % 101
        return [len(images), int((weights * range(len(weights))).sum()), split_block]

    def note_scenes(scenes, indices):
        return [scenes_noted(scenes), [int(each) for each in indices]]

    def note_bars(**keywords):
        return [keywords["total"], keywords["desc"], keywords["disable"]]

    class NotedTrainer:
        """Notes what it is to train with, and saves the encoder as it is."""

        step = total_steps = 1

        def __init__(self, encoder, train, validation, config, folder, *, glimpses, device, **more):
            self.encoder, self.folder = encoder, folder
            sets = [scenes_noted(each) for each in (train, validation)]
            views = [type(glimpses).__name__, getattr(glimpses, "visible", None)]
            built = [plain(encoder.config), parameter_sum(encoder)]
            counted("trainings")([plain(config), sets, views, built, device, folder])

        def run(self):
            save_encoder(self.encoder, self.folder)

    def create(name, **keywords):
        counted("created")(plain([name, keywords]))
        if name.startswith(TIMM_PREFIX):  # whose weights are not on this machine
            name, keywords = places["ENCODER"], {"image_size": keywords["image_size"]}
        return original(name, **keywords)

    def note_projection(features, **keywords):
        notes["projected"] = plain([features.sum(), keywords])
        return features[:, :2]

    def note_maps(subject, scenes, way, splits, chosen, folder):
        notes["maps"] = [int(row["scene"]) for row in chosen]

    def note_page(folder, study, sections):
        notes["folder"], notes["options"] = str(folder.parent), plain(study.options.smoke)
        notes["table"] = (folder / f"{study.name}.csv").read_text()
        notes["page"] = plain(sections)

    original = encoders.create_encoder
    patch.setattr(encoders, "create_encoder", create)
    patch.setattr(subjects, "create_encoder", create)
    patch.setattr(trainer, "EncoderTrainer", NotedTrainer)
    patch.setattr(projection, "project", note_projection)
    patch.setattr(page, "write_page", note_page)
    patch.setattr(command, "set_threads", notes.of("threads", "number"))
    around(subjects, "tqdm", note_bars, "bars")
    around(subjects, "SceneSet", note_scenes, "scenes")
    around(subjects.Subject, "normalised", lambda subject, images: len(images), "encoded")
    for module in (subjects, streaming, precision):
        around(module, "resolve_precision", lambda name, device: str(name), "precision")
    around(streaming, "observe_parts", note_parts, "seen")
    around(exploring, "make_agent", lambda name, env, seed: [name, seed], "agents")
    around(exploring, "configure", lambda env, **settings: plain(settings), "explored in")
    around(knn, "knn_classify", lambda *parts, **keywords: plain(keywords), "voted")
    for module in (readouts, glimpse_head):
        around(module, "fit_probe", note_probe, "probes")
    for module in FIGURES:
        for name, _ in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("draw_"):
                patch.setattr(module, name, notes.of(f"picture {name}"))
    patch.setattr(classes_figure, "draw_maps", note_maps)


@dataclasses.dataclass(frozen=True)
class Cases:
    """Command lines of a study.

    Attributes:
        base: What all have in common.
        own: By option what to add to it, as `noted_runs.idle_cases` has it.
        refused: By option what to add to it, and what is said then.
    """

    base: str
    own: Mapping[str, str]
    refused: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)


WHERE = "--env AVE-ImageFolder-v0 --data-root FOLDER --output OUT --no-progress"
DRAWN = "--env AVE-Synthetic-v0 --data-root None --scenes 16"  # and so from no files
COMMON = {
    "data_root": "--data-root MORE",
    "seamless": "--seamless True",
    "image_size": "--image-size 32 32",
    "split": "--split val",
    "scenes": "--scenes 17",
    "batch_size": "--batch-size 5",
    "device": "--device cpu",
    "precision": "--precision bfloat16",
    "threads": "--threads 1",
    "cache_bytes": "--cache-bytes 0",
    "output": "--output OUT/deeper",
    "smoke": "--smoke",
    "progress": "--progress",
}
NOT_COMMON = {
    "env": ("--env AVE-ImageNet-v0", "expected {train,val}/<wnid>/*.JPEG"),
    "list_file": ("--list-file mine.txt", "only sun360 scenes have a list file"),
    "resume": ("--resume RUN", "made by train_agent.py"),
    "scene_seed": ("--scene-seed 3", "--scene-seed 3 does nothing: the scenes of AVE-ImageFolder"),
}
TRAINING = {
    "epochs": "--epochs 3",
    "epoch_size": "--epoch-size 3",
    "train_batch_size": "--train-batch-size 3",
    "learning_rate": "--learning-rate 0.3",
    "weight_decay": "--weight-decay 0.3",
    "warmup": "--warmup 0.3",
    "label_smoothing": "--label-smoothing 0.3",
    "num_workers": "--num-workers 3",
    "validation_size": "--validation-size 3",
}
NO_TRAINING_ON = ("--device cuda:1", "expected auto, cpu, cuda in a study that trains encoders")
NOT_RANDOM = ("--seed 3", "--seed 3 does nothing: nothing here is random")
ONE_WAY = ("--transposed", "--transposed does nothing: 4 parts are 2x2 either way")
OWN_HEAD = "does nothing: classes are read with the encoder's own head, and no probe is trained"
OWN = ("--train-scenes 9", f"--train-scenes 9 {OWN_HEAD}")

STUDY_CASES = {
    "grid": Cases(
        f"--encoder ENCODER {WHERE} --parts 2 --split-blocks 2",
        {
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN} --train-scenes 9",
            "seed": "--seed 3",
            "split_blocks": "--split-blocks 1",
            "parts": "--parts 4",
            "readouts": "--readouts probe",
            "train_scenes": "--train-scenes 9",
            "probe_draws": "--probe-draws 1",
            "probe_weight_decay": "--probe-weight-decay 0.3",
        },
        {
            "seed": ("--readouts own probe --seed 3", NOT_RANDOM[1]),
            "train_scenes": ("--readouts own --train-scenes 9", OWN[1]),
            "probe_draws": (
                "--readouts own probe --probe-draws 3",
                "--probe-draws 3 does nothing: no probe is trained with K and M sampled",
            ),
            "probe_weight_decay": (
                "--readouts own --probe-weight-decay 0.3",
                f"--probe-weight-decay 0.3 {OWN_HEAD}",
            ),
        },
    ),
    "sequential": Cases(
        f"--encoder ENCODER {WHERE} --parts 4 --split-blocks 2",
        {
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN} --train-scenes 9",
            "seed": "--seed 3",
            "split_blocks": "--split-blocks 1",
            "parts": "--parts 2",
            "transposed": "--transposed | --parts 2",
            "orders": "--orders fixed",
            "agent": "--agent raster",
            "glimpse_size": "--glimpse-size 1 | --agent raster",
            "readout": "--readout probe",
            "train_scenes": "--train-scenes 9 | --readout probe",
        },
        {
            "seed": ("--orders fixed --seed 3", NOT_RANDOM[1]),
            "train_scenes": OWN,
            "transposed": ONE_WAY,
            "glimpse_size": (
                "--glimpse-size 1",
                "--glimpse-size 1 does nothing: no agent looks at glimpses",
            ),
        },
    ),
    "drift": Cases(
        f"--encoder ENCODER {WHERE} --parts 4 --split-blocks 2",
        {
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN} --train-scenes 9",
            "seed": "--seed 3",
            "split_blocks": "--split-blocks 1",
            "parts": "--parts 2",
            "train_scenes": "--train-scenes 9",
            "neighbours": "--neighbours 3",
            "temperature": "--temperature 0.3",
        },
        {
            "temperature": (
                "--neighbours 1 --temperature 0.3",
                "--temperature 0.3 does nothing: one neighbour votes alone",
            ),
        },
    ),
    "projection": Cases(
        f"--encoder ENCODER {WHERE} --parts 4 --split-blocks 2 --perplexity 5",
        {
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN}",
            "seed": "--seed 3",
            "split_blocks": "--split-blocks 1",
            "parts": "--parts 2",
            "transposed": "--transposed | --parts 2",
            "perplexity": "--perplexity 6",
        },
        {"transposed": ONE_WAY},
    ),
    "classes": Cases(
        f"--encoder ENCODER {WHERE} --parts 4 --first-split 1 --second-split 3",
        {
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN} --train-scenes 9",
            "seed": "--seed 3 | --readout sampled",
            "first_split": "--first-split 2",
            "second_split": "--second-split 2",
            "parts": "--parts 2",
            "transposed": "--transposed | --parts 2",
            "readout": "--readout probe",
            "train_scenes": "--train-scenes 9 | --readout probe",
            # Of the scenes that the probe learnt from, some are named right at K = 0 alone.
            "maps": "--maps 1 | --readout probe --first-split 0 --split train --parts 16",
        },
        {"transposed": ONE_WAY, "seed": NOT_RANDOM, "train_scenes": OWN},
    ),
    "spectrum": Cases(
        f"--encoder ENCODER {WHERE} --parts 4 --split-blocks 2",
        {
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN}",
            "split_blocks": "--split-blocks 1",
            "parts": "--parts 2",
            "transposed": "--transposed | --parts 2",
        },
        {"transposed": ONE_WAY, "seed": NOT_RANDOM},
    ),
    "end_to_end": Cases(
        f"{WHERE} --image-size 32 64 --patch-size 8 --width 16 --depth 2 --num-heads 2 "
        "--seed 0 --parts 2 --split-blocks 1",
        {
            **TRAINING,
            "encoder": f"= --encoder ENCODER {WHERE} --seed 0 --parts 2 --split-blocks 1",
            "scene_seed": f"--scene-seed 3 | {DRAWN}",
            "seed": "--seed 3",
            "split_blocks": "--split-blocks 2",
            "parts": "--parts 4",
            "second_data_root": "--second-data-root MORE",
            "second_split": "--second-split val | --second-data-root MORE",
            "patch_size": "--patch-size 4",
            "width": "--width 8",
            "depth": "--depth 1",
            "num_heads": "--num-heads 4",
            "attention": "--attention angular",
            "attention_order": "--attention-order arrival | --attention angular",
        },
        {
            "device": NO_TRAINING_ON,
            "second_split": (
                "--second-split val",
                "--second-split val does nothing: there is no second test set",
            ),
            **{
                name: (
                    f"{typed} 8",
                    f"{typed} 8 does nothing: the encoders are trained for classes",
                )
                for name, typed in {
                    "decoder_width": "--decoder-width",
                    "decoder_depth": "--decoder-depth",
                    "decoder_num_heads": "--decoder-num-heads",
                }.items()
            },
            "width": ("--encoder ENCODER", "does nothing: --encoder"),
        },
    ),
    "transfer": Cases(
        f"--encoder ENCODER {WHERE}",
        {
            **TRAINING,
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN}",
            "seed": "--seed 3",
            "pretrained": f"--no-pretrained | --encoder {TIMM_PREFIX}vit_tiny_patch16_224 "
            "--image-size 32 64",
        },
        {
            "device": NO_TRAINING_ON,
            "pretrained": (
                "--no-pretrained",
                "--no-pretrained does nothing: none of the encoders is a model of timm",
            ),
        },
    ),
    "emergent": Cases(
        f"--encoder ENCODER {WHERE} --split-blocks 2 --num-glimpses 2 --glimpse-size 1 "
        "--agents random",
        {
            **{name: words for name, words in TRAINING.items() if name != "label_smoothing"},
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN} --train-scenes 9",
            "seed": "--seed 3",
            "split_blocks": "--split-blocks 1",
            "agents": "--agents raster",
            "glimpse_size": "--glimpse-size 2",
            "num_glimpses": "--num-glimpses 3",
            "visible": "--visible 0.5",
            "train_scenes": "--train-scenes 9",
        },
        {
            "device": NO_TRAINING_ON,
            "label_smoothing": (
                "--label-smoothing 0.3",
                "--label-smoothing 0.3 does nothing: the fine-tuning has the loss of masked",
            ),
        },
    ),
    "curves": Cases(
        f"--encoder ENCODER {WHERE} --parts 4",
        {
            "encoder": "--encoder ANOTHER",
            "scene_seed": f"--scene-seed 3 | {DRAWN} --train-scenes 9",
            "seed": "--seed 3 | --readout sampled",
            "parts": "--parts 2",
            "readout": "--readout own",
            "train_scenes": "--train-scenes 9",
        },
        {"seed": NOT_RANDOM, "train_scenes": ("--readout own --train-scenes 9", OWN[1])},
    ),
}


def test_every_study_has_cases():
    assert list(STUDY_CASES) == STUDIES.names()


@pytest.mark.parametrize("name", STUDY_CASES)
def test_every_option_of_a_study_changes_something(name, places, tmp_path, monkeypatch):
    cases = STUDY_CASES[name]
    changing, refused = {**COMMON, **cases.own}, {**NOT_COMMON, **cases.refused}
    with monkeypatch.context() as patch:
        known = options_of(command.main, [name], patch)
    # An option without a case above, or a case of an option that is no more:
    assert known == {*changing, *refused}
    plans: dict[str, str] = {}

    def plan(words: str) -> str:
        if words not in plans:
            plans[words] = outcome(
                command.main,
                lambda notes, patch: plan_study(notes, patch, places),
                f"{name} {words}",
                places,
                tmp_path / str(len(plans)),
            )
        return plans[words]

    assert not idle_cases(cases.base, changing, plan)
    for option, (words, said) in refused.items():
        found = json.loads(plan(f"{cases.base} {words}"))["refused"]
        # Errors of the parser are in a box, and broken into lines.
        assert said in re.sub(r"[\s│|]+", " ", found), (option, found)
        assert not any((tmp_path / str(len(plans) - 1)).glob("*")), "nothing half-written"
