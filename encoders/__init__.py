"""Stateful Vision Transformer encoders for active visual exploration: tokens in, belief out.

Names are imported on first use (see `__init__.pyi`), so that the configuration classes cost no
import of torch.
"""

import lazy_loader

from encoders.support.threads import survive_forks

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

survive_forks()
