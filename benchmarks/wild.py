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
from _faces import (
    ENLARGED_PX,
    Image,
    analyze_at,
    as_photos,
    labelled,
    likelihood,
    probabilities,
    recalls,
    resized_boxes,
)
from numpy.typing import NDArray

from affectlens import Analyzer, Detections, UnreadableMedia, corrupt, read_image

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


def on_faces(model: str, data: str, count: int) -> list[Image]:
    """Print the first table; the training crops."""
    faces, target, labels = labelled(data, count=count)
    neutral = labels.index("neutral")
    whole, finder = Analyzer(model, detector="whole", measures=()), Analyzer(model, min_face_px=SMALLEST_PX)
    print(f"{whole.spec.name}, {len(faces)} validation faces, seed 0")
    print(
        f"{'':28}found  accuracy  macro recall  nll    neutral  {'  '.join(LOST_FIRST)}"
        f"   (neutral among the labels: {(target == neutral).mean():.3f})"
    )

    def report(name: str, found: NDArray[np.float64], kept: NDArray[np.bool_]) -> None:
        truth, chosen = target[kept], found.argmax(axis=1)
        recall = recalls(chosen, truth, len(labels))
        lost = "  ".join(f"{recall[labels.index(name)]:{len(name)}.3f}" for name in LOST_FIRST)
        print(
            f"{name:28}{kept.mean():.3f}   {(chosen == truth).mean():.4f}    {np.nanmean(recall):.4f}      "
            f"{likelihood(found, truth):.4f}   {found[:, neutral].mean():.3f}   {lost}",
            flush=True,
        )

    report("training crop", probabilities(whole.analyze_many(faces), labels), np.ones(len(faces), dtype=bool))
    for name, change in ways().items():
        photos, detections, kept = [], [], np.zeros(len(faces), dtype=bool)
        for number, face in enumerate(faces):
            around_black, around_edge = (change(photo, number) for photo in as_photos(face))
            if len(seen := finder.detector(around_black)):
                photos.append(around_edge)
                detections.append(seen.only(0))
                kept[number] = True
        report(name, probabilities(analyze_at(model, photos, detections), labels), kept)
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


def boxes() -> Mapping[str, Callable[[Detections, float], Detections]]:
    """Other boxes for the same faces, given the margin that the model wants."""

    def moved(shift: float, found: Detections, _: float) -> Detections:
        down = shift * (found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]).max(axis=1)
        return Detections(found.boxes_xyxy + np.outer(down, (0, 1, 0, 1)), found.landmarks_xy, found.scores)

    return (
        {
            f"margin {margin}": lambda found, usual, margin=margin: resized_boxes(found, margin / usual)
            for margin in (0.8, 0.85, 0.95, 1.0, 1.1)
        }
        | {"not turned level": lambda found, _: resized_boxes(found, 1.0, level=False)}
        | {f"moved down by {shift:+g} of the side": partial(moved, shift) for shift in (-0.05, 0.05)}
    )


CROPS: Mapping[str, Callable[[Image], Image]] = {
    "mirrored": lambda crop: np.ascontiguousarray(crop[:, ::-1]),
    "blur, 0.01 of the side": lambda crop: corrupt("blur", 0.01, crop, 0),
    "blur, 0.02 of the side": lambda crop: corrupt("blur", 0.02, crop, 0),
    "JPEG of the crop, quality 50": lambda crop: corrupt("compression", 50, crop, 0),
}
"""What else may happen to a crop."""


def read_photos(folder: Path) -> list[Image]:
    """Those that can be read."""
    photos = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTOS):
        try:
            photos.append(read_image(path))
        except UnreadableMedia as error:
            print(f"{path.name}: {error}")
    return photos


def on_photos(model: str, folder: Path, faces: list[Image]) -> None:
    """Print the second and the third table."""
    analyzer = Analyzer(model, explain=True, measures=())  # an explanation holds the crop
    all_photos = read_photos(folder)
    found = [(photo, seen) for photo in all_photos if len(seen := analyzer.detector(photo))]
    if not found:
        print(f"no face in {len(all_photos)} photos")
        return
    photos, detections = zip(*found, strict=True)
    usual = [face.explanation.crop for photo in photos for face in analyzer.analyze(photo).faces]
    print(f"\n{len(usual)} faces in {len(photos)} of {len(all_photos)} photos")
    print(f"{'':28}FER+ 10 %   median   90 %   photos' median")
    measured = [np.array([seen_as(crop) for crop in crops]) for crops in (faces, usual)]
    names_of = ("mean", "deviation", *(f"power, {a} to {b} cycles" for a, b in BANDS))
    low, middle, high = np.quantile(measured[0], (0.1, 0.5, 0.9), axis=0)
    for name, *values in zip(names_of, low, middle, high, np.median(measured[1], axis=0), strict=True):
        print(f"{name:28}{values[0]:9.2f}{values[1]:9.2f}{values[2]:7.2f}{values[3]:11.2f}")
    print(f"\n{'':40}same answer   probability that moved   neutral")
    labels = analyzer.spec.labels
    neutral = labels.index("neutral")
    before = probabilities(analyze_at(model, photos, detections), labels)
    print(f"{'as analyze cuts':40}{'':37}{before[:, neutral].mean():9.3f}")

    def report(way: str, after: NDArray[np.float64]) -> None:
        same = (after.argmax(axis=1) == before.argmax(axis=1)).mean()
        changed = np.abs(after - before).sum(axis=1).mean() / 2
        print(f"{way:40}{same:8.3f}{changed:20.3f}{after[:, neutral].mean():18.3f}")

    margin, whole = analyzer.spec.input.margin, Analyzer(model, detector="whole", measures=())
    for way, other in boxes().items():
        report(way, probabilities(analyze_at(model, photos, [other(one, margin) for one in detections]), labels))
    for way, change in CROPS.items():
        report(way, probabilities(whole.analyze_many(change(crop) for crop in usual), labels))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--faces", type=int, default=1000)
    asked = parser.parse_args()
    faces = on_faces(asked.model, asked.data, asked.faces)
    if asked.photos:
        on_photos(asked.model, asked.photos, faces)


if __name__ == "__main__":
    main()
