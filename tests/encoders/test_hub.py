"""Encoders by the name of a repository, where the hub's cache has it and where nobody answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import tiny_encoder

from encoders.registry import check_encoder_name, is_repository
from encoders.storage import save_encoder, weights_hash

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"

OPEN = """
import sys
from encoders import create_encoder
from encoders.storage import weights_hash
encoder = create_encoder("someone/tiny", image_size=(32, 32), device="cpu")
print(encoder.config.name, weights_hash(create_encoder("someone/tiny", device="cpu")))
for name in ("someone/else", "runs/encoder-1"):
    try:
        create_encoder(name)
    except ValueError as error:
        print(error)
"""


def test_repositories_are_opened_from_the_cache_and_errors_are_sentences(tmp_path):
    encoder = tiny_encoder()
    repository = tmp_path / "hub" / "models--someone--tiny"
    save_encoder(encoder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    environment = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OPEN],
        cwd=tmp_path,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    opened, *errors = done.stdout.splitlines()
    assert opened == f"tiny {weights_hash(encoder)}", done.stderr
    assert len(errors) == 2, errors
    for name, error in zip(("someone/else", "runs/encoder-1"), errors, strict=True):
        assert error.startswith(f"{name!r}: no such folder here, and the Hugging Face hub")


@pytest.mark.parametrize(
    ("name", "may_be"),
    [
        ("someone/tiny", True),
        ("some-one/tiny.v2_1", True),
        ("tiny", False),
        ("a/b/c", False),
        ("/a/b", False),
        ("../b", False),
        ("timm/vit_tiny_patch16_224", False),
        ("package.module:name", False),
    ],
)
def test_what_may_be_a_repository(name, may_be, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_repository(name) == may_be
    if may_be:
        check_encoder_name(name)
        (tmp_path / name).mkdir(parents=True)
        assert not is_repository(name), "a folder of that name comes first"
