"""Frequencies and variance of tokens over depth and K: what splitting does to the low pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agents.studies.base import Section, Study, table_section
from agents.studies.columns import LEADING_COLUMNS
from agents.studies.idle import Idle, nothing_random
from agents.studies.options import OneDivisionOptions, SplitBlocksOptions
from encoders.support.validation import Positive

if TYPE_CHECKING:
    from agents.studies.table import PointTable, Row


@dataclasses.dataclass(frozen=True)
class SpectrumOptions(SplitBlocksOptions, OneDivisionOptions):
    """Fourier spectrum and variance of patch tokens after every block, at every K.

    As in "How Do Vision Transformers Work?" (ICLR 2022): the tokens after each block are maps in
    space; measured are the logarithm of their amplitude at every frequency of the diagonal,
    relative to frequency zero, and their variance over positions. Attention lowers both. Images
    are in M parts, and the tokens of all parts are put together into one map.

    Attributes:
        scenes: Most scenes, spread evenly over the split; None = all of it.
    """

    scenes: Positive | None = 500


class Spectrum(Study[SpectrumOptions]):
    """See `SpectrumOptions`."""

    name = "spectrum"
    summary = "Fourier spectrum and variance of tokens over depth and K"
    options_class = SpectrumOptions
    smoke: ClassVar = {"scenes": 16}
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"split_block": int, "parts": int, "orientation": str, "block": int},
        **{"variance": float, "frequency": float, "log_amplitude": float},
    }
    keys = ("encoder", "split_block", "block", "frequency")

    def prepare(self) -> dict[str, Any]:
        """Opens encoder and scenes; classes are not needed."""
        from agents.studies.subjects import (
            identity,
            open_both,
            require_divided,
            splits_of,
        )
        from encoders.analysis.spectrum import diagonal_frequencies

        options = self.options
        self.subject, self.scenes = open_both(options, options.encoder, classes=False)
        grid = self.subject.encoder.grid
        self.way = options.way
        require_divided(self.subject, self.way, len(self.scenes))
        if min(grid) < 4:
            raise ValueError(
                f"encoder {self.subject.name!r} sees {grid[0]}x{grid[1]} patches; a spectrum needs "
                "at least 4 along either side: choose larger images (--image-size)"
            )
        self.splits = splits_of(self.subject, options.split_blocks)
        self.frequencies = diagonal_frequencies(*grid).tolist()
        return identity(self.subject, self.scenes)

    def idle(self) -> Iterator[Idle]:
        """The seed."""
        yield from super().idle()
        yield nothing_random()

    def measure(self, table: PointTable, folder: Path) -> None:
        """One K after another."""
        last = self.subject.depth
        for split in self.splits:
            key: Row = {"encoder": self.subject.name, "split_block": split, "block": last}
            if {**key, "frequency": self.frequencies[-1]} not in table:
                table.add(self._measure_one(split))

    def _measure_one(self, split: int) -> list[dict[str, Any]]:
        import numpy as np

        from agents.studies.subjects import batches
        from encoders.analysis.divided import tokens_after_blocks
        from encoders.analysis.spectrum import (
            feature_map_variance,
            maps_of_tokens,
            relative_log_amplitude,
        )
        from encoders.support.precision import autocast, resolve_precision

        options, encoder = self.options, self.subject.encoder
        labels = self.way.labels(encoder.grid)
        blocks = self.subject.depth + 1
        variance, amplitude = np.zeros(blocks), np.zeros((blocks, len(self.frequencies)))
        dtype = resolve_precision(options.precision, encoder.device)
        for rows in batches(
            self.scenes, options.batch_size, title=f"K = {split}", progress=options.progress
        ):
            pixels = self.subject.normalised(self.scenes.images(rows))
            share = len(rows) / len(self.scenes)  # both are means over scenes
            with autocast(encoder.device, dtype):
                steps = tokens_after_blocks(encoder, pixels, labels, split)
                for block, tokens in enumerate(steps):
                    maps = maps_of_tokens(tokens.double(), encoder.grid)
                    variance[block] += share * float(feature_map_variance(maps))
                    amplitude[block] += share * relative_log_amplitude(maps).cpu().numpy()
        return [
            {
                **self.subject.leading(self.scenes),
                "split_block": split,
                "parts": self.way.parts,
                "orientation": self.way.orientation,
                "block": block,
                "variance": float(variance[block]),
                "frequency": frequency,
                "log_amplitude": float(amplitude[block, at]),
            }
            for block in range(blocks)
            for at, frequency in enumerate(self.frequencies)
        ]

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure, and a table of the highest frequency and of variance."""
        from agents.studies.spectrum_figure import draw_spectrum

        draw_spectrum(table, folder)
        highest = max(float(each) for each in table.values("frequency"))
        reading = (
            f"{self.options.parts} parts. Left: log amplitude at the highest frequency measured "
            f"({highest:.3g} pi per patch) relative to frequency zero, after every block; lower = "
            "smoother. Middle: variance of the tokens over positions. Right: the spectrum after "
            "the last block. Block 0 is the patch embedding; a line for every K."
        )
        rows = [row for row in table.rows if row["frequency"] == highest]
        headings = {"split_block": "K", "block": "after block", "variance": "variance"}
        headings |= {"log_amplitude": "log amplitude"}
        formats = {"variance": "#.4g", "log_amplitude": ".3f"}
        return [
            Section("Tokens as maps", (reading,), ("spectrum.png",)),
            table_section("At the highest frequency", rows, headings, formats),
        ]
