"""Settings of the whole suite."""

from __future__ import annotations

import signal

import torch

# A shell that starts the suite in the background has it ignore Ctrl-C, and commands started by
# tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two workers on few cores: threads of their own would only wait for each other.
torch.set_num_threads(1)
