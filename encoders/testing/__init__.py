"""Laws that encoders keep, for a user's own encoder to be held to.

Neither pytest nor hypothesis is needed. Names are listed in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
