"""Trains an encoder, with class head and decoder or by DINO: `ave-train-encoder`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from agents.commands import run_folder
from agents.commands.errors import (
    called_as,
    interrupt_when_terminated,
    one_line_errors,
    program_name,
)
from agents.commands.objectives import (
    DINO_TRAINING,
    SMOKE_DISTILLATION,
    make_trainer,
    refuse_idle,
)
from agents.commands.options import (
    DEFAULT_ENV,
    ENCODER,
    THREADS,
    Pairs,
    check_name,
    import_from_current_folder,
    named,
    options_given,
    write_pairs,
)
from agents.commands.resuming import given_options, refuse_changes, saved_options
from agents.reports.provenance import RUN_FILE, describe_run
from encoders.reduction.config import ReductionPlace, parse_reduction
from encoders.reduction.plan import OPTIONS as REDUCING
from encoders.reduction.plan import make_plan
from encoders.registry import TRAININGS, check_encoder_name, training_of
from encoders.support.devices import resolve_device
from encoders.support.files import write_json
from encoders.support.threads import set_threads
from encoders.support.validation import NotNegative, Positive, check_fields
from encoders.training.config import EncoderShape, Objective, TrainingConfig
from encoders.training.distillation.config import DistillationConfig

if TYPE_CHECKING:
    from encoders.families.tore.model import GlimpseEncoder

COMMAND = "train_encoder"
FAMILY = named("What kind of encoder a new one is", TRAININGS)
_TORE = "tore"  # whose sizes and reductions have options of their own


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains an encoder (masked autoencoder + class head) on random glimpses of scenes.

    With `--objective dino` it learns from crops of scenes, without labels, class head or decoder.

    The run folder receives the encoder (`config.json`, `model.safetensors`), a resumable training
    state, TensorBoard events and `run.json`. Ctrl-C saves; `--resume RUN` continues. Several
    processes: `accelerate launch --num_processes 2 --cpu train_encoder.py ...`.

    Attributes:
        objective: What for: `belief`, classes and pixels from glimpses; or `dino`,
            self-distillation between crops of a scene, whose encoder has neither class head nor
            decoder. Then learning-rate, weight-decay and warmup are 5e-4, 0.04 and 0.1 by default.
        env: Whose scenes to train on: an environment id.
        data_root: Folder or HDF5 file of the scenes; None = the environment variable of the id.
        seamless: Whether the left and right edges of the images meet, as in 360-degree panoramas;
            None = those of SUN360 do.
        image_size: Height and width in pixels; None = the environment's own.
        family: What kind of encoder a new one is; None = tore, or as the weights to start from.
        sizes: Sizes of a new encoder of another family than tore, e.g. `width=256 depth=8`; those
            left out are the family's own. Patch size and width of the decoder have options of
            their own for every family.
        encoder: Start from this encoder instead of a new one; the same as `init-from`.
        init_from: Start a new run from these weights, with its own seed and settings: a run folder,
            a file of weights, or a name. A head for other classes is made anew.
        reduction: How the encoder drops (evit), merges (tome) or halts (avit) tokens, e.g.
            `evit:keep_rate=0.5`, now and wherever it is used later; none = not at all; None = as
            the encoder it starts from.
        reduction_in: Where: extractor, aggregator or both; None = aggregator.
        max_tokens: Most patch tokens that it remembers; beyond it the most similar are merged. 0 =
            no bound; None = as the encoder it starts from.
        name: What results call the encoder; None = the run folder's name.
        output: Folder of run folders.
        resume: Continue this run folder with its own options.
        smoke: A few steps of a tiny encoder, to see that everything runs; what is given beside it
            wins.
        device: auto (a GPU where there is one), cpu or cuda.
        threads: Threads to compute with on the CPU.
        cache_bytes: Memory to spend on decoded scenes of each split; 0 = none, None = what they
            need, up to 1 GiB together and a quarter of the available memory, and none of a split of
            which less than half fits. Worker processes (--training.num-workers) keep none unasked.
        tensorboard_log: Folder of TensorBoard events; None = the run folder.
        shape: Sizes of a new encoder.
        training: Hyper-parameters.
        dino: Hyper-parameters of `--objective dino`.
    """

    objective: Objective = "belief"
    env: str = DEFAULT_ENV
    data_root: Path | None = None
    seamless: bool | None = None
    image_size: tuple[Positive, Positive] | None = None
    family: Annotated[str | None, FAMILY] = None
    sizes: Pairs = dataclasses.field(default_factory=dict)
    encoder: Annotated[str | None, ENCODER] = None
    init_from: str | None = None
    reduction: str | None = None
    reduction_in: ReductionPlace | None = None
    max_tokens: NotNegative | None = None
    name: str | None = None
    output: Path = Path("runs")
    resume: Path | None = None
    smoke: bool = False
    device: str = "auto"
    threads: Annotated[Positive | None, THREADS] = None
    cache_bytes: NotNegative | None = None
    tensorboard_log: Path | None = None
    shape: tyro.conf.OmitArgPrefixes[EncoderShape] = EncoderShape()
    training: tyro.conf.OmitArgPrefixes[TrainingConfig] = TrainingConfig()
    dino: DistillationConfig = DistillationConfig()

    def __post_init__(self) -> None:
        check_fields(self)
        if self.device not in _DEVICES:
            raise ValueError(f"device={self.device!r}; expected {', '.join(_DEVICES)}")
        if self.name is not None and (not self.name or {"/", "\\"} & set(self.name)):
            raise ValueError(f"name={self.name!r}; expected text without slashes: a folder's name")
        if self.encoder is not None and self.init_from is not None:
            raise ValueError("--encoder and --init-from mean the same; give one of them")
        if self.family is not None:
            check_name("family", self.family, TRAININGS)
        self._check_sizes()
        if self.reduction is not None:
            parse_reduction(self.reduction)
        most, size = self.max_tokens or 0, self.training.glimpse_size**2
        if 0 < most < size:
            raise ValueError(
                f"max_tokens={most} is less than the {size} patches of one glimpse; expected at "
                f"least {size}, or 0 for no bound"
            )

    def _check_sizes(self) -> None:
        """Refuses sizes and reductions that the family chosen does not have.

        Raises:
            ValueError: One of them.
        """
        if self.sizes and (self.family in (None, _TORE) or self.start is not None):
            raise ValueError(
                f"--sizes {' '.join(write_pairs(self.sizes))}: of a new encoder of another family "
                "than tore; give --family as well, and neither --encoder nor --init-from"
            )
        if self.family in (None, _TORE):
            return
        if self.objective == "dino":
            raise ValueError(
                f"family={self.family!r} with --objective dino: encoders of the family 'tore' are "
                "distilled; leave one of the two out"
            )
        if self.reduction or self.reduction_in or self.max_tokens:
            raise ValueError(
                f"family={self.family!r} has no tokens to reduce; leave --reduction, "
                "--reduction-in and --max-tokens out"
            )
        usual = EncoderShape()
        for name in _TORE_SIZES:
            value = getattr(self.shape, name)
            if value not in (getattr(usual, name), getattr(_SMOKE_SHAPE, name)):
                raise ValueError(
                    f"--{name.replace('_', '-')} {value}: a size of the family 'tore'; give those "
                    f"of {self.family!r} as --sizes, e.g. --sizes width={self.shape.width}"
                )

    @property
    def start(self) -> str | None:
        """The encoder to start from; None for a new one."""
        return self.init_from or self.encoder


