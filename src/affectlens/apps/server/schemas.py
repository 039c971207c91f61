"""JSON schemas: conversion of analyses to JSON and back."""

import base64
import math
from dataclasses import asdict, fields
from typing import Annotated, Any, get_type_hints

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, create_model

from affectlens.core import affect, quality
from affectlens.core.columns import Column, Schema
from affectlens.core.errors import UnreadableMedia
from affectlens.core.image_file import DecodedImage, decode
from affectlens.core.measures import Measure
from affectlens.core.reasons import Flaw
from affectlens.runtime.analysis import Analysis

Probabilities = Annotated[
    dict[str, float], Field(description="Probability of each label, in the model's order; they sum to 1.")
]
Measures = Annotated[
    dict[str, dict[str, Any]], Field(description="Values by measure and column; `/v1/model` describes the columns.")
]
Unit = Annotated[float | None, Field(description="In [-1, 1]; null if the labels have no coordinates.")]
_MAX_CROP_PIXELS = 4_000_000
"""Of the face in an explanation."""

Png = Annotated[str, Field(description="A PNG in base64.")]


class Explanation(BaseModel):
    """Where the model looked (`core.affect.Explanation`)."""

    method: str
    crop: Png
    heat: Annotated[str, Field(description="A grayscale PNG in base64, scaled so that the maximum is 255.")]


class Smoothed(BaseModel):
    """What is to be shown of a face in a video or stream, where the frames before count too."""

    probabilities: Probabilities
    valence: Unit
    arousal: Unit
    measures: Measures = Field(default_factory=dict)


class _Face(BaseModel):
    """One face, as in `affectlens.Face`; boxes and landmarks in pixels of the picture, from its top left corner."""

    box_xyxy: tuple[float, float, float, float]
    landmarks_xy: Annotated[
        list[tuple[float, float]] | None, Field(description="Eyes, nose, mouth corners, left to right in the picture.")
    ]
    probabilities: Probabilities
    smoothed: Smoothed | None
    measures: Measures = Field(default_factory=dict)
    explanation: Explanation | None


_QUALITY: dict[str, Any] = {
    "code": (str, Field(description="'ok', or the quality flags joined by '+'.")),
    "flaws": (list[Flaw], Field(description="Quality flags; derived from the other fields.")),
    **{part.name: (float | None, ...) for part in fields(quality.Quality)},
}
Quality = create_model("Quality", __doc__="How well a face can be seen (`core.quality.Quality`).", **_QUALITY)

_SCALARS = [column for column in Schema(()).columns if column.path[0] == "face" and len(column.path) == 2]
"""The columns that are attributes of a face."""
_TYPES = get_type_hints(affect.Face)
_FACE: dict[str, Any] = {
    column.path[1]: (_TYPES[column.path[1]], Field(description=column.meaning)) for column in _SCALARS
}
Face: Any = create_model("Face", __base__=_Face, __doc__=_Face.__doc__, quality=(Quality | None, ...), **_FACE)


class Light(BaseModel):
    """Colour for a room in which these faces are."""

    rgb: tuple[int, int, int]
    brightness: Annotated[float, Field(description="In [0, 1].")]


class _Result(BaseModel):
    """What was found in one photo, or one frame of a video or stream."""

    labels: list[str]
    width: Annotated[int, Field(description="Pixels; 0 if the picture could not be read.")]
    height: int
    duration_s: Annotated[float | None, Field(description="Length of the video according to its header.")]
    faces: list[Face]
    detail: str
    light: Light | None = None


_OF_FRAMES = [column for column in Schema(()).columns if column.path[0] == "frame" and column.path[1] != "source"]
"""The columns that are attributes of an analysis; who sent a picture knows its source."""
_HINTS = get_type_hints(Analysis)
_RESULT: dict[str, Any] = {
    column.path[1]: (_HINTS[column.path[1]], Field(description=column.meaning)) for column in _OF_FRAMES
}
Result: Any = create_model("Result", __base__=_Result, __doc__=_Result.__doc__, **_RESULT)


class Problem(BaseModel):
    """Body of every answer that is not a result.

    Attributes:
        reason: a code of `core.reasons`, or "busy", "forbidden", "unauthorized", "wrong_type", "stalled",
            "not_found" or "bad_request".
        detail: the same for people, one line.
    """

    reason: str
    detail: str


class Health(BaseModel):
    """That the service is there."""

    status: str
    version: str
    model: str


class ModelInfo(BaseModel):
    """What the model answers, and what the service takes."""

    name: str
    labels: list[str]
    colours: Annotated[dict[str, str], Field(description="Colour (#rrggbb) of each label in pictures and figures.")]
    circumplex: Annotated[
        dict[str, tuple[float, float]], Field(description="Valence and arousal coordinates of known labels.")
    ]
    uncertain_below: Annotated[float, Field(description="Top probability below which a face is uncertain.")]
    licence: str
    photo_bytes: Annotated[int, Field(description="Size limit for photos.")]
    video_bytes: Annotated[int, Field(description="Size limit for videos.")]
    video_s: Annotated[float, Field(description="Length limit for videos.")]
    columns: Annotated[
        list[Column],
        Field(
            default_factory=list,
            description="Columns of tables made from the results: `path` locates the value, starting with 'frame' (the "
            "result), 'face', or 'place' (the index of the face in the result).",
        ),
    ]


