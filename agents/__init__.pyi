from .base import Agent as Agent
from .evaluation.comparison import evaluate_agents as evaluate_agents
from .evaluation.config import EvaluationConfig as EvaluationConfig
from .hub import load_agent as load_agent
from .learning.glimpse_features import GlimpseFeatures as GlimpseFeatures
from .learning.learner import Learner as Learner
from .learning.trained import TrainedAgent as TrainedAgent
from .learning.vec_env import GlimpseVecEnv as GlimpseVecEnv
from .registry import list_agents as list_agents
from .registry import make_agent as make_agent
from .registry import register_agent as register_agent
from .registry import register_learner as register_learner
from .registry import required_observables as required_observables

__version__: str
