from . import checkpoints as checkpoints
from .config import DecoderConfig as DecoderConfig
from .config import EncoderConfig as EncoderConfig
from .create import create_encoder as create_encoder
from .create import list_encoders as list_encoders
from .families.tore.build import build_encoder as build_encoder
from .families.tore.build import replace_head as replace_head
from .families.tore.build import resize_grid as resize_grid
from .families.tore.model import GlimpseEncoder as GlimpseEncoder
from .families.tore.state import ToreState as ToreState
from .flops.count import Cost as Cost
from .flops.count import FlopCount as FlopCount
from .parts import EncoderPart as EncoderPart
from .parts import changed_parts as changed_parts
from .parts import encoder_parts as encoder_parts
from .parts import part_hashes as part_hashes
from .parts import parts_read as parts_read
from .protocol import DECODER_OUTPUTS as DECODER_OUTPUTS
from .protocol import OUTPUTS as OUTPUTS
from .protocol import Belief as Belief
from .protocol import Encoder as Encoder
from .protocol import EncoderState as EncoderState
from .protocol import Observed as Observed
from .registry import register_encoder as register_encoder
from .registry import register_family as register_family
from .training.config import TrainingConfig as TrainingConfig

__version__: str
