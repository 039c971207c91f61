"""The engine: image in, faces with expressions and affect out."""

import copy
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from affectlens.core import catalog
from affectlens.core.affect import Face
from affectlens.core.answers import Answers
from affectlens.core.columns import Schema
from affectlens.core.detection import Detections, Detector
from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.expressions import projected_affect
from affectlens.core.image_file import Picture, as_uint8, decode, orientation_of, turned_upright
from affectlens.core.measures import Measure, View, schema_of
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import to_input
from affectlens.core.probabilities import normalised_entropy, softmax
from affectlens.core.quality import Quality, qualities
from affectlens.core.reasons import Reason
from affectlens.core.session import ModelSpec, model_file, open_session, outputs_of, read_answers, read_spec
from affectlens.faces.align import cut_faces
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.arrays import ChannelOrder, TimedArrays, as_rgb
from affectlens.runtime.explain import explanations
from affectlens.runtime.measuring import make_measures, measured
from affectlens.runtime.media import display_name, read_picture
from affectlens.runtime.pipeline import VideoSettings
from affectlens.runtime.sources import Analyses, open_frames, reason_of
from affectlens.runtime.stream import OnEvent, Stream

if TYPE_CHECKING:
    from PIL.Image import Image

_FACES_PER_RUN = 8
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


Source: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[np.uint8] | Image"
"""What `Analyzer.analyze` takes."""
VideoSource: TypeAlias = "str | os.PathLike[str] | BinaryIO | TimedArrays"
"""What `Analyzer.video` takes."""


