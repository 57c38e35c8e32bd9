"""Who chooses the next glimpse: fixed orders, attention-map entropy, PPO, an oracle.

Names are imported on first use (see `__init__.pyi`), so that command lines can be parsed without
torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
