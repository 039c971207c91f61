import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.data.sequences import sequences
from affectlens.data.table import FaceTable


def table(ids, **groups):
    count = len(ids)
    return FaceTable(
        tuple(ids),
        np.zeros((count, 4, 4), dtype=np.uint8),
        np.zeros((count, 2), dtype=np.float32),
        np.full(count, -1),
        ("a", "b"),
        groups={name: np.array(values) for name, values in groups.items()},
    )


def test_frames_are_in_the_order_of_their_numbers_and_gaps_are_closed():
    ids = ["t/b/00002.jpg", "t/a/10.jpg", "t/a/9.jpg", "t/b/00001.jpg", "t/a/300.jpg"]
    found = sequences(table(ids, video=["b", "a", "a", "b", "a"]))
    assert {video: rows.tolist() for video, rows in found.items()} == {"b": [3, 0], "a": [2, 1, 4]}


def test_ids_without_digits_are_in_the_order_of_their_characters():
    found = sequences(table(["v/open", "v/closed", "v/Open"], video=["v", "v", "v"]))
    assert found["v"].tolist() == [2, 1, 0]


def test_videos_of_two_data_sets_are_not_mixed():
    found = sequences(table(["x/1", "y/1"], video=["a", "a"], dataset=["x", "y"]))
    assert {video: rows.tolist() for video, rows in found.items()} == {"x/a": [0], "y/a": [1]}


@pytest.mark.parametrize("groups", [{}, {"video": ["a", ""]}])
def test_frames_of_no_video_are_refused(groups):
    with pytest.raises(BadData, match="sequences need the video of every frame, in the group 'video'"):
        sequences(table(["1", "2"], **groups))
