"""Trains a TORE encoder, a masked autoencoder with a class head: `ave-train-encoder`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.commands import run_folder
from agents.commands.errors import (
    called_as,
    interrupt_when_terminated,
    one_line_errors,
    program_name,
)
from agents.commands.options import DEFAULT_ENV, ENCODER, import_from_current_folder
from agents.commands.resuming import given_options, refuse_changes, saved_options
from agents.reports.provenance import RUN_FILE, describe_run
from encoders.registry import check_encoder_name
from encoders.support.files import write_json
from encoders.support.validation import Positive, check_fields
from encoders.training.config import EncoderShape, TrainingConfig

COMMAND = "train_encoder"


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a TORE encoder (masked autoencoder + class head) on random glimpses of scenes.

    The run folder receives the encoder (`config.json`, `model.safetensors`), a resumable training
    state, TensorBoard events and `run.json`. Ctrl-C saves; `--resume RUN` continues. Several
    processes: `accelerate launch --num_processes 2 --cpu train_encoder.py ...`.

    Attributes:
        env: Whose scenes to train on: an environment id.
        data_root: Folder or HDF5 file of the scenes; None = the environment variable of the id.
        seamless: Whether the left and right edges of the images meet, as in 360-degree panoramas;
            None = those of SUN360 do.
        image_size: Height and width in pixels; None = the environment's own.
        encoder: Start from this encoder instead of a new one.
        name: What results call the encoder.
        output: Folder of run folders.
        resume: Continue this run folder with its own options.
        smoke: A few steps of a tiny encoder, to see that everything runs.
        device: "auto", "cpu" or "cuda".
        tensorboard_log: Folder of TensorBoard events; None = the run folder.
        shape: Sizes of a new encoder.
        training: Hyper-parameters.
    """

    env: str = DEFAULT_ENV
    data_root: Path | None = None
    seamless: bool | None = None
    image_size: tuple[Positive, Positive] | None = None
    encoder: Annotated[str | None, ENCODER] = None
    name: str = "tore-nano"
    output: Path = Path("runs")
    resume: Path | None = None
    smoke: bool = False
    device: str = "auto"
    tensorboard_log: Path | None = None
    shape: tyro.conf.OmitArgPrefixes[EncoderShape] = EncoderShape()
    training: tyro.conf.OmitArgPrefixes[TrainingConfig] = TrainingConfig()

    def __post_init__(self) -> None:
        check_fields(self)


_SMOKE_SHAPE = EncoderShape(width=32, depth=2, num_heads=2, decoder_width=16, decoder_num_heads=2)
_SMOKE_TRAINING: dict[str, Any] = {
    "epochs": 2,
    "epoch_size": 64,
    "batch_size": 16,
    "validation_size": 32,
}
_MAY_CHANGE_WHEN_RESUMED = {"device", "training.num_workers", "training.progress"}


def main() -> None:
    """Parses the command line and trains."""
    import_from_current_folder()
    with one_line_errors():
        defaults = _defaults(sys.argv[1:])
    options = tyro.cli(Options, default=defaults, prog=program_name())
    if options.smoke and options.resume is None:
        options = dataclasses.replace(
            options,
            shape=dataclasses.replace(_SMOKE_SHAPE, patch_size=options.shape.patch_size),
            training=dataclasses.replace(options.training, **_SMOKE_TRAINING),
        )
    interrupt_when_terminated()
    with one_line_errors():
        if options.resume is not None:
            refuse_changes(options, defaults, _MAY_CHANGE_WHEN_RESUMED)
        elif options.encoder is not None:
            check_encoder_name(options.encoder)
        train(options)


def train(options: Options) -> None:
    """Trains in a run folder."""
    from encoders.training.processes import decide_once

    label = run_folder.label_of(options.env, options.data_root)
    name = f"encoder-{label}-{options.name}"
    folder = options.resume or decide_once(
        lambda: run_folder.create_run_folder(options.output, name), options.device
    )
    try:
        _train_in(folder, options)
    except BaseException:
        if options.resume is None:
            run_folder.discard_unused(folder)
        raise


def _train_in(folder: Path, options: Options) -> None:
    """Builds scenes, encoder and trainer, and runs."""
    from ave_env.registration import configure
    from encoders import build_encoder, create_encoder
    from encoders.training.trainer import EncoderTrainer
    from encoders.training.validation import describe

    train_set, validation_set = (
        configure(
            options.env,
            split=split,
            data_root=options.data_root,
            seamless=options.seamless,
            image_size=options.image_size,
        ).open_scenes()
        for split in ("train", "val")
    )
    image_size = train_set.image_size
    class_names = train_set.class_names if train_set.labelled else ()  # then without a class head
    if options.encoder is None:
        config = options.shape.config(options.name, image_size, class_names)
        encoder = build_encoder(config, options.training.seed)
    else:
        encoder = create_encoder(
            options.encoder,
            image_size=image_size,
            class_names=class_names or None,
            device=options.device,
        )
        encoder.config = dataclasses.replace(encoder.config, name=options.name)
    trainer = EncoderTrainer(
        encoder,
        train_set,
        validation_set,
        options.training,
        folder,
        class_names=class_names or None,
        device=options.device,
        tensorboard_folder=options.tensorboard_log,
    )
    main_process = trainer.accelerator.is_main_process
    if options.resume is not None:
        trainer.resume()
    elif main_process:
        scenes = {"scenes": train_set.name, "num_scenes": len(train_set)}
        write_json(folder / RUN_FILE, describe_run(options, made_by=COMMAND, **scenes))
    with run_folder.noting_times(folder) if main_process else contextlib.nullcontext():
        metrics = trainer.run()
    if main_process:
        print(f"{folder}: step {trainer.step} of {trainer.total_steps}\n{describe(metrics)}")
        if trainer.step < trainer.total_steps:
            print(f"interrupted and saved; continue with: {called_as()} --resume {folder}")


def _defaults(arguments: list[str]) -> Options:
    """What the options are that the command line leaves out: those of the run to resume.

    Raises:
        ValueError: Not the folder of a run that can be resumed.
    """
    given = given_options(arguments, "resume")
    if given is None or given.resume is None:
        return Options()
    return saved_options(Path(given.resume), Options(), COMMAND)
