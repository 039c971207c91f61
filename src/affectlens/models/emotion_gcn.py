"""Emotion-GCN (Antoniadis et al. 2021, arXiv:2106.03487; his thesis, section 6.3): the classifiers of the expressions
and the regressors of valence and arousal are the outputs of a graph convolutional network over their names.

Nodes are the expressions, valence and arousal. Each starts as a word vector of 300 numbers; graph convolutions
(x <- A x W, no bias, uniform start within 1 / sqrt(outputs), LeakyReLU 0.2 between) turn it into a vector as wide as
the backbone's features (677,888 parameters with 300 -> 512 -> 1024). The answers are the products of these vectors
with the feature vector: the backbone's map, pooled (`layers.backbones`), for DenseNet before any ReLU.

The graph comes from the training set (`prepare`; eq. 6.3.2 to 6.3.5): |Spearman| between belonging to an expression and
valence or arousal, 1 where that is at least `tau`, then re-weighted so that a row of A has `share` (p) for all
neighbours together and 1 - p for the node itself. `category_edges` adds edges between expressions by their conditional
probabilities (section 6.4.3; `co_occurrence`; the thesis does not say from which labels). No gradient flows into it. As
printed, eq. 6.3.3 correlates ranks without subtracting their means, which is not Spearman's coefficient: on AffectNet
all pairs would have 0.73 to 0.97 and `tau` would remove no edge. Here, as in the author's data, it is Spearman's.

Where text and code disagree, or only one speaks (`Graph` has both): the code multiplies with (A D)^T D, which is the
transpose, as the rows of A sum to 1, and so does this file: a node takes its column of A, whose sum is not 1; an edge
between valence and arousal is in the code only, and not here; LeakyReLU stands between the layers, as in the code,
where eq. 1.5.1 has it after each; a node without neighbours keeps all of its weight here, so that its row of A sums to
1, before the transpose, as eq. 1.5.1 asks (1 - p by eq. 6.3.5; the code divides 0 by 0). p is 0.7, as in the text (0.5
in the code). One layer is 300 -> D and three are 300 -> 512 -> 512 -> D, as in comments of the author's models.py.
`graph=affectnet` takes the published correlations instead of those of the training set.

Left open and chosen: word vectors are read from a GloVe file that the user names (`words`). Without one every node
starts as an axis of its own, of length 5, about that of GloVe's vectors: the graph alone then relates the nodes, as in
GCNs without features (Kipf and Welling 2017, arXiv:1609.02907). `words=circumplex`, which is ours, needs no file: the
vectors come from the words' places in the plane of valence and arousal (`circumplex`).
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from affectlens.core.correlation import spearman
from affectlens.core.errors import BadData, BadSetting
from affectlens.core.expressions import CIRCUMPLEX
from affectlens.core.files import limited_lines, open_text
from affectlens.core.statistics import DatasetStatistics
from affectlens.models.layers.backbones import Backbone, find_backbone
from affectlens.models.layers.evidence import Explaining
from affectlens.models.layers.frozen import PartlyFrozen
from affectlens.models.layers.outputs import Outputs

FILES = {"words": "a text file of GloVe vectors (glove.6B.300d.txt of nlp.stanford.edu/projects/glove)"}
FILE_FREE = {"words": ("circumplex",)}
WORD_SIZE = 300
_VECTOR_LENGTH = 5.0
_GRID = (20, 15)
"""Points along valence and arousal of the grid of `circumplex`; their product is `WORD_SIZE`."""
_GRID_REACH = 1.5
_BUMP_WIDTH = 0.25
_HIDDEN = 512
_SQUARES = 5
AFFECTNET = {
    "neutral": (-0.3351, -0.2841),
    "happiness": (0.8611, 0.0145),
    "sadness": (-0.4530, -0.4337),
    "surprise": (-0.0276, 0.3382),
    "fear": (-0.1218, 0.2356),
    "disgust": (-0.1764, 0.1437),
    "anger": (-0.3837, 0.4138),
}
"""Expression -> Spearman of belonging to it with valence and arousal on AffectNet's training set
(data/spearman_affectnet.pkl of the author's repository).
"""
AFFECTNET_VALENCE_AROUSAL = 0.0373
"""Spearman of valence with arousal there (author's repository): the edge between the two nodes with `affect_edge`."""
_WORDS = {"happiness": "happy", "sadness": "sad"}
"""Expression -> the thesis's word for its node, where that is another."""


class GraphConvolution(nn.Module):
    """(K, inputs) node vectors and (K, K) adjacency -> (K, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(outputs)
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        return adjacency @ (nodes @ self.weight)


class EmotionGCN(PartlyFrozen, Explaining):
    """(B, C, H, W) normalised images -> `Outputs` with logits and affect."""

    words: Tensor
    adjacency: Tensor
    outer_options = (
        *("layers", "tau", "share", "category_edges", "affect_edge", "isolated", "transposed", "graph", "words"),
        "train",
    )

    def __init__(
        self,
        kind: Backbone,
        classes: int,
        in_channels: int,
        layers: int,
        graph: "Graph",
        words: str,
        train: str,
    ) -> None:
        super().__init__(train)
        self.kind = kind
        self.in_channels = in_channels
        self.classes = classes
        self.rules, self.words_source = graph, words
        self.backbone, width = kind.build(in_channels, kind.pool == "mean"), kind.width
        self.feature_width, self.first_place = width, kind.first_place
        nodes = classes + 2
        sizes = [WORD_SIZE, *[_HIDDEN] * (layers - 1), width]
        self.convolutions = nn.ModuleList(GraphConvolution(a, b) for a, b in pairwise(sizes))
        self.register_buffer("words", torch.eye(nodes, WORD_SIZE) * _VECTOR_LENGTH)
        self.register_buffer("adjacency", torch.eye(nodes))

    def load_pretrained(self, file: str = "") -> None:
        """ImageNet weights into the backbone; see `Backbone.load_imagenet`."""
        self.kind.load_imagenet(self.backbone, self.in_channels, file)

    def settle(self, pretrained: bool) -> str:
        """As of all networks with frozen parts; the remark also says where the nodes start without word vectors."""
        remarks = [super().settle(pretrained)]
        if not self.words_source:
            remarks.append(
                "the graph starts without word vectors, each node as a one-hot vector, because no GloVe file is "
                "named (model_options.words=FILE, or words=circumplex, which needs no file)"
            )
        return "; ".join(filter(None, remarks))

    def prepare(self, statistics: DatasetStatistics) -> None:
        """Fill in the graph from the training set, and the word vectors where `words` names some.

        Raises:
            BadData: the set lacks what the graph is made from, or the word vectors a node.
        """
        self.adjacency.copy_(torch.from_numpy(self.rules.adjacency(statistics)))
        if self.words_source in FILE_FREE["words"]:
            self.words.copy_(torch.from_numpy(circumplex(statistics.labels)))
        elif self.words_source:
            names = (*(_WORDS.get(label, label) for label in statistics.labels), "valence", "arousal")
            self.words.copy_(torch.from_numpy(glove(Path(self.words_source).expanduser(), names)))

    def head_vectors(self) -> Tensor:
        """(C + 2, D) classifiers and the two regressors."""
        nodes, adjacency = self.words, self.graph()
        for depth, convolution in enumerate(self.convolutions):
            nodes = convolution(leaky_relu(nodes, 0.2) if depth else nodes, adjacency)
        return nodes

    def graph(self) -> Tensor:
        """(C + 2, C + 2) adjacency, or its transpose (`Graph.transposed`): row i is what node i takes from each."""
        return self.adjacency.T if self.rules.transposed else self.adjacency

    def embed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D), the pooled map."""
        return self.kind.pooled(self.backbone(x))

    def answers(self, features: Tensor) -> Outputs:
        """(B, D) of `embed` -> logits and affect."""
        answers = features @ self.head_vectors().T
        return Outputs(answers[:, : self.classes], features, {"affect": answers[:, self.classes :]})

    def forward(self, x: Tensor) -> Outputs:
        if not self.explaining:
            return self.answers(self.embed(x))
        space = self.backbone(x)
        seen = self.kind.evidence(space, self.head_vectors()[: self.classes])
        return self.answers(self.kind.pooled(space))._replace(explanation=seen)


def correlations(statistics: DatasetStatistics) -> NDArray[np.float64]:
    """(C + 1, 2) Spearman between belonging to each class and valence or arousal, and, in the last row, between arousal
    and valence (first column); 0 where one of the two is constant.

    Raises:
        BadData: no face has a label, valence and arousal.
    """
    if not statistics.described.any():
        raise BadData(
            "Emotion-GCN builds its graph from training faces with a label, valence and arousal, but there are none"
        )
    targets, affect = statistics.targets[statistics.described], statistics.affect[statistics.described]
    classes = len(statistics.labels)
    belongs = [(targets == label).astype(np.float64) for label in range(classes)]
    found = np.zeros((classes + 1, 2))
    for row, values in enumerate([*belongs, affect[:, 1]]):
        for column in range(2 if row < classes else 1):
            value = spearman(values, affect[:, column])
            found[row, column] = value if np.isfinite(value) else 0
    return found


def published_correlations(labels: tuple[str, ...]) -> NDArray[np.float64]:
    """`correlations` of AffectNet's training set, from the author's repository.

    Raises:
        BadData: a label is not one of AffectNet's seven.
    """
    if unknown := [label for label in labels if label not in AFFECTNET]:
        raise BadData(f"graph=affectnet has no correlation for '{unknown[0]}'; it knows {', '.join(AFFECTNET)}")
    return np.array([*(AFFECTNET[label] for label in labels), (AFFECTNET_VALENCE_AROUSAL, 0.0)])


@dataclass(frozen=True)
class Graph:
    """Rules for the adjacency.

    Attributes:
        tau: the least strength of an edge; with 0 there is one everywhere, as in the equation.
        share: p, the weight that a node gives to all its neighbours together where `transposed`, and otherwise takes
            from them; 1 - p is its own.
        category_edges: edges between expressions by their conditional probabilities.
        affect_edge: an edge between valence and arousal where they are correlated, as in the author's code; the text
            has none.
        isolated: weight that a node without neighbours keeps: "full" (1), or "rest" (1 - p) as in eq. 6.3.5.
        transposed: propagate with A^T, as the author's code does: a node takes its column of A; False: with A (rows sum
            to 1), as in the text.
        source: "data", the training set; "affectnet", the correlations of AffectNet's.
    """

    tau: float
    share: float
    category_edges: bool = False
    affect_edge: bool = False
    isolated: str = "full"
    transposed: bool = True
    source: str = "data"

    def adjacency(self, statistics: DatasetStatistics) -> NDArray[np.float32]:
        """(C + 2, C + 2) float32.  Raises BadData where the training set lacks what it is made from."""
        known = published_correlations(statistics.labels) if self.source == "affectnet" else correlations(statistics)
        shares = co_occurrence(statistics) if self.category_edges else None
        related = strengths(np.abs(known), statistics.targets, shares, self.affect_edge)
        return weighted_edges(related, self.tau, self.share, self.isolated)


def weighted_edges(
    related: NDArray[np.float64], tau: float, share: float, isolated: str = "full"
) -> NDArray[np.float32]:
    """(K, K) float32 from (K, K) strengths: edges where one is at least `tau`; the row of a node has 1 - `share` for
    itself and `share` in equal parts for its neighbours.
    """
    edges = (related >= tau).astype(np.float64)
    np.fill_diagonal(edges, 0)
    degree = edges.sum(axis=1, keepdims=True)
    weights = share * edges / np.maximum(degree, 1)
    np.fill_diagonal(weights, np.where((degree[:, 0] > 0) | (isolated == "rest"), 1 - share, 1))
    return np.asarray(weights, dtype=np.float32)


def strengths(
    known: NDArray[np.float64], targets: NDArray[np.int64], shares: NDArray[np.floating] | None, affect_edge: bool
) -> NDArray[np.float64]:
    """(C + 2, C + 2) strengths of all relations: (C + 1, 2) `known` correlations as in `correlations`, and between
    expressions, where (N, C) `shares` are given, the mean share of the second for the faces labelled as the first.
    """
    classes = len(known) - 1
    related = np.zeros((classes + 2, classes + 2))
    related[:classes, classes:] = known[:classes]
    related[classes:, :classes] = related[:classes, classes:].T
    if affect_edge:
        related[classes, classes + 1] = related[classes + 1, classes] = known[classes, 0]
    if shares is not None:
        for label in range(classes):
            own = shares[(targets == label) & np.isfinite(shares).all(axis=1)]
            if len(own):
                related[label, :classes] = own.mean(axis=0)
    return related


def co_occurrence(statistics: DatasetStatistics) -> NDArray[np.floating]:
    """(N, C) what else each face could be called; rows sum to 1, or are NaN where nothing is known.

    The votes of several raters; where every face has a single one, the classes of the faces in the same of 5 x 5
    squares of the plane of valence and arousal, as in the thesis's soft labels (section 3.4).
    """
    votes = statistics.votes
    if votes is not None and (votes > 0).sum(axis=1).max(initial=0) > 1:
        return votes
    column, row = np.nan_to_num((statistics.affect + 1) / 2 * _SQUARES).astype(np.int64).clip(0, _SQUARES - 1).T
    squares = column * _SQUARES + row
    counts = np.zeros((_SQUARES**2, len(statistics.labels)))
    np.add.at(counts, (squares[statistics.described], statistics.targets[statistics.described]), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.where(statistics.described[:, None], shares[squares], np.nan)


def glove(file: Path, names: tuple[str, ...]) -> NDArray[np.float32]:
    """(K, 300) float32 vectors of `names` from a GloVe text file: a word and its numbers per line, between spaces.

    Raises:
        BadData: the file is missing, lacks a word, or its vectors are not 300 numbers.
    """
    found: dict[str, NDArray[np.float32]] = {}
    try:
        with open_text(file) as stream:
            for number, line in enumerate(limited_lines(stream), start=1):
                word, _, numbers = line.partition(" ")
                if word in names:
                    found[word] = np.array(numbers.split(), dtype=np.float32)
                    if found[word].shape != (WORD_SIZE,):
                        raise BadData(f"{file}, line {number}: expected {WORD_SIZE} numbers, got {found[word].size}")
                if len(found) == len(names):
                    break
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadData(f"cannot read '{file}' as word vectors: {error}") from error
    if missing := [name for name in names if name not in found]:
        raise BadData(f"'{file}' has no vector for '{missing[0]}'")
    return np.stack([found[name] for name in names])


def circumplex(labels: tuple[str, ...]) -> NDArray[np.float32]:
    """(C + 2, 300) float32 vectors of `labels`, valence and arousal, each of length 5, computed from their places in
    the plane: those of `core.expressions.CIRCUMPLEX` (Russell and Mehrabian 1977), (1, 0) and (0, 1).

    Each number is a Gaussian of width 0.25 around one of 20 x 15 points that cover [-1.5, 1.5] squared, so that two
    vectors at a distance d have a cosine similarity of about exp(-4 d^2), as words of similar affect should. A fixed
    grid, since random Fourier features, which do the same, need random numbers to be the same everywhere.

    Raises:
        BadData: a label has no published place.
    """
    if missing := [label for label in labels if label not in CIRCUMPLEX]:
        raise BadData(
            f"words=circumplex has no place in the plane of valence and arousal for '{missing[0]}'; name a file of "
            "word vectors (model_options.words=FILE), or none"
        )
    places = np.array([*(CIRCUMPLEX[label] for label in labels), (1.0, 0.0), (0.0, 1.0)])
    axes = [np.linspace(-_GRID_REACH, _GRID_REACH, points) for points in _GRID]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(1, WORD_SIZE, 2)
    vectors = np.exp(-np.square(places[:, None] - grid).sum(axis=2) / (2 * _BUMP_WIDTH**2))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(_VECTOR_LENGTH * vectors / lengths, dtype=np.float32)


def build(
    classes: int,
    in_channels: int = 3,
    backbone: str = "densenet121",
    layers: int = 2,
    tau: float = 0.1,
    share: float = 0.7,
    category_edges: bool = False,
    affect_edge: bool = False,
    isolated: str = "full",
    transposed: bool = True,
    graph: str = "data",
    pool: str = "",
    words: str = "",
    train: str = "full",
) -> EmotionGCN:
    """A fresh network; its `prepare` fills in the graph (`Graph`), and the word vectors where `words` names a file
    or is "circumplex".

    `pool` is "max" or "mean" instead of the backbone's own; "mean" is that of rectified maps (`layers.backbones`). With
    `train` "head" the backbone keeps its pretrained weights and the graph network alone learns.

    Raises:
        BadSetting: an option is out of range.
    """
    if not 1 <= layers <= 3:
        raise BadSetting(f"layers must be 1, 2 or 3, got {layers}")
    if not 0 <= tau <= 1 or not 0 <= share < 1:
        raise BadSetting(f"tau must be in [0, 1] and share in [0, 1), got {tau} and {share}")
    if isolated not in ("full", "rest"):
        raise BadSetting(f"isolated must be full or rest, got '{isolated}'")
    if graph not in ("data", "affectnet"):
        raise BadSetting(f"graph must be data or affectnet, got '{graph}'")
    rules = Graph(tau, share, category_edges, affect_edge, isolated, transposed, graph)
    return EmotionGCN(find_backbone(backbone, pool), classes, in_channels, layers, rules, words, train)
