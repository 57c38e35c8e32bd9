#!/usr/bin/env python3
"""Trains a glimpse policy, and shows how it compares with others: `ave-train`."""

from agents.commands.train_agent import main

if __name__ == "__main__":
    main()
