"""From logits to probabilities and to what they say about agreement."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """(N, C) logits divided by `temperature` -> (N, C) probabilities that sum to 1."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def normalised_entropy(probabilities: Floats) -> NDArray[np.float64]:
    """(N, C) -> (N,) Shannon entropy divided by log C: 0 is unanimity, 1 is all classes alike."""
    p = np.asarray(probabilities, dtype=np.float64)
    terms = np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0.0)
    return np.asarray(np.maximum(-terms.sum(axis=1), 0.0) / np.log(p.shape[1]))
