"""Active visual exploration as Gymnasium environments.

Importing this package registers the environments and nothing more: what an environment needs
(OpenCV, h5py, torch) is imported when one is made. Names are listed in `__init__.pyi`.
"""

import lazy_loader

from ave_env.registration import register_envs
from encoders.support.threads import survive_forks
from encoders.support.version import __version__

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

register_envs()
survive_forks()


def __dir__() -> list[str]:
    return __all__
