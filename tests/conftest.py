"""Settings of the whole suite."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

# Two workers on few cores: threads of their own would only wait for each other.
torch.set_num_threads(1)
