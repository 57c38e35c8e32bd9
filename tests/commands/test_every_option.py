"""Every option of every command changes something: it reaches the part that uses it, or is refused.

The options are read off the parsers, so that a new one without a case below fails. What a command
line comes to is what arrives at the parts it is for: the environment's configuration, the learner
and its model, the trainer, the comparison, the writer of files. There it is written down instead of
being run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from noted_runs import Done, Notes, idle_cases, options_of, outcome, parameter_sum, plain
from panoramas import save_panorama_encoder

from agents.commands import eval_agent, merge, tracking, train_agent, train_encoder
from agents.evaluation import comparison
from agents.learning import run as training
from agents.learning.guided.learner import GuidedLearner
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from agents.reports import files, merging, tables
from ave_env.registration import configure
from ave_env.scenes import check, pack
from encoders.checkpoints import command as weights
from encoders.flops import report
from encoders.training import trainer
from encoders.training.distillation import trainer as distilling


def note_comparison(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    def evaluate(agents, env_id, settings, config=None, **more):
        notes["comparison"] = plain({"agents": list(agents), "config": config, **more})
        notes["compared in"] = plain(configure(env_id, **settings))

    patch.setattr(comparison, "evaluate_agents", evaluate)
    patch.setattr(files, "write_results", notes.of("results", "comparison folder"))
    patch.setattr(tables, "print_comparison", lambda comparison: None)


def plan_training(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    class NotedLearner(PpoLearner):
        """Makes its model as ever, and notes instead of learning."""

        def __init__(self, env, config, **keywords):
            super().__init__(env, config, **keywords)
            notes["learns in"] = plain({"rows": env.num_envs, "what": env.configuration})
            notes["learner"] = plain(keywords)
            names = "n_steps batch_size n_epochs gamma gae_lambda ent_coef vf_coef max_grad_norm"
            notes["model"] = {name: getattr(self.model, name) for name in names.split()} | {
                "clip_range": self.model.clip_range(1.0),
                "learning_rate": self.model.lr_schedule(1.0),
                "shape": plain(self.policy_config),
                "precision": str(self.policy.update_dtype),
                "plan": self.plan(1000),
                "guided by": None if self._guidance is None else plain(self._guidance.config),
            }

        @classmethod
        def recorded_name(cls):
            return "ppo"

        def learn(self, total_timesteps, between=None, progress=False):
            notes["learn"] = [total_timesteps, progress, parameter_sum(self.model.policy)]

    class NotedGuidedLearner(GuidedLearner):
        """Makes all its parts as ever, and notes instead of learning."""

        def __init__(self, env, config, **keywords):
            super().__init__(env, config, **keywords)
            guidance = self._imitation
            notes["guided by"] = plain(guidance.config) | {"plan": self.plan(1000)}
            notes["shape"] = plain(self.policy_config)

        @classmethod
        def recorded_name(cls):
            return "guided"

        def learn(self, total_timesteps, between=None, progress=False):
            notes["learn"] = [total_timesteps, progress, parameter_sum(self.policy)]

    class NotedTrainer:
        step = total_steps = 1

        def __init__(self, *parts, glimpses, **keywords):
            names = "encoder train validation config folder"
            notes["trainer"] = plain(dict(zip(names.split(), parts, strict=True)) | keywords)
            notes["tuned on"] = [glimpses.policy, plain(glimpses.configuration)]

        def run(self):
            return {}

    def note_environments(*given):
        made = environments(*given)
        notes["validated in"] = [made[1].num_envs, given[-1]]
        return made

    def note_checkpoints(learner, folder, validate, every, history):
        notes["validated every"] = every
        return type("Checkpoints", (), {"check": lambda self: None})()

    def note_tracking(*parts, **keywords):
        notes.of("tracking", "folder record")(*parts, **keywords)
        return contextlib.nullcontext()

    noted = {"ppo": NotedLearner, "guided": NotedGuidedLearner}
    environments, resolve = training._environments, training.LEARNERS.resolve
    patch.setattr(training.LEARNERS, "resolve", lambda name: noted.get(name) or resolve(name))
    patch.setattr(training, "EncoderTrainer", NotedTrainer)
    patch.setattr(training, "_environments", note_environments)
    patch.setattr(training, "Checkpoints", note_checkpoints)
    patch.setattr(tracking, "tracked", note_tracking)
    patch.setattr(train_agent, "set_threads", notes.of("threads", "number"))
    note_comparison(notes, patch)


def plan_evaluation(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    def note_run(prepared):
        notes["comparison"] = plain([prepared.sources, prepared.config])
        notes["compared in"] = plain(prepared.base)

    patch.setattr(comparison.PreparedComparison, "run", note_run)
    patch.setattr(files, "write_results", notes.of("results", "comparison folder"))
    patch.setattr(tables, "print_comparison", lambda comparison: None)
    patch.setattr(eval_agent, "set_threads", notes.of("threads", "number"))


def plan_encoder_training(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    def note_trainer(encoder, train, validation, config, folder, **keywords):
        notes["encoder"] = plain(encoder.config)
        notes["weights"] = parameter_sum(encoder)
        notes["scenes"] = [
            [each.name, len(each), each.seamless, *each.image_size, getattr(each, "max_bytes", 0)]
            for each in (train, validation)
        ]
        notes["trainer"] = plain({"config": config, "folder": folder, **keywords})
        raise Done

    def note_distillation(encoder, train, validation, config, folder, distillation, **keywords):
        notes["distillation"] = plain(distillation)
        note_trainer(encoder, train, validation, config, folder, **keywords)

    patch.setattr(trainer, "EncoderTrainer", note_trainer)
    patch.setattr(distilling, "DistillationTrainer", note_distillation)
    patch.setattr(train_encoder, "set_threads", notes.of("threads", "number"))


def plan_packing(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pack, "pack", notes.of("pack", "root out", stop=True))


def plan_checking(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(check, "check", notes.of("check", "root", stop=True))


def plan_flops(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    def note_costs(encoder, **keywords):
        notes["encoder"] = plain(encoder.config)
        notes["costs"] = plain(keywords)

    patch.setattr(report, "episode_costs", note_costs)
    patch.setattr(report, "print_costs", lambda costs: None)
    patch.setattr(report, "draw_costs", notes.of("picture", "costs path"))


def plan_weights(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(weights, "inspect", notes.of("inspect", "path options", stop=True))
    patch.setattr(weights, "convert", notes.of("convert", "path out options", stop=True))


def plan_merging(notes: Notes, patch: pytest.MonkeyPatch) -> None:
    merged = type("Merged", (), {"write": notes.of("written", "folder")})
    patch.setattr(merging, "merge_runs", notes.of("merged", "runs", result=merged))
    patch.setattr(tables, "print_merged", lambda merged: None)


@dataclasses.dataclass(frozen=True)
class Command:
    """A command, up to where it begins to work.

    Attributes:
        main: Its function.
        plan: Puts stand-ins in the place of the parts that work.
        base: A command line; the words in capitals are the places that the test knows.
        cases: By option what to add to it; behind a bar, what is added to both lines compared.
            Behind "=", a line of its own to compare with the base.
        refused: By option, what to add and what is said.
    """

    main: Callable[[], Any]
    plan: Callable[[Notes, pytest.MonkeyPatch], None]
    base: str
    cases: Mapping[str, str]
    refused: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)


ENVIRONMENT = {
    "env": "--env AVE-SUN360-v0",
    "task": "--task reconstruction",
    "seamless": "--seamless True",
    "encoder": "--encoder tore-nano",
    "encoder_options": "--encoder-options split_block=2",
    "split_block": "--split-block 2",
    "reduction": "--reduction tome:r=2",
    "reduction_in": "--reduction-in both --reduction tome:r=2",
    "max_tokens": "--max-tokens 9",
    "image_size": "--image-size 32 64",
    "glimpse_size": "--glimpse-size 1",
    "num_glimpses": "--num-glimpses 2",
    "wrap_azimuth": "--wrap-azimuth True",
    "overlap": "--overlap keep",
    "cache_bytes": "--cache-bytes 0",
    "device": "--device cpu",
    "precision": "--precision bfloat16",
    "threads": "--threads 1",
}
REFUSED = {
    "sensor": ("--sensor gird", "did you mean 'grid'"),
    "sensor_options": ("--sensor-options scale=2", "the options of the sensor 'grid'"),
    "patch_size": ("--patch-size 8", "has patches of 16 pixels"),
    "data_root": ("--data-root nowhere", "synthetic scenes read no files"),
    "list_file": ("--list-file nowhere", "synthetic scenes read no files"),
}
TUNED = "| --policy random"
LEARNT = "| -n 12 --n-envs 4"
GUIDED = f"{LEARNT} --policy guided"
DISTILLED = "| --objective dino"
DISTILLATION = {
    "local_crops": "local-crops 3",
    "local_size": "local-size 32 32",
    "global_scale": "global-scale 0.3 0.9",
    "local_scale": "local-scale 0.1 0.3",
    "flip": "flip 0.3",
    "color_jitter": "color-jitter 0.3",
    "grayscale": "grayscale 0.3",
    "blur": "no-blur",
    "solarize": "solarize 0.3",
    "head_hidden": "head-hidden 3",
    "head_bottleneck": "head-bottleneck 3",
    "head_outputs": "head-outputs 3",
    "head_normalised": "no-head-normalised",
    "head_from": "head-from FILE",
    "student_temperature": "student-temperature 0.3",
    "teacher_temperature": "teacher-temperature 0.3",
    "teacher_temperature_start": "teacher-temperature-start 0.3",
    "teacher_temperature_warmup": "teacher-temperature-warmup 0.5",
    "centering": "no-centering",
    "center_momentum": "center-momentum 0.3",
    "teacher_momentum": "teacher-momentum 0.3",
    "teacher_momentum_end": "teacher-momentum-end 0.3",
    "weight_decay_end": "weight-decay-end 0.3",
    "learning_rate_end": "learning-rate-end 0.3",
    "freeze_last_layer": "freeze-last-layer 3",
    "clip_gradients": "clip-gradients 0.3",
    "divide_student": "no-divide-student",
    "parts": "parts 2 4",
    "knn_neighbours": "knn-neighbours 3",
    "knn_bank": "knn-bank 3",
}

COMMANDS = {
    "train_agent.py": Command(
        train_agent.main,
        plan_training,
        "--encoder ENCODER --num-glimpses 3 --eval-scenes 4 --no-progress --output OUT",
        {
            **{name: f"{words} {LEARNT}" for name, words in ENVIRONMENT.items()},
            "stop_when_all_seen": f"--stop-when-all-seen True {TUNED}",
            "policy": "--policy raster",
            "conf_file": f"--conf-file YAML {LEARNT}",
            "seed": f"--seed 1 {LEARNT}",
            "total_timesteps": "-n 24 | --n-envs 4",
            "n_envs": "--n-envs 5 | -n 12",
            "eval_freq": f"--eval-freq 7 {LEARNT}",
            "agents": f"--agents raster {LEARNT}",
            "eval_scenes": f"--eval-scenes 3 {LEARNT}",
            "episodes": f"--episodes 5 {LEARNT}",
            "output": f"--output OUT/deeper {LEARNT}",
            "init_from": f"--init-from AGENT {LEARNT}",
            "smoke": f"--smoke {LEARNT}",
            "progress": f"--progress {LEARNT}",
            "tensorboard_log": f"--tensorboard-log OUT/events {LEARNT}",
            "track": f"--track {LEARNT}",
            "wandb_project_name": f"--wandb-project-name mine {LEARNT} --track",
            "wandb_entity": f"--wandb-entity me {LEARNT} --track",
            "learner_options": f"--learner-options gamma=0.3 {LEARNT}",
            "ppo.learning_rate": f"--ppo.learning-rate 0.1 {LEARNT}",
            "ppo.batch_size": f"--ppo.batch-size 6 {LEARNT}",
            "ppo.n_epochs": f"--ppo.n-epochs 4 {LEARNT}",
            "ppo.gamma": f"--ppo.gamma 0.3 {LEARNT}",
            "ppo.gae_lambda": f"--ppo.gae-lambda 0.3 {LEARNT}",
            "ppo.clip_range": f"--ppo.clip-range 0.3 {LEARNT}",
            "ppo.ent_coef": f"--ppo.ent-coef 0.3 {LEARNT}",
            "ppo.vf_coef": f"--ppo.vf-coef 0.3 {LEARNT}",
            "ppo.max_grad_norm": f"--ppo.max-grad-norm 0.3 {LEARNT}",
            "ppo.guided_share": f"--ppo.guided-share 0 {LEARNT}",
            "ppo.guided_batch_size": f"--ppo.guided-batch-size 6 {LEARNT}",
            "ppo.precision": f"--ppo.precision float32 {LEARNT}",
            "ppo.policy_width": f"--ppo.policy-width 8 {LEARNT}",
            "ppo.policy_overview": f"--ppo.policy-overview 8 {LEARNT}",
            "ppo.policy_surroundings": f"--ppo.policy-surroundings 8 {LEARNT}",
            "guided.learning_rate": f"--guided.learning-rate 0.1 {GUIDED}",
            "guided.weight_decay": f"--guided.weight-decay 0.1 {GUIDED}",
            "guided.batch_size": f"--guided.batch-size 6 {GUIDED}",
            "guided.n_epochs": f"--guided.n-epochs 4 {GUIDED}",
            "guided.sharpness": f"--guided.sharpness 3 {GUIDED}",
            "guided.greedy_share": f"--guided.greedy-share 0.3 {GUIDED}",
            "guided.first_glimpse_share": f"--guided.first-glimpse-share 0.3 {GUIDED}",
            "guided.look_ahead_share": f"--guided.look-ahead-share 0.3 {GUIDED}",
            "guided.look_ahead_rows": f"--guided.look-ahead-rows 0.3 {GUIDED}",
            "guided.look_ahead_windows": f"--guided.look-ahead-windows 3 {GUIDED}",
            "guided.look_ahead_temperature": f"--guided.look-ahead-temperature 3 {GUIDED}",
            "guided.gamma": f"--guided.gamma 0.3 {GUIDED}",
            "guided.vf_coef": f"--guided.vf-coef 0.3 {GUIDED}",
            "guided.max_grad_norm": f"--guided.max-grad-norm 0.3 {GUIDED}",
            "guided.precision": f"--guided.precision float32 {GUIDED}",
            "guided.policy_width": f"--guided.policy-width 8 {GUIDED}",
            "guided.policy_overview": f"--guided.policy-overview 8 {GUIDED}",
            "guided.policy_surroundings": f"--guided.policy-surroundings 8 {GUIDED}",
            "finetuning.epochs": f"--finetuning.epochs 3 {TUNED}",
            "finetuning.epoch_size": f"--finetuning.epoch-size 3 {TUNED}",
            "finetuning.batch_size": f"--finetuning.batch-size 3 {TUNED}",
            "finetuning.learning_rate": f"--finetuning.learning-rate 3 {TUNED}",
            "finetuning.weight_decay": f"--finetuning.weight-decay 3 {TUNED}",
            "finetuning.warmup": f"--finetuning.warmup 0.3 {TUNED}",
            "finetuning.reconstruction_weight": f"--finetuning.reconstruction-weight 3 {TUNED}",
            "finetuning.label_smoothing": f"--finetuning.label-smoothing 0.3 {TUNED}",
            "finetuning.split_block": f"--finetuning.split-block 1 {TUNED}",
            "finetuning.curriculum": f"--finetuning.curriculum 0.3 {TUNED}",
            "finetuning.num_workers": f"--finetuning.num-workers 3 {TUNED}",
            "finetuning.validation_size": f"--finetuning.validation-size 3 {TUNED}",
        },
        {
            **REFUSED,
            "resume": ("--resume RUN", "a run is resumed with its own options"),
        },
    ),
    "eval_agent.py": Command(
        eval_agent.main,
        plan_evaluation,
        "--encoder ENCODER --num-glimpses 3 --agents random --no-progress --output OUT",
        {
            **ENVIRONMENT,
            "stop_when_all_seen": "--stop-when-all-seen True",
            "agents": "--agents raster",
            "split": "--split val",
            "scene_seed": "--scene-seed 1",
            "scenes": "--scenes 3",
            "num_envs": "--num-envs 3",
            "allow_other_encoder": "--allow-other-encoder",
            "seed": "--seed 1",
            "stop_confidence": "--stop-confidence 0.5",
            "episodes": "--episodes 3",
            "output": "--output OUT/deeper",
            "progress": "--progress",
            "smoke": "--smoke",
        },
        {
            **REFUSED,
            "resume": ("--resume RUN", "made by train_agent.py"),
        },
    ),
    "train_encoder.py": Command(
        train_encoder.main,
        plan_encoder_training,
        "--width 16 --depth 1 --num-heads 2 --output OUT",
        {
            "env": "--env AVE-SUN360-v0",
            "data_root": "--data-root OTHER | --env AVE-ImageFolder-v0 --data-root FOLDER",
            "seamless": "--seamless True | --env AVE-ImageFolder-v0 --data-root FOLDER",
            "image_size": "--image-size 32 64",
            "family": "= --family convmixer --sizes width=8 depth=1 --output OUT",
            "sizes": "= --family convmixer --sizes width=8 depth=2 --output OUT",
            "encoder": "= --encoder ENCODER --output OUT",
            "init_from": "= --init-from ENCODER --output OUT",
            "reduction": "--reduction tome:r=2",
            "reduction_in": "--reduction-in both --reduction tome:r=2",
            "max_tokens": "--max-tokens 9",
            "name": "--name mine",
            "output": "--output OUT/deeper",
            "smoke": "--smoke",
            "device": "--device cpu",
            "threads": "--threads 1",
            "cache_bytes": "--cache-bytes 0 | --env AVE-Panoramas-v0",
            "tensorboard_log": "--tensorboard-log OUT/events",
            "reduction_warmup": "--reduction-warmup 0.1",
            "reduction_full": "--reduction-full 0.5",
            "sparse_branch": "--sparse-branch 0.2",
            "attention": "--attention angular",
            "attention_order": "--attention-order arrival --attention angular",
            "ponder_weight": "--ponder-weight 0.1",
            "distribution_weight": "--distribution-weight 0.1",
            "teacher": "--teacher RUN",
            "imitation_weight": "--imitation-weight 0.1",
            "distillation_weight": "--distillation-weight 0.1",
            "patch_size": "--patch-size 8",
            "width": "--width 8",
            "depth": "--depth 2",
            "num_heads": "--num-heads 4",
            "decoder_width": "--decoder-width 4",
            "decoder_depth": "--decoder-depth 2",
            "decoder_num_heads": "--decoder-num-heads 1",
            "objective": "--objective dino",
            **{
                f"dino.{name}": f"--dino.{words} {DISTILLED}"
                for name, words in DISTILLATION.items()
            },
            "epochs": "--epochs 3",
            "epoch_size": "--epoch-size 3",
            "batch_size": "--batch-size 3",
            "learning_rate": "--learning-rate 3",
            "weight_decay": "--weight-decay 3",
            "warmup": "--warmup 0.3",
            "reconstruction_weight": "--reconstruction-weight 3",
            "label_smoothing": "--label-smoothing 0.3",
            "split_block": "--split-block 1",
            "glimpse_size": "--glimpse-size 3",
            "max_glimpses": "--max-glimpses 3",
            "full_view_probability": "--full-view-probability 0.3",
            "blind_probability": "--blind-probability 0.3",
            "curriculum": "--curriculum 0.3",
            "precision": "--precision bfloat16",
            "seed": "--seed 3",
            "num_workers": "--num-workers 3",
            "validation_size": "--validation-size 3",
            "progress": "--no-progress",
        },
        {"resume": ("--resume RUN", "made by train_agent.py")},
    ),
    "ave-pack": Command(
        pack.main,
        plan_packing,
        "FOLDER OUT.h5",
        {
            "root": "= OTHER OUT.h5",
            "out": "= FOLDER OUT2.h5",
            "source": "--source imagenet",
            "list_file": "--list-file list.txt",
            "workers": "--workers 3",
            "seamless": "--seamless",
            "image_size": "--image-size 8 8",
            "image_format": "--image-format png",
            "quality": "--quality 30",
            "skip_broken": "--skip-broken",
        },
    ),
    "ave-check": Command(
        check.main,
        plan_checking,
        "FOLDER",
        {
            "root": "= OTHER",
            "source": "--source imagenet",
            "list_file": "--list-file list.txt",
            "workers": "--workers 3",
        },
    ),
    "ave-merge": Command(
        merge.main,
        plan_merging,
        "RUN --output OUT",
        {"runs": "= RUN OTHER --output OUT", "output": "--output OUT/deeper"},
    ),
    "encoders.flops": Command(
        report.main,
        plan_flops,
        "--encoder ENCODER --output OUT.png",
        {
            "encoder": "--encoder tore-nano",
            "regime": "--regime tore-224x224-12x32",
            "image_size": "--image-size 64 64",
            "glimpse_size": "--glimpse-size 1",
            "num_glimpses": "--num-glimpses 3",
            "split_blocks": "--split-blocks 1 3",
            "decoder": "--decoder 32 2",
            "heavy_decoder": "--heavy-decoder 64 2",
            "outputs": "--outputs latent",
            "charge_prior": "--charge-prior",
            "output": "--output OUT2.png",
        },
    ),
    "encoders.checkpoints": Command(
        weights.main,
        plan_weights,
        "convert FILE OUT",
        {
            "command": "= inspect FILE",
            "path": "= convert OTHER OUT",
            "out": "= convert FILE OUT2",
            "image_size": "--image-size 8 8",
            "trained_size": "--trained-size 8 8",
            "num_heads": "--num-heads 3",
            "decoder_num_heads": "--decoder-num-heads 3",
            "class_names": "--class-names NAMES",
            "branch": "--branch teacher",
            "timm_model": "--timm-model vit_tiny",
            "mean": "--mean 0 0 0",
            "std": "--std 1 1 1",
            "activation": "--activation gelu",
            "norm_eps": "--norm-eps 1e-3",
            "norm_pix_loss": "--norm-pix-loss",
            "patch_size": "--patch-size 8",
            "repeats": "--repeats 2",
        },
    ),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the words in capitals stand for."""
    from scene_trees import make_tree

    root = tmp_path_factory.mktemp("places")
    encoder = save_panorama_encoder(root / "encoder")
    (root / "mine.yml").write_text("seed: 3\n")
    (root / "names.txt").write_text("one\ntwo\n")
    splits = ("train", "val", "test")
    images = {f"{split}/{name}": 2 for split in splits for name in ("a", "b")}
    (root / "run").mkdir()
    record = {"made_by": "train_agent", "configuration": {}}
    (root / "run" / "run.json").write_text(json.dumps(record))
    configuration = configure(
        "AVE-Synthetic-v0",
        **{"encoder": str(encoder), "image_size": (64, 128), "num_glimpses": 3},
        observe=PpoLearner.agent_class.required,
    )
    from ave_env.vector import ActiveExplorationVectorEnv

    env = ActiveExplorationVectorEnv(4, configuration=configuration, autoreset_mode="SAME_STEP")
    PpoLearner(env, PpoConfig(), seed=9).save(root / "agent")
    return {
        "ENCODER": encoder,
        "YAML": root / "mine.yml",
        "NAMES": root / "names.txt",
        "AGENT": root / "agent",
        "RUN": root / "run",
        "FOLDER": make_tree(root / "folder", images),
        "OTHER": make_tree(root / "other", dict.fromkeys(images, 3)),
        "FILE": root / "file.pth",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_changes_what_it_is_for(name, places, tmp_path, monkeypatch):
    command = COMMANDS[name]
    with monkeypatch.context() as patch:
        known = options_of(command.main, [], patch)
    # An option without a case above, or a case of an option that is no more:
    assert known == {*command.cases, *command.refused}
    plans: dict[str, str] = {}

    def plan(words: str) -> str:
        if words not in plans:
            out = tmp_path / str(len(plans))
            plans[words] = outcome(command.main, command.plan, words, places, out)
        return plans[words]

    assert not idle_cases(command.base, command.cases, plan)
    for option, (words, said) in command.refused.items():
        assert said in plan(f"{command.base} {words}"), option
