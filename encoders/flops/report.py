"""What an episode costs step by step, and which idea saves how much of it.

`python -m encoders.flops` compares three ways to a belief after every glimpse: encoding everything
seen so far anew in front of a heavy decoder (AME's), the same in front of a light one, and
recycling tokens (TORE) with several split blocks K in front of the light one.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro

from encoders.config import DecoderConfig
from encoders.flops.count import PARTS, FlopCount
from encoders.flops.ledger import FlopLedger

if TYPE_CHECKING:
    from rich.console import Console

    from encoders.families.tore.model import GlimpseEncoder
    from encoders.layers.decoder import GlimpseDecoder

CONVENTION = "One multiply-accumulate counts as one; glimpses do not overlap."

RegimeName = Literal[
    "ame-128x256-8x48",
    "ame-128x256-8x32",
    "tore-224x224-12x32",
    "adaglimpse-224x224-14x32",
    "segmentation-224x224-4x48",
    "segmentation-224x224-8x48",
]


@dataclasses.dataclass(frozen=True)
class Regime:
    """How much of which images a published system looks at.

    Attributes:
        image_size: Height and width in pixels.
        glimpse_pixels: Side of a glimpse in pixels.
        num_glimpses: Glimpses in an episode.
    """

    image_size: tuple[int, int]
    glimpse_pixels: int
    num_glimpses: int


REGIMES: dict[str, Regime] = {
    "ame-128x256-8x48": Regime((128, 256), 48, 8),
    "ame-128x256-8x32": Regime((128, 256), 32, 8),
    "tore-224x224-12x32": Regime((224, 224), 32, 12),
    "adaglimpse-224x224-14x32": Regime((224, 224), 32, 14),
    "segmentation-224x224-4x48": Regime((224, 224), 48, 4),
    "segmentation-224x224-8x48": Regime((224, 224), 48, 8),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Prints and draws what every step of an episode costs, for several split blocks K.

    The saving by recycling tokens and the saving by a lighter decoder are shown apart. One
    multiply-accumulate counts as one.

    Attributes:
        encoder: Name or folder of an encoder; of `timm/` names only the shape is taken.
        regime: What a published system looks at; the next three options change parts of it.
        image_size: Height and width in pixels; None = the regime's, or the encoder's own.
        glimpse_size: Side of a glimpse in patches; None = the regime's, or 2.
        num_glimpses: Glimpses in an episode; None = the regime's, or 8.
        split_blocks: Values of K; None = none, a third, two thirds and all of the blocks.
        decoder: Width and blocks of the light decoder; None = the encoder's own, or 128 and 1
            (TORE's) where it has none.
        heavy_decoder: Width and blocks of the decoder to compare with; AME's by default.
        outputs: What is computed after each glimpse; None = logits where there is a class head, the
            entropy map and pixels.
        charge_prior: Charge the belief before the first glimpse, a constant, to every episode.
        output: PNG to draw.
    """

    encoder: str = "tore-nano"
    regime: RegimeName | None = None
    image_size: tuple[int, int] | None = None
    glimpse_size: int | None = None
    num_glimpses: int | None = None
    split_blocks: tuple[int, ...] | None = None
    decoder: tuple[int, int] | None = None
    heavy_decoder: tuple[int, int] = (512, 8)
    outputs: tuple[str, ...] | None = None
    charge_prior: bool = False
    output: Path = Path("flops.png")


@dataclasses.dataclass(frozen=True)
class EpisodeCosts:
    """Multiply-accumulates of an episode's steps; arrays are int64 `[S]`.

    Attributes:
        title: Encoder and episode.
        glimpses: Glimpses seen after each step; begins with 0 where the prior is charged.
        tokens: Patches seen after each step.
        heavy: Encoding everything anew, heavy decoder.
        light: Encoding everything anew, light decoder.
        recycled: By K: recycling tokens, light decoder.
        heavy_decoder: Name of the heavy decoder's shape.
        light_decoder: Name of the light decoder's shape.
    """

    title: str
    glimpses: np.ndarray
    tokens: np.ndarray
    heavy: FlopCount
    light: FlopCount
    recycled: dict[int, FlopCount]
    heavy_decoder: str
    light_decoder: str

    @property
    def saved_by_decoder(self) -> float:
        """Share of the heavy episode's cost that the lighter decoder saves."""
        return 1 - np.sum(self.light.total) / np.sum(self.heavy.total)

    def saved_by_recycling(self, split_block: int) -> float:
        """Share of the heavy episode's cost that recycling saves on top of that."""
        saved = np.sum(self.light.total) - np.sum(self.recycled[split_block].total)
        return saved / np.sum(self.heavy.total)


