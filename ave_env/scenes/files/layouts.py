"""Names of the layouts that data sets have on disk; `ave_env.scenes.files.folder` reads them."""

from __future__ import annotations

from typing import Literal

Source = Literal["sun360", "imagenet", "imagefolder"]

LAYOUTS = {
    "sun360": "{indoor,outdoor}/<class>/pano_*.jpg",
    "imagenet": "{train,val}/<wnid>/*.JPEG",
    "imagefolder": "{train,val,test}/<class>/<image>, with or without splits and classes",
}

SUN360_PLACES = ("indoor", "outdoor")

# What people call the folders of the splits, in lower case.
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

# Folders at the top of one layout or another: whoever gives one of them means the folder above.
TOP_FOLDERS = (*SPLIT_FOLDERS, *SUN360_PLACES)