_TORE_SIZES = (
    *("width", "depth", "num_heads", "attention", "attention_order"),
    *("decoder_depth", "decoder_num_heads"),
)
_DEVICES = ("auto", "cpu", "cuda")  # which of several GPUs is up to CUDA_VISIBLE_DEVICES
_SMOKE_SHAPE = EncoderShape(width=32, depth=2, num_heads=2, decoder_width=16, decoder_num_heads=2)
_SMOKE_TRAINING: dict[str, Any] = {
    "epochs": 2,
    "epoch_size": 64,
    "batch_size": 16,
    "validation_size": 32,
}
_MAY_CHANGE_WHEN_RESUMED = {
    "device",
    "threads",
    "cache_bytes",
    "training.num_workers",
    "training.progress",
}


def main() -> None:
    """Parses the command line and trains."""
    import_from_current_folder()
    with one_line_errors():
        defaults = _defaults(sys.argv[1:])
        options = tyro.cli(Options, default=defaults, prog=program_name())
    interrupt_when_terminated()
    with one_line_errors():
        if options.resume is not None:
            refuse_changes(options, defaults, _MAY_CHANGE_WHEN_RESUMED)
        elif options.start is not None:
            check_encoder_name(options.start)
        refuse_idle(options.objective, options_given(sys.argv[1:]))
        resolve_device(options.device)
        train(options)


