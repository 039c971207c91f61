"""Tracking: assignment of the faces in a frame to those of previous frames.

Each face has a constant-velocity Kalman filter of its centre, in units of its own size, and a small picture of its
appearance. Detections are assigned to all tracks jointly (Hungarian algorithm; Kuhn 1955, doi:10.1002/nav.3800020109)
at minimum cost of position, size and appearance. Camera motion is estimated by phase correlation of successive frames
and applied to every track; if the frames have nothing in common, a new scene begins and all tracks end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.detection import Detections
from affectlens.core.errors import BadSetting

Floats = NDArray[np.float64]

_CENTRE_SD = 0.05
"""Standard deviation of a detector's centre, in face sizes."""
_ACCELERATION_DENSITY = 2.0
"""Spectral density of acceleration, in squared face sizes per cubed second: 0.8 of a size of doubt after one second."""
_INITIAL_SPEED_SD = 2.0
"""Standard deviation of the speed of a face just found, in face sizes per second."""
_GROWTH, _CHANGE = 0.25, 0.04
"""Standard deviations of the logarithm of a face's size and of its appearance between two sightings."""
_MAX_COST = 25.0
"""Cost above which a detection is not this face: five standard deviations."""
_MAX_APPEARANCE_COST = 12.0
"""Cost of an appearance that is not this face's at all; half of a face may be covered."""
_APPEARANCE_PX = 8
_APPEARANCE_RATE = 0.1
_CAMERA_SIDE_PX = 160
_SURE, _CUT = 0.3, 0.1
"""Response of the phase correlation from which a motion of the whole picture is believed, and below which the picture
may be another scene; it then differs by more than `_CUT_LEVELS` on average."""
_CUT_LEVELS = 10


@dataclass
class _Track:
    """One face: centre and velocity in pixels (per second), covariance of both in face sizes, size in pixels."""

    number: int
    centre: Floats
    size: Floats
    appearance: Floats
    seen_s: float
    velocity: Floats = field(default_factory=lambda: np.zeros(2))
    covariance: Floats = field(default_factory=lambda: np.diag([_CENTRE_SD**2, _INITIAL_SPEED_SD**2]))

    @property
    def side(self) -> float:
        return float(self.size.max())

    def move(self, step_s: float) -> None:
        """On by `step_s`, as nothing had been seen."""
        forward = np.array([[1.0, step_s], [0.0, 1.0]])
        doubt = np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]])
        self.centre = self.centre + step_s * self.velocity
        self.covariance = forward @ self.covariance @ forward.T + _ACCELERATION_DENSITY * doubt

    def see(self, centre: Floats, size: Floats, time_s: float) -> None:
        """Correct centre and velocity by a detection."""
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + _CENTRE_SD**2)
        error = centre - self.centre
        self.centre = self.centre + gain[0] * error
        self.velocity = self.velocity + gain[1] * error
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])
        self.size = 0.5 * (self.size + size)
        self.seen_s = time_s


