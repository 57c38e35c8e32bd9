"""Pictures of an episode, for people: the scene, the glimpses, the belief and what it cost.

``draw`` turns one ``Snapshot`` into one RGB frame; ``save_gif`` turns frames into an animation.
"""

from ave_env.rendering.animation import save_gif
from ave_env.rendering.figure import draw
from ave_env.rendering.snapshot import Snapshot

__all__ = ["Snapshot", "draw", "save_gif"]
