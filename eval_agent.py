#!/usr/bin/env python3
"""Compares glimpse policies in the same scenes: `ave-eval`."""

from agents.commands.eval_agent import main

if __name__ == "__main__":
    main()
