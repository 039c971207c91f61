"""FER+: the FER2013 faces with the votes of ten raters (Barsoum et al. 2016, arXiv:1608.01041).

Two layouts. Folders: FER2013Train/, FER2013Valid/ and FER2013Test/, each with fer*.png (48x48, gray) and a headless
label.csv: file name, face box, then the votes for neutral, happiness, surprise, sadness, anger, disgust, fear,
contempt, unknown, and not-a-face. CSV pair: fer2013.csv (emotion, pixels, Usage) and fer2013new.csv (Usage, Image name,
the ten votes), row by row; if both layouts exist, the folders are used.

The votes are processed as in the authors' code: a single vote for a label counts as an outlier and is zeroed; a face
whose most frequent answer is unknown or not-a-face is left out. `expression` is the majority label: the one with more
than half of the votes that the outlier rule left (including unknown and not-a-face), otherwise None.

`?mode=` determines the training targets; validation and test always use the majority label:

- `votes`: the shares of the eight labels (the default).
- `majority`: only faces with a majority, and only that label.
- `cross-entropy`, `probability`: the shares of the most frequent labels up to 75 % of the votes, three at most; faces
  where these hold no more than half of the votes, or more than three of them tie, are left out. For `probability`,
  one label is drawn from them in each epoch: use the recipe key target=drawn.
- `multi-target`: the labels with at least 30 % of the votes, as shares; to be used with the loss `multi_target`.

`?va=projected` gives each face valence and arousal, which FER+ does not have: the expected value of the coordinates in
`core.expressions.CIRCUMPLEX` under its raters' votes for the labels, after the outlier rule if it applies. They are not
annotations; every result states the option.

`?votes=csv` takes the votes of the folder layout from fer2013new.csv, which Caciolai's code reads, by the name of the
picture; by the folders' label.csv 281 faces have another plurality. Four names occur there twice: the first row is that
of the picture, for it stands among the pictures with the next names.

`?classes=7` leaves out the faces whose most frequent vote is contempt, and all votes for it.

`?protocol=caciolai` is the protocol of Caciolai's public code: the label is the plurality over all ten columns without
the outlier rule; faces whose most frequent vote is contempt, unknown or not-a-face are left out, which leaves seven
classes; validation is the private split (FER2013Test) and test the public one (FER2013Valid).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.expressions import FERPLUS, projected_affect
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers import fer2013
from affectlens.data.readers._tables import cells

LICENCE = (
    "Weights: Apache-2.0, as the code. Trained on FER2013 faces, published for the ICML 2013 challenge as research "
    "data, with the FER+ votes (MIT licence). No face of it is contained. Check whether your use of weights learned "
    "from research data is allowed where you are."
)
"""Goes into every model that is trained on these faces."""
OPTIONS = {
    "protocol": ("standard", "caciolai"),
    "mode": ("votes", "majority", "cross-entropy", "probability", "multi-target"),
    "va": ("", "projected"),
    "classes": ("", "7"),
    "votes": ("", "csv"),
}
FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
USAGES = {"train": "Training", "valid": "PublicTest", "test": "PrivateTest"}
_REVERSED = {"train": "train", "valid": "test", "test": "valid"}
_HEADER = ("usage", "image name", *FERPLUS, "unknown", "nf")
_VOTES = 10
Votes = NDArray[np.float32]


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """Eight expressions; seven, without contempt, under `?protocol=caciolai` and `?classes=7`."""
    del directory
    return FERPLUS[:-1] if options["protocol"] == "caciolai" or options["classes"] else FERPLUS


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Faces of one split ("train", "valid", "test") with `votes`, and `expression` where they have one label.

    Raises:
        BadSetting: a mode under the protocol caciolai.
        BadData: there is neither layout, a table is missing, a line does not have ten votes, or the two tables do not
            match.
    """
    caciolai = options["protocol"] == "caciolai"
    stored = _REVERSED[split] if caciolai else split
    folders = [name for name in FOLDERS.values() if (directory / name).is_dir()]
    if folders and FOLDERS[stored] not in folders and not (directory / "fer2013.csv").is_file():
        return  # this split is not there
    if FOLDERS[stored] not in folders:
        faces = _from_pair(directory, stored)
    elif options["votes"] == "csv":
        faces = _from_folder(directory, stored, _votes_by_name(directory / "fer2013new.csv"))
    else:
        faces = _from_folder(directory, stored)
    if caciolai and options["mode"] != "votes":
        raise BadSetting("FER+: ?mode= requires protocol=standard; protocol=caciolai always uses one label per face")
    mode = options["mode"] if split == "train" else "votes"
    for sample, counts in faces:
        sample_id = f"{split}/{sample.id}"
        if not sample.path.is_file():
            yield Dropped(sample_id, "image file is missing")
            continue
        labelled = _plurality(counts) if caciolai else _processed(counts, mode)
        if options["classes"] and not caciolai and not isinstance(labelled, str):
            labelled = _without_contempt(*labelled)
        if isinstance(labelled, str):
            yield Dropped(sample_id, labelled, sample.path, sample.content)
            continue
        expression, votes = labelled
        valence, arousal = (None, None) if options["va"] != "projected" else _projected(counts, outliers=caciolai)
        yield Sample(
            sample_id, sample.path, split, expression, votes, valence=valence, arousal=arousal, content=sample.content
        )


