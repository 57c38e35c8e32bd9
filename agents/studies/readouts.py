"""How classes are read off features: with the encoder's own head, or with a linear probe."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from agents.studies.options import ReadoutName
from agents.studies.subjects import SceneSet, Subject, batches, open_training_scenes
from encoders.analysis.divided import DividedFeatures
from encoders.analysis.probe import LinearProbe, fit_probe
from encoders.layers.divisions import Division, divisions

READOUTS: tuple[ReadoutName, ...] = ("own", "probe", "sampled")

TITLES: Mapping[str, str] = {
    "own": "the encoder's own head",
    "probe": "linear probe trained at (K, M) = (0, 1)",
    "sampled": "linear probe trained with K and M sampled",
}


class Readout(abc.ABC):
    """From features to classes.

    Attributes:
        name: In tables.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def predict(self, features: DividedFeatures) -> Tensor:
        """The most probable class, int64 `[B]` on the CPU."""


class OwnHead(Readout):
    """The class head that the encoder came with."""

    name = "own"

    def predict(self, features: DividedFeatures) -> Tensor:
        """The class of the highest logit."""
        assert features.logits is not None  # `available` has seen to it
        return features.logits.argmax(1).cpu()


class Probe(Readout):
    """A linear probe trained at (0, 1)."""

    name = "probe"

    def __init__(self, probe: LinearProbe) -> None:
        self.probe = probe

    def predict(self, features: DividedFeatures) -> Tensor:
        """The class of the probe's highest logit."""
        return self.probe(features.latent.float()).argmax(1)


class SampledProbe(Probe):
    """A linear probe trained with K and M sampled."""

    name = "sampled"


def available(
    subject: Subject, scenes: SceneSet, asked: Sequence[ReadoutName] | None
) -> tuple[list[ReadoutName], str | None]:
    """The readouts that a study can be made with.

    Args:
        subject: The encoder.
        scenes: Whose classes.
        asked: Those asked for; None = all that there are.

    Returns:
        Their names; and why the encoder's own head is left out, None where it is not.

    Raises:
        ValueError: Its own head is asked for, and was not trained for these classes.
    """
    config = subject.encoder.config
    if "logits" not in subject.encoder.outputs:
        why = f"encoder {subject.name!r} has no class head"
    elif config.class_names != tuple(scenes.scenes.class_names):
        why = (
            f"the class head of encoder {subject.name!r} was not trained for the "
            f"{len(scenes.scenes.class_names)} classes of the {scenes.scenes.name!r} scenes"
        )
    else:
        return list(READOUTS if asked is None else asked), None
    if asked is None:
        return [name for name in READOUTS if name != "own"], why + ": probes alone are trained"
    if "own" in asked:
        raise ValueError(f"{why}; choose another readout: probe or sampled")
    return list(asked), None


def fit_readouts(
    subject: Subject,
    names: Sequence[ReadoutName],
    training: SceneSet | None,
    *,
    parts: tuple[int, ...] | None = None,
    draws: int = 2,
    weight_decay: float = 1e-3,
) -> list[Readout]:
    """Makes readouts; probes are trained on features of training scenes.

    Args:
        subject: The encoder.
        names: Which.
        training: Scenes to learn from; None where no probe is asked for.
        parts: Numbers of parts M to sample; None = all that the grid can be divided into.
        draws: Times that every scene is seen by the probe with K and M sampled, each time at
            another K and M.
        weight_decay: Of probes, see `encoders.analysis.probe.fit_probe`.
    """
    made: list[Readout] = []
    for name in names:
        if name == "own":
            made.append(OwnHead())
            continue
        assert training is not None  # whoever asks for probes opens them
        if name == "probe":
            features, labels = _plain_features(subject, training)
        else:
            features, labels = _sampled_features(subject, training, parts, draws)
        classes = len(training.scenes.class_names)
        fitted = fit_probe(features, labels, classes, weight_decay=weight_decay)
        made.append(Probe(fitted) if name == "probe" else SampledProbe(fitted))
    return made


def _plain_features(subject: Subject, training: SceneSet) -> tuple[Tensor, Tensor]:
    """Features `[N, D]` and labels `[N]` at (0, 1)."""
    found = []
    options = subject.options
    title = "training scenes at (0, 1)"
    for rows in batches(training, options.batch_size, title=title, progress=options.progress):
        features = subject.features(training.images(rows), Division(1), [0])[0]
        found.append(features.latent.float().cpu())
    return torch.cat(found), torch.from_numpy(training.labels)


def _sampled_features(
    subject: Subject, training: SceneSet, parts: tuple[int, ...] | None, draws: int
) -> tuple[Tensor, Tensor]:
    """Features `[draws * N, D]` and labels, every batch at a K and M of its own.

    As TORE is trained: K is uniform over 0 to depth, M over the numbers of parts, and both
    orientations are equally likely.
    """
    options, grid = subject.options, subject.encoder.grid
    ways: dict[int, list[Division]] = {}
    for way in divisions(grid, parts):
        ways.setdefault(way.parts, []).append(way)
    counts = list(ways)
    found, labels = [], []
    for draw in range(draws):
        rng = np.random.default_rng([options.seed, draw])
        # Splits are often sorted by class; batches must not be, for each has one K and M.
        order = rng.permutation(len(training))
        title = f"training scenes at sampled K and M, {draw + 1} of {draws}"
        for rows in batches(
            training, options.batch_size, title=title, progress=options.progress, order=order
        ):
            split = int(rng.integers(subject.depth + 1))
            oriented = ways[counts[int(rng.integers(len(counts)))]]
            way = oriented[int(rng.integers(len(oriented)))]
            features = subject.features(training.images(rows), way, [split])[split]
            found.append(features.latent.float().cpu())
            labels.append(torch.from_numpy(training.labels[rows]))
    return torch.cat(found), torch.cat(labels)


class OneReadout:
    """The readout of a study that has one; a probe is trained when it is first needed.

    Attributes:
        name: Which.
        why: A sentence about why it is not the encoder's own head; None where nobody needs one.
        sets: Scenes that a probe learns from.
    """

    def __init__(
        self, subject: Subject, name: ReadoutName, why: str | None, training: SceneSet | None
    ) -> None:
        self.name, self.why = name, why
        self.sets = [] if training is None else [training]
        self._subject, self._training = subject, training
        self._made: Readout | None = None

    def get(self) -> Readout:
        """The readout, trained where it has to be."""
        if self._made is None:
            (self._made,) = fit_readouts(self._subject, [self.name], self._training)
        return self._made


def open_one_readout(
    subject: Subject, scenes: SceneSet, asked: ReadoutName | None, *, most: int | None
) -> OneReadout:
    """Chooses a readout, and opens what a probe learns from.

    Args:
        subject: The encoder.
        scenes: Whose classes.
        asked: Which; None = the encoder's own head where it was trained for these classes, else a
            probe trained at (0, 1).
        most: Most scenes that a probe learns from; None = the whole training split.

    Raises:
        ValueError: The encoder's own head is asked for, and was not trained for these classes.
    """
    names, why = available(subject, scenes, None if asked is None else [asked])
    name = names[0]
    if why is not None:
        why = f"{why.partition(':')[0]}: classes are read with a {TITLES[name]}"
    training = None
    if name != "own":
        training = open_training_scenes(subject, most)
    return OneReadout(subject, name, why, training)
