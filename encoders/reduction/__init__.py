"""Fewer tokens within a Vision Transformer: dropped, merged or halted on their way through."""