def _projected(counts: Votes, outliers: bool) -> tuple[float, float]:
    """Valence and arousal as the expectation under the votes for eight labels; single votes count with `outliers`."""
    shares = counts[: len(FERPLUS)]
    shares = shares if outliers else np.where(shares <= 1, 0, shares)
    projected = projected_affect(shares[None] / shares.sum(), FERPLUS)
    assert projected is not None  # all of FERPLUS have coordinates
    valence, arousal = projected
    return float(valence[0]), float(arousal[0])


def _plurality(counts: Votes) -> tuple[str, Votes] | str:
    """The label with most votes of all ten columns, the first of equals; or why the face is left out."""
    top = int(counts.argmax())
    if not counts[top]:
        return "no votes"
    if top >= len(FERPLUS) - 1:
        return "top vote is contempt, unknown or not a face"
    return FERPLUS[top], np.eye(len(FERPLUS) - 1, dtype=np.float32)[top]


def _processed(counts: Votes, mode: str) -> tuple[str | None, Votes] | str:
    """Majority label and distribution by the authors' rules; or why the face is left out."""
    counts = np.where(counts <= 1, 0, counts).astype(np.float32)
    total = counts.sum()
    top = int(counts.argmax())
    if counts[top] == 0 or top >= len(FERPLUS):
        return "top vote is unknown or not a face"
    majority = FERPLUS[top] if counts[top] > 0.5 * total else None
    chosen = counts[: len(FERPLUS)]
    if mode == "majority":
        if majority is None:
            return "no majority"
        chosen = np.where(np.arange(len(chosen)) == top, chosen, 0)
    elif mode in ("cross-entropy", "probability"):
        most = _most_frequent(counts)
        if most is None:
            return "votes too scattered"
        chosen = most
    elif mode == "multi-target":
        often = np.where(counts >= 0.3 * total, counts, 0)
        if often.sum() <= 0.5 * total:
            return "votes too scattered"
        chosen = often[: len(FERPLUS)]
    return majority, (chosen / chosen.sum()).astype(np.float32)


def _without_contempt(expression: str | None, votes: Votes) -> tuple[str | None, Votes] | str:
    """Label and (7,) distribution from those over eight classes; or why the face is left out."""
    if votes.argmax() == len(FERPLUS) - 1:
        return "top vote is contempt"
    return expression, (votes[:-1] / votes[:-1].sum()).astype(np.float32)


