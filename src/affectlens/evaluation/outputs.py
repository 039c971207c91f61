"""A network output and its ground truth (`core.outputs`)."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.outputs import Output
from affectlens.evaluation import metrics
from affectlens.evaluation.metrics import Bools, Floats


@dataclass(frozen=True, eq=False)
class Compared:
    """What an output says of N faces, and the truth.

    Attributes:
        output: which one; it has a metric.
        said: (N, D) what it says, not the raw numbers.
        truth: (N, K), NaN where unknown.
        names: of the D numbers, or ().

    Raises:
        BadData: the numbers of faces differ.
    """

    output: Output
    said: Floats
    truth: Floats
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.said) != len(self.truth):
            raise BadData(
                f"'{self.output.name}' has predictions for {len(self.said)} faces, but ground truth for "
                f"{len(self.truth)}"
            )

    def keep(self, mask: Bools) -> "Compared":
        """The faces where the (N,) `mask` is true."""
        return replace(self, said=self.said[mask], truth=self.truth[mask])

    @cached_property
    def faces(self) -> int:
        """How many count."""
        return int(self.output.known(self.truth).sum())

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """(J,) those of the output's metric over the faces that are known; NaN for what cannot be measured.

        Raises:
            BadData: the data know another number of numbers than is said.
        """
        known = self.output.known(self.truth)
        if not known.any():
            return np.empty(0)
        try:
            found = getattr(metrics, self.output.metric)(self.said[known], self.truth[known])
        except BadData as error:
            raise BadData(f"{self.output.meaning}: {error}") from error
        return np.asarray(found, dtype=np.float64)

    @property
    def value(self) -> float:
        """Their mean, NaN where nothing can be measured."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite.mean()) if len(finite) else math.nan

    @property
    def each(self) -> dict[str, float]:
        """Them by name, where there is one for each number and these have names."""
        fits = len(self.names) == len(self.values) > 0
        return dict(zip(self.names, self.values.tolist(), strict=True)) if fits else {}
