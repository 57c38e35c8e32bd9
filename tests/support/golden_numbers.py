"""Numbers computed by the authors' own code from tiny seeded weights, in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DTYPES = (torch.float64, torch.float32)


class Golden:
    """One file: weights and inputs in the precision asked for, and outputs to compare with."""

    def __init__(self, name: str, dtype: torch.dtype = torch.float32):
        self._arrays = np.load(Path(__file__).parents[1] / "golden" / f"{name}.npz")
        self.dtype = dtype

    def __contains__(self, key: str) -> bool:
        return key in self._arrays.files

    def __getitem__(self, key: str) -> Tensor:
        values = torch.from_numpy(self._arrays[key])
        return values.to(self.dtype) if values.is_floating_point() else values.long()

    @property
    def weights(self) -> dict[str, Tensor]:
        return {key[2:]: self[key] for key in self._arrays.files if key.startswith("w/")}

    def group(self, start: str) -> dict[str, Tensor]:
        """Everything whose key begins with `start`, by the rest of its key."""
        names = [key for key in self._arrays.files if key.startswith(start)]
        return {name.removeprefix(start): self[name] for name in names}

    def check(self, actual: Tensor, key: str) -> None:
        """Compares with the authors' numbers, as closely as the precision allows."""
        expected = torch.from_numpy(self._arrays[key]).double()
        assert actual.dtype == self.dtype
        scale = max(1.0, float(expected.abs().max()))
        tolerance = 1e-8 if self.dtype == torch.float64 else 3e-4 * scale
        torch.testing.assert_close(
            actual.double(),
            expected,
            rtol=0,
            atol=tolerance,
            msg=lambda message: f"{key}: {message}",
        )
