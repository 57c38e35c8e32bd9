#!/usr/bin/env python3
"""PPO in one file, as CleanRL writes it: python docs/examples/cleanrl_ppo.py [--updates 50].

Only what an environment sees is particular to it: `make_vec` and two wrappers of Gymnasium.
"""

from __future__ import annotations

import argparse

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers.vector import FilterObservation, FlattenObservation, RecordEpisodeStatistics
from torch import nn
from torch.distributions import Categorical

import ave_env  # noqa: F401 (registers the environments)

NUM_ENVS, NUM_STEPS, EPOCHS, MINIBATCHES = 32, 32, 4, 4
GAMMA, GAE_LAMBDA, CLIP, ENTROPY, VALUE, MAX_NORM = 0.9, 0.9, 0.2, 0.01, 0.5, 0.5
SEEN = ("latent", "logits", "visited", "progress")


class Agent(nn.Module):
    """An actor and a critic."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(inputs, 128), nn.Tanh(), nn.Linear(128, 1))
        self.actor = nn.Sequential(nn.Linear(inputs, 128), nn.Tanh(), nn.Linear(128, actions))

    def forward(self, observation: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """Distribution over actions, and value."""
        return Categorical(logits=self.actor(observation)), self.critic(observation).squeeze(-1)


def main(arguments: list[str] | None = None) -> None:
    """Trains and prints the return of the episodes that end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--encoder", default="tore-nano")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)

    envs = gym.make_vec("AVE-Synthetic-v0", NUM_ENVS, encoder=options.encoder)
    envs = RecordEpisodeStatistics(FlattenObservation(FilterObservation(envs, SEEN)))
    agent = Agent(envs.single_observation_space.shape[0], envs.single_action_space.n)
    optimizer = torch.optim.Adam(agent.parameters(), lr=1e-3, eps=1e-5)

    observation = torch.as_tensor(envs.reset(seed=0)[0], dtype=torch.float32)
    shape = (NUM_STEPS, NUM_ENVS)
    observations = torch.zeros(*shape, observation.shape[1])
    actions, log_probs, rewards, dones, values = (torch.zeros(shape) for _ in range(5))
    begins = torch.zeros(shape, dtype=torch.bool)  # steps that only begin an episode (NEXT_STEP)
    ended = np.zeros(NUM_ENVS, bool)
    for update in range(options.updates):
        returns, successes = [], []
        for step in range(NUM_STEPS):
            observations[step] = observation
            begins[step] = torch.as_tensor(ended)
            with torch.no_grad():
                policy, values[step] = agent(observation)
            actions[step] = action = policy.sample()
            log_probs[step] = policy.log_prob(action)
            following, reward, ended, _, info = envs.step(action.numpy())
            rewards[step] = torch.as_tensor(reward)
            dones[step] = torch.as_tensor(ended)
            observation = torch.as_tensor(following, dtype=torch.float32)
            if ended.any():
                returns += info["episode"]["r"][ended].tolist()
                successes += info["is_success"][ended].tolist()

        with torch.no_grad():
            following = agent(observation)[1]
        advantages, running = torch.zeros(shape), torch.zeros(NUM_ENVS)
        for step in reversed(range(NUM_STEPS)):
            going_on = 1 - dones[step]
            delta = rewards[step] + GAMMA * following * going_on - values[step]
            running = delta + GAMMA * GAE_LAMBDA * going_on * running
            advantages[step], following = running, values[step]
        batch = observations, actions, log_probs, advantages, advantages + values
        batch = [part[~begins] for part in batch]

        for _ in range(EPOCHS):
            for rows in torch.randperm(len(batch[0])).chunk(MINIBATCHES):
                seen, action, old, advantage, target = (part[rows] for part in batch)
                policy, value = agent(seen)
                ratio = (policy.log_prob(action) - old).exp()
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
                loss = -gain.mean() - ENTROPY * policy.entropy().mean()
                loss = loss + VALUE * nn.functional.mse_loss(value, target)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MAX_NORM)
                optimizer.step()
        print(
            f"update {update + 1}: {len(returns)} episodes, return {np.mean(returns):.2f}, "
            f"right {np.mean(successes):.1%}",
            flush=True,
        )
    envs.close()


if __name__ == "__main__":
    main()
