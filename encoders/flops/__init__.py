"""What every step costs (`python -m encoders.flops` shows an episode)."""
