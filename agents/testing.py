"""Laws that every agent keeps; a user's own class can be held to them too.

::

    from agents.testing import check_agent

    check_agent(MyAgent)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agents.base import Agent, Observation
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.support.laws import require

_ROWS = 4


def check_agent(
    agent_class: type[Agent],
    make: Callable[..., Agent] | None = None,
    *,
    seed: int = 0,
    **settings: Any,
) -> None:
    """Holds a class of agents to what `agents.base.Agent` says.

    Args:
        agent_class: The class.
        make: What makes one, called with an environment and `seed=`; None = the class itself.
        seed: Of everything random.
        **settings: Keyword arguments of the environments that are explored; by default
            `tore-nano` explores procedural panoramas.

    Raises:
        AssertionError: A law that is broken, in a sentence.
    """
    make = make or agent_class
    _check_declarations(agent_class)
    env, other = (
        ActiveExplorationVectorEnv(
            _ROWS,
            split="val",
            observe=agent_class.required,
            autoreset_mode="DISABLED",
            **settings,
        )
        for _ in range(2)
    )
    other.reset(seed=seed + 1000)
    agent, twin, stranger = make(env, seed=seed), make(env, seed=seed), make(other, seed=seed)
    require(
        isinstance(agent.flops_per_action, int) and agent.flops_per_action >= 0,
        "flops_per_action counts multiply-accumulates",
        f"flops_per_action is {agent.flops_per_action!r}; expected an integer of at least 0",
    )
    observation, _ = env.reset(seed=seed)
    state, begins = None, np.ones(_ROWS, np.bool_)
    for step in range(env.num_glimpses):
        before = {name: values.copy() for name, values in observation.items()}
        chance = agent.random.bit_generator.state
        actions, state = agent.predict(observation, state, begins, deterministic=True)
        random = agent.random.bit_generator.state != chance
        _check_actions(agent, env, actions, step)
        for name, values in observation.items():
            require(
                np.array_equal(values, before[name]),
                "an agent does not write into observations",
                f"it wrote into the observation {name!r}",
            )
        same, _ = twin.predict(observation, None, begins, deterministic=True)
        require(
            np.array_equal(actions, same),
            "agents of one seed act alike",
            f"two agents of one seed differ at glimpse {step + 1}",
        )
        if not (random or agent_class.privileged):
            _check_rows(agent, observation, actions)
            elsewhere, _ = stranger.predict(observation, None, begins, deterministic=True)
            require(
                np.array_equal(actions, elsewhere),
                "an agent without privileges reads the observation alone",
                "its choice depends on more than the observation, and privileged is False",
            )
        observation, _, ended, _, _ = env.step(actions)
        begins = np.zeros_like(begins)
    require(bool(ended.all()), "episodes end after their glimpses", "the episodes did not end")
    _check_refusals(agent_class, make, settings)


def _check_declarations(agent_class: type[Agent]) -> None:
    name = getattr(agent_class, "name", None)
    require(
        isinstance(name, str) and bool(name),
        "an agent has a name",
        f"name is {name!r}; expected text",
    )
    for field in ("required", "sensors", "action_spaces"):
        value = getattr(agent_class, field)
        require(
            isinstance(value, tuple),
            "what an agent can deal with is stated in tuples",
            f"{field} is {value!r}; expected a tuple",
        )


def _check_actions(agent: Agent, env: ActiveExplorationVectorEnv, actions: Any, step: int) -> None:
    space = env.single_action_space
    expected = (_ROWS, *(space.shape or ()))
    require(
        isinstance(actions, np.ndarray) and actions.shape == expected,
        "predict returns one action per row",
        f"predict returned {np.shape(actions)} at glimpse {step + 1}; expected an array {expected}",
    )
    for row, action in enumerate(actions):
        require(
            space.contains(action),
            "actions are members of the action space",
            f"action {action} of row {row} at glimpse {step + 1} is no member of {space}",
        )


def _check_rows(agent: Agent, observation: Observation, actions: np.ndarray) -> None:
    """What an agent without chance does in a row depends on that row alone."""
    for row in range(len(actions)):
        single = {name: values[row] for name, values in observation.items()}
        alone, _ = agent.predict(single, deterministic=True)
        require(
            np.array_equal(alone, actions[row]),
            "a row does not depend on the others",
            f"row {row} alone is given {alone}, among others {actions[row]}",
        )


def _check_refusals(
    agent_class: type[Agent], make: Callable[..., Agent], settings: dict[str, Any]
) -> None:
    """An environment without what it needs is refused with a sentence."""
    if not agent_class.required:
        return
    blind = ActiveExplorationVectorEnv(
        1, split="val", autoreset_mode="DISABLED", **{**settings, "encoder": None, "observe": ()}
    )
    try:
        make(blind, seed=0)
    except ValueError as error:
        require(
            bool(str(error)),
            "what is refused is refused with a sentence",
            "it refuses an environment without a word",
        )
    else:
        raise AssertionError(
            f"it needs {agent_class.required} and accepts an environment without them; call "
            "Agent.__init__ first"
        )