def train(options: Options) -> None:
    """Trains in a run folder."""
    set_threads(options.threads)
    from encoders.training.processes import decide_once

    label = run_folder.label_of(options.env, options.data_root)
    name = "-".join(filter(None, ("encoder", label, options.name)))
    folder = options.resume or decide_once(
        lambda: run_folder.create_run_folder(options.output, name), options.device
    )
    with run_folder.discarded_if_unused(folder, resumed=options.resume is not None):
        _train_in(folder, options)


def _train_in(folder: Path, options: Options) -> None:
    """Builds scenes, encoder and trainer, and runs."""
    from ave_env.registration import configure

    train_set, validation_set = (
        configure(
            options.env,
            split=split,
            data_root=options.data_root,
            seamless=options.seamless,
            image_size=options.image_size,
            cache_bytes=options.cache_bytes,
        ).open_scenes()
        for split in ("train", "val")
    )
    image_size = train_set.image_size
    with_head = train_set.labelled and options.objective != "dino"
    class_names = train_set.class_names if with_head else ()
    encoder, started_from = _encoder(folder, options, image_size, class_names)
    trainer = make_trainer(
        options.objective,
        encoder,
        train_set,
        validation_set,
        folder,
        training=options.training,
        distillation=options.dino,
        resumed=options.resume is not None,
        device=options.device,
        tensorboard_folder=options.tensorboard_log,
    )
    main_process = trainer.accelerator.is_main_process
    if options.resume is not None:
        trainer.resume()
    elif main_process:
        scenes = {"scenes": train_set.name, "num_scenes": len(train_set)}
        record = describe_run(options, made_by=COMMAND, **scenes)
        if started_from is not None:
            record["started_from"] = started_from
            start = f"starting from {started_from['encoder']} ({started_from['name']})"
            print("\n  ".join([start, *started_from["changes"]]))
        write_json(folder / RUN_FILE, record)
    before = len(trainer.history)
    with run_folder.noting_times(folder) if main_process else contextlib.nullcontext():
        metrics = trainer.run()
    if main_process:
        if len(trainer.history) == before and metrics:  # nothing was left to train
            print(trainer.table([metrics]))
        print(f"{folder}: step {trainer.step} of {trainer.total_steps}")
        if trainer.step < trainer.total_steps:
            print(f"interrupted and saved; continue with: {called_as()} --resume {folder}")


def _encoder(
    folder: Path, options: Options, image_size: tuple[int, int], class_names: tuple[str, ...]
) -> tuple[Any, dict[str, Any] | None]:
    """The encoder to train: that of the run to resume, one to start from, or a new one.

    Returns:
        The encoder; and, of one to start from, where it comes from and what was changed in it.

    Raises:
        ValueError: Weights that cannot be trained here, or do not have the sizes asked for.
    """
    from encoders import GlimpseEncoder, create_encoder
    from encoders.storage import load_encoder, weights_hash
    from encoders.training.family import Blueprint
    from encoders.training.loop import check_resumable

    if options.resume is not None:
        check_resumable(folder)
        return load_encoder(folder), None
    name = options.name or folder.name
    reducing = {name: getattr(options, name) for name in REDUCING}
    reducing = {name: value for name, value in reducing.items() if value is not None}
    if options.start is None:
        shape = options.shape
        if options.objective == "dino":
            shape = dataclasses.replace(shape, decoder_width=0)
        kind = training_of(options.family or _TORE)
        sizes = {**(kind.smoke_sizes if options.smoke else {}), **options.sizes}
        seed = options.training.seed
        new = kind.build(Blueprint(shape, sizes, name, image_size, class_names, seed))
        return (new.with_reduction(**reducing) if reducing else new), None
    source: Any = create_encoder(options.start, device="cpu")
    training_of(source.family)
    if options.family not in (None, source.family):
        raise ValueError(
            f"{options.start}: an encoder of the family {source.family!r}, and --family is "
            f"{options.family!r}; leave --family out"
        )
    if options.objective == "dino" and not isinstance(source, GlimpseEncoder):
        raise ValueError(
            f"{options.start}: an encoder of the family {source.family!r}; --objective dino is for "
            "those of the family 'tore'"
        )
    if isinstance(source, GlimpseEncoder):
        _check_sizes(options, source)
    elif reducing:
        raise ValueError(
            f"{options.start}: an encoder of the family {source.family!r}, which has no tokens to "
            "reduce; leave --reduction, --reduction-in and --max-tokens out"
        )
    found = {"encoder": options.start, "name": source.config.name, "hash": weights_hash(source)}
    encoder = source.resized(image_size)
    new_head = class_names != (encoder.config.class_names or ())
    if options.objective == "dino":
        encoder, new_head = encoder.without_heads(), encoder.config.num_classes > 0
    elif new_head:
        encoder = encoder.with_head(class_names, options.training.seed)
    if reducing:
        encoder = encoder.with_reduction(**reducing)
    changes = _changes(source, encoder, new_head, options.objective)
    encoder.config = dataclasses.replace(encoder.config, name=name)
    return encoder, {**found, "changes": changes}


