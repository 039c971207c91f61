"""What changes between a training crop and a face in somebody's photo, and what does it cost?

First, validation faces of FER+ become photos: enlarged to 192 pixels, corrupted in one way, found by the detector (from
16 pixels), cut out and read as by `affectlens analyze`. For each way: how many are found again, and of those accuracy,
macro recall and log-likelihood, how much probability goes to neutral, and the recall of what is lost first. Enlarged
faces of 48 pixels hold no more detail than that.

Second, with a folder of photos: how light, contrast and detail of the faces in them lie among those of FER+ (detail is
the power in bands of spatial frequency, in cycles a crop, after light and contrast are taken out), and how often the
answer stays when the crop is made a little otherwise.

usage: python benchmarks/wild.py ferplus:FOLDER [PHOTOS] [--model FILE] [--faces N]
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from crop_geometry import ENLARGED_PX, as_photos
from numpy.typing import NDArray

from affectlens.core.detection import Detections
from affectlens.core.errors import UnreadableMedia
from affectlens.core.preprocessing import InputSpec
from affectlens.core.probabilities import softmax
from affectlens.data import source
from affectlens.evaluation import metrics
from affectlens.evaluation.corruptions import corrupt
from affectlens.faces.align import cut_faces
from affectlens.faces.detectors import mtcnn
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.media import read_image

Image = NDArray[np.uint8]
Change = Callable[[Image, int], Image]
SMALLEST_PX = 16
PHOTOS = (".jpg", ".jpeg", ".png", ".webp")
LOST_FIRST = ("sadness", "anger", "disgust", "fear")
BANDS = ((2, 4), (4, 8), (8, 12), (12, 18), (18, 24))


def reduced(side_px: int, photo: Image, _: int) -> Image:
    """The photo at the size at which its face has `side_px`."""
    side = round(photo.shape[0] * side_px / ENLARGED_PX)
    return np.asarray(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def tinted(light: tuple[float, float, float], photo: Image, _: int) -> Image:
    """Under light of this colour (RGB)."""
    return np.clip(np.rint(photo * np.array(light)), 0, 255).astype(np.uint8)


def in_turn(first: Change, second: Change, photo: Image, number: int) -> Image:
    """Both."""
    return second(first(photo, number), number)


def ways() -> Mapping[str, Change]:
    """What may happen to a photo."""
    return (
        {"enlarged": lambda photo, _: photo}
        | {f"face of {side} pixels": partial(reduced, side) for side in (96, 64, 48, 32, 24)}
        | {f"blur, {share:g} of the photo": partial(corrupt, "blur", share) for share in (0.004, 0.008, 0.012, 0.02)}
        | {f"JPEG, quality {quality}": partial(corrupt, "compression", quality) for quality in (50, 20, 10)}
        | {
            f"face of 64 pixels, JPEG {quality}": partial(
                in_turn, partial(reduced, 64), partial(corrupt, "compression", quality)
            )
            for quality in (50, 20)
        }
        | {f"turned by {angle} degrees": partial(corrupt, "rotation", angle) for angle in (10, 20, 30)}
        | {
            "evening light": partial(tinted, (1.0, 0.7, 0.35)),
            "blue light": partial(tinted, (0.3, 0.5, 1.0)),
            "red light": partial(tinted, (1.0, 0.05, 0.05)),
        }
    )


def read(analyzer: Analyzer, crops: list[Image]) -> NDArray[np.float64]:
    """(N, C) calibrated probabilities."""
    return softmax(analyzer.recognizer.answers(crops).logits, analyzer.spec.temperature)


def on_faces(analyzer: Analyzer, data: str, count: int) -> list[Image]:
    """Print the first table; the training crops."""
    table = source.parse(data).load("valid")
    table = table.keep(table.targets >= 0)
    rows = np.random.default_rng(0).permutation(len(table))[:count]
    faces, target = [table.images[row] for row in rows], table.targets[rows]
    labels = analyzer.spec.labels
    print(f"{analyzer.spec.name}, {len(faces)} validation faces, seed 0")
    print(
        f"{'':28}found  accuracy  macro recall  nll    neutral  {'  '.join(LOST_FIRST)}"
        f"   (neutral among the labels: {(target == labels.index('neutral')).mean():.3f})"
    )

    def report(name: str, crops: list[Image], kept: NDArray[np.bool_]) -> None:
        truth, found = target[kept], read(analyzer, crops)
        chosen = found.argmax(axis=1)
        recall = metrics.recall_per_class(chosen, truth, len(labels))
        nll = -np.log(found[np.arange(len(truth)), truth]).mean()
        lost = "  ".join(f"{recall[labels.index(name)]:{len(name)}.3f}" for name in LOST_FIRST)
        print(
            f"{name:28}{kept.mean():.3f}   {(chosen == truth).mean():.4f}    {np.nanmean(recall):.4f}      {nll:.4f}"
            f"   {found[:, labels.index('neutral')].mean():.3f}   {lost}",
            flush=True,
        )

    report("training crop", faces, np.ones(len(faces), dtype=bool))
    detect = mtcnn.build(SMALLEST_PX)
    for name, change in ways().items():
        crops, kept = [], np.zeros(len(faces), dtype=bool)
        for number, face in enumerate(faces):
            around_black, around_edge = (change(photo, number) for photo in as_photos(face))
            seen = detect(around_black)
            if len(seen):
                best = Detections(seen.boxes_xyxy[:1], seen.landmarks_xy[:1], seen.scores[:1])
                crops += cut_faces(around_edge, best, analyzer.spec.input)
                kept[number] = True
        report(name, crops, kept)
    return faces


def seen_as(face: Image) -> NDArray[np.float64]:
    """Mean, deviation (of 255) and the logarithm of the power in each of `BANDS`."""
    gray = (face if face.ndim == 2 else cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)).astype(np.float64)
    side = len(gray)
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = np.abs(np.fft.fft2((gray - gray.mean()) / max(gray.std(), 1.0) * window)) ** 2
    cycles = np.fft.fftfreq(side) * side
    radius = np.hypot(*np.meshgrid(cycles, cycles))
    return np.array(
        [gray.mean(), gray.std(), *(np.log10(power[(radius >= a) & (radius < b)].mean()) for a, b in BANDS)]
    )


def cuts(spec: InputSpec) -> Mapping[str, Callable[[Image, Detections], list[Image]]]:
    """Ways to cut a face out of a photo."""

    def by(photo: Image, found: Detections, **changes: float | bool) -> list[Image]:
        return cut_faces(photo, found, spec.model_copy(update=changes))

    def after(change: Change, photo: Image, found: Detections) -> list[Image]:
        return [change(crop, 0) for crop in by(photo, found)]

    return (
        {f"margin {margin}": partial(by, margin=margin) for margin in (0.8, 0.85, 0.95, 1.0, 1.1)}
        | {"not turned level": partial(by, rotate=False)}
        | {f"moved down by {shift:+g} of the side": partial(by, shift_y=shift) for shift in (-0.05, 0.05)}
        | {
            "mirrored": partial(after, lambda crop, _: np.ascontiguousarray(crop[:, ::-1])),
            "blur, 0.01 of the side": partial(after, partial(corrupt, "blur", 0.01)),
            "blur, 0.02 of the side": partial(after, partial(corrupt, "blur", 0.02)),
            "JPEG of the crop, quality 50": partial(after, partial(corrupt, "compression", 50)),
        }
    )


def on_photos(analyzer: Analyzer, folder: Path, faces: list[Image]) -> None:
    """Print the second and the third table."""
    photos, names = [], sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTOS)
    for path in names:
        try:
            photo = read_image(path)
        except UnreadableMedia as error:
            print(f"{path.name}: {error}")
            continue
        found = analyzer.detector(photo)
        if len(found):
            photos.append((photo, found))
    usual = [crop for photo, found in photos for crop in cut_faces(photo, found, analyzer.spec.input)]
    if not usual:
        print(f"no face in {len(names)} photos")
        return
    print(f"\n{len(usual)} faces in {len(photos)} of {len(names)} photos")
    print(f"{'':28}FER+ 10 %   median   90 %   photos' median")
    measured = [np.array([seen_as(crop) for crop in crops]) for crops in (faces, usual)]
    names_of = ("mean", "deviation", *(f"power, {a} to {b} cycles" for a, b in BANDS))
    low, middle, high = np.quantile(measured[0], (0.1, 0.5, 0.9), axis=0)
    for name, *values in zip(names_of, low, middle, high, np.median(measured[1], axis=0), strict=True):
        print(f"{name:28}{values[0]:9.2f}{values[1]:9.2f}{values[2]:7.2f}{values[3]:11.2f}")
    print(f"\n{'':40}same answer   probability that moved   neutral")
    before = read(analyzer, usual)
    neutral = analyzer.spec.labels.index("neutral")
    print(f"{'as analyze cuts':40}{'':37}{before[:, neutral].mean():9.3f}")
    for way, cut in cuts(analyzer.spec.input).items():
        after = read(analyzer, [crop for photo, found in photos for crop in cut(photo, found)])
        same = (after.argmax(axis=1) == before.argmax(axis=1)).mean()
        moved = np.abs(after - before).sum(axis=1).mean() / 2
        print(f"{way:40}{same:8.3f}{moved:20.3f}{after[:, neutral].mean():18.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--faces", type=int, default=1000)
    asked = parser.parse_args()
    analyzer = Analyzer(asked.model)
    faces = on_faces(analyzer, asked.data, asked.faces)
    if asked.photos:
        on_photos(analyzer, asked.photos, faces)


if __name__ == "__main__":
    main()