class Tracker:
    """Numbers the faces of one video; `expect` and `update` take its frames in order.

    Args:
        max_lost_s: how long a face that is not seen keeps its number, in seconds.

    Raises:
        BadSetting: `max_lost_s` is negative.
    """

    def __init__(self, max_lost_s: float = 2.0) -> None:
        if max_lost_s < 0:
            raise BadSetting(f"max_lost_s must be >= 0, got {max_lost_s}")
        self._max_lost_s = max_lost_s
        self._tracks: list[_Track] = []
        self._begun = 0
        self._time_s = 0.0
        self._view: NDArray[np.float32] | None = None

    def expect(self, image: NDArray[np.uint8], time_s: float) -> NDArray[np.float32]:
        """(H, W, 3) RGB uint8 of the next frame and its time -> (N, 4) boxes in its pixels where faces should be.

        To be called once a frame, before `update`; those seen last come first.
        """
        step_s, self._time_s = max(time_s - self._time_s, 0.0), time_s
        shift = self._camera_shift(image)
        if shift is None:
            self._tracks, shift = [], np.zeros(2)
        self._tracks = [t for t in self._tracks if time_s - t.seen_s <= self._max_lost_s]
        for track in self._tracks:
            track.move(step_s)
            track.centre = track.centre + shift
        self._tracks.sort(key=lambda track: -track.seen_s)
        boxes = [np.concatenate([t.centre - t.size / 2, t.centre + t.size / 2]) for t in self._tracks]
        return np.array(boxes, dtype=np.float32).reshape(-1, 4)

    def update(
        self, image: NDArray[np.uint8], found: Detections, time_s: float, begin: bool = True
    ) -> NDArray[np.int64]:
        """The frame and its detections -> (N,) numbers of the faces, from 0; with `begin` off, -1 for those not known.

        No number is used twice, in one frame or for another face later.
        """
        boxes = found.boxes_xyxy.astype(np.float64)
        centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
        appearance = [_appearance(image, box) for box in boxes]
        numbers = np.full(len(found), -1, dtype=np.int64)
        for row, column in assign(self._costs(centres, sizes, appearance), _MAX_COST):
            track = self._tracks[row]
            track.see(centres[column], sizes[column], time_s)
            if not _covered(column, boxes):
                track.appearance = (1 - _APPEARANCE_RATE) * track.appearance + _APPEARANCE_RATE * appearance[column]
            numbers[column] = track.number
        for column in np.flatnonzero(numbers < 0).tolist() if begin else ():
            numbers[column] = self._begun
            self._tracks.append(_Track(self._begun, centres[column], sizes[column], appearance[column], time_s))
            self._begun += 1
        return numbers

    @property
    def alive(self) -> frozenset[int]:
        """Numbers of the faces that may still be seen again; the others never are."""
        return frozenset(track.number for track in self._tracks)

    def missing(self, within_s: float = 0.3) -> bool:
        """Whether a face that was seen a moment ago was not found in the last frame."""
        return any(0 < self._time_s - track.seen_s <= within_s for track in self._tracks)

    def _costs(self, centres: Floats, sizes: Floats, appearance: Sequence[Floats]) -> Floats:
        """(tracks, detections): squared distances of place, size and appearance, in their standard deviations."""
        costs = np.empty((len(self._tracks), len(centres)))
        for row, track in enumerate(self._tracks):
            place = ((centres - track.centre) ** 2).sum(axis=1) / track.side**2
            costs[row] = place / (track.covariance[0, 0] + _CENTRE_SD**2)
            costs[row] += (np.log(sizes.max(axis=1) / track.side) / _GROWTH) ** 2
            strange = [np.square((one - track.appearance) / _CHANGE).mean() for one in appearance]
            costs[row] += np.minimum(strange, _MAX_APPEARANCE_COST)
        return costs

    def _camera_shift(self, image: NDArray[np.uint8]) -> Floats | None:
        """(2,) pixels by which the whole picture moved since the last frame, 0 where that cannot be told; None where
        it is another scene.
        """
        scale = _CAMERA_SIDE_PX / max(image.shape[:2])
        size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        view = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.float32)
        before, self._view = self._view, view
        if before is None or before.shape != view.shape or min(view.shape) < 8:
            return np.zeros(2)
        shift, response = cv2.phaseCorrelate(before, view, cv2.createHanningWindow(size, cv2.CV_32F))
        if response < _CUT and float(np.abs(view - before).mean()) > _CUT_LEVELS:
            return None
        return np.array(shift) / scale if response >= _SURE else np.zeros(2)


def assign(costs: Floats, most: float) -> list[tuple[int, int]]:
    """(R, C) costs >= 0 -> pairs (row, column) with the least sum, where leaving a row without a column costs `most`.

    Hungarian algorithm by shortest augmenting paths, O(R^2 (R + C)).
    """
    rows, columns = costs.shape
    if not rows or not columns:
        return []
    padded = np.hstack([costs, np.full((rows, rows), most)])
    width = columns + rows
    price_row, price_column = np.zeros(rows), np.zeros(width + 1)
    owner = np.full(width + 1, -1)
    for row in range(rows):
        owner[width], free = row, width
        slack, previous = np.full(width, np.inf), np.full(width, width)
        done = np.zeros(width + 1, dtype=bool)
        while owner[free] >= 0:
            done[free] = True
            current = owner[free]
            reduced = padded[current] - price_row[current] - price_column[:width]
            better = ~done[:width] & (reduced < slack)
            slack[better], previous[better] = reduced[better], free
            open_slack = np.where(done[:width], np.inf, slack)
            following = int(open_slack.argmin())
            step = open_slack[following]
            price_row[owner[done]] += step
            price_column[done] -= step
            slack[~done[:width]] -= step
            free = following
        while free != width:
            owner[free], free = owner[previous[free]], previous[free]
    return sorted((int(owner[c]), c) for c in range(columns) if owner[c] >= 0 and costs[owner[c], c] < most)


def _appearance(image: NDArray[np.uint8], box_xyxy: Floats) -> Floats:
    """(8, 8, 3) picture of the part of a box within the image: lightness around its mean, and colour; about [-1, 1]."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.rint(box_xyxy).astype(int)
    x1, y1 = int(np.clip(x1, 0, width - 1)), int(np.clip(y1, 0, height - 1))
    inside = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    small = cv2.resize(inside, (_APPEARANCE_PX, _APPEARANCE_PX), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100
    lab[..., 0] -= lab[..., 0].mean()
    return np.asarray(lab, dtype=np.float64)


def _covered(face: int, boxes: Floats) -> bool:
    """Whether another of the (N, 4) boxes overlaps this one."""
    low, high = np.maximum(boxes[:, :2], boxes[face, :2]), np.minimum(boxes[:, 2:], boxes[face, 2:])
    return int(((high - low) > 0).all(axis=1).sum()) > 1
