"""Laws of states, and of encoders that are changed, written and read."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from encoders.storage import find_encoder_folder, load_encoder, save_encoder, weights_hash
from encoders.support.laws import require
from encoders.testing.episode import GLIMPSES, ROWS, Episode


def check_states(episode: Episode) -> None:
    """Copies of a state are copies, of the right rows."""
    everything = list(range(ROWS))
    chosen, mask = [3, 1, 1], torch.tensor([True, False, True, False])
    copies: dict[str, tuple[Callable[[Any], Any], list[int]]] = {
        "fork()": (lambda state: state.fork(), everything),
        "select() of numbers": (lambda state: state.select(torch.tensor(chosen)), chosen),
        "select() of a mask": (lambda state: state.select(mask), [0, 2]),
        "a pickle": (lambda state: pickle.loads(pickle.dumps(state)), everything),
        "a pickle for another process": (
            lambda state: pickle.loads(ForkingPickler.dumps(state)),
            everything,
        ),
    }
    for name, (make, rows) in copies.items():
        for spoiled in ("the copy", "the original"):
            _, state = episode.run(range(2))
            made = make(state)
            require(len(made) == len(rows), f"{name} has {len(rows)} rows", f"{len(made)}")
            episode.spoil(made if spoiled == "the copy" else state)
            kept, kept_rows = (state, everything) if spoiled == "the copy" else (made, rows)
            for step in range(2, GLIMPSES):
                belief, kept = episode.see(kept, step, kept_rows)
            law = f"{name} is an independent copy of its rows: {spoiled} may change"
            episode.same(law, belief, episode.expected, kept_rows)
    for some in (torch.tensor([3, 1]), torch.tensor([False, True, False, True])):
        _, state = episode.run(range(2))
        rows = some.tolist() if some.dtype != torch.bool else [1, 3]
        part = state.select(some)
        for step in range(2, GLIMPSES):
            _, part = episode.see(part, step, rows)
        state.put(some, part)
        episode.spoil(part)
        belief, state = episode.nothing(state)
        law = "put() brings back what select() took, and shares nothing with it"
        episode.same(law, episode.part(belief, rows), episode.expected, rows)
        others, _ = episode.run(range(2))
        law = "put() leaves the other rows as they are"
        episode.same(law, episode.part(belief, [0, 2]), others, [0, 2])


def check_reset(episode: Episode) -> None:
    """Rows that are reset are new; others are not."""
    for some in (torch.tensor([0, 2]), torch.tensor([True, False, True, False])):
        _, state = episode.run(range(3))
        tokens = state.tokens.tolist()
        require(min(tokens) > 0, "tokens are more than 0 once something was seen", f"{tokens}")
        state.reset(some)
        after = [0, tokens[1], 0, tokens[3]]
        episode.counts(state, after, "reset() brings tokens of its rows to 0, and of no others")
        belief, state = episode.see(state, 3)
        fresh, _ = episode.run([3])
        law = "reset() forgets what its rows have seen"
        episode.same(law, episode.part(belief, [0, 2]), fresh, [0, 2])
        law = "reset() leaves the other rows as they are"
        episode.same(law, episode.part(belief, [1, 3]), episode.expected, [1, 3])


def check_changes(episode: Episode) -> None:
    """Another size, another head."""
    config = episode.encoder.config
    changed = copy.deepcopy(episode.encoder)
    same = episode.run_with(changed.resized(tuple(config.image_size)))
    episode.same("resized() to its own size is the same encoder", same, episode.expected)
    height, width = config.image_size
    try:
        larger = changed.resized((height, 2 * width))
    except ValueError:
        larger = None
    if larger is not None:
        found = tuple(larger.config.image_size), larger.grid
        expected = (height, 2 * width), (episode.encoder.grid[0], 2 * episode.encoder.grid[1])
        require(found == expected, f"resized() changes sizes to {expected}", f"{found}")
        larger.prior(episode.outputs, **episode.options)
    if "logits" not in episode.outputs:
        return
    names = tuple(f"class {number}" for number in range(config.num_classes + 2))
    headed = changed.with_head(names)
    found = headed.config.num_classes, headed.config.class_names
    require(
        found == (len(names), None),
        "with_head() gives an untrained head: num_classes as asked for, class_names None",
        f"{found}",
    )
    belief = episode.run_with(headed)
    shape = tuple(belief["logits"].shape)
    require(shape == (ROWS, len(names)), "with_head() makes that many logits", f"{shape}")
    kept = torch.allclose(belief["latent"], episode.expected["latent"], rtol=1e-4, atol=1e-4)
    require(kept, "with_head() leaves the rest as it is", "another latent")


def check_storage(episode: Episode) -> None:
    """What is written is read back."""
    with tempfile.TemporaryDirectory() as folder:
        save_encoder(episode.encoder, folder)
        require(find_encoder_folder(folder) is not None, "a saved encoder is known as one", folder)
        read = load_encoder(folder)
    law = "load_encoder() reads back what save_encoder() wrote"
    require(weights_hash(read) == weights_hash(episode.encoder), law, "other weights")
    config, expected = read.config.to_dict(), episode.encoder.config.to_dict()
    require(config == expected, law, f"config {config}, expected {expected}")
    require(not read.training, "encoders are read in evaluation mode", "training mode")
    episode.same(law, episode.run_with(read.to(episode.encoder.device)), episode.expected)
