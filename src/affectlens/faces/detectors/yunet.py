"""YuNet through OpenCV's FaceDetectorYN (Wu et al. 2023, doi:10.1007/s11633-023-1423-y).

The model file is the user's (for example face_detection_yunet_2023mar.onnx of the OpenCV Zoo, MIT licence).
"""

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.detection import Detections, no_faces
from affectlens.core.errors import BadModelFile, BadSetting


def build(min_face_px: int = 40, model: Path | None = None, score: float = 0.7, overlap: float = 0.3) -> "YuNet":
    """The detector.

    Args:
        min_face_px: longer box side of the smallest face to report, in pixels.
        model: the YuNet ONNX file.
        score: lowest score of a face, in [0, 1].
        overlap: largest intersection over union of two faces.

    Raises:
        BadSetting: no model file was named, or a value is out of range.
        BadModelFile: the file is missing or OpenCV cannot open it.
    """
    if model is None:
        raise BadSetting("the detector 'yunet' needs a model file; use 'yunet:FILE'")
    if not model.is_file():
        raise BadModelFile(f"YuNet model '{model}' does not exist")
    if min_face_px < 1:
        raise BadSetting(f"min_face_px must be at least 1 px, got {min_face_px}")
    if not (0 <= score <= 1 and 0 <= overlap <= 1):
        raise BadSetting(f"score and overlap must be in [0, 1], got {score} and {overlap}")
    detector = YuNet(min_face_px, model, score, overlap)
    try:
        detector.open().detect(np.zeros((320, 320, 3), dtype=np.uint8))
    except cv2.error as error:
        raise BadModelFile(f"'{model}' is not a valid YuNet model") from error
    return detector


class YuNet:
    """The detector as a callable; each thread gets its own OpenCV object, which keeps the image size as state."""

    def __init__(self, min_face_px: int, model: Path, score: float, overlap: float) -> None:
        self.min_face_px = min_face_px
        self.model = model
        self.score = score
        self.overlap = overlap
        self._local = threading.local()

    def open(self) -> cv2.FaceDetectorYN:
        """This thread's OpenCV detector.

        Raises:
            BadModelFile: OpenCV cannot open the model.
        """
        if not hasattr(self._local, "detector"):
            try:
                self._local.detector = cv2.FaceDetectorYN.create(
                    str(self.model), "", (320, 320), self.score, self.overlap
                )
            except cv2.error as error:
                raise BadModelFile(f"OpenCV cannot open '{self.model}' as a YuNet model") from error
        detector: cv2.FaceDetectorYN = self._local.detector
        return detector

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """(H, W, 3) RGB uint8 -> faces of at least `min_face_px`, best first."""
        detector = self.open()
        detector.setInputSize((image.shape[1], image.shape[0]))
        _, found = detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if found is None:
            return no_faces()  # type: ignore[unreachable]  # OpenCV's stubs leave out the None
        rows = np.asarray(found, dtype=np.float32)
        rows = rows[rows[:, 2:4].max(axis=1) >= self.min_face_px]
        rows = rows[np.argsort(-rows[:, 14], kind="stable")]
        return Detections(
            boxes_xyxy=np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]),
            landmarks_xy=rows[:, 4:14].reshape(-1, 5, 2),
            scores=rows[:, 14].clip(0, 1),
        )
