"""Weights of SparseFormer, ConvMixer and RIFormer are read as their authors publish them."""

from __future__ import annotations

import pytest
import torch
from golden_numbers import DTYPES, Golden
from safetensors.torch import save_file
from timm.models.convmixer import ConvMixer as TimmConvMixer
from tiny import raises_naming

from encoders import create_encoder
from encoders.checkpoints import CheckpointError, import_encoder, load_encoder
from encoders.checkpoints.command import main
from encoders.families.sparseformer.config import SparseFormerShape
from encoders.families.sparseformer.network import SparseFormer

HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
WISHES = {"v1": {"repeats": 2}, "btsp": HALVES}

# The first code's names of what the second calls otherwise.
FIRST_NAMES = {
    "initial_roi.": "token_roi.",
    "initial_embedding.": "token_embedding.",
    "adaptive_mixing.out_proj.": "adaptive_mixing.tuo_proj.",
    ".norm1.": ".ln_attn.",
    ".norm2.": ".ffn.0.",
    ".mlp.fc1.": ".ffn.1.",
    ".mlp.fc2.": ".ffn.3.",
    ".attn.qkv.": ".attn.in_proj_",
    ".attn.proj.": ".attn.out_proj.",
}


def with_first_names(weights):
    heads = {"norm.": "head.norm.", "proj.": "head.classifier."}
    renamed = {}
    for name, tensor in weights.items():
        for ours, theirs in FIRST_NAMES.items():
            name = name.replace(ours, theirs)
        for ours, theirs in heads.items():
            name = theirs + name.removeprefix(ours) if name.startswith(ours) else name
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", ["v1", "btsp", "first code"])
def test_a_file_of_sparseformers_authors_gives_their_numbers(form, dtype, tmp_path):
    first, form = form == "first code", "v1" if form == "first code" else form
    golden = Golden("sparseformer", dtype)
    weights = golden.group(f"{form}/w/")
    if first:
        weights = with_first_names(weights)
        assert not {"norm.weight", "layers.0.norm1.weight"} & set(weights)
    path = tmp_path / f"sparseformer_{form}_converted.pth"
    torch.save({"model": weights, "epoch": 3}, path)
    encoder = import_encoder(path, image_size=(48, 48), patch_size=8, **WISHES[form])
    assert encoder.config.shape.form == form
    assert encoder.config.weights == "pretrained"
    outputs = ("logits", "tokens", "regions")
    belief = encoder.forward_full(golden[f"{form}/image"], outputs)
    golden.check(belief.logits.detach(), f"{form}/logits")
    golden.check(belief.tokens.detach(), f"{form}/token_embedding_normed")
    golden.check(belief["regions"].detach()[..., [1, 0, 3, 2]], f"{form}/token_roi")


@pytest.mark.parametrize(
    ("latents", "width", "depth", "millions"),
    [(49, 256, 7, 31.5), (64, 320, 7, 47.6), (81, 384, 9, 81.1)],
)
def test_the_published_sizes_have_the_published_parameters(latents, width, depth, millions):
    shape = SparseFormerShape(
        latents=latents,
        points=36,
        features=96,
        width=width,
        cortex_width=2 * width,
        repeats=4,
        cortex_depth=depth,
        bottleneck=width // 4,
        early_transition=True,
    )
    with torch.device("meta"):
        network = SparseFormer(shape, 1000)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_published_layout_is_read_off_the_tensors(tmp_path):
    shape = SparseFormerShape(
        latents=4,
        points=36,
        features=8,
        width=64,
        cortex_width=128,
        repeats=3,
        cortex_depth=2,
        bottleneck=16,
        early_transition=True,
    )
    torch.manual_seed(0)
    network = SparseFormer(shape, 7)
    save_file(network.state_dict(), tmp_path / "tiny.safetensors")
    encoder = import_encoder(tmp_path / "tiny.safetensors", repeats=3, image_size=(32, 64))
    assert encoder.config.shape == shape
    images = torch.randn(2, 3, 32, 64)
    torch.testing.assert_close(encoder.forward_full(images).logits, network(images))
    # Another number of repeats is another network, which no tensor would tell.
    fewer = import_encoder(tmp_path / "tiny.safetensors", repeats=1, image_size=(32, 64))
    assert fewer.flops(0, 0).total < encoder.flops(0, 0).total


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_file_of_convmixers_authors_gives_their_numbers(dtype, tmp_path):
    golden = Golden("mixers", dtype)
    path = tmp_path / "convmixer.pth.tar"
    torch.save({"state_dict": golden.group("convmixer/w/")}, path)
    encoder = import_encoder(path, image_size=(32, 48), activation="gelu")
    assert (encoder.config.body["depth"], encoder.config.patch_size) == (3, 8)
    golden.check(encoder.forward_full(golden["convmixer/x"]).logits.detach(), "convmixer/logits")


