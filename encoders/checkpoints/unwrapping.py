"""The Vision Transformer in a checkpoint, without what is kept around it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from torch import Tensor

from encoders.checkpoints.weight_files import CheckpointError

# Under these keys a checkpoint keeps its tensors; the first one present is taken.
_CONTAINERS = ("state_dict", "model", "teacher", "student", "model_ema", "state_dict_ema")
_MOCO_BRANCHES = ("base_encoder", "momentum_encoder")
BRANCHES = (*_CONTAINERS, *_MOCO_BRANCHES)

PATCH_EMBEDDING = "patch_embed.proj.weight"

# Publications that are known by what their files look like.
MOCO = "MoCo v3"
DINO = "DINO"
MAE = "masked autoencoder"
AME_OR_TORE = "AME or TORE (Lightning)"
DISTILLED_DEIT = "distilled DeiT"


@dataclasses.dataclass(frozen=True)
class Unwrapped:
    """One Vision Transformer of a checkpoint.

    Attributes:
        container: Key that its tensors were kept under, or None.
        prefix: What stood before their names, e.g. `module.backbone.`.
        tensors: Under the names of timm and the official MAE; also those that nobody expects, which
            are named when the encoder is built.
        dropped: Names of tensors that are not part of an encoder.
    """

    container: str | None
    prefix: str
    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]

    @property
    def is_moco(self) -> bool:
        """Whether it is one of the two encoders of MoCo v3."""
        return _is_moco(self.prefix)

    @property
    def kind(self) -> str:
        """Where such weights come from, for people."""
        if self.is_moco:
            return MOCO
        if self.container in ("teacher", "student"):
            return DINO
        if any("head.last_layer" in name for name in self.dropped):
            return DINO
        if "mae" in self.prefix.split("."):
            return AME_OR_TORE
        if "decoder_embed.weight" in self.tensors:
            return MAE
        if "blocks.0.ls1.gamma" in self.tensors:
            return "Vision Transformer with layer scale (DeiT-III)"
        return DISTILLED_DEIT if "dist_token" in self.tensors else "Vision Transformer"


def find_tensors(
    content: Mapping[str, object], branch: str | None
) -> tuple[str | None, dict[str, Tensor]]:
    """Finds the tensors in a checkpoint.

    Args:
        content: Names and tensors, or a dictionary that holds them among other things.
        branch: Which of several models in one file, of `BRANCHES`.

    Returns:
        The key they are kept under (None: `content` is the tensors), and the tensors.

    Raises:
        CheckpointError: There are none, or the branch asked for is missing.
    """
    containers = {key: content.get(key) for key in _CONTAINERS}
    present = {key: value for key, value in containers.items() if isinstance(value, Mapping)}
    if not present and any(isinstance(value, Tensor) for value in content.values()):
        return None, _tensors_only(content)
    if branch in _CONTAINERS and branch not in present:
        raise CheckpointError(f"no branch {branch!r}; there are {list(present)}")
    if not present:
        raise CheckpointError(
            f"no tensors: found {sorted(map(str, content))[:8]}, expected names and tensors, or "
            f"one of {list(_CONTAINERS)} holding them"
        )
    key = branch if branch in present else next(iter(present))
    return key, _tensors_only(present[key])


def unwrap(container: str | None, tensors: Mapping[str, Tensor], branch: str | None) -> Unwrapped:
    """Takes the Vision Transformer out of the tensors of a checkpoint, with its class head.

    Args:
        container: Key they were kept under.
        tensors: All of them.
        branch: As in `find_tensors`.

    Raises:
        CheckpointError: There is none, or the branch asked for is missing.
    """
    prefix = _body_prefix(tensors, branch)
    body = {
        _modern(name.removeprefix(prefix)): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    dropped = _take_class_head(body, rest, prefix)
    return Unwrapped(container, prefix, body | rest, dropped)


def _tensors_only(values: Mapping[str, object]) -> dict[str, Tensor]:
    tensors = {}
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{name} is a {type(value).__name__}, expected a tensor")
        tensors[name] = value
    return tensors


def _body_prefix(tensors: Mapping[str, Tensor], branch: str | None) -> str:
    """What stands before the names of the Vision Transformer, e.g. `module.backbone.`."""
    found = [
        name.removesuffix(PATCH_EMBEDDING) for name in tensors if name.endswith(PATCH_EMBEDDING)
    ]
    if not found:
        raise CheckpointError(
            f"not a Vision Transformer: no {PATCH_EMBEDDING} among {len(tensors)} tensors "
            f"({', '.join(list(tensors)[:4])}, ...)"
        )
    for wanted in [branch] if branch in _MOCO_BRANCHES else _MOCO_BRANCHES:
        for prefix in found:
            if wanted in prefix.split("."):
                return prefix
    if branch in _MOCO_BRANCHES:
        raise CheckpointError(f"no branch {branch!r}; Vision Transformers found below {found}")
    if len(found) > 1:
        raise CheckpointError(f"several Vision Transformers, below {found}; expected one")
    return found[0]


def _is_moco(prefix: str) -> bool:
    return any(branch in prefix for branch in _MOCO_BRANCHES)


def _modern(name: str) -> str:
    """Turns a name of DeiT-III into timm's."""
    return re.sub(r"\.gamma_([12])$", r".ls\1.gamma", name)


def _take_class_head(
    body: dict[str, Tensor], rest: dict[str, Tensor], prefix: str
) -> tuple[str, ...]:
    """Moves a class head from `rest` to `body` and removes what is not part of an encoder.

    AME and TORE keep the head, a `Sequential` of one layer, beside the model; DINO and MoCo v3 keep
    projection heads of several layers.
    """
    moco = _is_moco(prefix)
    dropped = []
    for name in list(rest):
        local = re.sub(r"^(module\.|model\.)+", "", name)
        if re.match(r"head\.(0\.)?(weight|bias)$", local):
            body[local] = rest.pop(name)
        elif re.match(r"head\.(mlp|last_layer)\.|imagenet_(mean|std)$", local) or (
            moco and local.startswith(("predictor.", *(f"{b}." for b in _MOCO_BRANCHES)))
        ):
            del rest[name]
            dropped.append(name)
    projections = [name for name in body if name.startswith("head.")]
    if moco and any(re.match(r"head\.[1-9]", name) for name in projections):
        for name in projections:
            del body[name]
            dropped.append(prefix + name)
    if "head.weight" not in body:
        for kind in ("weight", "bias"):
            if f"head.0.{kind}" in body:
                body[f"head.{kind}"] = body.pop(f"head.0.{kind}")
    return tuple(dropped)
