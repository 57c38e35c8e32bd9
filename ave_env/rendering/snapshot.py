"""The state of an episode at one moment: all that a frame shows."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """One moment of an episode.

    An optional field that is None takes its panel out of the frame, so give the same fields at
    every step of an episode: the size of a frame follows from the image size, the number of
    classes and the panels alone.

    Attributes:
        scene: The whole scene in RGB, uint8 `[H, W, 3]`. Agents never see it.
        visited: Patches that a glimpse has shown, uint8 0/1 `[grid_h, grid_w]`.
        boxes: Glimpses in the order taken, int64 `[t, 4]`: y0, x0, y1, x1 in pixels. `x1 > W`
            means that the glimpse continues at the left edge.
        num_glimpses: Glimpses an episode may take, at least `t`.
        class_names: One name per class.
        label: True class, an index into `class_names`.
        title: Where the scene comes from, in a few words.
        reward: Reward of the last step.
        reconstruction: The scene as the belief paints it, RGB uint8 `[H, W, 3]`.
        rmse: Root mean squared error of `reconstruction`, in grey levels (0 to 255).
        entropy: Entropy map of the decoder's attention, float32 `[grid_h, grid_w]`, in bits.
        tokens: Which of the encoder's tokens stands for each patch after its last block, int64
            `[grid_h, grid_w]`: patches of one number were merged; 0 = never seen, -1 = dropped.
        depth: Blocks that each patch's token went through before it halted, int64
            `[grid_h, grid_w]`; 0 = never seen.
        probabilities: Predicted class probabilities, float32 `[C]`.
        trained_head: False when the classifier has not been trained on these classes: a note then
            stands where the prediction would be.
        flops_total: Multiply-accumulates of the episode so far; one counts as one.
        flops_step: Multiply-accumulates of the last step.
        flops_without_recycling: What the episode would have cost so far, had every step encoded
            again all that was seen.
        flops_limit: Largest value the meter can show, usually `flops_without_recycling` at the
            end of an episode. None lets the meter rescale itself as the cost grows.

    Raises:
        ValueError: If an array has another shape or dtype, or `label` is not the index of a class.
    """

    scene: np.ndarray
    visited: np.ndarray
    boxes: np.ndarray
    num_glimpses: int
    class_names: tuple[str, ...]
    label: int
    title: str = ""
    reward: float | None = None
    reconstruction: np.ndarray | None = None
    rmse: float | None = None
    entropy: np.ndarray | None = None
    tokens: np.ndarray | None = None
    depth: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    trained_head: bool = True
    flops_total: int | None = None
    flops_step: int = 0
    flops_without_recycling: int = 0
    flops_limit: int | None = None

    def predictions(self, most: int) -> list[tuple[int, int, float]]:
        """Rank from 0, class and probability of the likeliest classes.

        Args:
            most: Length of the list. The true class is always in it, as the last where it is not
                among the likeliest.

        Raises:
            ValueError: If there are no probabilities.
        """
        if self.probabilities is None:
            raise ValueError("the snapshot has no probabilities, and so no predictions")
        order = np.argsort(-self.probabilities, kind="stable").tolist()
        ranks = list(range(min(len(order), most)))
        if (true_rank := order.index(self.label)) not in ranks:
            ranks[-1] = true_rank
        return [(rank, order[rank], float(self.probabilities[order[rank]])) for rank in ranks]

    def __post_init__(self) -> None:
        scene = np.asarray(self.scene)
        if scene.ndim != 3 or scene.shape[2] != 3 or scene.dtype != np.uint8:
            raise ValueError(
                f"scene has shape {scene.shape} and dtype {scene.dtype}; expected uint8 [H, W, 3]."
            )
        if np.ndim(self.visited) != 2:
            raise ValueError(
                f"visited has shape {np.shape(self.visited)}; expected [grid_h, grid_w]."
            )
        expected = {
            "boxes": (len(self.boxes), 4),
            "reconstruction": scene.shape,
            "entropy": np.shape(self.visited),
            "tokens": np.shape(self.visited),
            "depth": np.shape(self.visited),
            "probabilities": (len(self.class_names),),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ValueError(f"{name} has shape {np.shape(value)}; expected {shape}.")
        if len(self.boxes) > self.num_glimpses:
            raise ValueError(
                f"boxes holds {len(self.boxes)} glimpses, more than num_glimpses "
                f"({self.num_glimpses}); give the boxes of one episode only."
            )
        if not 0 <= self.label < len(self.class_names):
            raise ValueError(
                f"label is {self.label}, but there are {len(self.class_names)} class names; "
                f"expected 0 <= label < {len(self.class_names)}."
            )
