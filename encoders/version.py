"""The version of the installed package."""

import importlib.metadata

try:
    __version__ = importlib.metadata.version("active-visual-exploration")
except importlib.metadata.PackageNotFoundError:  # a checkout that was not installed
    __version__ = "0+unknown"
