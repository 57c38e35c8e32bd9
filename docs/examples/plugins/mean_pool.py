"""An encoder of one's own that is no Transformer: a mean over the patches seen.

    python train_agent.py --encoder mean_pool:mean_pool --task reconstruction
    python train_encoder.py --family mean_pool:MeanPoolTraining --sizes width=64

with this folder on Python's path. What was seen is kept as a canvas of patches, and everything is
computed anew from the canvas at every step: nothing is recycled, and the cost says so.
"""

import dataclasses

import numpy as np
import torch
from torch import nn

from encoders.flops.count import Cost, FlopCount
from encoders.protocol import Belief, Observed, Promises
from encoders.registry import register_encoder, register_family, register_training
from encoders.training.family import FamilyTraining

OUTPUTS = ("latent", "logits", "cells", "pixels")


@dataclasses.dataclass(frozen=True)
class MeanPoolConfig:
    """What `config.json` holds: the fields every encoder has, and `width`."""

    name: str = "mean-pool"
    image_size: tuple[int, int] = (128, 256)
    patch_size: int = 16
    num_classes: int = 2
    class_names: tuple[str, ...] | None = None
    weights: str = "random"
    patch_normalised_pixels: bool = False
    width: int = 32

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    def to_dict(self):
        """Plain JSON types."""
        names = None if self.class_names is None else list(self.class_names)
        return {
            **dataclasses.asdict(self),
            "image_size": list(self.image_size),
            "class_names": names,
        }


@dataclasses.dataclass
class Canvas:
    """What is remembered of B rows.

    Attributes:
        patches: The patches seen, zeros elsewhere, float `[B, G, 3*p*p]`.
        seen: Where they are, bool `[B, G]`.
    """

    patches: torch.Tensor
    seen: torch.Tensor

    def __len__(self):
        return len(self.seen)

    @property
    def tokens(self):
        """Patches held, int64 `[B]` on the CPU."""
        return self.seen.sum(1).cpu()

    def reset(self, rows):
        """Forgets everything in some rows."""
        rows = rows.to(self.seen.device)
        self.patches[rows] = 0
        self.seen[rows] = False

    def select(self, rows):
        """A copy of some rows."""
        rows = rows.to(self.seen.device)
        return Canvas(self.patches[rows], self.seen[rows])

    def put(self, rows, source):
        """Overwrites rows with those of another canvas."""
        rows = rows.to(self.seen.device)
        self.patches[rows] = source.patches
        self.seen[rows] = source.seen

    def fork(self):
        """An independent copy."""
        return Canvas(self.patches.clone(), self.seen.clone())

    def __getstate__(self):
        # As arrays: torch would let another process share the tensors.
        return {name: value.cpu().numpy() for name, value in vars(self).items()}, self.seen.device

    def __setstate__(self, saved):
        arrays, device = saved
        for name, array in arrays.items():
            setattr(self, name, torch.tensor(array, device=device))


