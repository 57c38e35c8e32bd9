"""Walking a split, and what came of it."""
