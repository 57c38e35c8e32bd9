"""Weights in: every format known here becomes an encoder.

`python -m encoders.checkpoints` inspects and converts files. What is written is the folder of
`encoders.storage`, whose functions are also offered here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