def _most_frequent(counts: Votes) -> Votes | None:
    """(8,) counts of the most frequent labels up to 75 % of all votes, three at most; None where the face is left out.

    Labels of equal count come together, so that a tie can exceed three; unknown or not-a-face ends the search.
    """
    left, taken, total, number = counts.copy(), np.zeros_like(counts), counts.sum(), 0
    while taken.sum() < 0.75 * total and number < 3:
        level = left.max()
        equals = np.flatnonzero(left == level)
        named = equals[equals < len(FERPLUS)]
        taken[named] = level
        left[equals] = 0
        number += len(named)
        if len(named) < len(equals):
            break
    if taken.sum() <= 0.5 * total or number > 3:
        return None
    return taken[: len(FERPLUS)]


def _from_folder(
    directory: Path, stored: str, votes: Mapping[str, Votes] | None = None
) -> Iterator[tuple[Sample, Votes]]:
    """Unlabelled samples and their (10,) counts from the folder layout, or by the picture's name from `votes`."""
    folder = directory / FOLDERS[stored]
    for place, row in cells(folder / "label.csv"):
        if len(row) != 2 + _VOTES:
            raise BadData(f"{place}: expected name, box and ten votes, got {len(row)} columns")
        if votes is not None and row[0] not in votes:
            raise BadData(f"{place}: fer2013new.csv has no votes for '{row[0]}'")
        yield Sample(row[0], folder / row[0], stored), _counts(row[2:], place) if votes is None else votes[row[0]]


def _votes_by_name(table: Path) -> dict[str, Votes]:
    """Name of each picture -> its (10,) counts in fer2013new.csv; of a name that occurs twice, those of the first row.

    Raises:
        BadData: the table is missing or malformed.
    """
    if not table.is_file():
        raise BadData(f"?votes=csv needs '{table}'")
    votes: dict[str, Votes] = {}
    for place, row in _vote_rows(table):
        votes.setdefault(row[1], _counts(row[2:], place))
    return votes


def _vote_rows(table: Path) -> list[tuple[str, list[str]]]:
    """Place and cells of each row of fer2013new.csv.  Raises BadData."""
    (_, header), *rows = list(cells(table)) or [("", [])]
    if tuple(name.strip().lower() for name in header) != _HEADER:
        raise BadData(f"'{table}' must have the columns {', '.join(_HEADER)}, found: {', '.join(header)}")
    for place, row in rows:
        if len(row) != 2 + _VOTES:
            raise BadData(f"{place}: expected usage, image name and ten votes, got {len(row)} columns")
    return rows


def _from_pair(directory: Path, stored: str) -> Iterator[tuple[Sample, Votes]]:
    """The same from fer2013.csv and fer2013new.csv, whose rows belong together."""
    table = directory / "fer2013new.csv"
    if not table.is_file() or not (directory / "fer2013.csv").is_file():
        raise BadData(
            f"FER+ expects '{directory}' to hold FER2013Train, FER2013Valid and FER2013Test, each with label.csv, "
            "or fer2013.csv and fer2013new.csv"
        )
    rows = _vote_rows(table)
    faces = list(fer2013.lines(directory / "fer2013.csv"))
    if len(rows) != len(faces):
        raise BadData(f"'{table}' has {len(rows)} rows, but fer2013.csv has {len(faces)}; their rows must correspond")
    for number, ((place, row), face) in enumerate(zip(rows, faces, strict=True), start=1):
        if row[0] != face.usage:
            raise BadData(f"{place}: usage is '{row[0]}', but '{face.usage}' in fer2013.csv")
        if face.usage == USAGES[stored]:
            name = row[1] or f"row{number:07d}"
            yield Sample(name, table, stored, content=face.pixels()), _counts(row[2:], place)


def _counts(votes: list[str], place: str) -> Votes:
    """(10,) float32 vote counts of one line."""
    try:
        return np.array([int(value) for value in votes], dtype=np.float32)
    except ValueError as error:
        raise BadData(f"{place}: votes must be integers, got {votes}") from error
