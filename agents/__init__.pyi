from .base import Agent as Agent
from .learning.vec_env import GlimpseVecEnv as GlimpseVecEnv
from .registry import list_agents as list_agents
from .registry import make_agent as make_agent
from .registry import required_observables as required_observables
