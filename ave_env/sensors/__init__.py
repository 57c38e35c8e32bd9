"""What a glimpse is."""
