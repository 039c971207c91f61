"""From logits to probabilities and predicted disagreement."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def softmax(logits: Floats, temperature: float = 1.0, prior: Floats | None = None) -> NDArray[np.float64]:
    """(N, C) logits divided by `temperature` -> (N, C) probabilities that sum to 1.

    With `prior`, (C,) how frequent each class was where the logits come from, those of a world in which all classes are
    equally frequent (Menon et al. 2021, arXiv:2007.07314, equation 9 with tau = 1).
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if prior is not None:
        scaled = scaled - np.log(prior)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def normalized_entropy(probabilities: Floats) -> NDArray[np.float64]:
    """(N, C) -> (N,) Shannon entropy divided by log C: 0 is unanimity, 1 is all classes alike."""
    p = np.asarray(probabilities, dtype=np.float64)
    terms = np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0.0)
    return np.asarray(np.maximum(-terms.sum(axis=1), 0.0) / np.log(p.shape[1]))
