"""Drawing of faces on a copy of their image: box, landmarks, and the answer with its probability."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Explanation, Face
from affectlens.core.expressions import COLOURS, OTHER_COLOUR
from affectlens.core.measures import Measure

Colour = tuple[int, int, int]
Chip = tuple[int, int, int, int]

_FAR_PX = 30_000
_READABLE_PX = 200
_LARGE_PX = 1000
_SMALL_PX = 600
_ROW_PX, _TEXT_PX, _GAP_PX = 240, 260, 8
_FONT = cv2.FONT_HERSHEY_DUPLEX


def draw_faces(image: NDArray[np.uint8], faces: Sequence[Face], measures: Sequence[Measure] = ()) -> NDArray[np.uint8]:
    """(H, W, 3) RGB uint8 -> annotated copy; line and text sizes follow the image's; `measures` draw their values.

    A picture whose shorter side is below 200 pixels, on which no label can be read, is enlarged a whole number of
    times, as long as the other side stays within 1000.
    """
    shorter, longer = sorted(image.shape[:2])
    times = max(min(-(-_READABLE_PX // shorter), _LARGE_PX // longer), 1)
    canvas = np.repeat(np.repeat(image, times, axis=0), times, axis=1)
    faces = [replace(f, box_xyxy=f.box_xyxy * times, landmarks_xy=f.landmarks_xy * times) for f in faces]
    _draw_answers(canvas, faces, max(min(image.shape[:2]) / 600, 0.6))
    _draw_measures(canvas, faces, measures)
    return canvas


def _draw_measures(canvas: NDArray[np.uint8], faces: Sequence[Face], measures: Sequence[Measure]) -> None:
    """What each measure draws of each face; smoothed, in videos."""
    for measure in measures:
        for face in faces:
            values = (face.smoothed or face).measures.get(measure.name)
            if values is not None:
                measure.draw_on(canvas, face, values)


def _draw_answers(canvas: NDArray[np.uint8], faces: Sequence[Face], unit: float) -> list[Chip]:
    """Box, landmarks and label of each face; where the labels are."""
    for face in faces:
        _draw_box(canvas, face, unit)
    chips: list[Chip] = []
    for face in faces:
        chips.append(_draw_chip(canvas, face, unit, chips))
    return chips


def _draw_box(canvas: NDArray[np.uint8], face: Face, unit: float) -> None:
    colour = COLOURS.get(face.expression, OTHER_COLOUR)
    x1, y1, x2, y2 = _pixels(face)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, max(round(2.4 * unit), 1))
    for x, y in face.landmarks_xy[np.isfinite(face.landmarks_xy).all(axis=1)]:
        point = (round(float(x)), round(float(y)))
        cv2.circle(canvas, point, max(round(2.6 * unit), 1), (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(canvas, point, max(round(1.6 * unit), 1), colour, -1, cv2.LINE_AA)


def _draw_chip(canvas: NDArray[np.uint8], face: Face, unit: float, taken: Sequence[Chip]) -> Chip:
    """The label: above the box, or below or inside it where that is beyond the image or already `taken`."""
    colour = COLOURS.get(face.expression, OTHER_COLOUR)
    who = "" if face.track is None else f"{face.track}: "
    text = f"{who}{face.expression}{'?' if face.uncertain else ''} {face.percent} %"
    scale, thickness = 0.5 * unit, max(round(unit), 1)
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = round(5 * unit)
    width, height = width + 2 * pad, height + baseline + pad
    x1, y1, _, y2 = _pixels(face)
    left = min(max(x1, 0), max(canvas.shape[1] - width, 0))
    places = [(left, top, left + width, top + height) for top in (y1 - height, y2, y1, y2 - height)]
    free = [p for p in places if p[1] >= 0 and p[3] <= canvas.shape[0] and not any(_overlap(p, t) for t in taken)]
    top = min(max(y1, 0), max(canvas.shape[0] - height, 0))
    chip = free[0] if free else (left, top, left + width, top + height)
    cv2.rectangle(canvas, chip[:2], chip[2:], colour, -1)
    ink = (20, 20, 20) if sum(colour) > 400 else (255, 255, 255)
    cv2.putText(canvas, text, (left + pad, chip[3] - baseline), _FONT, scale, ink, thickness, cv2.LINE_AA)
    return chip


def _pixels(face: Face) -> list[int]:
    """The box in whole pixels, within what OpenCV can draw."""
    pixels: list[int] = np.rint(face.box_xyxy).clip(-_FAR_PX, _FAR_PX).astype(int).tolist()
    return pixels


def _overlap(a: Chip, b: Chip) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def draw_live(image: NDArray[np.uint8], faces: Sequence[Face], measures: Sequence[Measure] = ()) -> NDArray[np.uint8]:
    """(H, W, 3) RGB uint8 -> annotated copy with a panel beside each face: a bar for each probability, and where
    valence and arousal lie in their circle; smoothed, in videos.

    A panel covers no face and no other panel: where there is no room it holds the three highest probabilities, or is
    left out. Pictures whose shorter side is below 600 pixels are enlarged to twice their size.
    """
    times = 2 if min(image.shape[:2]) < _SMALL_PX else 1
    canvas = np.asarray(cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    faces = [replace(f, box_xyxy=f.box_xyxy * times, landmarks_xy=f.landmarks_xy * times) for f in faces]
    unit = max(min(canvas.shape[:2]) / 700, 0.8)
    chips = _draw_answers(canvas, faces, unit)
    _draw_measures(canvas, faces, measures)
    boxes: list[Chip] = [(box[0], box[1], box[2], box[3]) for box in map(_pixels, faces)]
    taken = [*boxes, *chips]
    for face, box in zip(faces, boxes, strict=True):
        shown = face.smoothed or face
        ranked = sorted(shown.probabilities, key=lambda label: -shown.probabilities[label])
        for labels, circled in ((list(shown.probabilities), shown.valence is not None), (ranked[:3], False)):
            place = _free(box, _panel_size(len(labels), circled, unit), canvas.shape, taken)
            if place is not None:
                taken.append(place)
                _draw_panel(canvas, face, labels, circled, place, unit)
                break
    return canvas


def _panel_size(lines: int, circled: bool, unit: float) -> tuple[int, int]:
    return round(188 * unit), round((18 * lines + 10 + 84 * circled) * unit)


def _free(box: Chip, size: tuple[int, int], shape: tuple[int, ...], taken: Sequence[Chip]) -> Chip | None:
    """A place of this size right, left, below or above of a box, inside the picture and over nothing else."""
    (x1, y1, x2, y2), (width, height) = box, size
    for left, top in ((x2 + 6, y1), (x2 + 6, y2 - height), (x1 - width - 6, y1), (x1, y2 + 6), (x1, y1 - height - 6)):
        place = (left, top, left + width, top + height)
        inside = left >= 0 and top >= 0 and place[2] <= shape[1] and place[3] <= shape[0]
        if inside and not any(_overlap(place, other) for other in taken):
            return place
    return None


def _draw_panel(
    canvas: NDArray[np.uint8], face: Face, labels: Sequence[str], circled: bool, place: Chip, unit: float
) -> None:
    """Bars of `labels`, and if `circled` valence (right) and arousal (up) in their circle, in a `place`."""
    shown = face.smoothed or face
    left, top, right, bottom = place
    part = canvas[top:bottom, left:right]
    part[:] = (part * 0.3).astype(np.uint8)
    x, y, bar = left + round(8 * unit), top + round(2 * unit), round(82 * unit)
    for label in labels:
        y += round(18 * unit)
        cv2.putText(canvas, label, (x, y - round(4 * unit)), _FONT, 0.45 * unit, (240, 240, 240), 1, cv2.LINE_AA)
        start, end = x + round(88 * unit), x + round(88 * unit) + max(round(bar * shown.probabilities[label]), 1)
        colour = COLOURS.get(label, OTHER_COLOUR)
        cv2.rectangle(canvas, (start, y - round(14 * unit)), (end, y - round(3 * unit)), colour, -1)
    if circled and shown.valence is not None and shown.arousal is not None:
        radius = round(36 * unit)
        middle = ((left + right) // 2, y + round(6 * unit) + radius)
        for across, up in ((radius, 0), (0, radius)):
            ends = ((middle[0] - across, middle[1] - up), (middle[0] + across, middle[1] + up))
            cv2.line(canvas, ends[0], ends[1], (120, 120, 120), 1)
        cv2.circle(canvas, middle, radius, (200, 200, 200), 1, cv2.LINE_AA)
        point = (round(middle[0] + radius * shown.valence), round(middle[1] - radius * shown.arousal))
        cv2.circle(canvas, point, round(5 * unit), (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(canvas, point, round(4 * unit), COLOURS.get(face.expression, OTHER_COLOUR), -1, cv2.LINE_AA)


def draw_explanations(faces: Sequence[Face]) -> NDArray[np.uint8]:
    """Faces with an explanation, a row each: the crop, the crop under its heat map, number and answer; (H, W, 3) RGB
    uint8.

    Heat goes from blue (none) over green to red (most of this face's); rows are 240 pixels high.
    """
    rows = [_explained(i, face, face.explanation) for i, face in enumerate(faces) if face.explanation is not None]
    gap = np.full((_GAP_PX, rows[0].shape[1], 3), 255, dtype=np.uint8)
    return np.concatenate([part for row in rows for part in (gap, row)][1:], axis=0)


def draw_heat(seen: Explanation) -> NDArray[np.uint8]:
    """The crop, and beside it the crop under its heat map; (240, 488, 3) RGB uint8."""
    crop = cv2.resize(seen.crop, (_ROW_PX, _ROW_PX), interpolation=cv2.INTER_CUBIC)
    heat = cv2.resize(seen.heat, (_ROW_PX, _ROW_PX), interpolation=cv2.INTER_LINEAR)
    shades = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    over = (0.5 * crop + 0.5 * shades).astype(np.uint8)
    gap = np.full((_ROW_PX, _GAP_PX, 3), 255, dtype=np.uint8)
    return np.concatenate([crop, gap, over], axis=1)


def _explained(number: int, face: Face, seen: Explanation) -> NDArray[np.uint8]:
    """One row of `draw_explanations`."""
    text = np.full((_ROW_PX, _TEXT_PX, 3), 255, dtype=np.uint8)
    for place, line in enumerate((f"face {number}", face.wording, f"{face.percent} %", seen.method)):
        cv2.putText(text, line, (14, 36 + 34 * place), _FONT, 0.65, (20, 20, 20), 1, cv2.LINE_AA)
    key = np.tile(np.linspace(0, 255, _TEXT_PX - 28).astype(np.uint8), (14, 1))
    text[-52:-38, 14:-14] = cv2.applyColorMap(key, cv2.COLORMAP_TURBO)[..., ::-1]
    for word, x in (("none", 14), ("most", _TEXT_PX - 60)):
        cv2.putText(text, word, (x, _ROW_PX - 18), _FONT, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([draw_heat(seen), text], axis=1)
