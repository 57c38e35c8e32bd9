"""Active visual exploration as Gymnasium environments.

Importing this package registers the environments and nothing more: what an environment needs
(OpenCV, h5py, torch) is imported when one is made.
"""

from typing import TYPE_CHECKING, Any

from ave_env.registration import register_envs

if TYPE_CHECKING:
    from ave_env.configuration import Configuration
    from ave_env.env import ActiveExplorationEnv
    from ave_env.vector import ActiveExplorationVectorEnv

__all__ = [
    "ActiveExplorationEnv",
    "ActiveExplorationVectorEnv",
    "Configuration",
    "register_envs",
]

_MODULES = {
    "ActiveExplorationEnv": "ave_env.env",
    "ActiveExplorationVectorEnv": "ave_env.vector",
    "Configuration": "ave_env.configuration",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register_envs()
