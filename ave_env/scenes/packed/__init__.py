"""Scenes in one HDF5 file."""
