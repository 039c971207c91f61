"""The engine: from an image to faces with expressions, valence and arousal."""

import copy
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from affectlens.core import catalog
from affectlens.core.columns import Schema
from affectlens.core.detection import Detector
from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.image_file import DecodedImage, as_uint8, decode, orientation_of, turned_upright
from affectlens.core.measures import Measure
from affectlens.core.reasons import Reason
from affectlens.core.session import ModelSpec
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.arrays import ChannelOrder, TimedArrays, as_rgb
from affectlens.runtime.media import display_name, read_picture
from affectlens.runtime.recognizer import Prior, Recognizer
from affectlens.runtime.sources import Analyses, open_frames
from affectlens.runtime.stream import OnEvent, Stream, VideoSettings

if TYPE_CHECKING:
    from PIL.Image import Image

Source: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[np.uint8] | Image"
"""What `Analyzer.analyze` takes."""
VideoSource: TypeAlias = "str | os.PathLike[str] | BinaryIO | TimedArrays"
"""What `Analyzer.video` takes."""


class Analyzer:
    """Find faces and estimate their expression, valence and arousal; works offline.

    Safe to share between threads: `analyze` keeps no state between calls and can run in any number of threads at once
    (if your own detector, where used, can too), as can several videos and streams. It can be pickled for other
    processes (if your own detector and measures can), which open the model anew.

    Args:
        model: "bundled", an ONNX file that affectlens exported, or the run folder that holds it.
        detector: name of a detector ("mtcnn", "whole"), "yunet:FILE" with its model file, or any callable that
            implements `core.detection.Detector`.
        min_face_px: minimum length of the longer side of a face box, in pixels; None uses the detector's default: 40
            for mtcnn and yunet, no minimum for whole.
        threads: number of threads of the expression network; 0 means one per core. Analyzing several photos at once
            uses several cores better than several threads on one photo.
        explain: add a heat map of where the model looked to each face (`Face.explanation`). Models without such an
            output are run 64 more times per face.
        prior: "natural", or "balanced", which finds rare expressions more often, but also reports them more often where
            there are none.
        device: device of the expression network: "cpu", or "cuda", which requires the package onnxruntime-gpu instead
            of onnxruntime.
        measures: measures to compute in addition to the expression (`core.measures`), by name or as `Measure` objects;
            None means all installed ones and the further outputs of the model (`core.outputs`), () means none.

    Raises:
        BadModelFile: the model or a network of the detector cannot be used.
        UnknownName, BadSetting: the detector or a measure does not exist or does not accept these settings, `prior` or
            `device` is invalid, or the model does not state its class frequencies (for "balanced").
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
            raise BadSetting("min_face_px applies to detectors given by name; set it in your own detector instead")
        where = model if model == "bundled" else Path(model).expanduser().absolute()
        self._settings: dict[str, Any] = {
            "model": where,
            "detector": detector,
            "min_face_px": min_face_px,
            "threads": threads,
            "explain": explain,
            "prior": prior,
            "device": device,
            "measures": measures,
        }
        self.recognizer = Recognizer(model, threads, explain, prior, device, measures)
        self._detect = _make_detector(detector, min_face_px) if isinstance(detector, str) else detector

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Analyzer, **self._settings), ()

    @property
    def spec(self) -> ModelSpec:
        """Metadata of the model file."""
        return self.recognizer.spec

    @property
    def schema(self) -> Schema:
        """Columns of the rows."""
        return self.recognizer.schema

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Measures that are computed in addition to the expression."""
        return self.recognizer.measures

    @property
    def detector(self) -> Detector:
        """Face detector."""
        return self._detect

    def explaining(self) -> "Analyzer":
        """Analyzer with the same settings and `explain=True`; it shares the network."""
        other = copy.copy(self)
        other.recognizer = self.recognizer.explaining()
        other._settings = self._settings | {"explain": True}
        return other

    def analyze(self, source: "Source", name: str = "", colour: str = ChannelOrder.RGB) -> Analysis:
        """Analyze one image.

        Args:
            source: path or bytes of an image file, (H, W, 3) uint8 array, (H, W) grayscale uint8 array, or PIL image
                (rotated according to its EXIF orientation, if it still has one).
            name: name of the source in the results; by default the path.
            colour: channel order of an array: "rgb", or "bgr" as in OpenCV.

        Returns:
            The analysis; for an image that cannot be read, it has no faces and a `reason`. No exception is raised for
                it.

        Raises:
            BadSetting: `source` has another type, or `colour` is invalid or given for something other than an array.
        """
        if colour != ChannelOrder.RGB and not isinstance(source, np.ndarray):
            raise BadSetting("colour applies only to arrays; files and PIL images define their own channel order")
        try:
            if isinstance(source, (str, os.PathLike)):
                path = Path(os.path.expanduser(source))
                name = name or display_name(path)
                return self._analyze_picture(read_picture(path), name)
            if isinstance(source, bytes):
                return self._analyze_picture(decode(source), name)
            return self._analyze_picture(DecodedImage(_as_rgb(source, colour)), name)
        except Exception as error:
            return self.recognizer.failed(name, error)

    def analyze_many(
        self, sources: "Iterable[Source]", colour: str = ChannelOrder.RGB, workers: int | None = None
    ) -> Iterator[Analysis]:
        """Analyze many images, several at once.

        Args:
            sources: images as for `analyze`, consumed lazily, `2 * workers` ahead.
            colour: channel order of all arrays among them.
            workers: number of threads; None means one per core.

        Yields:
            The analysis of each image, in order, as `analyze` returns it.

        Raises:
            BadSetting: as for `analyze`, or `workers` is less than 1.
        """
        workers = os.cpu_count() or 1 if workers is None else workers
        if workers < 1:
            raise BadSetting(f"workers must be at least 1, got {workers}")
        under_way: deque[Future[Analysis]] = deque()
        pool = ThreadPoolExecutor(workers)
        try:
            for source in sources:
                of_this = colour if isinstance(source, np.ndarray) else ChannelOrder.RGB
                under_way.append(pool.submit(self.analyze, source, "", of_this))
                if len(under_way) > 2 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def video(
        self,
        source: "VideoSource",
        settings: VideoSettings | None = None,
        name: str = "",
        frame_rate: float | None = None,
        colour: str = ChannelOrder.RGB,
        on_event: OnEvent | None = None,
    ) -> Iterator[Analysis]:
        """Analyze a video frame by frame, as it is decoded.

        Args:
            source: path of a video file, a binary stream of one, "rtsp://...", "camera:0", or an iterable: of pairs of
                an image and its time in seconds, or of images with `frame_rate`. Images are (H, W, 3) uint8 or (H, W)
                gray uint8, each an array of its own; they are taken in another thread, some frames ahead.
            settings: which frames to analyze and how to smooth over time; by default all frames are analyzed and
                smoothed.
            name: name of the source in the results; by default the path.
            frame_rate: frames per second, for images without times.
            colour: channel order of arrays: "rgb", or "bgr" as in OpenCV.
            on_event: called with each `StreamEvent`, in the iterating thread; expressions that are still active end
                with the video, or when iteration stops.

        Yields:
            The analysis of each frame, in order; for a frame that fails, with a `reason`. If the video is truncated or
                cannot be opened, one more analysis with a `reason` and no `time_s`.

        Raises:
            BadSetting: the camera number is invalid; an image has another type, or its time is missing, not a number or
                less than the previous one; `frame_rate` is not > 0, or it or `colour` is given for a file or a camera.
                Raised when it is encountered.
            Exception: any exception from `on_event`; it ends the video.
        """
        given = name or (display_name(source) if isinstance(source, (str, os.PathLike)) else "")
        media = partial(open_frames, source, frame_rate, colour)
        with Analyses(self, media, settings, given, video=True, on_event=on_event) as analyses:
            yield from analyses

    def stream(self, settings: VideoSettings | None = None, on_event: OnEvent | None = None, name: str = "") -> Stream:
        """Create a `Stream`, to which you push frames one by one.

        Args:
            settings: how often to search the whole frame for faces, and how to smooth over time.
            on_event: called with each `StreamEvent`, in the thread that pushes.
            name: name of the source in the results.

        Raises:
            BadSetting: `settings` skip frames (`every` or `fps`); push only the frames to analyze instead.
        """
        settings = settings or VideoSettings()
        if settings.every != 1 or settings.fps is not None:
            raise BadSetting("a stream analyzes every frame that is pushed; do not set `every` or `fps`")
        return Stream(self, settings, on_event, name)

    def _analyze_picture(self, picture: DecodedImage, source: str) -> Analysis:
        image = picture.rgb
        (faces,) = self.recognizer.read([(image, self._detect(image))])
        return replace(self.recognizer.analysis(source, image, faces), incomplete=picture.incomplete)


def _make_detector(name: str, min_face_px: int | None) -> Detector:
    """`name` or `name:FILE` from the catalogue."""
    stem, _, file = name.partition(":")
    options: dict[str, Any] = {} if min_face_px is None else {"min_face_px": min_face_px}
    if file:
        if "model" not in catalog.options("faces.detectors", stem):
            raise BadSetting(f"the detector '{stem}' takes no model file, got '{file}'")
        options["model"] = Path(os.path.expanduser(file))
    detector: Detector = catalog.build("faces.detectors", stem, options=options)
    if not callable(detector):
        raise BadSetting(
            f"build of the detector '{stem}' must return a function of an image, got {type(detector).__name__}"
        )
    return detector


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
        raise UnreadableMedia(Reason.TRUNCATED, "cannot decode the PIL image completely") from error
