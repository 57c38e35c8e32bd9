"""What is asked of a belief."""
