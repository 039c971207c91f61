"""Frames of videos in the order in which they were filmed."""

import re

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.data.table import FaceTable

GROUP = "video"
"""Column of a table's groups with the name of a frame's video."""


def sequences(table: FaceTable) -> dict[str, NDArray[np.int64]]:
    """Video -> rows of its frames, in the order of their ids.

    Runs of digits in ids compare by value, everything else as text: "a/9.jpg" comes before "a/10.jpg", and ids without
    digits are in the order of their characters' code points. Frames that the table lacks leave no gap: the next one
    follows as if it were consecutive.

    Raises:
        BadData: a frame belongs to no video.
    """
    videos = videos_of(table)
    datasets = table.groups.get("dataset", np.full(len(table), ""))
    found: dict[tuple[str, str], list[int]] = {}
    for row, video in enumerate(zip(datasets.tolist(), videos.tolist(), strict=True)):
        found.setdefault(video, []).append(row)
    return {
        "/".join(filter(None, video)): np.array(sorted(rows, key=lambda row: _by_number(table.ids[row])))
        for video, rows in found.items()
    }


def videos_of(table: FaceTable) -> NDArray[np.str_]:
    """(N,) the video of each frame.

    Raises:
        BadData: a frame belongs to no video.
    """
    videos = table.groups.get(GROUP)
    if videos is None or not all(videos):
        raise BadData(
            f"sequences need the video of every frame, in the group '{GROUP}' of a reader (such as affwild2) or of a "
            "file of groups (?meta=FILE)"
        )
    return videos


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """A sort key: runs of digits by value, before text."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]
