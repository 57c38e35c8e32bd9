from .animation import save_gif as save_gif
from .figure import draw as draw
from .snapshot import Snapshot as Snapshot
