#!/usr/bin/env python3
"""Runs a policy of TorchRL: pip install torchrl, then python docs/examples/torchrl_specs.py."""

from torchrl.envs import GymEnv, check_env_specs

import ave_env  # noqa: F401 (registers the environments)

# With encoder=None there are glimpses alone; encoder="tore-nano" adds latent and logits.
env = GymEnv("AVE-Synthetic-v0", encoder=None, categorical_action_encoding=True)
env.set_seed(0)
check_env_specs(env)

episode = env.rollout(max_steps=20)  # random actions; it ends by itself after 8 glimpses
print(env.action_spec)
print(episode)
print("patches seen:", int(episode["next", "visited"][-1].sum()))
