"""PPO on the belief in space."""
