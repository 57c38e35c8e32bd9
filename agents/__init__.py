"""Who chooses the next glimpse: fixed orders, attention-map entropy, PPO, an oracle."""