def test_timms_convmixer_is_read(tmp_path):
    torch.manual_seed(0)
    theirs = TimmConvMixer(20, 2, 5, 7, num_classes=6, act_layer=torch.nn.ReLU).train()
    images = torch.randn(3, 3, 28, 42)
    theirs(images)  # statistics of batch norms that are not those of a new one
    theirs.eval()
    weights = {name: each.contiguous() for name, each in theirs.state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    encoder = import_encoder(
        tmp_path / "model.safetensors",
        image_size=(28, 42),
        activation="relu",
        class_names=tuple("abcdef"),
    )
    torch.testing.assert_close(encoder.forward_full(images).logits, theirs(images))
    assert encoder.config.class_names == tuple("abcdef")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", ["y_train_structure", "y_deploy"])
def test_a_file_of_riformers_authors_gives_their_numbers(form, dtype, tmp_path):
    golden = Golden("mixers", dtype)
    weights = golden.group("riformer/w/")
    if form == "y_deploy":
        gone = (".norm1.", ".token_mixer.")
        weights = {
            name: each for name, each in weights.items() if not any(part in name for part in gone)
        }
        weights |= golden.group("riformer/w_deploy/")
    path = tmp_path / "riformer.pth"
    torch.save({"state_dict": {f"backbone.{name}": each for name, each in weights.items()}}, path)
    encoder = import_encoder(path, image_size=(64, 96), patch_size=32)
    assert encoder.config.body["folded"] == (form == "y_deploy")
    golden.check(encoder.body(golden["riformer/x"]).detach(), f"riformer/{form}")


def test_what_no_tensor_tells_has_to_be_said(tmp_path):
    golden, mixers = Golden("sparseformer", torch.float32), Golden("mixers", torch.float32)
    v1, btsp = golden.group("v1/w/"), golden.group("btsp/w/")
    clip = {name: each for name, each in btsp.items() if name != "proj.bias"}
    short = {name: each for name, each in v1.items() if name != "layers.1.norm2.bias"}
    for weights, wishes, words in (
        (v1, {}, ["repeats", "--repeats", "64"]),
        (btsp, {}, ["mean", "std", "AugReg"]),
        (btsp, {**HALVES, "repeats": 3}, ["repeats=3", "2", "leave it out"]),
        (clip, HALVES, ["proj.bias", "CLIP"]),
        (short, {"repeats": 2}, ["missing", "layers.1.norm2.bias"]),
        (v1, {"repeats": 2, "num_heads": 3}, ["num_heads", "SparseFormer"]),
        (mixers.group("convmixer/w/"), {}, ["activation", "width 24", "depth 3"]),
        (mixers.group("convmixer/w/"), {"repeats": 2}, ["repeats", "ConvMixer"]),
        (
            mixers.group("convmixer/w/"),
            {"activation": "gelu", "patch_size": 16},
            ["patch_size=16", "8"],
        ),
        (mixers.group("riformer/w/"), {"activation": "gelu"}, ["activation", "RIFormer"]),
    ):
        save_file(
            {name: each.contiguous() for name, each in weights.items()}, tmp_path / "w.safetensors"
        )
        with raises_naming(CheckpointError, ["w.safetensors", *words]):
            import_encoder(tmp_path / "w.safetensors", image_size=(64, 96), **wishes)


def test_the_command_looks_into_other_families_and_converts_them(tmp_path, capsys):
    golden = Golden("sparseformer", torch.float32)
    path, folder = tmp_path / "sparseformer.pth", tmp_path / "converted"
    torch.save(golden.group("v1/w/"), path)
    options = ["--image-size", "48", "48", "--patch-size", "8", "--repeats", "2"]
    assert main(["inspect", str(path), *options]) == 0
    shown = capsys.readouterr().out
    assert "SparseFormer" in shown
    assert "family      sparseformer" in shown
    assert main(["inspect", str(path)]) == 1
    assert "--repeats" in capsys.readouterr().out
    assert main(["convert", str(path), str(folder), *options]) == 0
    image = golden["v1/image"]
    for encoder in (load_encoder(folder), create_encoder(folder, device="cpu")):
        golden.check(encoder.forward_full(image).logits.detach(), "v1/logits")
