#!/usr/bin/env python3
"""Trains a TORE encoder: a masked autoencoder with a class head, on random glimpses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import tyro

from agents.commands import run_folder
from agents.commands.errors import interrupt_when_terminated, one_line_errors
from encoders.training.config import EncoderShape, TrainingConfig


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a TORE encoder (masked autoencoder + class head) on random glimpses of scenes.

    The run folder receives the encoder (`config.json`, `model.safetensors`), a resumable training
    state, TensorBoard events and `run.json`. Several processes: `accelerate launch
    --num_processes 2 --cpu train_encoder.py ...`.

    Attributes:
        env: Whose scenes to train on: an environment id.
        data_root: Folder or HDF5 file of the scenes; None = the environment variable of the id.
        image_size: Height and width in pixels; None = the environment's own.
        encoder: Start from this encoder (a name or a folder) instead of a new one.
        name: What results call the encoder.
        glimpses: Which patches of a training image are seen.
        output: Folder of run folders.
        resume: Continue this run folder; its own configuration counts.
        smoke: A few steps of a tiny encoder, to see that everything runs.
        device: "auto", "cpu" or "cuda".
        tensorboard_log: Folder of TensorBoard events; None = the run folder.
        shape: Sizes of a new encoder.
        training: Hyper-parameters.
    """

    env: str = "AVE-Synthetic-v0"
    data_root: str | None = None
    image_size: tuple[int, int] | None = None
    encoder: str | None = None
    name: str = "tore-nano"
    glimpses: Literal["random"] = "random"
    output: Path = Path("runs")
    resume: Path | None = None
    smoke: bool = False
    device: str = "auto"
    tensorboard_log: Path | None = None
    shape: tyro.conf.OmitArgPrefixes[EncoderShape] = EncoderShape()
    training: tyro.conf.OmitArgPrefixes[TrainingConfig] = TrainingConfig()


_SMOKE_SHAPE = EncoderShape(width=32, depth=2, num_heads=2, decoder_width=16, decoder_num_heads=2)
_SMOKE_TRAINING: dict[str, Any] = {
    "epochs": 2,
    "epoch_size": 64,
    "batch_size": 16,
    "validation_size": 32,
}


def main() -> None:
    """Parses the command line and trains."""
    options = tyro.cli(Options)
    if options.smoke:
        options = dataclasses.replace(
            options,
            shape=dataclasses.replace(_SMOKE_SHAPE, patch_size=options.shape.patch_size),
            training=dataclasses.replace(options.training, **_SMOKE_TRAINING),
        )
    interrupt_when_terminated()
    with one_line_errors("train_encoder.py"):
        if options.resume is not None:
            options = _saved_options(options.resume)
        train(options)


def train(options: Options) -> None:
    """Builds scenes, encoder and trainer, and runs."""
    from ave_env.registration import configuration
    from encoders import build_encoder, create_encoder
    from encoders.training.processes import decide_once
    from encoders.training.trainer import EncoderTrainer
    from encoders.training.validation import describe

    train_set, validation_set = (
        configuration(
            options.env, split=split, data_root=options.data_root, image_size=options.image_size
        ).open_scenes()
        for split in ("train", "val")
    )
    image_size, class_names = train_set.image_size, train_set.class_names
    if options.encoder is None:
        config = options.shape.config(options.name, image_size, class_names)
        encoder = build_encoder(config, options.training.seed)
    else:
        encoder = create_encoder(
            options.encoder, image_size=image_size, class_names=class_names, device=options.device
        )
        encoder.config = dataclasses.replace(encoder.config, name=options.name)
    name = f"encoder-{options.env}-{options.name}"
    folder = options.resume or decide_once(
        lambda: run_folder.create_run_folder(options.output, name), options.device
    )
    trainer = EncoderTrainer(
        encoder,
        train_set,
        validation_set,
        options.training,
        folder,
        class_names=class_names,
        device=options.device,
        tensorboard_folder=options.tensorboard_log,
    )
    if options.resume is not None:
        trainer.resume()
    elif trainer.accelerator.is_main_process:
        record = run_folder.describe_run(options, scenes=train_set.name, num_scenes=len(train_set))
        run_folder.write_json(folder / run_folder.RUN_FILE, record)
    metrics = trainer.run()
    if trainer.accelerator.is_main_process:
        print(f"{folder}: step {trainer.step} of {trainer.total_steps}\n{describe(metrics)}")


def _saved_options(folder: Path) -> Options:
    path = folder / run_folder.RUN_FILE
    if not path.is_file():
        raise ValueError(f"{folder}: no {run_folder.RUN_FILE}, not a run folder")
    saved = json.loads(path.read_text("utf-8"))["configuration"]
    shape = EncoderShape(**saved.pop("shape"))
    training = TrainingConfig(**saved.pop("training"))
    for key in ("data_root", "tensorboard_log"):
        saved[key] = Path(saved[key]) if saved[key] else None
    if saved["image_size"]:
        saved["image_size"] = tuple(saved["image_size"])
    saved["output"], saved["resume"] = Path(saved["output"]), folder
    return Options(**saved, shape=shape, training=training)


if __name__ == "__main__":
    main()
