"""What became of an encoder's tokens, painted over the scene."""

import numpy as np

from ave_env.rendering import ink

# Of groups of merged patches, in the order of their tokens; told apart by eyes that lack a cone.
_GROUPS = np.array(
    [
        *((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233)),
        *((213, 94, 0), (240, 228, 66), (117, 73, 160), (140, 86, 75), (23, 190, 207)),
    ],
    float,
)
_TINT = 0.6  # how much of a merged patch is its group's colour
_FADED = 0.25  # what is left of the brightness of a dropped patch


def describe_tokens(tokens: np.ndarray, depth: np.ndarray | None = None) -> str:
    """A few words on what became of the patches, e.g. "36 seen: 8 dropped, 12 merged into 5".

    Args:
        tokens: As in `Snapshot`.
        depth: As in `Snapshot`.
    """
    seen = tokens != 0
    if depth is not None and seen.any():
        return f"{depth[seen].mean():.1f} blocks each, at most {depth.max()}"
    words = []
    if dropped := int((tokens < 0).sum()):
        words.append(f"{dropped} dropped")
    numbers, counts = np.unique(tokens[tokens > 0], return_counts=True)
    if (merged := counts > 1).any():
        words.append(f"{counts[merged].sum()} merged into {len(numbers[merged])}")
    return f"{seen.sum()} seen" + (f": {', '.join(words)}" if words else "")


def paint_tokens(
    scene: np.ndarray, tokens: np.ndarray, depth: np.ndarray | None = None
) -> np.ndarray:
    """Paints what became of the patches that were seen.

    Merged patches have the colour of their group, dropped ones are faded and crossed out, and where
    tokens halt the colour says how many blocks they went through, from black to pale yellow. What
    was not seen is grey.

    Args:
        scene: RGB uint8 `[H, W, 3]`.
        tokens: As in `Snapshot`, `[grid_h, grid_w]`.
        depth: As in `Snapshot`.

    Returns:
        RGB uint8 `[H, W, 3]`.
    """
    import cv2

    height, width = scene.shape[:2]
    rows = np.linspace(0, tokens.shape[0], height, endpoint=False).astype(int)
    columns = np.linspace(0, tokens.shape[1], width, endpoint=False).astype(int)
    place = np.ix_(rows, columns)
    picture = scene.astype(float)
    if depth is not None:
        levels = np.round(255.0 * depth / max(int(depth.max()), 1)).astype(np.uint8)
        picture = _TINT * ink.heat(levels)[place] + (1 - _TINT) * picture
    else:
        colors, grouped = _colors_of_groups(tokens)
        tinted = _TINT * colors[place] + (1 - _TINT) * picture
        picture = np.where(grouped[place][..., None], tinted, picture)
    picture = np.where((tokens < 0)[place][..., None], _FADED * picture, picture)
    picture = np.where((tokens == 0)[place][..., None], np.array(ink.UNKNOWN, float), picture)
    painted = np.ascontiguousarray(picture.round().astype(np.uint8))
    for row, column in np.argwhere(tokens < 0):
        (y0, y1), (x0, x1) = (
            (round(length * each / count), round(length * (each + 1) / count) - 1)
            for each, length, count in (
                (row, height, tokens.shape[0]),
                (column, width, tokens.shape[1]),
            )
        )
        cv2.line(painted, (x0, y0), (x1, y1), ink.PAPER, 1, cv2.LINE_AA)
        cv2.line(painted, (x0, y1), (x1, y0), ink.PAPER, 1, cv2.LINE_AA)
    return painted


def _colors_of_groups(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours float `[grid_h, grid_w, 3]`, and whether a patch shares its token, bool."""
    numbers, inverse, counts = np.unique(tokens, return_inverse=True, return_counts=True)
    merged = (numbers > 0) & (counts > 1)
    which = np.cumsum(merged) - 1
    inverse = inverse.reshape(tokens.shape)
    return _GROUPS[which[inverse] % len(_GROUPS)], merged[inverse]
