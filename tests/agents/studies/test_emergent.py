"""AME on a masked autoencoder, untouched and fine-tuned, recomputed with other code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import take_patches
from sklearn.linear_model import LogisticRegression
from studies import (  # noqa: F401
    SIZE,
    TRAINING,
    encoder,
    load_images,
    read_table,
    scenes,
    study,
)

from ave_env.registration import configure
from encoders.storage import load_encoder

ROWS, COLUMNS = 4, 8  # patches
SIDE, GLIMPSES, SPLIT = 2, 3, 2
WINDOWS = [
    [(top + y) * COLUMNS + left + x for y in range(SIDE) for x in range(SIDE)]
    for top in range(ROWS - SIDE + 1)
    for left in range(COLUMNS - SIDE + 1)
]


def open_split(root, split):
    return configure(
        "AVE-ImageFolder-v0", data_root=root, split=split, image_size=SIZE, seamless=False
    ).open_scenes()


def pixels_of(loaded, scene_set):
    images = torch.from_numpy(load_images(scene_set))
    return loaded.normalise(images.permute(0, 3, 1, 2))


def entropy_by_hand(attention: np.ndarray, known: set[int]) -> np.ndarray:
    """AME's map of one scene `[G]`, from softmax attention `[heads, 1+G, 1+G]`.

    The class token's row and column go, the rows of known patches count nothing; then -a log2 a,
    summed over heads and keys.
    """
    bits = np.zeros(ROWS * COLUMNS)
    for head in attention.astype(np.float64):
        for patch in range(ROWS * COLUMNS):
            if patch not in known:
                shares = head[1 + patch, 1:]
                bits[patch] -= (shares * np.log2(shares)).sum()
    return bits


def next_window(attention: np.ndarray, known: set[int]) -> list[int]:
    bits = entropy_by_hand(attention, known)
    return WINDOWS[int(np.argmax([bits[window].mean() for window in WINDOWS]))]


@torch.no_grad()
def features_on_the_way(loaded, pixels, choose):
    """Latents `[N, T, D]` of every scene, one at a time, with glimpses that `choose` names."""
    found = []
    for scene in range(len(pixels)):
        known: set[int] = set()
        state, latents = loaded.init_state(1), []
        outputs = ("latent", "attention")
        belief = loaded.prior(outputs=outputs, split_block=SPLIT)
        for step in range(GLIMPSES):
            window = choose(scene, step, belief.attention[0].numpy(), known)
            ids = torch.tensor([[-1 if patch in known else patch for patch in window]])
            patches = take_patches(loaded, pixels[scene : scene + 1], ids)
            belief, state = loaded.observe(patches, ids, state, SPLIT, outputs=outputs)
            known |= set(window)
            latents.append(belief.latent[0].double().numpy())
        found.append(latents)
    return np.array(found)


def accuracy_of_ame(loaded, train, test):
    """Hits bool `[N, T]`: a linear head learns from random glimpses, then AME looks."""
    drawn = np.random.default_rng([0, 7]).integers(len(WINDOWS), size=(len(train), GLIMPSES))
    random = features_on_the_way(
        loaded, pixels_of(loaded, train), lambda scene, step, *_: WINDOWS[drawn[scene, step]]
    )
    features = random.swapaxes(0, 1).reshape(-1, random.shape[2])
    labels = np.tile(train.labels, GLIMPSES)
    mean, spread = features.mean(0), features.std(0)
    head = LogisticRegression(C=1 / (1e-3 * len(features)), tol=1e-10, max_iter=10_000)
    head.fit((features - mean) / spread, labels)
    looked = features_on_the_way(
        loaded, pixels_of(loaded, test), lambda scene, step, *seen: next_window(*seen)
    )
    predicted = head.predict(((looked - mean) / spread).reshape(-1, looked.shape[2]))
    return predicted.reshape(looked.shape[:2]) == test.labels[:, None]


def test_ame_recomputed_by_hand(study, encoder, scenes):  # noqa: F811
    arguments = ("--num-glimpses", GLIMPSES, "--glimpse-size", SIDE, "--agents", "ame")
    folder = study("emergent", *TRAINING, "--learning-rate", 0.01, *arguments)
    rows = [row for row in read_table(folder, "emergent") if row["agent"] == "ame"]
    assert {row["split_block"] for row in rows} == {"0", "2"}  # 0, and two thirds of 3 blocks
    train, test = open_split(scenes, "train"), open_split(scenes, "test")
    places = {"untouched": encoder, "fine-tuned": folder / "encoders" / "fine-tuned"}
    hits = {
        name: accuracy_of_ame(load_encoder(place), train, test) for name, place in places.items()
    }
    for name, expected in hits.items():
        found = [row for row in rows if (row["weights"], row["split_block"]) == (name, str(SPLIT))]
        assert [int(row["glimpse"]) for row in found] == [1, 2, 3]
        accuracies = [float(row["accuracy"]) for row in found]
        assert accuracies == pytest.approx(expected.mean(0))
        paired = [float(row["difference_untouched"]) for row in found]
        assert paired == pytest.approx(expected.mean(0) - hits["untouched"].mean(0))
    # K and M were drawn, and pixels alone were learnt from.
    state = torch.load(places["fine-tuned"] / "training_state.pt", weights_only=True)
    assert state["config"]["split_block"] is None
    assert state["config"]["reconstruction_weight"] == 1
