"""A-ViT on a folder of images: the plain model, A-ViT, and A-ViT from the task's own plain model.

Usage: python benchmarks/avit_study.py --data-root IMAGES --start timm/deit_tiny_patch16_224
       python benchmarks/avit_study.py --smoke

Four models learn the classes of the folder (train, val and test, a folder per class in each) from
whole images: a plain Vision Transformer that starts from `--start`; A-ViT that starts there too;
A-ViT that starts from the trained plain model; and, as its control, the plain model trained as long
again. `study.csv` holds accuracy and macro F1 on the
test images, GFLOPs and blocks per token; `depths.csv` the mean depth of every test image, and
`depths.png` the images whose tokens halt first and last. A model that is trained is not trained
again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ave_env.registration import configure
from ave_env.rendering import ink
from ave_env.rendering.tokens import paint_tokens
from encoders import GlimpseEncoder, build_encoder, create_encoder
from encoders.layers.patches import patchify
from encoders.storage import load_encoder
from encoders.support.files import replacing, write_json
from encoders.support.subsets import spread_evenly
from encoders.training.config import EncoderShape, TrainingConfig
from encoders.training.trainer import EncoderTrainer

COLUMNS = ("model", "starts_from", "accuracy", "macro_f1", "gflops", "blocks_per_token", "scenes")
_SHOWN = 6  # images of each kind
_SIDE = 128  # pixels that small images are enlarged to


def macro_f1(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """The mean over classes of F1; 0 for a class that nothing is predicted as."""
    scores = []
    for each in range(num_classes):
        hits = ((predicted == each) & (labels == each)).sum()
        total = (predicted == each).sum() + (labels == each).sum()
        if total:
            scores.append(2 * hits / total)
    return float(np.mean(scores))


@torch.no_grad()
def evaluate(
    encoder: GlimpseEncoder, scenes: Any, indices: np.ndarray, rows: int
) -> dict[str, np.ndarray]:
    """Predictions, multiply-accumulates, and blocks of every patch `[N, G]` of some scenes."""
    found: dict[str, list[np.ndarray]] = {"predicted": [], "flops": [], "depth": []}
    encoder.eval()
    for start in range(0, len(indices), rows):
        images = np.stack([scenes.load(int(index)) for index in indices[start : start + rows]])
        pixels = encoder.normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
        patches = patchify(pixels, encoder.config.patch_size)
        ids = torch.arange(patches.shape[1]).expand(len(images), -1)
        state = encoder.init_state(len(images))
        observed = encoder.observe(patches, ids, state, split_block=0, outputs=("logits",))
        found["predicted"].append(observed.belief["logits"].argmax(1).cpu().numpy())
        found["flops"].append(np.asarray(observed.cost.spent.total))
        depth = np.full(ids.shape, encoder.depth)
        if observed.belief.reduced is not None:
            depth = observed.belief.reduced.depth.cpu().numpy()
        found["depth"].append(depth)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def trained(
    folder: Path, start: GlimpseEncoder, splits: dict[str, Any], config: TrainingConfig
) -> GlimpseEncoder:
    """Trains an encoder in a folder, or reads the one that was trained there."""
    done = folder / "done.json"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        names = tuple(splits["train"].class_names)
        trainer = EncoderTrainer(
            start, splits["train"], splits["val"], config, folder, class_names=names, device="cpu"
        )
        write_json(done, {"config": dataclasses.asdict(config), "metrics": trainer.run()})
    return load_encoder(folder)


def draw_depths(
    path: Path, scenes: Any, indices: np.ndarray, depth: np.ndarray, grid: tuple[int, int]
) -> None:
    """The images whose tokens halt first above those whose tokens halt last."""
    order = depth.mean(1).argsort(kind="stable")
    rows = []
    for chosen in (order[:_SHOWN], order[-_SHOWN:]):
        pictures = []
        for index in chosen:
            scene, map_ = scenes.load(int(indices[index])), depth[index].reshape(grid)
            times = max(1, _SIDE // scene.shape[0])
            scene = scene.repeat(times, axis=0).repeat(times, axis=1)
            picture = ink.blank(2 * scene.shape[0] + 20, scene.shape[1] + 4)
            ink.write(picture, f"{depth[index].mean():.1f}", 2, 10)
            both = np.concatenate([scene, paint_tokens(scene, np.ones(grid, int), map_)])
            picture[20:, :-4] = both
            pictures.append(picture)
        rows.append(np.concatenate(pictures, 1))
    with replacing(path) as partial:
        Image.fromarray(np.concatenate(rows)).save(partial, format="png")


def start_encoder(options: argparse.Namespace, splits: dict[str, Any]) -> GlimpseEncoder:
    """What the first two models start from, with a new head for the classes of the folder."""
    names, size = tuple(splits["train"].class_names), splits["train"].image_size
    if options.start is None:
        shape = EncoderShape(decoder_width=0, patch_size=options.patch_size, **options.shape)
        return build_encoder(shape.config("vit", size, names), options.seed)
    return create_encoder(options.start, image_size=size, class_names=names, device="cpu")


def main() -> None:
    """Trains what is missing, then writes tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="AVE-ImageFolder-v0")
    parser.add_argument("--data-root", type=Path, help="folder of the images")
    parser.add_argument("--image-size", type=int, nargs=2, default=(64, 64))
    parser.add_argument("--patch-size", type=int, default=8, help="of a new model")
    parser.add_argument("--start", help="weights to start from; default: a new small model")
    parser.add_argument("--reduction", default="avit:gate_scale=5.0,gate_center=10.0")
    parser.add_argument("--ponder-weight", type=float, default=5e-4)
    parser.add_argument("--distribution-weight", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--epoch-size", type=int, help="default: the whole split")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--scenes", type=int, help="test images; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results/avit_study"))
    parser.add_argument("--smoke", action="store_true", help="a few steps on synthetic scenes")
    options = parser.parse_args()
    options.shape = {"width": 128, "depth": 6, "num_heads": 4}
    if options.smoke:
        options.env, options.data_root, options.image_size = "AVE-Synthetic-v0", None, (32, 64)
        options.epochs, options.epoch_size, options.batch_size = 1, 32, 16
        options.scenes = 48
        options.shape = {"width": 32, "depth": 3, "num_heads": 2}
    splits = {
        split: configure(
            options.env,
            split=split,
            data_root=options.data_root,
            image_size=tuple(options.image_size),
        ).open_scenes()
        for split in ("train", "val", "test")
    }
    config = TrainingConfig(
        epochs=options.epochs,
        epoch_size=options.epoch_size,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        split_block=0,
        full_view_probability=1.0,
        blind_probability=0.0,
        curriculum=0.0,
        ponder_weight=options.ponder_weight,
        distribution_weight=options.distribution_weight,
        seed=options.seed,
        num_workers=0,
        progress=not options.smoke,
        validation_size=64 if options.smoke else 512,
    )
    reducing = {"reduction": options.reduction, "reduction_in": "aggregator"}
    plain = trained(options.output / "plain", start_encoder(options, splits), splits, config)
    models = {
        "plain": (plain, options.start or "new"),
        "avit": (
            trained(
                options.output / "avit",
                start_encoder(options, splits).with_reduction(**reducing),
                splits,
                config,
            ),
            options.start or "new",
        ),
        "avit-finetuned": (
            trained(
                options.output / "avit-finetuned",
                load_encoder(options.output / "plain").with_reduction(**reducing),
                splits,
                config,
            ),
            "plain",
        ),
        "plain-continued": (
            trained(
                options.output / "plain-continued",
                load_encoder(options.output / "plain"),
                splits,
                config,
            ),
            "plain",
        ),
    }
    test = splits["test"]
    indices = spread_evenly(options.scenes or len(test), len(test))
    rows, depths = [], {}
    for name, (encoder, source) in models.items():
        found = evaluate(encoder, test, indices, options.batch_size)
        labels, depths[name] = np.asarray(test.labels)[indices], found["depth"]
        row = {
            "model": name,
            "starts_from": source,
            "accuracy": f"{np.mean(found['predicted'] == labels):.4f}",
            "macro_f1": f"{macro_f1(found['predicted'], labels, len(test.class_names)):.4f}",
            "gflops": f"{found['flops'].mean() / 1e9:.4f}",
            "blocks_per_token": f"{found['depth'].mean():.3f}",
            "scenes": len(labels),
        }
        rows.append(row)
        print(json.dumps(row))
        if name.startswith("avit"):
            path = options.output / f"depths-{name}.png"
            draw_depths(path, test, indices, found["depth"], encoder.grid)
    write_csv(
        options.output / "study.csv", COLUMNS, [[row[key] for key in COLUMNS] for row in rows]
    )
    per_image = np.stack([depth.mean(1) for depth in depths.values()], 1)
    lines = [
        [index, *(f"{each:.3f}" for each in row)]
        for index, row in zip(indices.tolist(), per_image, strict=True)
    ]
    write_csv(options.output / "depths.csv", ("scene", *depths), lines)


def write_csv(path: Path, header: Any, rows: Any) -> None:
    """Writes a table, whole or not at all."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
