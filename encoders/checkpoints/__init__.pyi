from .importing import build_from_state_dict as build_from_state_dict
from .importing import find_encoder_folder as find_encoder_folder
from .importing import import_encoder as import_encoder
from .importing import load_encoder as load_encoder
from .importing import load_strictly as load_strictly
from .importing import save_encoder as save_encoder
from .importing import weights_hash as weights_hash
from .weight_files import CheckpointError as CheckpointError
