"""A policy that learns which windows are worth a glimpse, in the episodes it explores itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from agents.learning.callbacks import describe_exploration
from agents.learning.guided.config import GuidedConfig
from agents.learning.guided.first_glimpse import FirstGlimpses
from agents.learning.guided.look_ahead import LookAhead
from agents.learning.guided.teachers import Teacher
from agents.learning.windows.config import falling
from agents.learning.windows.policy import INVALID, POLICY_KEYS, WindowPolicy
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.support.precision import autocast, resolve_precision

Observation = Mapping[str, np.ndarray]


class Step(NamedTuple):
    """What one step of N rows gave to learn from.

    Attributes:
        observation: What the policy saw, `[N, ...]` by name.
        targets: How often each window should be chosen, `[N, windows]`; rows add up to 1, or to 0
            where there is nothing to learn.
        considered: Windows that the targets speak of, bool `[N, windows]`.
    """

    observation: dict[str, Tensor]
    targets: Tensor
    considered: Tensor


class Explored(NamedTuple):
    """One episode of N rows, of T steps.

    Attributes:
        steps: What there is to learn, step by step.
        actions: Windows that were taken, int64 `[T, N]`.
        rewards: float `[T, N]`.
        ended: What the environment says of the ends.
    """

    steps: list[Step]
    actions: Tensor
    rewards: Tensor
    ended: Mapping[str, np.ndarray]


class Imitation:
    """Trains a window policy by cross-entropy to windows that are known to be worth a glimpse.

    Episodes are the learner's own, so that it meets the beliefs that its own glimpses lead to
    (DAgger: Ross et al., AISTATS 2011). What a window is worth is said

    * by a teacher at first: the mean worth of the patches that a window would show anew, to the
      power of `sharpness`, for all windows;
    * by looking ahead at last: the softmax of what the task's score gains by a window, in units of
      `look_ahead_temperature`, for the windows the policy likes best and some drawn at random;
    * for the first glimpse, before which nothing is known that could tell windows apart, by what
      the task's score was on the average over the episodes that began with it (`FirstGlimpses`).

    The critic learns the discounted rewards beside, for those who go on with PPO.

    Args:
        env: Vector environment, autoreset SAME_STEP.
        policy: What learns.
        teacher: Who knows what patches are worth; None = all is learnt by looking ahead.
        config: Hyper-parameters.
        seed: Of exploration and minibatches.

    Attributes:
        num_timesteps: Environment steps learnt from so far.
        observation: What the rows see at the beginning of their next episodes; None at first.
        flops: Multiply-accumulates so far, by what took them: "exploration", "teacher",
            "look_ahead" (all of the encoder).
    """

    def __init__(
        self,
        env: ActiveExplorationVectorEnv,
        policy: WindowPolicy,
        teacher: Teacher | None,
        config: GuidedConfig,
        seed: int,
    ) -> None:
        self.env, self.policy, self.teacher, self.config = env, policy, teacher, config
        self.num_timesteps = 0
        self.look_ahead = LookAhead(env, config.precision)
        self.observation: Observation | None = None
        self._explored = 0
        self._seed = seed
        self._dtype = resolve_precision(config.precision, policy.device)
        self._generator = torch.Generator().manual_seed(seed)
        self._optimizer = torch.optim.AdamW(
            policy.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,  # one kernel for all tensors
        )
        sensor: Any = env.sensor  # a grid's
        self._windows = torch.from_numpy(sensor.patch_ids(np.arange(sensor.num_actions)))
        self.first_glimpses = FirstGlimpses(sensor.num_actions)

    @property
    def flops(self) -> dict[str, int]:
        """Multiply-accumulates so far by purpose."""
        return {
            "exploration": self._explored,
            "teacher": 0 if self.teacher is None else self.teacher.flops,
            "look_ahead": self.look_ahead.flops,
        }

    def record(self) -> dict[str, Any]:
        """What `agent.json` says of the guidance."""
        found = self.first_glimpses.competing
        return {
            "timesteps": self.num_timesteps,
            "teacher": "look-ahead" if self.teacher is None else self.teacher.name,
            "first_glimpse": int(found[0]) if len(found) == 1 else None,
            "flops": self.flops,
        }

    def plan(self, total_timesteps: int) -> str:
        """What a run of so many steps does, in words.

        Args:
            total_timesteps: Environment steps of guided learning.
        """
        if self.teacher is None:
            return "guided by trying glimpses on forks (look-ahead), which is told the answer"
        words = f"guided by the {self.teacher.name} teacher, which is told {self.teacher.knows}"
        if tried := int(total_timesteps * self.config.look_ahead_share):
            words += f"; in the last {tried:,} of them by trying glimpses on forks (look-ahead)"
        return words

    def learn(
        self,
        total_timesteps: int,
        between: Callable[[], None],
        log: Callable[[Mapping[str, float]], None],
        progress: bool,
    ) -> None:
        """Trains until a number of environment steps, rounded up to whole stretches.

        Args:
            total_timesteps: Steps that all schedules are laid out for, those before a resume
                included.
            between: Called before every stretch, when `state` is that of a run to be resumed.
            log: Receives numbers by name after every stretch.
            progress: Show a progress bar.
        """
        if self.observation is None:
            self.observation, _ = self.env.reset(seed=self._seed)
        per_stretch = self.env.num_envs * self.env.num_glimpses
        with tqdm(
            total=total_timesteps,
            initial=self.num_timesteps,
            disable=not progress,
            unit="step",
            desc="guided",
        ) as bar:
            while self.num_timesteps < total_timesteps:
                between()
                log(self._stretch(self.num_timesteps / total_timesteps))
                self.num_timesteps += per_stretch
                bar.update(per_stretch)

    def _stretch(self, progress: float) -> dict[str, float]:
        """Explores one episode in every row, learns from it, and says how that went.

        Args:
            progress: Share of the run that is over, in [0, 1).
        """
        config = self.config
        looking = self.teacher is None or progress >= 1 - config.look_ahead_share
        steps, actions, rewards, ended = self._explore(looking)
        self._explored += int(ended["flops_total"].sum())
        returns = _discounted(rewards, config.gamma)
        if config.first_glimpse_share:
            self.first_glimpses.learn(actions[0], rewards.cumsum(dim=0).mean(dim=0))
            self.first_glimpses.narrow(progress / config.first_glimpse_share)
        return {
            **self._update(steps, returns, falling(config.learning_rate, 1 - progress)),
            **describe_exploration(
                self.env, actions.numpy(), ended["coverage"], ended["flops_total"]
            ),
            "rollout/ep_rew_mean": float(rewards.sum(dim=0).mean()),
        }

    def _explore(self, looking: bool) -> Explored:
        """One episode of every row."""
        env, generator, observation = self.env, self._generator, self.observation
        assert observation is not None  # learn() has begun
        greedy = torch.rand(env.num_envs, generator=generator) < self.config.greedy_share
        self.policy.set_training_mode(False)
        steps, rewards, taken = [], [], []
        for number in range(env.num_glimpses):
            seen = {key: torch.from_numpy(observation[key]) for key in POLICY_KEYS}
            with torch.no_grad():
                categorical: Any = self.policy.get_distribution(
                    {key: values.to(self.policy.device) for key, values in seen.items()}
                ).distribution
            logits = categorical.logits.cpu()
            noise = torch.empty_like(logits).exponential_(generator=generator).log()
            actions = torch.where(greedy[:, None], logits, logits - noise).argmax(dim=1)
            if number == 0 and self.config.first_glimpse_share:
                actions = self.first_glimpses.draw(env.num_envs, generator)
                targets = self.first_glimpses.targets.expand(env.num_envs, -1)
                considered = torch.ones_like(targets, dtype=torch.bool)
            elif looking:
                targets, considered = self._by_looking_ahead(logits, seen["visited"])
            else:
                targets, considered = self._by_teacher(seen["visited"])
            steps.append(Step(seen, targets, considered))
            observation, reward, _, _, information = env.step(actions.numpy())
            rewards.append(torch.from_numpy(reward).float())
            taken.append(actions)
        self.observation = observation
        return Explored(steps, torch.stack(taken), torch.stack(rewards), information["final_info"])

    def _by_teacher(self, visited: Tensor) -> tuple[Tensor, Tensor]:
        """Targets `[N, windows]` from what patches are worth."""
        assert self.teacher is not None
        unseen = 1 - visited.flatten(1).float()
        worth = (self.teacher.worth() * unseen)[:, self._windows].mean(dim=2)
        shown = unseen[:, self._windows].amax(dim=2) > 0
        best = worth.amax(dim=1, keepdim=True)
        powers = (worth / best.clamp(min=1e-12)).pow(self.config.sharpness) * shown
        return powers / powers.sum(dim=1, keepdim=True).clamp(min=1e-12), shown

    def _by_looking_ahead(self, logits: Tensor, visited: Tensor) -> tuple[Tensor, Tensor]:
        """Targets `[N, windows]` from what some windows would gain, in the rows that need it most.

        The others, where less is left to gain, learn from the teacher if there is one.
        """
        config, (num_rows, num_windows) = self.config, logits.shape
        if self.teacher is None:
            targets = torch.zeros_like(logits)
            considered = torch.zeros_like(logits, dtype=torch.bool)
        else:
            targets, considered = self._by_teacher(visited)
        scores = torch.from_numpy(self.env.scores.copy())
        rows = scores.argsort(stable=True)[: math.ceil(config.look_ahead_rows * num_rows)]
        logits = logits[rows]
        count = min(config.look_ahead_windows, num_windows)
        best = logits.topk(count - count // 3, dim=1).indices
        # Others at random, of those that show something new if there are enough.
        order = torch.rand(logits.shape, generator=self._generator) + (logits > INVALID / 2)
        others = order.scatter(1, best, -1.0).topk(count // 3, dim=1).indices
        windows = torch.cat([best, others], dim=1)
        gains = self.look_ahead.gains(rows, windows) / config.look_ahead_temperature
        useful = logits.gather(1, windows) > INVALID / 2
        shares = gains.masked_fill(~useful, -torch.inf).softmax(dim=1).nan_to_num(0.0)
        targets[rows] = torch.zeros_like(logits).scatter(1, windows, shares)
        considered[rows] = torch.zeros_like(logits, dtype=torch.bool).scatter(1, windows, useful)
        return targets, considered

    def _update(self, steps: list[Step], returns: Tensor, learning_rate: float) -> dict[str, float]:
        """Some passes over what a stretch gave; returns mean losses by name."""
        config, policy, device = self.config, self.policy, self.policy.device
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        observation = {
            key: torch.cat([step.observation[key] for step in steps]).to(device)
            for key in POLICY_KEYS
        }
        targets = torch.cat([step.targets for step in steps]).to(device)
        considered = torch.cat([step.considered for step in steps]).to(device)
        returns = returns.flatten().to(device)
        policy.set_training_mode(True)
        sums, count = torch.zeros(2), 0
        for _ in range(config.n_epochs):
            order = torch.randperm(len(targets), generator=self._generator)
            for chosen in order.split(config.batch_size):
                chosen = chosen.to(device)
                batch = {key: values[chosen] for key, values in observation.items()}
                with autocast(device, self._dtype):
                    logits, values = policy.score_and_value(batch)
                logits = logits.masked_fill(~considered[chosen], INVALID)
                entropy = -(targets[chosen] * logits.log_softmax(dim=1)).sum(dim=1).mean()
                error = torch.nn.functional.mse_loss(values, returns[chosen])
                loss = entropy + config.vf_coef * error
                self._optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
                self._optimizer.step()
                sums += torch.stack([entropy.detach(), error.detach()]).cpu()
                count += 1
        names = ("guided/cross_entropy", "guided/value_loss")
        return dict(zip(names, (sums / count).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """All but policy and environment, as tensors and plain data."""
        return {
            "timesteps": self.num_timesteps,
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "first_glimpses": self.first_glimpses.state(),
            "teacher": None if self.teacher is None else self.teacher.state(),
            "explored_flops": self._explored,
            "look_ahead_flops": self.look_ahead.flops,
        }

    def restore(self, state: dict[str, Any], observation: Observation) -> None:
        """Goes on from what `state` returned, where every row has just begun an episode.

        Args:
            state: What `state` returned.
            observation: What the rows see.
        """
        self.num_timesteps, self.observation = state["timesteps"], observation
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self.first_glimpses.restore(state["first_glimpses"])
        if self.teacher is not None:
            self.teacher.restore(state["teacher"])
        self._explored = state["explored_flops"]
        self.look_ahead.flops = state["look_ahead_flops"]


def _discounted(rewards: Tensor, gamma: float) -> Tensor:
    """What follows each step of whole episodes, rewards and returns both `[T, N]`."""
    returns = rewards.clone()
    for step in range(len(rewards) - 2, -1, -1):
        returns[step] += gamma * returns[step + 1]
    return returns
