"""What a network says about a batch of faces beyond the logits of the expressions."""

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """Answers for B faces; what a network does not give is None.

    Attributes:
        logits: (B, C) of the expressions.
        features: (B, D) feature vector that the answers are read from.
        affect: (B, 2) valence and arousal, not bounded.
        divisions: (B, n) logits of the sectors of the valence-arousal plane, or (B, 2) of the signs of the two.
        mask: (B, 1, h, w) logits of eyes and mouth.
        attributes: (B, A) logits of facial attributes, each by itself.
        explanation: (B, C, h, w) evidence for each class at each place, or (B, 1, h, w) how much is looked at it; only
            while the network is `explaining` (`models.layers.evidence`).
    """

    logits: Tensor
    features: Tensor | None = None
    affect: Tensor | None = None
    divisions: Tensor | None = None
    mask: Tensor | None = None
    attributes: Tensor | None = None
    explanation: Tensor | None = None


def as_outputs(answer: Tensor | Outputs) -> Outputs:
    """The answer of any network: one that gives a tensor gives logits alone."""
    return answer if isinstance(answer, Outputs) else Outputs(answer)
