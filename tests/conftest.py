"""Settings of the whole suite."""

from __future__ import annotations

import torch

# Two workers on few cores: threads of their own would only wait for each other.
torch.set_num_threads(1)
