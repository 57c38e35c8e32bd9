"""Exchange of encoders, and of any folder, with the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import ModelHubMixin
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from encoders.storage import CONFIG_FILE, WEIGHTS_FILE, load_encoder, save_encoder

_DOWNLOAD_OPTIONS = ("revision", "cache_dir", "force_download", "local_files_only", "token")


def download_folder(repository: str, files: Collection[str] | None = None, **options: Any) -> Path:
    """The folder that the hub's cache keeps of a repository, brought up to date where it answers.

    Args:
        repository: As `user/name`.
        files: Names or patterns of the files wanted; None = all.
        **options: Further arguments of `huggingface_hub.snapshot_download`, e.g. `revision`.

    Raises:
        ValueError: There is no such repository, or the hub does not answer and the cache does not
            hold it.
    """
    patterns = None if files is None else list(files)
    try:
        folder = huggingface_hub.snapshot_download(repository, allow_patterns=patterns, **options)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{repository!r}: no such folder here, and the Hugging Face hub does not give a "
            f"repository of that name ({type(error).__name__}: {reason[:160]})"
        ) from error
    return Path(folder)


def upload_folder(folder: Path, repository: str, *, private: bool = False, **options: Any) -> str:
    """Sends a folder to the hub, where a repository is made if there is none of that name.

    Args:
        folder: What to send.
        repository: As `user/name`.
        private: Whether a new repository is hidden from others.
        **options: Further arguments of `huggingface_hub.upload_folder`, e.g. `commit_message`.

    Returns:
        The address of the commit.

    Raises:
        ValueError: The hub does not answer or does not take it, e.g. for want of a token.
    """
    token = options.get("token")
    try:
        huggingface_hub.create_repo(repository, private=private, exist_ok=True, token=token)
        commit = huggingface_hub.upload_folder(repo_id=repository, folder_path=folder, **options)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{repository!r}: the Hugging Face hub does not take {folder} "
            f"({type(error).__name__}: {reason[:160]}); log in with `hf auth login`"
        ) from error
    return str(commit.commit_url)


class HubExchange(ModelHubMixin, library_name="active-visual-exploration"):
    """Gives an encoder `save_pretrained`, `push_to_hub` and `from_pretrained`.

    What they write and read is the folder of `encoders.checkpoints`, with a model card beside it.
    """

    def _save_pretrained(self, save_directory: Path) -> None:
        save_encoder(self, save_directory)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
        folder = Path(model_id)
        if not folder.is_dir():
            chosen = {name: options[name] for name in _DOWNLOAD_OPTIONS}
            folder = download_folder(model_id, [CONFIG_FILE, WEIGHTS_FILE], **chosen)
        return load_encoder(folder)
