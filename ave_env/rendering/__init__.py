"""Pictures of an episode, for people: the scene, the glimpses, the belief and what it cost.

`draw` turns one `Snapshot` into one RGB frame; `save_gif` turns frames into an animation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
