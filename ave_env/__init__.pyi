from .configuration import Configuration as Configuration
from .env import ActiveExplorationEnv as ActiveExplorationEnv
from .registration import register_envs as register_envs
from .sensors.registry import register_sensor as register_sensor
from .tasks.registry import register_task as register_task
from .vector import ActiveExplorationVectorEnv as ActiveExplorationVectorEnv

__version__: str