class Analyzer:
    """Finds faces and reads their expressions; needs no network.

    Safe to share: `analyze` keeps no state between calls and may run in any number of threads at once (with a detector
    of your own: if that may), as may several videos and streams.

    Args:
        model: "bundled", an ONNX file that affectlens exported, or the run folder that holds it.
        detector: name of a detector ("mtcnn", "whole"), "yunet:FILE" with its model file, or any callable that is a
            `core.detection.Detector`.
        min_face_px: longer box side of the smallest face to look for, in pixels; None is the detector's default: 40 for
            mtcnn and yunet, none for whole.
        threads: of the expression network; 0 is one per core. Several photos at once use several cores better than
            several threads on one photo.
        explain: say for each face where the model looked (`Face.explanation`). Models that do not tell are asked 64
            times more for it.
        prior: "natural", or "balanced": rare expressions are found more often, and more often where there are none.
        device: of the expression network: "cpu", or "cuda" with the package onnxruntime-gpu in onnxruntime's place.
        measures: what else is said of a face (`core.measures`), by name or as measures of your own; None is all that
            are installed and what the model says in outputs of its own (`core.outputs`), () none.

    Raises:
        BadModelFile: the model or a network of the detector cannot be used.
        UnknownName, BadSetting: the detector or a measure does not exist or does not take these settings, `prior` or
            `device` has no such value, or the model does not say how frequent its labels are.
    """

    def __init__(
        self,
        model: str | Path = "bundled",
        detector: str | Detector = "mtcnn",
        min_face_px: int | None = None,
        threads: int = 1,
        explain: bool = False,
        prior: str = Prior.NATURAL,
        device: str = "cpu",
        measures: "Sequence[str | Measure] | None" = None,
    ) -> None:
        if not isinstance(detector, str) and not callable(detector):
            raise BadSetting(f"detector must be a name or a callable, got {type(detector).__name__}")
        if min_face_px is not None and not isinstance(detector, str):
            raise BadSetting("min_face_px goes with a detector's name; set it where you make your own detector")
        file = model_file(model)
        self._session = open_session(file, threads, device)
        self._spec = read_spec(self._session, str(file))
        self._explain = explain
        self._prior = prior_of(prior, self._spec.class_prior, self._spec.name)
        outputs = outputs_of(self._session, self._spec)
        self._measures = make_measures(measures, outputs)
        needed = {name for measure in self._measures for name in measure.outputs()}
        self._left_out = {name for name, names in outputs.items() if OUTPUTS[name].columns(names)} - needed
        self._schema = schema_of(self._spec.labels, self._measures)
        self._detect = _make_detector(detector, min_face_px) if isinstance(detector, str) else detector

    @property
    def spec(self) -> ModelSpec:
        """What the model file says about itself."""
        return self._spec

    @property
    def schema(self) -> Schema:
        """The columns of its rows."""
        return self._schema

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is said of a face beside its expression."""
        return self._measures

    @property
    def detector(self) -> Detector:
        """What finds the faces."""
        return self._detect

    def explaining(self) -> "Analyzer":
        """The same engine, saying for each face where the model looked; the network is shared."""
        other = copy.copy(self)
        other._explain = True
        return other

    def analyze(self, source: "Source", name: str = "", colour: str = ChannelOrder.RGB) -> Analysis:
        """One image.

        Args:
            source: path of an image file, the bytes of one, (H, W, 3) uint8 array, (H, W) gray uint8 array, or PIL
                image (turned upright by its EXIF orientation, if it still has one).
            name: what the results call it; default the path.
            colour: order of an array's channels: "rgb", or "bgr" as OpenCV reads them.

        Returns:
            The analysis; an image that cannot be read gives one without faces and with a `reason`, never an exception.

        Raises:
            BadSetting: `source` is none of these, or `colour` no such order or not for an array.
        """
        if colour != ChannelOrder.RGB and not isinstance(source, np.ndarray):
            raise BadSetting("colour is for arrays; files and PIL images have their own")
        try:
            if isinstance(source, (str, os.PathLike)):
                path = Path(os.path.expanduser(source))
                name = name or display_name(path)
                return self._analyze_picture(read_picture(path), name)
            if isinstance(source, bytes):
                return self._analyze_picture(decode(source), name)
            return self._analyze_picture(Picture(_as_rgb(source, colour)), name)
        except Exception as error:
            return self.failed(name, error)

    def video(
        self,
        source: "VideoSource",
        settings: VideoSettings | None = None,
        name: str = "",
        frame_rate: float | None = None,
        colour: str = ChannelOrder.RGB,
        on_event: OnEvent | None = None,
    ) -> Iterator[Analysis]:
        """A video, frame by frame, as it goes on.

        Args:
            source: path of a video file, a binary stream of one, "rtsp://...", "camera:0", or an iterable: of pairs of
                an image and its time in seconds, or of images with `frame_rate`. Images are (H, W, 3) uint8 or (H, W)
                gray uint8, each an array of its own; they are taken in another thread, some frames ahead.
            settings: which frames, and how answers follow in time; the default analyzes all and smooths.
            name: what the results call it; default the path.
            frame_rate: frames per second of images without times.
            colour: order of the images' channels: "rgb", or "bgr" as OpenCV reads them.
            on_event: called with each `StreamEvent`, in the thread that iterates; those that go on end with the video,
                or where you leave it.

        Yields:
            The analysis of each frame, in order; of one that fails with a `reason`. Where the video ends before its
            time or cannot be opened, one more with a `reason` and no `time_s`.

        Raises:
            BadSetting: the camera's number is none; an image is something else, or its time is missing, no number or
                before that of the one before it; `frame_rate` is none above 0, or it or `colour` goes with a file or a
                camera. Raised where it is met.
            Exception: what `on_event` raises; it ends the video.
        """
        given = name or (display_name(source) if isinstance(source, (str, os.PathLike)) else "")
        media = partial(open_frames, source, frame_rate, colour)
        with Analyses(self, media, settings, given, video=True, on_event=on_event) as analyses:
            yield from analyses

    def stream(self, settings: VideoSettings | None = None, on_event: OnEvent | None = None, name: str = "") -> Stream:
        """Frames that you hold and push one by one: see `Stream`.

        Args:
            settings: how often to look for faces everywhere, and how answers follow in time.
            on_event: called with each `StreamEvent`, in the thread that pushes.
            name: what the results call it.

        Raises:
            BadSetting: `settings` leave frames out; push only those that count.
        """
        settings = settings or VideoSettings()
        if settings.every != 1 or settings.fps is not None:
            raise BadSetting("a stream analyzes every frame that is pushed; leave `every` and `fps` out")
        return Stream(self, settings, on_event, name)

    def failed(self, source: str, error: Exception, frame: int | None = None, time_s: float | None = None) -> Analysis:
        """The analysis of a source, or of a frame of one and its time, that cannot be read because of `error`.

        Raises:
            AffectLensError: `error`, where another source would fail in the same way (`runtime.sources.reason_of`).
        """
        reason, detail = reason_of(error)
        known = (source, self._spec.name, self._spec.labels)
        return Analysis(*known, reason=reason, detail=detail, frame=frame, time_s=time_s, measures=self._measures)

    def answers(self, crops: list[NDArray[np.uint8]]) -> Answers:
        """N face crops (each (H, W) gray or (H, W, 3) RGB uint8) -> what the model says of them; outputs that only
        columns need which rows do not have are left out.
        """
        parts = [
            read_answers(
                self._session,
                to_input(crops[start : start + _FACES_PER_RUN], self._spec.input),
                self._explain,
                self._left_out,
            )
            for start in range(0, len(crops), _FACES_PER_RUN)
        ]
        return Answers.joined(parts)

    def read(self, images: Sequence[tuple[NDArray[np.uint8], Detections]]) -> list[tuple[Face, ...]]:
        """What the faces of several images say, read together.

        Args:
            images: (H, W, 3) RGB uint8 each, with its detections in pixels of it.

        Returns:
            The faces of each image, in the order of its detections.

        Raises:
            Exception: what onnxruntime or a measure raises.
        """
        return self.read_cuts([self.cut(image, found) for image, found in images])

    def cut(self, image: NDArray[np.uint8], found: Detections) -> Cut:
        """Cut the faces out of an image, which is then no longer needed.

        Args:
            image: (H, W, 3) RGB uint8.
            found: N faces in pixels of the image; boxes may reach beyond it.

        Returns:
            N crops of the size that the model wants, (H, W, 3) RGB uint8 each, in the order of `found`.
        """
        crops = cut_faces(image, found, self._spec.input)
        size = (image.shape[1], image.shape[0])
        return Cut(found, crops, qualities(crops, found, size), size)

    def read_cuts(self, cuts: Sequence[Cut]) -> list[tuple[Face, ...]]:
        """As `read`, of faces that `cut` cut out: (N,) faces for a cut with N crops.  Raises as `read`."""
        crops = [crop for cut in cuts for crop in cut.crops]
        if not crops:
            return [()] * len(cuts)
        answers = self.answers(crops)
        scores = [score for cut in cuts for score in cut.found.scores.tolist()]
        faces = self._faces(_views(cuts, answers), scores, answers)
        if self._explain:
            seen = explanations(crops, answers, self.answers, self._spec.first_place)
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
        known = (source, self._spec.name, self._spec.labels)
        return Analysis(*known, faces, reason, detail, image, frame, time_s, self._measures)

    def _analyze_picture(self, picture: Picture, source: str) -> Analysis:
        image = picture.rgb
        (faces,) = self.read([(image, self._detect(image))])
        return replace(self.analysis(source, image, faces), incomplete=picture.incomplete)

    def _faces(self, views: Sequence[View], scores: Sequence[float], answers: Answers) -> tuple[Face, ...]:
        """Calibrate the logits and say what they mean, face by face."""
        labels = self._spec.labels
        probabilities = softmax(answers.logits, self._spec.temperature, self._prior)
        disagreement = normalised_entropy(probabilities)
        regressed = answers.affect is not None
        affect = answers.affect.T if answers.affect is not None else projected_affect(probabilities, labels)
        return tuple(
            Face(
                box_xyxy=views[i].box_xyxy,
                landmarks_xy=views[i].landmarks_xy,
                score=scores[i],
                probabilities=dict(zip(labels, row.tolist(), strict=True)),
                expression=labels[int(row.argmax())],
                uncertain=bool(row.max() < self._spec.uncertain_below),
                disagreement=float(disagreement[i]),
                valence=float(affect[0][i]) if affect is not None else None,
                arousal=float(affect[1][i]) if affect is not None else None,
                va_source="regressed" if regressed else "projected" if affect is not None else None,
                quality=views[i].quality,
                measures=measured(self._measures, views[i]),
            )
            for i, row in enumerate(probabilities)
        )


def _views(cuts: Sequence[Cut], answers: Answers) -> list[View]:
    """What measures see of the faces of several images."""
    faces = [
        (cut, crop, box, points, quality)
        for cut in cuts
        for crop, box, points, quality in zip(
            cut.crops, cut.found.boxes_xyxy, cut.found.landmarks_xy, cut.qualities, strict=True
        )
    ]
    outputs = answers.outputs
    return [
        View(crop, box, points, cut.image_size, quality, {name: said[i] for name, said in outputs.items()})
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
        raise BadSetting(f"{model} does not say how frequent its labels are; export it anew")
    return np.array(shares)


def _make_detector(name: str, min_face_px: int | None) -> Detector:
    """`name` or `name:FILE` from the catalogue."""
    stem, _, file = name.partition(":")
    build: Callable[..., Detector] = catalog.load("faces.detectors", stem).build
    settings: dict[str, Any] = {} if min_face_px is None else {"min_face_px": min_face_px}
    if file:
        if "model" not in inspect.signature(build).parameters:
            raise BadSetting(f"the detector '{stem}' takes no model file, got '{file}'")
        settings["model"] = Path(os.path.expanduser(file))
    return build(**settings)


def _as_rgb(image: Any, colour: str) -> NDArray[np.uint8]:
    """An array or PIL image as (H, W, 3) RGB uint8."""
    if hasattr(image, "convert"):
        image = _from_pil(image)
    if not isinstance(image, np.ndarray):
        raise BadSetting(f"expected a path, bytes, an RGB uint8 array or a PIL image, got {type(image).__name__}")
    return as_rgb(image, colour)


def _from_pil(image: Any) -> NDArray[np.uint8]:
    """A PIL image, upright, as RGB or gray; how values are scaled says `core.image_file.decode`."""
    try:
        image.load()
        return turned_upright(as_uint8(image), orientation_of(image))
    except OSError as error:
        raise UnreadableMedia(Reason.TRUNCATED, "the PIL image cannot be decoded to its end") from error
