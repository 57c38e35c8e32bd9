"""Scenes in folders of image files."""