class MeanPool(nn.Module):
    """Embeds the patches seen, takes their mean, and tells every cell of the grid what it is."""

    family = "mean-pool"
    outputs = OUTPUTS

    def __init__(self, config: MeanPoolConfig) -> None:
        super().__init__()
        self.config = config
        colours, width = 3 * config.patch_size**2, config.width
        self.embed = nn.Linear(colours, width)
        self.summary = nn.Linear(width, width)
        self.head = nn.Linear(width, config.num_classes)
        self.cells = nn.Linear(2 * width, width)
        self.paint = nn.Linear(width, colours)

    @property
    def device(self):
        """Where the weights are."""
        return self.embed.weight.device

    @property
    def grid(self):
        """Rows and columns of patches in a scene."""
        return self.config.grid

    def resolve_options(self, options):
        """There are no options; with any, a `ValueError`."""
        if options:
            raise ValueError(f"encoder {self.config.name!r} has no options, given {list(options)}")
        return {}

    def describe(self, options):
        """Name in a few words."""
        return self.config.name

    def init_state(self, batch_size, capacity=None):
        """An empty canvas."""
        size = self.grid[0] * self.grid[1]
        weight = self.embed.weight
        seen = torch.zeros(batch_size, size, dtype=torch.bool, device=weight.device)
        return Canvas(weight.new_zeros(batch_size, size, weight.shape[1]), seen)

    def promises(self, options):
        """The order of glimpses is of no matter, and `forward` keeps gradients."""
        return Promises(ignores_order=True, trains=True)

    @torch.no_grad()
    def observe(self, patches, patch_ids, state, outputs=("latent", "logits")):
        """Puts one glimpse per row onto the canvas and computes the belief anew."""
        self._put(patches, patch_ids, state)
        cost = self.flops(np.zeros(len(state), np.int64), 0, outputs)
        return Observed(self._believe(state, outputs), state, Cost(cost, cost))

    def forward(self, patches, patch_ids, outputs=("latent", "logits")):
        """All glimpses of an episode at once, `[B, T, n, 3, p, p]` and `[B, T, n]`."""
        state = self.init_state(len(patches))
        self._put(patches.flatten(1, 2), patch_ids.flatten(1).cpu(), state)
        return self._believe(state, outputs)

    @torch.no_grad()
    def prior(self, outputs=("latent", "logits")):
        """The belief about an empty canvas, batch of one."""
        return self._believe(self.init_state(1), outputs)

    def flops(self, new_tokens, cached_tokens, outputs=("latent", "logits")):
        """Multiply-accumulates of one step: the same whatever was seen."""
        self._check(outputs)
        size, decoder = self.grid[0] * self.grid[1], 0
        if "cells" in outputs or "pixels" in outputs:
            decoder += size * self.cells.weight.numel()
        if "pixels" in outputs:
            decoder += size * self.paint.weight.numel()
        aggregator = size * self.embed.weight.numel() + self.summary.weight.numel()
        head = self.head.weight.numel() if "logits" in outputs else 0
        rows = np.asarray(new_tokens, np.int64) * 0 + np.asarray(cached_tokens, np.int64) * 0
        parts = [rows + part for part in (0, aggregator, decoder, head)]
        return FlopCount(*(part if part.ndim else int(part) for part in parts))

    def normalise(self, pixels):
        """uint8 to float32 in [-1, 1]."""
        return pixels.to(self.device).float() / 127.5 - 1

    def to_images(self, pixels):
        """Painted patches `[B, G, p*p*3]`, channel last, as uint8 images `[B, H, W, 3]`."""
        (rows, columns), side = self.grid, self.config.patch_size
        patches = pixels.float().reshape(-1, rows, columns, side, side, 3)
        images = patches.transpose(2, 3).reshape(-1, rows * side, columns * side, 3)
        return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def resized(self, image_size):
        """The same weights for another size: they know nothing of the grid."""
        return self._changed(image_size=tuple(image_size))

    def with_head(self, class_names, seed=0):
        """The same encoder with a new, untrained class head."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._changed(num_classes=len(class_names), class_names=None)

    def _changed(self, **changes):
        other = MeanPool(dataclasses.replace(self.config, **changes))
        new = {"head.weight", "head.bias"} if "num_classes" in changes else set()
        kept = {name: value for name, value in self.state_dict().items() if name not in new}
        other.load_state_dict(kept, strict=not new)
        return other.to(self.device).train(self.training)

    def _put(self, patches, patch_ids, state):
        rows, places = (patch_ids >= 0).nonzero(as_tuple=True)
        ids = patch_ids[rows, places].to(self.device)
        rows, places = rows.to(self.device), places.to(self.device)
        state.patches[rows, ids] = patches.flatten(2)[rows, places].to(state.patches.dtype)
        state.seen[rows, ids] = True

    def _check(self, outputs):
        if unknown := sorted(set(outputs) - set(OUTPUTS)):
            raise ValueError(f"encoder {self.config.name!r} has no {unknown}, only {OUTPUTS}")

    def _believe(self, canvas, outputs):
        self._check(outputs)
        seen = canvas.seen[:, :, None]
        tokens = torch.where(seen, self.embed(canvas.patches), 0)
        mean = tokens.sum(1) / seen.sum(1).clamp(min=1)
        latent = torch.tanh(self.summary(mean))
        belief = Belief(latent=latent)
        if "logits" in outputs:
            belief.logits = self.head(latent)
        if "cells" in outputs or "pixels" in outputs:
            everywhere = latent[:, None].expand_as(tokens)
            cells = torch.tanh(self.cells(torch.cat([tokens, everywhere], dim=2)))
            belief.cells = cells.unflatten(1, self.grid)
            if "pixels" in outputs:
                belief.pixels = self.paint(cells)
        return belief


@register_family(name="mean-pool")
def from_dict(values):
    """Builds the encoder that a `config.json` describes."""
    fields = dict(values)
    for name in ("image_size", "class_names"):
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    return MeanPool(MeanPoolConfig(**fields)).eval()


@register_encoder(name="mean-pool")
def mean_pool():
    """An encoder with random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MeanPool(MeanPoolConfig()).eval()


@register_training(name="mean-pool")
class MeanPoolTraining(FamilyTraining):
    """How `train_encoder.py` trains it: as all encoders are."""

    smoke_sizes = {"width": 8}  # noqa: RUF012 (nobody changes it)

    @classmethod
    def build(cls, blueprint):
        """A new encoder with random weights; `--sizes width=64` arrives in `sizes`."""
        if unknown := sorted(set(blueprint.sizes) - {"width"}):
            raise ValueError(f"--sizes {unknown}: the family 'mean-pool' has width")
        config = MeanPoolConfig(
            name=blueprint.name,
            image_size=blueprint.image_size,
            patch_size=blueprint.shape.patch_size,
            num_classes=len(blueprint.class_names),
            **blueprint.sizes,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(blueprint.seed)
            return MeanPool(config).eval()
