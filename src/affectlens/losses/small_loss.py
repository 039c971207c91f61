"""Cross-entropy without the faces of a batch whose loss is largest, which are likely to be labelled wrongly: the
small-loss trick (Han et al. 2018, Co-teaching, arXiv:1804.06872, algorithm 1 with a single network).

A network learns what most faces of a class share before it learns single wrong labels by heart (Arpit et al. 2017,
arXiv:1706.05394), so a large loss early in training is a sign of one. Antoniadis names the suppression of wrong
annotations as future work (section 7.2); this is the simplest way that needs nothing but logits and target. Left out:
the second network of co-teaching, which chooses the faces of the first, and the attention and relabelling of the
Self-Cure Network (Wang et al. 2020, arXiv:2002.10392), which need layers and thresholds of their own.

Chosen here: a face is ranked by its loss minus the running mean loss of its class. Rare classes have large losses while
they are learned, and the paper's rule, which is `relative` off, leaves out right labels of a rare class until nothing
of it is learned (experiments/noisy_labels.txt). On votes, the entropy of a face's own votes is taken off first, so that
faces about which raters disagree do not count as wrong.
"""

import math

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import log_softmax

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics
from affectlens.losses.weighted_cross_entropy import class_weights

_ROUNDING = 1e-4
_RATE = 0.1


class SmallLoss(nn.Module):
    """- sum_i sum_c w_c t_ic log p_ic / sum_i sum_c w_c t_ic over the faces i that are kept.

    `progress` rises from 0 to 1 during the warm-up, by the faces that were seen in training, and is the fraction of
    `share` that is left out; `usual` is each class's running mean of the excess of the loss over the entropy of the
    votes. Where several processes train, each ranks its own faces, and takes the others to have seen as many.
    """

    weights: Tensor
    progress: Tensor
    usual: Tensor

    def __init__(self, weights: Tensor, share: float, warmup_faces: float, relative: bool) -> None:
        super().__init__()
        self.share, self.warmup_faces, self.relative = share, warmup_faces, relative
        self.register_buffer("weights", weights)
        self.register_buffer("progress", torch.tensor(0.0 if warmup_faces else 1.0))
        self.register_buffer("usual", torch.full((len(weights),), math.log(len(weights))))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """(B, C) logits and (B, C) rows that sum to 1 -> () mean in nats."""
        log_p = log_softmax(logits, dim=1)
        kept = self._kept(log_p.detach(), target)
        weighted = (self.weights * target)[kept]
        return -(weighted * log_p[kept]).sum() / weighted.sum().clamp_min(1e-12)

    @torch.no_grad()
    def _kept(self, log_p: Tensor, target: Tensor) -> Tensor:
        """(B,) true where a face is kept."""
        excess = (torch.xlogy(target, target) - target * log_p).sum(dim=1)
        label = target.argmax(dim=1)
        judged = excess - self.usual[label] if self.relative else excess
        left_out = (self.share * self.progress * len(excess) + _ROUNDING).floor()
        kept = judged.argsort().argsort() < len(excess) - left_out
        if self.training:
            counts = torch.bincount(label, minlength=len(self.usual))
            sums = torch.zeros_like(self.usual).index_add_(0, label, excess.to(self.usual.dtype))
            means = torch.where(counts > 0, sums / counts.clamp_min(1), self.usual)
            self.usual.lerp_(means, _RATE)
            if self.warmup_faces:
                self.progress.add_(_processes() * len(excess) / self.warmup_faces).clamp_(max=1)
        return kept


def _processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def build(
    statistics: DatasetStatistics,
    share: float = 0.2,
    warmup: float = 3.0,
    relative: bool = True,
    weighted: bool = False,
) -> SmallLoss:
    """A loss that leaves out `share` of the faces in [0, 1): about as many as are thought to be labelled wrongly.

    Args:
        statistics: of the training set.
        share: as above.
        warmup: epochs (>= 0) during which the share left out rises from 0, as in the paper (10 of 200 there). An epoch
            counts as as many faces as the training set has, whatever the sampler draws.
        relative: rank a face by its loss minus the running mean loss of its class; off, by its loss alone.
        weighted: each class has its weight n_min / n_i, as in the weighted cross-entropy.

    Raises:
        BadSetting: a setting has an invalid value, or no face has a label and `weighted` is on.
    """
    if not 0 <= share < 1:
        raise BadSetting(f"share must be in [0, 1), got {share}")
    if not warmup >= 0:
        raise BadSetting(f"warmup must be >= 0, got {warmup}")
    weights = class_weights(statistics) if weighted else torch.ones(len(statistics.labels))
    return SmallLoss(weights, share, warmup * len(statistics.targets), relative)
