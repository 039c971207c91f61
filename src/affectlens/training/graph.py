"""The graph of Emotion-GCN from a training set (Antoniadis et al. 2021, arXiv:2106.03487, section 3.3)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.facts import TrainingFacts
from affectlens.evaluation import metrics
from affectlens.models.emotion_gcn import EmotionGCN, glove

_SQUARES = 5
_WORDS = {"happiness": "happy", "sadness": "sad"}
"""Expression -> the thesis's word for its node, where that is another."""


def correlations(facts: TrainingFacts) -> NDArray[np.float64]:
    """(C, 2) |Spearman| between belonging to each class and valence or arousal; 0 where one of the two is constant.

    Raises:
        BadData: no face has a label, valence and arousal.
    """
    if not facts.described.any():
        raise BadData("no training face has a label, valence and arousal, from which Emotion-GCN makes its graph")
    targets, affect = facts.targets[facts.described], facts.affect[facts.described]
    found = np.zeros((len(facts.labels), 2))
    for label in range(len(facts.labels)):
        for column in range(2):
            value = metrics.spearman((targets == label).astype(np.float64), affect[:, column])
            found[label, column] = abs(value) if np.isfinite(value) else 0
    return found


def adjacency(related: NDArray[np.float64], tau: float, share: float) -> NDArray[np.float32]:
    """(K, K) float32 whose rows sum to 1 from (K, K) strengths: edges where one is at least `tau` (with 0: everywhere,
    as in the equation).

    A node keeps 1 - `share` of its weight and gives its neighbours `share` in equal parts; without any it keeps all.
    """
    edges = (related >= tau).astype(np.float64)
    np.fill_diagonal(edges, 0)
    degree = edges.sum(axis=1, keepdims=True)
    weights = share * edges / np.maximum(degree, 1)
    np.fill_diagonal(weights, np.where(degree[:, 0] > 0, 1 - share, 1))
    return np.asarray(weights, dtype=np.float32)


def strengths(facts: TrainingFacts, shares: NDArray[np.floating] | None) -> NDArray[np.float64]:
    """(C + 2, C + 2) strengths of all relations: correlations, and between expressions, where (N, C) `shares` are
    given, the mean share of the second for the faces labelled as the first.
    """
    classes = len(facts.labels)
    related = np.zeros((classes + 2, classes + 2))
    related[:classes, classes:] = correlations(facts)
    related[classes:, :classes] = related[:classes, classes:].T
    if shares is not None:
        for label in range(classes):
            own = shares[(facts.targets == label) & np.isfinite(shares).all(axis=1)]
            if len(own):
                related[label, :classes] = own.mean(axis=0)
    return related


def co_occurrence(facts: TrainingFacts, votes: NDArray[np.float32]) -> NDArray[np.floating]:
    """(N, C) what else each face could be called; rows sum to 1, or are NaN where nothing is known.

    The votes of several raters; where every face has a single one, the classes of the faces in the same of 5 x 5
    squares of the plane of valence and arousal, as in the thesis's soft labels (section 3.4).
    """
    if (votes > 0).sum(axis=1).max(initial=0) > 1:
        return votes
    column, row = np.nan_to_num((facts.affect + 1) / 2 * _SQUARES).astype(np.int64).clip(0, _SQUARES - 1).T
    squares = column * _SQUARES + row
    counts = np.zeros((_SQUARES**2, len(facts.labels)))
    np.add.at(counts, (squares[facts.described], facts.targets[facts.described]), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.where(facts.described[:, None], shares[squares], np.nan)


def connect(network: EmotionGCN, facts: TrainingFacts, votes: NDArray[np.float32], words: str) -> None:
    """Fill in the graph, and the word vectors where `words` names a GloVe file.

    Raises:
        BadData: the training set lacks what the graph is made from, or the file what the nodes need.
    """
    related = strengths(facts, co_occurrence(facts, votes) if network.category_edges else None)
    network.adjacency.copy_(torch.from_numpy(adjacency(related, network.tau, network.share)))
    if words:
        names = (*(_WORDS.get(label, label) for label in facts.labels), "valence", "arousal")
        network.words.copy_(torch.from_numpy(glove(Path(words).expanduser(), names)))
