import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectlens.faces.suppression import non_maximum_suppression, overlapping


def naive(boxes, scores, overlap, over_smaller):
    """The textbook loop, in plain Python."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        ax1, ay1, ax2, ay2 = boxes[i]
        for j in kept:
            bx1, by1, bx2, by2 = boxes[j]
            shared = max(min(ax2, bx2) - max(ax1, bx1), 0) * max(min(ay2, by2) - max(ay1, by1), 0)
            area_a, area_b = (ax2 - ax1) * (ay2 - ay1), (bx2 - bx1) * (by2 - by1)
            whole = min(area_a, area_b) if over_smaller else area_a + area_b - shared
            if shared > overlap * whole:
                break
        else:
            kept.append(i)
    return kept


@st.composite
def candidates(draw):
    count = draw(st.integers(0, 25))
    corner = draw(arrays(np.float32, (count, 2), elements=st.integers(-20, 20)))
    size = draw(arrays(np.float32, (count, 2), elements=st.integers(1, 30)))
    scores = draw(arrays(np.float32, count, elements=st.floats(0, 1, width=16)))
    return np.hstack([corner, corner + size]), scores


@given(candidates(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans())
def test_suppression_equals_the_naive_loop(found, overlap, over_smaller):
    boxes, scores = found
    kept = non_maximum_suppression(boxes, scores, overlap, over_smaller)
    assert kept.tolist() == naive(boxes.tolist(), scores.tolist(), overlap, over_smaller)


def test_more_boxes_than_are_looked_at_at_once_equal_the_naive_loop():
    draw = np.random.default_rng(0)
    corner = draw.integers(0, 200, (700, 2)).astype(np.float32)
    boxes, scores = np.hstack([corner, corner + draw.integers(5, 60, (700, 2))]).astype(np.float32), draw.random(700)
    kept = non_maximum_suppression(boxes, scores, 0.3)
    assert len(kept) > 128
    assert kept.tolist() == naive(boxes.tolist(), scores.tolist(), 0.3, False)


@given(candidates(), st.booleans())
def test_what_stays_is_sorted_by_score_and_stays_when_run_again(found, over_smaller):
    boxes, scores = found
    kept = non_maximum_suppression(boxes, scores, 0.5, over_smaller)
    assert (np.diff(scores[kept]) <= 0).all()
    again = non_maximum_suppression(boxes[kept], scores[kept], 0.5, over_smaller)
    assert again.tolist() == list(range(len(kept)))


@pytest.mark.parametrize(("over_smaller", "kept"), [(False, [0, 1]), (True, [0])])
def test_a_small_box_inside_a_large_one_goes_only_when_measured_over_the_smaller(over_smaller, kept):
    boxes = np.array([[0, 0, 100, 100], [40, 40, 60, 60]], dtype=np.float32)
    assert non_maximum_suppression(boxes, np.array([0.9, 0.8]), 0.5, over_smaller).tolist() == kept


def test_no_boxes_give_an_empty_index_array():
    kept = non_maximum_suppression(np.empty((0, 4), dtype=np.float32), np.empty(0, dtype=np.float32), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == np.int64


def test_boxes_without_area_raise_nothing_and_stay():
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5]], dtype=np.float32)
    assert non_maximum_suppression(boxes, np.array([0.1, 0.2]), 0.5).tolist() == [1, 0]


def test_overlaps_are_measured_over_the_union_or_over_the_smaller_box():
    large, inside, beside = np.array([[0, 0, 10, 10], [0, 0, 5, 10], [10, 0, 20, 10]], dtype=np.float32)
    others = np.stack([inside, beside])
    assert overlapping(large[None], others, 0.4, over_smaller=False).tolist() == [[True, False]]
    assert overlapping(large[None], others, 0.5, over_smaller=False).tolist() == [[False, False]]
    assert overlapping(large[None], others, 0.9, over_smaller=True).tolist() == [[True, False]]
    assert overlapping(np.empty((0, 4), np.float32), others, 0.5, over_smaller=True).shape == (0, 2)
