"""Episodes as MP4, where the optional dependency for it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from encoders.support.files import replacing

_FRAMES_PER_SECOND = 6  # players stumble over slower ones, so that each picture is shown repeatedly

# Bit-exact, or the file would name the encoder's build; fast start, so that browsers need not wait.
_OPTIONS = (
    "-crf 20 -preset veryfast -threads 1 -fflags +bitexact -flags:v +bitexact -movflags +faststart"
)


def videos_available() -> bool:
    """Whether `imageio-ffmpeg`, which brings an encoder along, is installed."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def save_mp4(
    frames: Sequence[np.ndarray],
    path: Path,
    *,
    seconds_per_frame: float = 2 / 3,
    hold: float = 2.0,
) -> None:
    """Writes an H.264 video that browsers play; it appears under its name only when it is whole.

    Args:
        frames: RGB frames of one size with even sides, each uint8 `[H, W, 3]`.
        path: File to write; an existing one is replaced.
        seconds_per_frame: How long each is shown.
        hold: Seconds for which the last one stays.

    Raises:
        ModuleNotFoundError: `imageio-ffmpeg` is not installed.
        ValueError: There is no frame.
    """
    if not frames:
        raise ValueError(f"{path}: no frames; expected at least one")
    if not videos_available():
        raise ModuleNotFoundError(
            f"{path}: videos need imageio-ffmpeg; pip install 'active-visual-exploration[video]'"
        )
    from imageio_ffmpeg import write_frames

    height, width, _ = frames[0].shape
    with replacing(path) as partial:
        writer = write_frames(
            str(partial),
            (width, height),
            fps=_FRAMES_PER_SECOND,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            output_params=_OPTIONS.split(),
        )
        try:
            writer.send(None)
            for index, frame in enumerate(frames):
                seconds = hold if index == len(frames) - 1 else seconds_per_frame
                for _ in range(max(1, round(seconds * _FRAMES_PER_SECOND))):
                    writer.send(np.ascontiguousarray(frame))
        finally:
            writer.close()
