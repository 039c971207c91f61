"""From crops to faces: the expression network and the interpretation of its outputs. Internal; engines share it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Face
from affectlens.core.detection import Detections, checked
from affectlens.core.errors import BadSetting
from affectlens.core.expressions import projected_affect
from affectlens.core.measures import Measure, View, schema_of
from affectlens.core.messages import reason_of
from affectlens.core.model_outputs import ModelOutputs
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import to_input
from affectlens.core.probabilities import normalized_entropy, softmax
from affectlens.core.quality import Quality, qualities
from affectlens.core.reasons import Reason
from affectlens.core.session import FACES_PER_CALL, model_file, open_session, outputs_of, read_spec, run_model
from affectlens.faces.align import cut_faces
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.explain import explanations
from affectlens.runtime.measuring import make_measures, measured

_MAX_BATCH = FACES_PER_CALL
"""More gain nothing, and networks with attention over large maps take a gigabyte for every five."""


@dataclass(frozen=True, eq=False)
class Cut:
    """The faces of one image, cut out as a model wants them.

    Attributes:
        found: where they are. crops: (H, W, 3) RGB uint8 each. qualities: how well each can be seen.
        image_size: (width, height) of the image, pixels.
    """

    found: Detections
    crops: list[NDArray[np.uint8]]
    qualities: tuple[Quality, ...]
    image_size: tuple[int, int]


class Prior(StrEnum):
    """How frequent the expressions are taken to be."""

    NATURAL = "natural"
    """As the model takes them."""
    BALANCED = "balanced"
    """All equally."""


class Recognizer:
    """A model ready to read faces, whose arguments are those of `Analyzer`.

    Attributes:
        spec: what the model file says about itself.
        measures: what is said of a face beside its expression.
        schema: the columns of the rows.

    Raises:
        As `Analyzer`.
    """

    def __init__(
        self,
        model: str | Path = "bundled",
        threads: int = 1,
        explain: bool = False,
        prior: str = Prior.NATURAL,
        device: str = "cpu",
        measures: Sequence[str | Measure] | None = None,
    ) -> None:
        file = model_file(model)
        self._session = open_session(file, threads, device)
        self.spec = read_spec(self._session, str(file))
        self._explain = explain
        self._prior = prior_of(prior, self.spec.class_prior, self.spec.name)
        outputs = outputs_of(self._session, self.spec)
        self.measures = make_measures(measures, outputs)
        needed = {name for measure in self.measures for name in measure.outputs()}
        self._left_out = {name for name, names in outputs.items() if OUTPUTS[name].columns(names)} - needed
        self.schema = schema_of(self.spec.labels, self.measures)

    def explaining(self) -> "Recognizer":
        """The same one, saying for each face where the model looked; the network is shared."""
        other = copy.copy(self)
        other._explain = True
        return other

    def cut(self, image: NDArray[np.uint8], found: Detections) -> Cut:
        """Cut the faces out of an image, which is then no longer needed.

        Args:
            image: (H, W, 3) RGB uint8.
            found: N faces in pixels of the image; boxes may reach beyond it.

        Returns:
            N crops of the size that the model wants, (H, W, 3) RGB uint8 each, in the order of `found`.

        Raises:
            BadSetting: `found` is something else.
        """
        crops = cut_faces(image, checked(found), self.spec.input)
        size = (image.shape[1], image.shape[0])
        return Cut(found, crops, qualities(crops, found, size), size)

    def read(self, images: Sequence[tuple[NDArray[np.uint8], Detections]]) -> list[tuple[Face, ...]]:
        """What the faces of several images say, read together.

        Args:
            images: (H, W, 3) RGB uint8 each, with its detections in pixels of it.

        Returns:
            The faces of each image, in the order of its detections.

        Raises:
            Exception: what `core.session.run_model` or a measure raises.
        """
        return self.read_crops([self.cut(image, found) for image, found in images])

    def outputs(self, crops: list[NDArray[np.uint8]]) -> ModelOutputs:
        """N face crops (each (H, W) gray or (H, W, 3) RGB uint8) -> what the model says of them; outputs that only
        columns need which rows do not have are left out.
        """
        parts = [
            run_model(
                self._session,
                to_input(crops[start : start + _MAX_BATCH], self.spec.input),
                self._explain,
                self._left_out,
            )
            for start in range(0, len(crops), _MAX_BATCH)
        ]
        return ModelOutputs.joined(parts)

    def read_crops(self, cuts: Sequence[Cut]) -> list[tuple[Face, ...]]:
        """As `read`, of faces that `cut` cut out: (N,) faces for a cut with N crops.  Raises as `read`."""
        crops = [crop for cut in cuts for crop in cut.crops]
        if not crops:
            return [()] * len(cuts)
        outputs = self.outputs(crops)
        scores = [score for cut in cuts for score in cut.found.scores.tolist()]
        faces = self._faces(_views(cuts, outputs), scores, outputs)
        if self._explain:
            seen = explanations(crops, outputs, self.outputs, self.spec.first_place)
            faces = tuple(replace(face, explanation=one) for face, one in zip(faces, seen, strict=True))
        ends = np.cumsum([len(cut.crops) for cut in cuts]).tolist()
        return [faces[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def analysis(
        self,
        source: str,
        image: NDArray[np.uint8] | None,
        faces: tuple[Face, ...],
        frame: int | None = None,
        time_s: float | None = None,
    ) -> Analysis:
        """What is said of an image with these faces, or with none."""
        reason, detail = (None, "") if faces else (Reason.NO_FACE, "no face found")
        known = (source, self.spec.name, self.spec.labels)
        return Analysis(*known, faces, reason, detail, image, frame, time_s, self.measures)

    def failed(self, source: str, error: Exception, frame: int | None = None, time_s: float | None = None) -> Analysis:
        """The analysis of a source, or of a frame of one and its time, that cannot be read because of `error`.

        Raises:
            AffectLensError: `error`, where another source would fail in the same way (`core.messages.reason_of`).
        """
        reason, detail = reason_of(error)
        known = (source, self.spec.name, self.spec.labels)
        return Analysis(*known, reason=reason, detail=detail, frame=frame, time_s=time_s, measures=self.measures)

    def _faces(self, views: Sequence[View], scores: Sequence[float], outputs: ModelOutputs) -> tuple[Face, ...]:
        """Calibrate the logits and say what they mean, face by face."""
        labels = self.spec.labels
        probabilities = softmax(outputs.logits, self.spec.temperature, self._prior)
        disagreement = normalized_entropy(probabilities)
        regressed = outputs.affect is not None
        affect = outputs.affect.T if outputs.affect is not None else projected_affect(probabilities, labels)
        return tuple(
            Face(
                box_xyxy=view.box_xyxy,
                landmarks_xy=view.landmarks_xy,
                score=scores[i],
                probabilities=dict(zip(labels, row.tolist(), strict=True)),
                expression=labels[int(row.argmax())],
                uncertain=bool(row.max() < self.spec.uncertain_below),
                disagreement=float(disagreement[i]),
                valence=float(affect[0][i]) if affect is not None else None,
                arousal=float(affect[1][i]) if affect is not None else None,
                va_source="regressed" if regressed else "projected" if affect is not None else None,
                quality=view.quality,
                measures=measured(self.measures, view),
            )
            for i, (view, row) in enumerate(zip(views, probabilities, strict=True))
        )


def _views(cuts: Sequence[Cut], outputs: ModelOutputs) -> list[View]:
    """What measures see of the faces of several images."""
    faces = [
        (cut, crop, box, points, quality)
        for cut in cuts
        for crop, box, points, quality in zip(
            cut.crops, cut.found.boxes_xyxy, cut.found.landmarks_xy, cut.qualities, strict=True
        )
    ]
    others = outputs.others
    return [
        View(crop, box, points, cut.image_size, quality, {name: said[i] for name, said in others.items()})
        for i, (cut, crop, box, points, quality) in enumerate(faces)
    ]


def prior_of(prior: str, shares: Sequence[float] | None, model: str) -> NDArray[np.float64] | None:
    """(C,) what `softmax` has to divide out for `prior`, given the `class_prior` of `model`; None for nothing.

    Raises:
        BadSetting: there is no such prior, or the model does not say how frequent its labels are.
    """
    if prior not in list(Prior):
        raise BadSetting(f"prior must be {' or '.join(Prior)}, got '{prior}'")
    if prior == Prior.NATURAL:
        return None
    if shares is None:
        raise BadSetting(f"{model} does not state its class frequencies, which prior='balanced' needs; export it again")
    return np.array(shares)
