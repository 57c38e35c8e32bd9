"""A shifted copy of a test set: the same scenes, each with one seeded corruption.

`python -m ave_env.scenes.corrupt SOURCE OUT`. Corruptions are of the kinds of
ImageNet-C (Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR 2019), with strengths of their own that `STRENGTHS` states.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ave_env.choices import SPLITS
from ave_env.scenes.command import exit_on_sigterm, new_parser, positive
from ave_env.scenes.files.layouts import LAYOUTS
from ave_env.scenes.sources import open_scenes

LIST_FILE = "corruptions.csv"

STRENGTHS: dict[str, tuple[float, ...]] = {
    "noise": (8, 12, 18, 26, 38),  # standard deviation, in grey levels
    "blur": (0.01, 0.015, 0.02, 0.03, 0.04),  # standard deviation, in shorter sides of the image
    "contrast": (0.75, 0.6, 0.45, 0.3, 0.2),  # of what it was
    "brightness": (25, 40, 60, 80, 100),  # added grey levels
    "pixelate": (0.8, 0.6, 0.45, 0.35, 0.25),  # resolution left
    "jpeg": (40, 25, 18, 12, 7),  # quality
}
"""What each severity from 1 to 5 means."""


def corrupt(image: np.ndarray, kind: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A corrupted copy of an image.

    Args:
        image: RGB, uint8 `[H, W, 3]`.
        kind: One of `STRENGTHS`.
        severity: From 1 to 5.
        rng: Of the noise.

    Returns:
        uint8 `[H, W, 3]`.

    Raises:
        ValueError: Another kind or severity.
    """
    import cv2

    if kind not in STRENGTHS:
        raise ValueError(f"corruption {kind!r}; expected one of {', '.join(STRENGTHS)}")
    if not 1 <= severity <= 5:
        raise ValueError(f"severity={severity}; expected 1 to 5")
    strength = STRENGTHS[kind][severity - 1]
    height, width = image.shape[:2]
    values: Any = image.astype(np.float32)
    if kind == "noise":
        values += rng.normal(0, strength, values.shape).astype(np.float32)
    elif kind == "blur":
        values = cv2.GaussianBlur(values, (0, 0), max(strength * min(height, width), 0.3))
    elif kind == "contrast":
        mean = values.mean((0, 1), keepdims=True)
        values = mean + strength * (values - mean)
    elif kind == "brightness":
        values += strength
    elif kind == "pixelate":
        small = (max(int(width * strength), 1), max(int(height * strength), 1))
        values = cv2.resize(values, small, interpolation=cv2.INTER_AREA)
        values = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST)
    else:
        options = [cv2.IMWRITE_JPEG_QUALITY, int(strength)]
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
        decoded: Any = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        values = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def write_corrupted(
    source: str,
    out: Path,
    *,
    data_root: Path | None,
    image_size: tuple[int, int],
    split: str = "test",
    kinds: Sequence[str] = tuple(STRENGTHS),
    severity: int = 3,
    seed: int = 0,
) -> int:
    """Writes `OUT/SPLIT/CLASS/*.png` and the list of what was done to each.

    Args:
        source: "synthetic", or a layout of files.
        out: Folder to write, which must not exist; it appears whole or not at all.
        data_root: Folder or HDF5 file of the scenes.
        image_size: Height and width in pixels.
        split: Which scenes.
        kinds: Corruptions, of which one is drawn for every scene.
        severity: From 1 to 5.
        seed: Of what is drawn; every scene's draws depend on it and the scene's number alone.

    Returns:
        The number of images.

    Raises:
        FileExistsError: `out` exists.
        ValueError: Scenes that cannot be read, a kind or severity that there is not.
    """
    import cv2

    if out.exists():
        raise FileExistsError(f"{out} exists; choose another folder, or remove it")
    if not kinds:
        raise ValueError(f"no kinds; expected some of {', '.join(STRENGTHS)}")
    blank = np.zeros((8, 8, 3), np.uint8)
    for kind in kinds:
        corrupt(blank, kind, severity, np.random.default_rng(0))  # refuses what there is not
    scenes = open_scenes(source, split=split, data_root=data_root, image_size=image_size, seed=0)
    partial = out.with_name(f".{out.name}.{os.getpid()}.writing")
    try:
        rows = []
        for index, label in enumerate(scenes.labels.tolist()):
            rng = np.random.default_rng([seed, index])
            kind = kinds[int(rng.integers(len(kinds)))]
            image = corrupt(scenes.load(index), kind, severity, rng)
            path = Path(split, scenes.class_names[label], f"{index:06d}.png")
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            (partial / path).write_bytes(encoded.tobytes())
            rows.append((str(path), index, kind, severity, seed))
        with (partial / LIST_FILE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("file", "scene", "corruption", "severity", "seed"))
            writer.writerows(rows)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and writes the copy."""
    options = _parser().parse_args(arguments)
    drawn = str(options.root) == "synthetic" and not options.root.exists()
    try:
        with exit_on_sigterm():
            count = write_corrupted(
                "synthetic" if drawn else options.source,
                Path(options.out).expanduser(),
                data_root=None if drawn else options.root,
                image_size=tuple(options.image_size),
                split=options.split,
                kinds=options.kinds,
                severity=options.severity,
                seed=options.seed,
            )
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {count:,} images")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "ave_env.scenes.corrupt",
        "Write a copy of a split whose images each have one seeded corruption, as a second test\n"
        "set for `ave-study end_to_end --second-data-root OUT`.",
        epilog="Example: %(prog)s cifar10 cifar10-shifted --image-size 32 32 --severity 3",
    )
    parser.add_argument(
        "root",
        metavar="SOURCE",
        type=Path,
        help="folder or HDF5 file of scenes, or synthetic: the panoramas that are drawn",
    )
    parser.add_argument("out", metavar="OUT", help="folder to write; must not exist")
    parser.add_argument(
        "--source",
        choices=tuple(LAYOUTS),
        default="imagefolder",
        help="layout of the images (default: %(default)s)",
    )
    parser.add_argument(
        "--image-size",
        nargs=2,
        type=positive,
        metavar=("H", "W"),
        required=True,
        help="size of the images written",
    )
    parser.add_argument("--split", choices=SPLITS, default="test", help="(default: %(default)s)")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=tuple(STRENGTHS),
        default=list(STRENGTHS),
        help="corruptions, of which one is drawn for every image (default: all)",
    )
    parser.add_argument(
        "--severity", type=int, choices=range(1, 6), default=3, help="(default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
