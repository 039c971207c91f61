"""Outputs of a network for a batch of faces: logits and further outputs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """Answers for B faces; features and explanation are None where a network does not give them.

    Attributes:
        logits: (B, C) of the expressions.
        features: (B, D) feature vector that the outputs are read from.
        others: (B, D) raw numbers of each further output, by its name in `core.outputs`: "affect", valence and arousal,
            not bounded; "attributes", logits, each by itself; "divisions", logits of the sectors of the plane of
            valence and arousal, or two of their signs; "mask", (B, 1, h, w) logits of eyes and mouth.
        explanation: (B, C, h, w) evidence for each class at each place, or (B, 1, h, w) how much it is attended to;
            only while the network is `explaining` (`models.layers.evidence`).
    """

    logits: Tensor
    features: Tensor | None = None
    others: Mapping[str, Tensor] = MappingProxyType({})
    explanation: Tensor | None = None


def as_outputs(outputs: Tensor | Outputs) -> Outputs:
    """The outputs of any network: one that gives a tensor gives logits alone."""
    return outputs if isinstance(outputs, Outputs) else Outputs(outputs)