def episode_costs(
    encoder: GlimpseEncoder,
    *,
    glimpse_size: int,
    num_glimpses: int,
    split_blocks: Collection[int] | None = None,
    decoder: tuple[int, int] | None = None,
    heavy_decoder: tuple[int, int] = (512, 8),
    outputs: Collection[str] | None = None,
    charge_prior: bool = False,
) -> EpisodeCosts:
    """Computes what `Options` describes.

    Args:
        encoder: Of which only the shape matters.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Glimpses in an episode, none of which shows a patch again.
        split_blocks: Values of K; None = none, a third, two thirds and all of the blocks.
        decoder: Width and blocks of the light decoder; None = the encoder's own, or 128 and 1.
        heavy_decoder: Width and blocks of the other one.
        outputs: Parts of the belief; None = logits if any, entropy and pixels.
        charge_prior: Begin with the belief before any glimpse.

    Raises:
        ValueError: Glimpses that cannot all be disjoint, a K the encoder does not have, or outputs
            that it cannot compute.
    """
    from encoders.protocol import OUTPUTS

    patches, depth = encoder.grid[0] * encoder.grid[1], encoder.depth
    per_glimpse = glimpse_size**2
    if not 0 < num_glimpses * per_glimpse <= patches or glimpse_size > min(encoder.grid):
        raise ValueError(
            f"{num_glimpses} glimpses of {glimpse_size}x{glimpse_size} patches do not fit side by "
            f"side into a grid of {encoder.grid[0]}x{encoder.grid[1]} patches"
        )
    if split_blocks is None:
        split_blocks = {depth * third // 3 for third in range(4)}
    splits = sorted(set(split_blocks))
    if wrong := [split for split in splits if not 0 <= split <= depth]:
        raise ValueError(f"split blocks {wrong} are outside [0, {depth}]")
    has_head = encoder.config.num_classes > 0
    if outputs is None:
        outputs = ("logits",) * has_head + ("entropy", "pixels")
    if unknown := sorted(set(outputs) - set(OUTPUTS)):
        raise ValueError(f"unknown outputs {unknown}; choose from {list(OUTPUTS)}")
    if "logits" in outputs and not has_head:
        raise ValueError(f"'logits' need a class head, and {encoder.config.name!r} has none")

    light = encoder.decoder if decoder is None else None
    light = light or _decoder(encoder, decoder or (128, 1))
    heavy = _decoder(encoder, heavy_decoder)
    glimpses = np.arange(0 if charge_prior else 1, num_glimpses + 1)
    tokens = glimpses * per_glimpse
    before = np.maximum(tokens - per_glimpse, 0)
    light_ledger = FlopLedger(encoder.backbone, light)
    anew: dict[str, Any] = {"cached_tokens": 0, "split_block": 0, "outputs": outputs}
    rows, columns = (side * encoder.config.patch_size for side in encoder.grid)
    return EpisodeCosts(
        title=f"{encoder.config.name}, {num_glimpses} glimpses of {glimpse_size}x{glimpse_size} "
        f"patches in {rows}x{columns} pixels",
        glimpses=glimpses,
        tokens=tokens,
        heavy=FlopLedger(encoder.backbone, heavy).count(tokens, **anew),
        light=light_ledger.count(tokens, **anew),
        recycled={
            split: light_ledger.count(tokens - before, before, split_block=split, outputs=outputs)
            for split in splits
        },
        heavy_decoder=_shape(heavy),
        light_decoder=_shape(light),
    )


def print_costs(costs: EpisodeCosts, console: Console | None = None) -> None:
    """Prints a row per step and the savings.

    Args:
        costs: What to print.
        console: Where to; None = standard output.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=100)
    systems = [costs.heavy, costs.light, *costs.recycled.values()]
    scale, unit = (1e9, "GMAC") if np.max(costs.heavy.total) >= 1e9 else (1e6, "MMAC")
    table = Table(
        title=f"{costs.title}: {unit} per step",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    headings = ["\nglimpse", "patches\nseen"]
    headings += [
        f"all anew,\ndecoder {name}" for name in (costs.heavy_decoder, costs.light_decoder)
    ]
    headings += [f"{'recycled,' if not k else ''}\nK = {k}" for k in costs.recycled]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for step, (glimpse, tokens) in enumerate(zip(costs.glimpses, costs.tokens, strict=True)):
        cells = [f"{np.asarray(system.total)[step] / scale:,.3f}" for system in systems]
        table.add_row(str(glimpse), str(tokens), *cells)
    table.add_section()
    totals = [np.sum(system.total) for system in systems]
    table.add_row("episode", "", *(f"{total / scale:,.3f}" for total in totals), style="bold")
    recycling = [costs.saved_by_recycling(split) for split in costs.recycled]
    alone = [1 - total / totals[1] for total in totals[2:]]
    table.add_row("saved", "", "", *(f"{1 - total / totals[0]:.1%}" for total in totals[1:]))
    table.add_row("by decoder", "", "", *[f"{costs.saved_by_decoder:.1%}"] * (len(totals) - 1))
    table.add_row("by recycling", "", "", "", *(f"{share:.1%}" for share in recycling))
    table.add_row("recycling alone", "", "", "", *(f"{share:.1%}" for share in alone))
    console.print(table)
    console.print(
        f"{CONVENTION} Savings are shares of the first column; the last row's are shares of the "
        "second, whose decoder is the same.",
        highlight=False,
        soft_wrap=console.is_terminal,
    )


def draw_costs(costs: EpisodeCosts, path: Path) -> None:
    """Draws cumulative costs over glimpses, and the parts of whole episodes.

    Args:
        costs: What to draw.
        path: PNG to write; appears whole or not at all.
    """
    from matplotlib import colormaps, rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    systems = {
        f"all anew,\n{costs.heavy_decoder}": costs.heavy,
        f"all anew,\n{costs.light_decoder}": costs.light,
        **{f"K = {split}": count for split, count in costs.recycled.items()},
    }
    shades = colormaps["viridis"](np.linspace(0.05, 0.85, len(costs.recycled)))
    colors = ["#1a1a1a", "#c8c8c8", *shades]
    # Okabe & Ito's colours, told apart with any kind of colour vision.
    part_colors = dict(zip(PARTS, ("#0072B2", "#56B4E9", "#E69F00", "#CC79A7"), strict=True))
    style: dict[Any, Any] = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
    with rc_context(style):
        figure = Figure(figsize=(10, 4.2), dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        lines, bars = figure.subplots(1, 2)
        for (name, count), color in zip(systems.items(), colors, strict=True):
            total = np.cumsum(count.total) / 1e9
            label = name.replace("\n", " decoder ")
            width = 5 if count is costs.light else 1.8  # K = 0 lies upon it
            lines.plot(costs.glimpses, total, label=label, color=color, linewidth=width)
        lines.set_xlabel("glimpses")
        lines.set_ylabel("GMAC since the start of the episode")
        lines.xaxis.set_major_locator(MaxNLocator(integer=True))
        lines.set_ylim(bottom=0)
        lines.grid(alpha=0.3)
        lines.legend(frameon=False)
        places = np.arange(len(systems))
        bottom = np.zeros(len(systems))
        for part, color in part_colors.items():
            heights = np.array([np.sum(getattr(count, part)) for count in systems.values()]) / 1e9
            bars.bar(places, heights, bottom=bottom, color=color, width=0.7, label=part)
            bottom += heights
        for place, height in zip(places, bottom, strict=True):
            bars.annotate(f"{height:.3g}", (place, height), ha="center", va="bottom")
        bars.set_xticks(places, list(systems))
        bars.set_ylabel("GMAC per episode")
        bars.legend(frameon=False)
        figure.suptitle(costs.title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
        partial = path.with_name(f".{path.name}.writing")
        figure.savefig(partial, format="png", metadata={"Software": None})
    os.replace(partial, path)


def main() -> None:
    """Parses the command line, prints the table and draws the picture."""
    options = tyro.cli(Options, prog="python -m encoders.flops")
    try:
        costs = _compute(options)
        print_costs(costs)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        draw_costs(costs, options.output)
    except (ValueError, OSError) as error:
        sys.exit(f"encoders.flops: error: {error}")
    print(f"picture: {options.output}")


def _compute(options: Options) -> EpisodeCosts:
    from encoders.create import create_encoder
    from encoders.families.timm import TIMM_PREFIX

    regime = None if options.regime is None else REGIMES[options.regime]
    image_size = options.image_size or (None if regime is None else regime.image_size)
    only_shape = False if options.encoder.startswith(TIMM_PREFIX) else None
    encoder = create_encoder(
        options.encoder, image_size=image_size, pretrained=only_shape, device="cpu"
    )
    glimpse_size, num_glimpses = options.glimpse_size, options.num_glimpses
    if regime is not None:
        side = encoder.config.patch_size
        if glimpse_size is None and regime.glimpse_pixels % side:
            raise ValueError(
                f"glimpses of {regime.glimpse_pixels} pixels are no whole number of the patches of "
                f"{side} pixels that {options.encoder!r} has; give --glimpse-size in patches"
            )
        glimpse_size = glimpse_size or regime.glimpse_pixels // side
        num_glimpses = num_glimpses or regime.num_glimpses
    return episode_costs(
        encoder,
        glimpse_size=2 if glimpse_size is None else glimpse_size,
        num_glimpses=8 if num_glimpses is None else num_glimpses,
        split_blocks=options.split_blocks,
        decoder=options.decoder,
        heavy_decoder=options.heavy_decoder,
        outputs=options.outputs,
        charge_prior=options.charge_prior,
    )


def _decoder(encoder: GlimpseEncoder, shape: tuple[int, int]) -> GlimpseDecoder:
    from encoders.layers.decoder import GlimpseDecoder

    width, depth = shape
    # The number of heads changes no count.
    config = DecoderConfig(width, depth, num_heads=1)
    return GlimpseDecoder(config, encoder.width, encoder.grid, encoder.config.patch_size)


def _shape(decoder: GlimpseDecoder) -> str:
    return f"{decoder.width} x {len(decoder.blocks)}"
