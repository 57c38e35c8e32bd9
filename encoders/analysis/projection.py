"""Features in two dimensions: t-SNE, by scikit-learn, which is an optional dependency.

Source: van der Maaten & Hinton, "Visualizing Data using t-SNE", JMLR 2008.
"""

from __future__ import annotations

import importlib.util

import numpy as np

INSTALL = "pip install 'active-visual-exploration[tsne]'"


def require_scikit_learn() -> None:
    """Refuses to begin where scikit-learn is missing.

    Raises:
        ModuleNotFoundError: It is.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ModuleNotFoundError(f"t-SNE needs scikit-learn, which is not installed: {INSTALL}")


def project(features: np.ndarray, *, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """Places in the plane, near each other where features are.

    Args:
        features: float `[N, D]`, of everything that shall lie in one plane.
        perplexity: About how many neighbours count; less than N.
        seed: Of what is random.

    Returns:
        float32 `[N, 2]`. Distances between far groups mean nothing, nor do sizes of groups.

    Raises:
        ModuleNotFoundError: scikit-learn is missing.
        ValueError: Too few features for the perplexity, or features that are not finite.
    """
    require_scikit_learn()
    from sklearn.manifold import TSNE

    if not 0 < perplexity < len(features):
        raise ValueError(
            f"perplexity={perplexity} for {len(features)} features; expected more than 0, and less "
            "than there are features"
        )
    if not np.isfinite(features).all():
        raise ValueError("the features hold numbers that are not finite")
    tsne = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return tsne.fit_transform(np.asarray(features, np.float32)).astype(np.float32)
