"""Images per second that one core draws of the synthetic panoramas.

Usage: python benchmarks/scene_throughput.py [--sizes 128x256 256x512] [--images 300] [--runs 5]
"""

import argparse
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from ave_env.scenes.synthetic.panoramas import SyntheticScenes


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def throughput(image_size: tuple[int, int], images: int, runs: int) -> list[float]:
    """Images per second of each run, in CPU time of this process, tables already built."""
    scenes = SyntheticScenes("train", image_size)
    scenes.load(0)
    rates = []
    for run in range(runs):
        start = time.process_time()
        for index in range(run * images, (run + 1) * images):
            scenes.load(index)
        rates.append(images / (time.process_time() - start))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["64x128", "128x256", "256x512"])
    parser.add_argument("--images", type=int, default=300, help="images per run")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(f"{processor()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{'size':>10} {'images/s/core':>14} {'slowest':>8} {'fastest':>8}")
    for size in options.sizes:
        height, width = (int(side) for side in size.split("x"))
        rates = throughput((height, width), options.images, options.runs)
        median = statistics.median(rates)
        print(f"{size:>10} {median:14.0f} {min(rates):8.0f} {max(rates):8.0f}")


if __name__ == "__main__":
    main()
