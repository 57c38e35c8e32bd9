"""What validations during training found, kept as `evaluations.npz`.

The file holds what Stable-Baselines3's `EvalCallback` writes and the plots of rl-baselines3-zoo
read: `timesteps [V]`, `results [V, N]` (returns), `ep_lengths [V, N]` and `successes [V, N]`; and
`scores [V]`, by which the best agent is chosen.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np

from agents.evaluation.walk import Evaluation
from encoders.support.files import write_bytes

VALIDATIONS_FILE = "evaluations.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class Validation:
    """How an agent did in N scenes at one time of its training.

    Attributes:
        score: More is better.
        returns: Sum of rewards of each episode, float64 `[N]`.
        lengths: Glimpses of each episode, int64 `[N]`.
        successes: Whether each ended with the right class, bool `[N]`; all false for other tasks.
    """

    score: float
    returns: np.ndarray
    lengths: np.ndarray
    successes: np.ndarray

    @classmethod
    def of(cls, evaluation: Evaluation) -> Validation:
        """What an evaluation found.

        Raises:
            ValueError: The head is untrained.
        """
        score, returns = evaluation.final_score(), evaluation.returns()
        assert returns is not None  # there is a score
        count, correct = evaluation.num_scenes, evaluation.columns.get("correct")
        return cls(
            score,
            returns,
            np.full(count, evaluation.num_glimpses),
            np.zeros(count, np.bool_) if correct is None else correct[:, -1],
        )


class ValidationHistory:
    """The validations of a run, in the order of its environment steps.

    Attributes:
        timesteps: Environment steps before each.
        validations: What each found.
    """

    def __init__(self) -> None:
        self.timesteps: list[int] = []
        self.validations: list[Validation] = []

    @property
    def best(self) -> float:
        """The highest score; minus infinity before the first validation."""
        return max((each.score for each in self.validations), default=-np.inf)

    def add(self, timesteps: int, validation: Validation) -> None:
        """Appends a validation."""
        self.timesteps.append(timesteps)
        self.validations.append(validation)

    @classmethod
    def load(cls, folder: Path, until: int) -> ValidationHistory:
        """Reads the file of a folder; empty if there is none.

        Args:
            folder: Run folder.
            until: Environment steps to continue from: later validations will be made again.
        """
        history = cls()
        path = folder / VALIDATIONS_FILE
        if not path.is_file():
            return history
        with np.load(path, allow_pickle=False) as saved:
            columns = (saved[name] for name in ("scores", "results", "ep_lengths", "successes"))
            for timesteps, score, *fields in zip(saved["timesteps"], *columns, strict=True):
                if timesteps <= until:
                    history.add(int(timesteps), Validation(float(score), *fields))
        return history

    def save(self, folder: Path) -> None:
        """Writes the file, which appears whole or not at all."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            timesteps=np.array(self.timesteps, np.int64),
            scores=np.array([each.score for each in self.validations]),
            results=np.stack([each.returns for each in self.validations]),
            ep_lengths=np.stack([each.lengths for each in self.validations]),
            successes=np.stack([each.successes for each in self.validations]),
        )
        write_bytes(folder / VALIDATIONS_FILE, buffer.getvalue())
