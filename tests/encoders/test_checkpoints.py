"""Weights survive a round trip, and files that do not fit are refused by name."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from golden_numbers import Golden
from helpers import ALL_OUTPUTS, random_images, tiny_encoder
from safetensors.torch import load_file, save_file

from encoders import GlimpseEncoder, create_encoder
from encoders.checkpoints.command import main
from encoders.checkpoints.importing import import_encoder
from encoders.checkpoints.weight_files import CheckpointError
from encoders.registry import FAMILIES
from encoders.storage import load_encoder, save_encoder, weights_hash


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path):
    encoder = tiny_encoder(class_names=tuple("abcde"))
    loaded = load_encoder(save_encoder(encoder, tmp_path / "encoder"))
    assert loaded.config == encoder.config
    assert weights_hash(loaded) == weights_hash(encoder)
    images = random_images(encoder, 2)
    for name in ("logits", "pixels"):
        one = getattr(encoder.forward_full(images, ALL_OUTPUTS), name)
        other = getattr(loaded.forward_full(images, ALL_OUTPUTS), name)
        assert torch.equal(one, other)


def test_the_hash_tells_encoders_apart():
    encoder = tiny_encoder()
    before = weights_hash(encoder)
    with torch.no_grad():
        encoder.backbone.vit.cls_token[0, 0, 0] += 1e-6
    assert weights_hash(encoder) != before


def broken(tmp_path, change):
    folder = save_encoder(tiny_encoder(), tmp_path)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("decoder.mask_token"), "missing decoder.mask_token"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected extra"),
        (
            lambda t: t.update({"decoder.mask_token": torch.zeros(1, 1, 8)}),
            r"decoder.mask_token has shape \(1, 1, 8\), not \(1, 1, 16\)",
        ),
        (
            lambda t: t["decoder.mask_token"].fill_(float("nan")),
            "decoder.mask_token holds NaN",
        ),
        (
            lambda t: t.update({"decoder.mask_token": torch.zeros(1, 1, 16, dtype=torch.int32)}),
            "decoder.mask_token has dtype torch.int32",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message) as error:
        load_encoder(broken(tmp_path, change))
    assert str(tmp_path) in str(error.value)


def test_damaged_files_are_named(tmp_path):
    folder = save_encoder(tiny_encoder(), tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:200])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_encoder(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format_version": 99}))
    with pytest.raises(CheckpointError, match="version 99 is newer"):
        load_encoder(folder)
    (folder / "config.json").write_text(json.dumps({**config, "colour": "red"}))
    with pytest.raises(CheckpointError, match=r"unknown keys.*colour"):
        load_encoder(folder)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_encoder(tmp_path / "nowhere")


def test_double_precision_survives(tmp_path):
    encoder = tiny_encoder(dtype=torch.float64)
    loaded = load_encoder(save_encoder(encoder, tmp_path))
    assert weights_hash(loaded) == weights_hash(encoder)


def test_an_encoder_is_found_by_its_folder_or_its_weights(tmp_path):
    encoder = tiny_encoder()
    folder = save_encoder(encoder, tmp_path)
    for path in (folder, folder / "model.safetensors"):
        opened = create_encoder(path, device="cpu")
        assert weights_hash(opened) == weights_hash(encoder)
    assert create_encoder(folder, image_size=(48, 48), device="cpu").grid == (6, 6)


def test_the_hub_gets_and_gives_the_same_folder(tmp_path):
    encoder = tiny_encoder(class_names=tuple("abcde"))
    encoder.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"config.json", "model.safetensors"}
    for loaded in (GlimpseEncoder.from_pretrained(tmp_path), load_encoder(tmp_path)):
        assert loaded.config == encoder.config
        assert weights_hash(loaded) == weights_hash(encoder)


def test_a_hub_repository_is_opened_from_the_cache_of_the_hub(tmp_path):
    encoder = tiny_encoder()
    repository = tmp_path / "models--someone--tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    encoder.save_pretrained(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    loaded = GlimpseEncoder.from_pretrained(
        "someone/tiny", cache_dir=tmp_path, local_files_only=True
    )
    assert weights_hash(loaded) == weights_hash(encoder)


@pytest.fixture
def mae_file(tmp_path):
    path = tmp_path / "mae_tiny.pth"
    torch.save({"model": Golden("mae").weights, "epoch": 799}, path)
    return path


HEADS = ["--num-heads", "3", "--decoder-num-heads", "4"]


def test_inspect_says_what_a_file_is(mae_file, capsys):
    assert main(["inspect", str(mae_file), *HEADS]) == 0
    printed = capsys.readouterr().out
    encoder = import_encoder(mae_file, num_heads=3, decoder_num_heads=4)
    for words in (
        "masked autoencoder",
        "blocks.0-3.attn.qkv.weight",
        "(144, 48) float32",
        "fits:",
        "64x64, patches of 8, grid 8x8",
        "width 32, 2 blocks, 4 heads",
        "sine-cosine",
        weights_hash(encoder),
    ):
        assert words in printed


def test_inspect_says_what_is_missing(mae_file, capsys):
    assert main(["inspect", str(mae_file)]) == 1
    assert "does not fit" in (printed := capsys.readouterr().out)
    assert "give num_heads" in printed


def test_convert_writes_a_folder_that_opens(mae_file, tmp_path, capsys):
    out = tmp_path / "converted"
    size = ["--image-size", "32", "96"]
    assert main(["convert", str(mae_file), str(out), *HEADS, *size]) == 0
    opened = create_encoder(out, device="cpu")
    assert weights_hash(opened) in capsys.readouterr().out
    assert opened.grid == (4, 12)
    expected = import_encoder(mae_file, image_size=(32, 96), num_heads=3, decoder_num_heads=4)
    assert weights_hash(opened) == weights_hash(expected)
    assert main(["inspect", str(out)]) == 0
    assert "an encoder of this package" in capsys.readouterr().out
    assert main(["convert", str(mae_file), str(out), *HEADS]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class ColourConfig:
    """What the encoder below says of itself."""

    name: str = "colours"
    image_size: tuple[int, int] = (32, 64)
    patch_size: int = 8
    num_classes: int = 5
    class_names: tuple[str, ...] | None = None

    def to_dict(self):
        return {"num_classes": self.num_classes}


class Colours(torch.nn.Module):
    """An encoder of another family, as far as files are concerned."""

    family = "test-colours"
    grid = (4, 8)

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.head = torch.nn.Linear(3, config.num_classes)


def test_inspect_and_convert_know_encoders_of_other_families(tmp_path, capsys):
    FAMILIES.register(lambda values: Colours(ColourConfig(**values)), name=Colours.family)
    encoder = Colours(ColourConfig(num_classes=7))
    folder = save_encoder(encoder, tmp_path / "colours")
    assert main(["inspect", str(folder)]) == 0
    printed = capsys.readouterr().out
    for words in ("test-colours", "32x64, patches of 8", "7 outputs", "28", weights_hash(encoder)):
        assert words in printed
    assert main(["convert", str(folder), str(tmp_path / "copy")]) == 0
    assert weights_hash(load_encoder(tmp_path / "copy")) == weights_hash(encoder)


def test_a_head_gets_the_names_of_its_classes(tmp_path):
    path, names = tmp_path / "deit.pth", tmp_path / "names.txt"
    torch.save({"model": Golden("tore_deit_km").weights}, path)
    names.write_text("\n".join("abcdefghij") + "\n")
    heads = ["--num-heads", "3"]
    assert (
        main(["convert", str(path), str(tmp_path / "out"), *heads, "--class-names", str(names)])
        == 0
    )
    assert load_encoder(tmp_path / "out").config.class_names == tuple("abcdefghij")
    with pytest.raises(CheckpointError, match="2 class names for a head with 10 outputs"):
        import_encoder(path, num_heads=3, class_names=("a", "b"))
