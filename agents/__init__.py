"""Who chooses the next glimpse: fixed orders, attention-map entropy, PPO, an oracle.

Names are imported on first use (see `__init__.pyi`), so that command lines can be parsed without
torch.
"""

import lazy_loader

from encoders.support.version import __version__

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __dir__() -> list[str]:
    return __all__