def to_wire(
    analysis: Analysis, size: tuple[int, int], duration_s: float | None = None, light: Light | None = None
) -> Any:
    """The `Result` of an analysis of a picture of (width, height) pixels, to be sent."""
    return Result(
        **{column.path[1]: column.cell(analysis, None, None) for column in _OF_FRAMES},
        labels=list(analysis.labels),
        width=size[0],
        height=size[1],
        duration_s=_round(duration_s, 3),
        faces=[_face(face, analysis.schema) for face in analysis.faces],
        detail=analysis.detail,
        light=light,
    )


def from_wire(
    result: Any, source: str, image: NDArray[np.uint8] | None = None, measures: tuple[Measure, ...] = ()
) -> Analysis:
    """The `Result` that was received, as the analyzer would have given it; `measures` are those of the service
    (`measures_in`).

    Raises:
        TypeError: what a measure says is of another kind than its column.
    """
    return Analysis(
        **{column.path[1]: getattr(result, column.path[1]) for column in _OF_FRAMES},
        source=source,
        labels=tuple(result.labels),
        faces=tuple(_core_face(face, measures) for face in result.faces),
        detail=result.detail,
        image=image,
        measures=measures,
    )


def measures_in(model: ModelInfo) -> tuple[Measure, ...]:
    """The measures of a service, by their columns; they hold what it sends and measure nothing themselves."""
    found: dict[str, list[Column]] = {}
    for column in model.columns:
        if column.path[:2] == ("face", "measures") and len(column.path) == 4:
            found.setdefault(column.path[2], []).append(column)
    return tuple(Measure(name, tuple(columns)) for name, columns in found.items())


def _face(face: affect.Face, schema: Schema) -> Any:
    known = bool(np.isfinite(face.landmarks_xy).all())
    seen, shown = face.explanation, face.smoothed
    return Face(
        **{column.path[1]: column.cell(None, None, face) for column in _SCALARS},
        box_xyxy=tuple(np.round(face.box_xyxy.astype(np.float64), 2).tolist()),
        landmarks_xy=np.round(face.landmarks_xy.astype(np.float64), 2).tolist() if known else None,
        probabilities=_rounded(face.probabilities),
        smoothed=None
        if shown is None
        else Smoothed(
            probabilities=_rounded(shown.probabilities),
            valence=_round(shown.valence, 4),
            arousal=_round(shown.arousal, 4),
            measures=_measures(shown, schema),
        ),
        quality=None if face.quality is None else _quality(face.quality),
        measures=_measures(face, schema),
        explanation=None
        if seen is None
        else Explanation(
            method=seen.method,
            crop=_png(np.asarray(cv2.cvtColor(seen.crop, cv2.COLOR_RGB2BGR), dtype=np.uint8)),
            heat=_png(np.rint(seen.heat * 255).astype(np.uint8)),
        ),
    )


def _measures(of: affect.Face | affect.Smoothed, schema: Schema) -> dict[str, dict[str, Any]]:
    """The cells of the measures' columns."""
    found: dict[str, dict[str, Any]] = {name: {} for name in of.measures}
    for column in schema.extra:
        _, _, measure, name = column.path
        if measure in found:
            found[measure][name] = column.cell(None, None, of)
    return found


def _core_measures(values: dict[str, dict[str, Any]], measures: tuple[Measure, ...]) -> dict[str, dict[str, Any]]:
    """What these measures say, checked."""
    return {
        measure.name: {c.name: c.kind.checked(values[measure.name].get(c.name)) for c in measure.columns}
        for measure in measures
        if measure.name in values
    }


def _core_face(face: Any, measures: tuple[Measure, ...]) -> affect.Face:
    landmarks = np.full((5, 2), np.nan) if face.landmarks_xy is None else np.array(face.landmarks_xy)
    shown, seen = face.smoothed, face.explanation
    smoothed = None
    if shown:
        smoothed = affect.Smoothed(**shown.model_dump() | {"measures": _core_measures(shown.measures, measures)})
    return affect.Face(
        **{column.path[1]: getattr(face, column.path[1]) for column in _SCALARS},
        box_xyxy=np.array(face.box_xyxy, dtype=np.float32),
        landmarks_xy=landmarks.astype(np.float32),
        probabilities=face.probabilities,
        smoothed=smoothed,
        quality=_core_quality(face.quality) if face.quality else None,
        measures=_core_measures(face.measures, measures),
        explanation=affect.Explanation(
            _picture(seen.crop).rgb,
            (_gray(seen.heat) / 255).astype(np.float32),
            seen.method,
        )
        if seen
        else None,
    )


def _quality(seen: quality.Quality) -> Any:
    facts = {name: round(value, 4) if math.isfinite(value) else None for name, value in asdict(seen).items()}
    return Quality.model_validate(facts | {"flaws": list(seen.flaws), "code": seen.code})


def _core_quality(seen: BaseModel) -> quality.Quality:
    facts = seen.model_dump(exclude={"flaws", "code"})
    return quality.Quality(**{name: math.nan if value is None else value for name, value in facts.items()})


def _png(image: NDArray[np.uint8]) -> str:
    return base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()


def _picture(png: str) -> DecodedImage:
    """What `_png` wrote.  Raises ValueError for anything else: a service elsewhere is not to be trusted."""
    try:
        return decode(base64.b64decode(png), _MAX_CROP_PIXELS)
    except UnreadableMedia as error:
        raise ValueError(str(error)) from error


def _gray(png: str) -> NDArray[np.uint8]:
    pixels = _picture(png).pixels
    if pixels.ndim != 2:
        raise ValueError(f"a heat map must be grayscale, got shape {pixels.shape}")
    return pixels


def _rounded(probabilities: dict[str, float]) -> dict[str, float]:
    return {label: round(value, 6) for label, value in probabilities.items()}


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
