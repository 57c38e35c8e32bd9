"""Frames in, one animated picture out."""

import os
from collections.abc import Sequence

import numpy as np

from encoders.support.files import replacing


def save_gif(
    frames: Sequence[np.ndarray],
    path: str | os.PathLike[str],
    frames_per_second: float = 1.5,
    *,
    hold: float = 2.0,
) -> None:
    """Writes an endless GIF; the file appears under its name only when it is whole.

    Args:
        frames: RGB frames of one size, each uint8 `[H, W, 3]`.
        path: File to write; an existing one is replaced.
        frames_per_second: Speed of the animation.
        hold: Seconds for which the last frame stays, before the animation starts again.

    Raises:
        ValueError: If there is no frame, a frame is not uint8 RGB, the frames differ in size, or
            the speed is not positive.
    """
    from PIL import Image

    kinds = sorted({(np.shape(frame), str(frame.dtype)) for frame in frames})
    if len(kinds) != 1 or len(kinds[0][0]) != 3 or kinds[0][0][2] != 3 or kinds[0][1] != "uint8":
        raise ValueError(
            f"{path}: expected at least one frame, all uint8 [H, W, 3] and of one size; "
            f"got {len(frames)} frames of shapes and types {kinds}."
        )
    if not frames_per_second > 0:
        raise ValueError(f"{path}: frames_per_second must be positive, got {frames_per_second}.")

    # One palette for all frames: colours that change from frame to frame would flicker.
    sample = np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]])[::2, ::2]
    palette = Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT)
    pictures = [Image.fromarray(frame).quantize(palette=palette) for frame in frames]
    durations = [round(1000 / frames_per_second)] * len(pictures)  # milliseconds
    durations[-1] = max(durations[-1], round(1000 * hold))

    with replacing(path) as partial:
        pictures[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            optimize=False,
        )