def _check_sizes(options: Options, source: GlimpseEncoder) -> None:
    """Refuses sizes on the command line that are not those of the weights to start from.

    Raises:
        ValueError: A size that differs from its default and from that of the weights.
    """
    attention: Any = source.backbone.blocks[0].attn
    sizes = {
        "patch_size": source.config.patch_size,
        "width": source.width,
        "depth": source.depth,
        "num_heads": attention.num_heads,
        "attention": source.backbone.attention,
        "attention_order": source.config.vit.get("attention_order", "grid"),
    }
    if source.config.decoder is not None:
        decoder = dataclasses.asdict(source.config.decoder)
        sizes |= {f"decoder_{name}": value for name, value in decoder.items()}
    usual = EncoderShape()
    wrong = [
        f"{name}={getattr(options.shape, name)}, the weights have {size}"
        for name, size in sizes.items()
        if getattr(options.shape, name) not in (getattr(usual, name), size)
    ]
    if wrong:
        raise ValueError(
            f"{options.start}: {'; '.join(wrong)}; an encoder keeps the sizes of the weights it "
            "starts from: leave these options out"
        )


def _changes(source: Any, encoder: Any, new_head: bool, objective: Objective) -> list[str]:
    """What is not as in the weights that a run starts from, in sentences."""
    changes, old, new = [], source.config, encoder.config
    if old.image_size != new.image_size:
        sizes = ["{}x{}".format(*config.image_size) for config in (old, new)]
        what = "position tables are fitted" if source.family == _TORE else "scenes change"
        changes.append(f"{what} from {sizes[0]} to {sizes[1]} pixels")
    if objective == "dino":
        heads = ["the class head"] * new_head + ["the decoder"] * ("pixels" in source.outputs)
        if heads:
            left = "is" if len(heads) == 1 else "are"
            changes.append(f"{' and '.join(heads)} {left} left out: only features are trained")
    elif new_head and not new.num_classes:
        changes.append("the class head is left out: the scenes have no classes")
    elif new_head:
        before = f"the one for {old.num_classes} classes is left out"
        changes.append(
            f"the class head for {new.num_classes} classes is new"
            + (f"; {before}" if old.num_classes else "")
        )
    if any(getattr(old, name, None) != getattr(new, name, None) for name in REDUCING):
        described = [str(make_plan(vars(config))) or "none" for config in (old, new)]
        changes.append(f"tokens are reduced: {described[1]} (before: {described[0]})")
    if "pixels" not in source.outputs and objective != "dino":
        changes.append("there is no decoder: the class head alone is trained for")
    return changes


def _defaults(arguments: list[str]) -> Options:
    """What the options are that the command line leaves out: those of the run to resume, or tiny.

    Raises:
        ValueError: Not the folder of a run that can be resumed.
    """
    names = ("resume", "encoder", "init-from", "objective")
    given = given_options(arguments, *names, flags=("smoke",))
    if given is None:
        return Options()
    if given.resume is not None:
        return saved_options(Path(given.resume), Options(), COMMAND)
    distilled = given.objective == "dino"
    training = DINO_TRAINING if distilled else {}
    if not given.smoke:
        return Options(training=TrainingConfig(**training))
    new = given.encoder is None and given.init_from is None
    return Options(
        shape=_SMOKE_SHAPE if new else EncoderShape(),
        training=TrainingConfig(**training, **_SMOKE_TRAINING),
        dino=SMOKE_DISTILLATION if distilled else DistillationConfig(),
    )
