"""Stateful Vision Transformer encoders for active visual exploration: tokens in, belief out.

Names are imported on first use (see `__init__.pyi`), so that the configuration classes cost no
import of torch.
"""

import lazy_loader

from encoders.support.threads import survive_forks
from encoders.support.version import __version__

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

survive_forks()


def __dir__() -> list[str]:
    return __all__
