#!/usr/bin/env python3
"""Trains a TORE encoder on random glimpses: `ave-train-encoder`."""

from agents.commands.train_encoder import main

if __name__ == "__main__":
    main()
