"""Where tensors live: the names of devices, and whether this machine has them.

Imports torch in a function only, so that commands can check a name before they start anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_ALLOWED = "auto, cpu, cuda, cuda:N or mps"


def check_device_name(device: str) -> None:
    """Refuses a name that stands for no device, whether this machine has it or not.

    Raises:
        ValueError: The name is not auto, cpu, cuda, cuda:N or mps.
    """
    if not _NAMES.fullmatch(device):
        raise ValueError(f"device={device!r}; expected {_ALLOWED}")


def resolve_device(device: str | torch.device) -> torch.device:
    """The device that a name stands for; "auto" is a GPU where there is one and else the CPU.

    Args:
        device: auto, cpu, cuda, cuda:N or mps, or the device itself.

    Raises:
        ValueError: Another name, or a device that this machine does not have.
    """
    import torch

    name = str(device)
    check_device_name(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = torch.device(name)
    if here.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={name!r}: this machine has none; expected auto or cpu")
    if here.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ValueError(
                f"device={name!r}: PyTorch finds no CUDA GPU on this machine (no GPU, no driver, "
                "or a PyTorch without CUDA); expected auto or cpu"
            )
        if here.index is not None and here.index >= count:
            raise ValueError(
                f"device={name!r}: this machine has {count} CUDA GPU{'s' * (count > 1)}, cuda:0"
                + (f" to cuda:{count - 1}" if count > 1 else "")
            )
    return here
