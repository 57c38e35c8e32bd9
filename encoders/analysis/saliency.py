"""Which patches of a whole scene its class is read from: gradient times input."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from encoders.layers.patches import patchify
from encoders.layers.vit import set_fused_attention
from encoders.protocol import promises_of
from encoders.support.precision import autocast, resolve_precision

_SCENES_AT_ONCE = 64  # what processors hold in their caches of a small encoder


class ClassSaliency:
    """Saliency maps of whole scenes under an encoder, for their true class.

    The map of a scene is, patch by patch, the length of gradient times input: the gradient of the
    true class's log-probability with respect to the patch's embedding, times that embedding,
    channel by channel. The whole scene is encoded at once, without glimpses. Of an encoder without
    embeddings of patches (a canvas, say) the normalised pixels of a patch are the input.

    Source: Simonyan et al., "Deep Inside Convolutional Networks" (2014), for the gradient;
    Shrikumar et al., "Not Just a Black Box" (2016), for its product with the input; here the input
    are embeddings where there are some.

    Args:
        encoder: With a class head, and with `embed` and `forward_embedded` (family "tore") or the
            promise that it can be called with all glimpses and keeps gradients
            (`encoders.protocol.Promises.trains`). It is left as it is.
        precision: Of matrix products: "float32", "bfloat16", or "auto" for bfloat16 where native.

    Raises:
        ValueError: An encoder that cannot be followed back to its patches, or without class head.
    """

    def __init__(self, encoder: Any, precision: str = "float32") -> None:
        name = encoder.config.name
        self._embeds = hasattr(encoder, "embed") and hasattr(encoder, "forward_embedded")
        if not (self._embeds or promises_of(encoder, encoder.resolve_options({})).trains):
            raise ValueError(
                f"encoder {name!r} of family {encoder.family!r} cannot be followed back to the "
                "patches of a whole scene; saliency needs one that promises gradients "
                "(encoders.protocol.Promises.trains)"
            )
        if "logits" not in encoder.outputs:
            raise ValueError(f"encoder {name!r} has no class head, so there is no saliency of it")
        self._dtype = resolve_precision(precision, encoder.device)
        tensors = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
        self._encoder = copy.deepcopy(encoder, tensors).eval()  # shares the weights
        set_fused_attention(self._encoder, False)  # whose gradients are slow on processors

    @functools.cached_property
    def flops_per_scene(self) -> int:
        """Multiply-accumulates of one scene's map: forward, and back to its input."""
        height, width = self._encoder.config.image_size
        image = torch.zeros(1, height, width, 3, dtype=torch.uint8)
        with FlopCounterMode(display=False) as counter:
            self(image, torch.zeros(1, dtype=torch.int64))
        return int(counter.get_total_flops()) // 2

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps of scenes.

        Args:
            images: uint8 `[N, H, W, 3]`.
            labels: Their classes, int64 `[N]`.

        Returns:
            float32 `[N, grid_h, grid_w]` on the CPU, at least 0; only ratios within a scene mean
            something.
        """
        parts = zip(images.split(_SCENES_AT_ONCE), labels.split(_SCENES_AT_ONCE), strict=True)
        return torch.cat([self._maps(*part) for part in parts])

    def _maps(self, images: Tensor, labels: Tensor) -> Tensor:
        encoder = self._encoder
        with torch.no_grad():
            pixels = encoder.normalise(images.permute(0, 3, 1, 2).contiguous())
            if self._embeds:
                shown = encoder.embed(pixels)
            else:
                shown = patchify(pixels, encoder.config.patch_size)
        leaf = shown.float().requires_grad_(True)
        with torch.enable_grad(), _frozen(encoder), autocast(encoder.device, self._dtype):
            logits = self._logits(leaf).float()
            labels = labels.to(logits.device)
            score = logits.log_softmax(dim=1).gather(1, labels[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, leaf)
        length = (gradient * leaf.detach()).flatten(2).norm(dim=2)
        return length.unflatten(1, encoder.grid).cpu()

    def _logits(self, shown: Tensor) -> Tensor:
        """Of whole scenes, from embeddings `[B, G, D]` or patches `[B, G, 3, p, p]`."""
        if self._embeds:
            return self._encoder.forward_embedded(shown, outputs=("logits",)).logits
        ids = torch.arange(shown.shape[1]).expand(len(shown), 1, -1)  # one glimpse of everything
        return self._encoder(shown[:, None], ids, outputs=("logits",)).logits


@contextlib.contextmanager
def _frozen(module: torch.nn.Module) -> Iterator[None]:
    """Parameters ask for no gradients for as long as the context lasts."""
    parameters = [each for each in module.parameters() if each.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
