"""Aff-Wild2 (Kollias and Zafeiriou 2019, arXiv:1910.04855): frames of videos with an expression, valence and arousal.

Layout: EXPR_Set and VA_Set, each with Train_Set/VIDEO.txt and Validation_Set/VIDEO.txt: one header line, then one line
per frame. EXPR: 0 Neutral, 1 Anger, 2 Disgust, 3 Fear, 4 Happiness, 5 Sadness, 6 Surprise; -1, and 7 Other of later
releases, count as no annotation. VA: "valence,arousal"; outside [-1, 1] likewise. The first frame is VIDEO/00001.jpg in
cropped_aligned/ or in the folder itself.

The two sets overlap and are joined on video and frame: a frame with one valid annotation has the other None. With
`?both=yes` only frames with both annotations are kept. `?frames=all` keeps the frames that are left out for lack of an
annotation too, without any, so that the frames of a video are consecutive (`data.sequences`).

The test set's annotations are not published: here the published validation set is the test split, and a tenth of the
training videos, chosen by a hash of their name, is the validation split. A video in the Validation_Set of one task
belongs to the test split for both, so that no video is in two splits. `?protocol=antoniadis` splits as this work's code
does: the videos in the Train_Set of EXPR_Set are all trained on, those in its Validation_Set both select and report,
each joined with its table of either part of VA_Set, and videos without expressions are left out. `groups` contain the
video.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from affectlens.core.errors import BadData
from affectlens.core.expressions import canonical
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._tables import lines, number, whole
from affectlens.data.splits import train_or_valid

LICENCE = (
    "Weights: for non-commercial research only. Trained on Aff-Wild2, whose agreement allows non-commercial research. "
    "No face of it is contained."
)
OPTIONS = {"both": ("", "yes"), "frames": ("", "all"), "protocol": ("", "antoniadis")}
NAMES = tuple(map(canonical, ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")))


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """The seven expressions in the order of their numbers."""
    del directory, options
    return NAMES


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Frames of one split, video by video.

    Raises:
        BadData: the folder has neither EXPR_Set nor VA_Set, or a header or line of a table is not as it should be.
    """
    both, everything = options["both"] == "yes", options["frames"] == "all"
    videos: dict[str, dict[str, Path]] = {}
    for task in ("EXPR_Set", "VA_Set"):
        for part in ("Train_Set", "Validation_Set"):
            for table in (directory / task / part).glob("*.txt"):
                videos.setdefault(table.stem, {})[task] = table
    if not videos:
        raise BadData(f"Aff-Wild2 expects '{directory}' to hold EXPR_Set or VA_Set with Train_Set and Validation_Set")
    for video, tables in sorted(videos.items()):
        if split in _splits(video, tables, options["protocol"]):
            yield from _frames(directory, video, tables, split, both, everything)


def _splits(video: str, tables: Mapping[str, Path], protocol: str) -> tuple[str, ...]:
    """The splits that a video with these tables belongs to."""
    parts = {task: table.parent.name for task, table in tables.items()}
    if not protocol:
        return ("test" if "Validation_Set" in parts.values() else train_or_valid(video),)
    return {"Train_Set": ("train",), "Validation_Set": ("valid", "test")}.get(parts.get("EXPR_Set", ""), ())


def _frames(
    directory: Path, video: str, tables: Mapping[str, Path], split: str, both: bool, everything: bool
) -> Iterator[Sample | Dropped]:
    folder = directory / "cropped_aligned" / video
    folder = folder if folder.is_dir() else directory / video
    images = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    expressions = _expressions(tables["EXPR_Set"]) if "EXPR_Set" in tables else ()
    affects = _affects(tables["VA_Set"]) if "VA_Set" in tables else ()
    for frame, (expression, affect) in enumerate(zip_longest(expressions, affects), start=1):
        name = f"{frame:05d}.jpg"
        sample_id = f"{split}/{video}/{name}"
        given = (expression is not None) + (affect is not None)
        if given < 1 + both and everything:
            expression = affect = None
        elif given < 1 + both:
            yield Dropped(sample_id, "only one annotation" if given else "no valid annotation")
            continue
        if name not in images:
            yield Dropped(sample_id, "image file is missing")
        else:
            valence, arousal = affect or (None, None)
            groups = {"video": video}
            yield Sample(sample_id, folder / name, split, expression, valence=valence, arousal=arousal, groups=groups)


def _expressions(table: Path) -> Iterator[str | None]:
    """The expression of each frame, None where it is invalid."""
    for place, line in _body(table, NAMES):
        label = whole(line, place, "label")
        yield NAMES[label] if 0 <= label < len(NAMES) else None


def _affects(table: Path) -> Iterator[tuple[float, float] | None]:
    """Valence and arousal of each frame, None where one is invalid."""
    for place, line in _body(table, ("valence", "arousal")):
        cells = line.split(",")
        if len(cells) != 2:
            raise BadData(f"{place}: expected 'valence,arousal', got '{line}'")
        valence, arousal = (number(cell, place, "valence or arousal") for cell in cells)
        yield (valence, arousal) if -1 <= valence <= 1 and -1 <= arousal <= 1 else None


def _body(table: Path, header: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The lines below the header, whose first names must be `header`."""
    found = lines(table)
    place, line = next(found, (f"{table}, line 1", ""))
    names = tuple(name.strip().lower() for name in line.split(","))
    if names[: len(header)] != header:
        raise BadData(f"{place}: expected the header '{','.join(header)}', got '{line}'")
    yield from found
