"""The command `python -m encoders.flops`: what an episode costs, and which idea saves how much.

`encoders.flops.episode` computes it; here it is printed, and `encoders.flops.figure` draws it.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

from encoders.flops.count import FLOPS_CONVENTION, PARTS
from encoders.flops.episode import REGIMES, EpisodeCosts, RegimeName, episode_costs
from encoders.flops.figure import draw_costs
from encoders.support.files import write_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


PICTURES, TABLE = (".png", ".svg", ".pdf"), ".csv"


@dataclasses.dataclass(frozen=True)
class Options:
    """Prints and draws what every step of an episode costs, for several split blocks K.

    The saving by recycling tokens and the saving by a lighter decoder are shown apart. In GFLOPs,
    where one multiply-accumulate counts as one.

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
        output: Picture (.png, .svg, .pdf) or table (.csv) to write.
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

    def __post_init__(self) -> None:
        if self.output.suffix.lower() not in (*PICTURES, TABLE):
            raise ValueError(
                f"output={str(self.output)!r}; expected a name that ends in "
                f"{', '.join(PICTURES)} (a picture) or {TABLE} (a table)"
            )


def print_costs(costs: EpisodeCosts, console: Console | None = None) -> None:
    """Prints a row per step and the savings.

    Args:
        costs: What to print.
        console: Where to; None = standard output.
    """
    from rich.console import Console

    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=100)
    console.print(cost_table(costs))
    console.print(
        f"{FLOPS_CONVENTION.capitalize()}; glimpses do not overlap. Savings are shares of the "
        "first column; the last row's are shares of the second, whose decoder is the same.",
        highlight=False,
        soft_wrap=console.is_terminal,
    )


def cost_table(costs: EpisodeCosts) -> Table:
    """A row per step, their sum, and the savings as shares."""
    from rich import box
    from rich.table import Table

    decimals = 3 if np.max(costs.heavy.total) >= 1e9 else 6
    table = Table(
        title=f"{costs.title}: GFLOPs per step",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    anew = [f"all anew,\ndecoder {name}" for name in (costs.heavy_decoder, costs.light_decoder)]
    recycled = [f"\nK = {split}" for split in costs.recycled]
    recycled[:1] = [f"recycled,{recycled[0]}"]
    for heading in ("\nglimpse", "patches\nseen", *anew, *recycled):
        table.add_column(heading, justify="right", no_wrap=True)

    steps = np.stack([each.total for each in (costs.heavy, costs.light, *costs.recycled.values())])
    for glimpse, tokens, row in zip(costs.glimpses, costs.tokens, steps.T, strict=True):
        table.add_row(str(glimpse), str(tokens), *(f"{cost / 1e9:,.{decimals}f}" for cost in row))
    table.add_section()
    totals = steps.sum(axis=1)
    table.add_row(
        "episode", "", *(f"{total / 1e9:,.{decimals}f}" for total in totals), style="bold"
    )
    for name, empty, shares in (
        ("saved", 2, 1 - totals[1:] / totals[0]),
        ("by decoder", 2, [costs.saved_by_decoder] * len(totals[1:])),
        ("by recycling", 3, [costs.saved_by_recycling(split) for split in costs.recycled]),
        ("recycling alone", 3, 1 - totals[2:] / totals[1]),
    ):
        table.add_row(name, *[""] * empty, *(f"{share:.1%}" for share in shares))
    return table


def write_costs(costs: EpisodeCosts, path: Path) -> None:
    """Writes a CSV of FLOPs: a row per way to a belief and step, with the parts of its cost.

    Args:
        costs: What to write.
        path: File to write; appears whole or not at all.
    """
    ways = [
        ("all anew", "", costs.heavy_decoder, costs.heavy),
        ("all anew", "", costs.light_decoder, costs.light),
        *(("recycled", split, costs.light_decoder, one) for split, one in costs.recycled.items()),
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = [f"flops_{part}" for part in PARTS]
    writer.writerow(["way", "split_block", "decoder", "glimpse", "tokens", *parts, "flops"])
    for way, split, decoder, count in ways:
        numbers = np.vstack([count.by_part(), count.total]).T
        for glimpse, tokens, row in zip(costs.glimpses, costs.tokens, numbers, strict=True):
            writer.writerow([way, split, decoder, glimpse, tokens, *row])
    write_text(path, text.getvalue())


def main() -> None:
    """Parses the command line, prints the table and writes the picture or the table."""
    options = tyro.cli(Options, prog="python -m encoders.flops")
    try:
        costs = _compute(options)
        print_costs(costs)
        is_table = options.output.suffix.lower() == TABLE
        (write_costs if is_table else draw_costs)(costs, options.output)
    except (ValueError, OSError) as error:
        sys.exit(f"encoders.flops: error: {error}")
    print(f"{'table' if is_table else 'picture'}: {options.output}")


def _compute(options: Options) -> EpisodeCosts:
    """Opens the encoder and computes what the options ask for, filled in from the regime."""
    from encoders.create import create_encoder
    from encoders.families.timm import TIMM_PREFIX

    regime = None if options.regime is None else REGIMES[options.regime]
    image_size = options.image_size
    if image_size is None and regime is not None:
        image_size = regime.image_size
    only_shape = False if options.encoder.startswith(TIMM_PREFIX) else None
    encoder = create_encoder(
        options.encoder, image_size=image_size, pretrained=only_shape, device="cpu"
    )
    glimpse_size, num_glimpses = options.glimpse_size, options.num_glimpses
    if glimpse_size is None:
        glimpse_size = 2 if regime is None else regime.glimpse_size(encoder.config.patch_size)
    if num_glimpses is None:
        num_glimpses = 8 if regime is None else regime.num_glimpses
    return episode_costs(
        encoder,
        glimpse_size=glimpse_size,
        num_glimpses=num_glimpses,
        split_blocks=options.split_blocks,
        decoder=options.decoder,
        heavy_decoder=options.heavy_decoder,
        outputs=options.outputs,
        charge_prior=options.charge_prior,
    )
