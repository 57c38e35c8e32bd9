"""Exchange of encoders with the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, snapshot_download

from encoders.storage import CONFIG_FILE, WEIGHTS_FILE, load_encoder, save_encoder

_DOWNLOAD_OPTIONS = ("revision", "cache_dir", "force_download", "local_files_only", "token")


class HubExchange(ModelHubMixin, library_name="active-visual-exploration"):
    """Gives an encoder `save_pretrained`, `push_to_hub` and `from_pretrained`.

    What they write and read is the folder of `encoders.checkpoints`, with a model card beside it.
    """

    def _save_pretrained(self, save_directory: Path) -> None:
        save_encoder(self, save_directory)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
        if not Path(model_id).is_dir():
            model_id = snapshot_download(
                model_id,
                allow_patterns=[CONFIG_FILE, WEIGHTS_FILE],
                **{name: options[name] for name in _DOWNLOAD_OPTIONS},
            )
        return load_encoder(model_id)
