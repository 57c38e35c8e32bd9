"""Learners whose policy chooses among the windows of a grid, from a belief in space."""
