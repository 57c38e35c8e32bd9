"""Learning where to look from teachers that see the whole scene, in training only."""
