"""Encoders that see a canvas: what was seen at its place, something else where nothing was."""
