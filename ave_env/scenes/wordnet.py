"""Names for the classes of ImageNet, which are called by their WordNet ids."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_WNID = re.compile(r"n\d{8}")
_TABLE = Path("data", "_info", "imagenet_synset_to_lemma.txt")  # in timm, for all of ImageNet-22k


@functools.lru_cache(maxsize=8)
def in_words(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """What people call some classes.

    Args:
        class_names: Names of classes, of which some or all may be WordNet ids.

    Returns:
        For each WordNet id its first name, with the id where several have that name ("tench",
        "crane (n02012849)"); all other names as they are.
    """
    table = _names() if any(map(_WNID.fullmatch, class_names)) else {}
    words = [table.get(name, name) for name in class_names]
    counts = Counter(words)
    return tuple(
        f"{word} ({name})" if counts[word] > 1 and word != name else word
        for word, name in zip(words, class_names, strict=True)
    )


@functools.cache
def _names() -> Mapping[str, str]:
    """First name of every WordNet id that timm knows; timm itself, which is slow, stays out."""
    package = importlib.util.find_spec("timm")
    for folder in (package and package.submodule_search_locations) or ():
        if (path := Path(folder, _TABLE)).is_file():
            rows = (line.split("\t", 1) for line in path.read_text("utf-8").splitlines())
            return {wnid: names.strip('"').split(",")[0] for wnid, names in rows}
    return {}  # another layout of timm: ids do as well
