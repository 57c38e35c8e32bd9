"""Vision Transformers that recycle tokens (TORE)."""
