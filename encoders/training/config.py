"""Hyper-parameters of encoder training and the shape of a new encoder; imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from encoders.config import DecoderConfig, EncoderConfig
from encoders.support.choices import AttentionKind, TokenOrder, TrainingPrecision
from encoders.support.validation import Amount, NotNegative, Positive, Share, check_fields

Objective = Literal["belief", "dino"]
"""What encoders are trained for: the belief after some glimpses, or self-distillation."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Hyper-parameters of encoder training.

    Attributes:
        epochs: Passes of `epoch_size` images, each followed by a validation and a checkpoint.
        epoch_size: Images per epoch; None = the whole split.
        batch_size: Images per step, over all processes.
        learning_rate: Peak of AdamW's rate; linear warm-up, then cosine to zero.
        weight_decay: Of matrices; vectors and position tables are not decayed.
        warmup: Share of all steps spent warming up.
        reconstruction_weight: Weight of the pixel loss beside the cross-entropy.
        label_smoothing: Of the cross-entropy.
        split_block: TORE's K; None draws it uniformly from 0..depth for every batch.
        glimpse_size: Side of a glimpse in patches.
        max_glimpses: Most random glimpses of a training image.
        full_view_probability: Share of batches that see everything.
        blind_probability: Share of batches that see nothing and so train the first belief.
        curriculum: Share of all steps that begin the run with many glimpses and K = 0, which gets
            the classifier off its plateau.
        reduction_warmup: Share of all steps before an encoder that reduces tokens begins to.
        reduction_full: Share of all steps after which it does so with its full strength; between
            the two it rises along EViT's cosine. Not of A-ViT, whose losses do that.
        sparse_branch: Share of all steps in which an encoder of angular attention also has its
            sparse branch; the threshold of that rises on the way.
        ponder_weight: Weight of A-ViT's ponder loss, the blocks that a token goes through.
        distribution_weight: Weight of A-ViT's other loss, where tokens should halt.
        teacher: Folder of a RIFormer with token mixers, whose blocks a RIFormer without is to
            imitate; None = it learns alone.
        imitation_weight: Weight of the distance to the teacher's blocks.
        distillation_weight: Weight of the divergence from the teacher's predictions.
        precision: Of matrix products; "auto" takes bfloat16 where it is native.
        seed: Of everything random.
        num_workers: Processes that load images.
        validation_size: Scenes of the validation split to score after each epoch.
        progress: Show a progress bar.

    Raises:
        TypeError: A value of another type.
        ValueError: A number out of range.
    """

    epochs: Positive = 14
    epoch_size: Positive | None = 16_384
    batch_size: Positive = 64
    learning_rate: Amount = 1.2e-3
    weight_decay: Amount = 0.05
    warmup: Share = 0.02
    reconstruction_weight: Amount = 0.1
    label_smoothing: Share = 0.0
    split_block: NotNegative | None = None
    glimpse_size: Positive = 2
    max_glimpses: Positive = 12
    full_view_probability: Share = 0.12
    blind_probability: Share = 0.03
    curriculum: Share = 0.125
    reduction_warmup: Share = 0.03
    reduction_full: Share = 0.33
    sparse_branch: Share = 0.5
    ponder_weight: Amount = 5e-4
    distribution_weight: Amount = 1e-3
    teacher: str | None = None
    imitation_weight: Amount = 1.0
    distillation_weight: Amount = 1.0
    precision: TrainingPrecision = "auto"
    seed: NotNegative = 0
    num_workers: NotNegative = 1
    validation_size: Positive = 512
    progress: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        if self.reduction_full < self.reduction_warmup:
            raise ValueError(
                f"reduction_full={self.reduction_full} is before reduction_warmup="
                f"{self.reduction_warmup}; expected {self.reduction_warmup} to 1"
            )


@dataclasses.dataclass(frozen=True)
class EncoderShape:
    """Sizes of a new masked-autoencoder encoder; the defaults are those of tore-nano.

    Attributes:
        patch_size: Side of a patch in pixels.
        width: Channels of a token.
        depth: Blocks.
        num_heads: Attention heads.
        attention: Of the blocks: softmax, or angular, whose cost is linear in the tokens.
        attention_order: What lies next to what for angular attention: places of the grid, or tokens
            in their order of arrival.
        decoder_width: Channels of a decoder token; 0 for no decoder.
        decoder_depth: Decoder blocks.
        decoder_num_heads: Attention heads of the decoder.

    Raises:
        TypeError: A value of another type.
        ValueError: A number out of range, or channels that heads cannot share.
    """

    patch_size: Positive = 16
    width: Positive = 128
    depth: Positive = 6
    num_heads: Positive = 4
    attention: AttentionKind = "softmax"
    attention_order: TokenOrder = "grid"
    decoder_width: NotNegative = 64
    decoder_depth: Positive = 1
    decoder_num_heads: Positive = 4

    def __post_init__(self) -> None:
        check_fields(self)
        if self.attention == "softmax" and self.attention_order != "grid":
            raise ValueError(
                f"attention_order={self.attention_order!r}: softmax attention knows no order; "
                "leave it out, or take attention='angular'"
            )
        for width, heads in (("width", "num_heads"), ("decoder_width", "decoder_num_heads")):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(
                    f"{width}={getattr(self, width)} cannot be shared by "
                    f"{heads}={getattr(self, heads)}; expected a multiple"
                )

    def config(
        self, name: str, image_size: tuple[int, int], class_names: tuple[str, ...]
    ) -> EncoderConfig:
        """The configuration of an untrained encoder of this shape for scenes of some classes."""
        decoder = None
        if self.decoder_width:
            decoder = DecoderConfig(self.decoder_width, self.decoder_depth, self.decoder_num_heads)
        vit: dict[str, Any] = {
            "embed_dim": self.width,
            "depth": self.depth,
            "num_heads": self.num_heads,
        }
        if self.attention != "softmax":
            vit |= {"attention": self.attention, "attention_order": self.attention_order}
        return EncoderConfig(
            name=name,
            vit=vit,
            image_size=image_size,
            patch_size=self.patch_size,
            num_classes=len(class_names),
            decoder=decoder,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        )
