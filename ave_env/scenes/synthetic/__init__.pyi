from .panoramas import SyntheticScenes as SyntheticScenes
