"""What users do with worker processes: run as a script, `worker_processes.py SCENARIO`.

Each scenario first lets PyTorch start its threads, and ends with exit status 0 or hangs for ever.
"""

from __future__ import annotations

import functools
import os
import sys

SETTINGS = {"image_size": (64, 128), "num_glimpses": 3}


def start_threads() -> None:
    """Products large enough that PyTorch shares them among four threads, whatever the machine."""
    import torch

    torch.set_num_threads(4)
    module = torch.nn.Conv2d(3, 32, 3)
    module(torch.randn(4, 3, 64, 64)).exp().sum().backward()
    torch.randn(300, 300) @ torch.randn(300, 300)


def make(encoder: str):
    import gymnasium as gym

    return gym.make("ave_env:AVE-Synthetic-v0", encoder=encoder, **SETTINGS)


def episode(env) -> float:
    """The belief's logits after an episode, added up."""
    env.reset(seed=1)
    return sum(float(env.step(action)[0]["logits"].sum()) for action in (0, 4, 9))


def same(ours: float, theirs: float) -> None:
    assert abs(ours - theirs) < 1e-3, (ours, theirs)


class Episodes:
    """A data set whose samples are explored by the loader's workers."""

    def __init__(self, encoder: str) -> None:
        self.encoder = encoder

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> float:
        return episode(make(self.encoder))


def asynchronous(encoder: str) -> None:
    """The first thing that a fresh process does."""
    import gymnasium as gym
    import numpy as np

    import ave_env  # noqa: F401

    settings = {"num_envs": 2, "encoder": encoder, **SETTINGS}
    workers = gym.make_vec("AVE-Synthetic-v0", vectorization_mode="async", **settings)
    envs = gym.make_vec("AVE-Synthetic-v0", **settings)
    for ours, theirs in (
        (workers.reset(seed=0)[0], envs.reset(seed=0)[0]),
        *((workers.step(np.array(a))[0], envs.step(np.array(a))[0]) for a in ((0, 9), (4, 4))),
    ):
        for key, values in ours.items():
            np.testing.assert_allclose(values, theirs[key], rtol=1e-4, atol=1e-4, err_msg=key)
    workers.close()


def forked(encoder: str) -> None:
    """Forks of a process that has explored and trained with many threads."""
    import cv2
    import numpy as np
    import torch
    from stable_baselines3.common.vec_env import SubprocVecEnv

    start_threads()
    env = make(encoder)
    expected = episode(env)
    large = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), dtype=np.uint8)
    cv2.resize(large, (300, 300), interpolation=cv2.INTER_AREA)
    child = os.fork()
    if not child:
        cv2.resize(large, (300, 300), interpolation=cv2.INTER_AREA)
        start = torch.get_num_threads()
        works = abs(episode(env) - expected) < 1e-3 and start == torch.get_num_threads() == 1
        os._exit(0 if works else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert torch.get_num_threads() == 4  # in the parent nothing has changed
    for values in torch.utils.data.DataLoader(Episodes(encoder), num_workers=1):
        same(float(values), expected)
    workers = SubprocVecEnv([functools.partial(make, encoder)] * 2, start_method="fork")
    workers.reset()
    workers.step(np.array([0, 4]))
    workers.close()
    # More threads are refused with a sentence, not tried.
    child = os.fork()
    if not child:
        import warnings

        import ave_env

        with warnings.catch_warnings(record=True) as caught:
            asked = ave_env.ActiveExplorationEnv(encoder=encoder, threads=2, **SETTINGS)
        works = abs(episode(asked) - expected) < 1e-3
        os._exit(0 if works and "threads=2" in str(caught[0].message) else 1)
    assert os.waitpid(child, 0)[1] == 0


def forked_before_the_import(encoder: str) -> None:
    """The parent uses PyTorch alone; only its children know of environments."""
    import multiprocessing

    start_threads()
    assert "ave_env" not in sys.modules
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_explore, args=(encoder,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]


def started_afresh(encoder: str) -> None:
    """Workers that inherit nothing, of both kinds."""
    import numpy as np
    from gymnasium.vector import AsyncVectorEnv

    for context in ("spawn", "forkserver"):
        workers = AsyncVectorEnv([functools.partial(make, encoder)], context=context)
        workers.reset(seed=0)
        workers.step(np.array([0]))
        workers.close()


def _explore(encoder: str) -> None:
    episode(make(encoder))


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
