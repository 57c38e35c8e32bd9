"""Agents that learn nothing."""
