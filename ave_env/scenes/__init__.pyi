from .arrays import ArrayScenes as ArrayScenes
from .base import Scenes as Scenes
from .errors import SceneError as SceneError
from .sources import SOURCES as SOURCES
from .sources import open_scenes as open_scenes
