"""Expression labels, their names across data sets, and their coordinates in the valence-arousal plane."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectlens.core.catalog import unknown
from affectlens.core.errors import UnknownName
from affectlens.core.messages import visible

FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""The eight expressions of FER+ in the column order of its votes (Barsoum et al. 2016, arXiv:1608.01041)."""

_SYNONYMS = {
    "neutrality": "neutral",
    "happy": "happiness",
    "joy": "happiness",
    "surprised": "surprise",
    "sad": "sadness",
    "angry": "anger",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "contemptuous": "contempt",
}


def canonical(name: str) -> str:
    """The project's name of an expression that a data set calls `name` (case and surrounding space ignored).

    Raises:
        UnknownName: `name` is neither one of `FERPLUS` nor a known synonym.
    """
    key = name.strip().lower()
    key = _SYNONYMS.get(key, key)
    if key not in FERPLUS:
        raise UnknownName(unknown("expression", name, [*FERPLUS, *_SYNONYMS]))
    return key


CIRCUMPLEX: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "happiness": (0.76, 0.48),
    "surprise": (0.40, 0.67),
    "sadness": (-0.63, -0.27),
    "anger": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "contempt": (-0.23, 0.31),
}
"""(valence, arousal) of each expression, both in [-1, 1]: the mean ratings of the words joyful, surprised, sad, angry,
disgusted, fearful and contempt in Russell and Mehrabian (1977), Evidence for a three-factor theory of emotions,
Journal of Research in Personality 11, 273-294; neutral is the origin."""


COLOURS: dict[str, tuple[int, int, int]] = {
    "neutral": (120, 144, 156),
    "happiness": (245, 180, 0),
    "surprise": (255, 112, 67),
    "sadness": (66, 133, 244),
    "anger": (219, 50, 54),
    "disgust": (76, 153, 0),
    "fear": (142, 68, 173),
    "contempt": (0, 137, 123),
}
"""RGB of each expression in pictures and figures."""

OTHER_COLOUR = (90, 90, 90)
"""RGB of a user's own labels there."""


MAX_LABELS, MAX_NAME_LENGTH = 1000, 100
"""Labels that a model may have, and characters of a label or of the name of a model."""


def name_fault(name: str) -> str:
    """What is wrong with the name of a label or of a model, "" for nothing."""
    if not name or name != name.strip():
        return f"a name must not be empty, nor begin or end with a space, got {name[:MAX_NAME_LENGTH]!r}"
    if len(name) > MAX_NAME_LENGTH:
        return f"a name must have at most {MAX_NAME_LENGTH} characters, got {len(name):,}: '{name[:20]}...'"
    if visible(name) != name:
        return f"a name must not contain control characters, got {name!r}"
    return ""


def label_fault(labels: Sequence[str]) -> str:
    """What is wrong with the labels of a model or of data, "" for nothing; upper and lower case are the same."""
    if len(labels) > MAX_LABELS:
        return f"there must be at most {MAX_LABELS} labels, got {len(labels):,}"
    if fault := next(filter(None, map(name_fault, labels)), ""):
        return fault
    count = Counter(label.casefold() for label in labels)
    twice = [label for label in labels if count[label.casefold()] > 1]
    return f"labels must differ, got {' and '.join(map(repr, twice[:2]))}" if twice else ""


def projected_affect(
    probabilities: NDArray[np.floating], labels: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Valence and arousal as the expectation of `CIRCUMPLEX` under (N, C) probabilities.

    Returns two (N,) arrays in [-1, 1], or None where a label has no published coordinates (a user's own classes).
    """
    if any(label not in CIRCUMPLEX for label in labels):
        return None
    coordinates = np.array([CIRCUMPLEX[label] for label in labels])
    affect = np.asarray(probabilities, dtype=np.float64) @ coordinates
    return affect[:, 0], affect[:, 1]
