from .configuration import Configuration as Configuration
from .env import ActiveExplorationEnv as ActiveExplorationEnv
from .registration import register_envs as register_envs
from .vector import ActiveExplorationVectorEnv as ActiveExplorationVectorEnv
