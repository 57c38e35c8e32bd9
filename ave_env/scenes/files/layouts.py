"""Names of the layouts that data sets have on disk; `ave_env.scenes.files.folder` reads them."""

from __future__ import annotations

from typing import Literal

Source = Literal["sun360", "imagenet", "imagefolder"]

LAYOUTS = {
    "sun360": "{indoor,outdoor}/<class>/pano_*.jpg",
    "imagenet": "{train,val}/<wnid>/*.JPEG",
    "imagefolder": "{train,val,test}/<class>/<image>",
}

SUN360_PLACES = ("indoor", "outdoor")

# Folders at the top of one layout or another: whoever gives one of them means the folder above.
TOP_FOLDERS = ("train", "val", "test", *SUN360_PLACES)
