"""Made sequences with known truth: painted faces that cross, hide, and are filmed by a hand."""

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from affectlens.core.detection import Detections
from affectlens.core.errors import BadSetting
from affectlens.faces.track import Tracker, assign

FPS = 30
SIZE = 80


def world(seed=0, height=620, width=1400):
    """A background with something to hold on to."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (24, 70, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def person(seed):
    """(80, 80, 3) of someone's own looks."""
    rng = np.random.default_rng(100 + seed)
    tone = rng.integers(60, 200, 3)
    blocks = np.clip(tone + rng.integers(-40, 40, (5, 5, 3)), 0, 255).astype(np.uint8)
    return cv2.resize(blocks, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def film(paths, frames, camera=None, jitter=0.02, hidden=lambda who, at: False, view=640, seed=0):
    """Frames, their detections in random order, and who each is; `paths` give centres in the world, first in front.

    Who is covered by more than half, or hidden, is not detected.
    """
    rng = np.random.default_rng(seed)
    scene = world()
    for i in range(frames):
        at = i / FPS
        picture = scene.copy()
        centres = [np.array(path(at)) for path in paths]
        for who in reversed(range(len(paths))):
            x, y = (np.rint(centres[who]) - SIZE / 2).astype(int)
            if not hidden(who, at):
                picture[y : y + SIZE, x : x + SIZE] = person(who)
        dx, dy = camera(at) if camera else (300, 0)
        left, top = round(dx), round(dy)
        seen = []
        for who, centre in enumerate(centres):
            covered = any(np.abs(centre - other).max() < SIZE / 2 for other in centres[:who])
            if not covered and not hidden(who, at):
                seen.append(who)
        rng.shuffle(seen)
        boxes = [
            np.concatenate([c - SIZE / 2, c + SIZE / 2]) - [left, top, left, top] + rng.normal(0, jitter * SIZE, 4)
            for c in (centres[who] for who in seen)
        ]
        image = picture[max(top, 0) : max(top, 0) + 400, left : left + view]
        yield at, np.ascontiguousarray(image), detections(boxes), seen


def detections(boxes):
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    n = len(boxes)
    return Detections(boxes, np.full((n, 5, 2), np.nan, dtype=np.float32), np.ones(n, dtype=np.float32))


def numbers_of(sequence, tracker=None):
    """Who -> every number that was given to them, in order of appearance."""
    tracker = tracker or Tracker()
    given = {}
    for at, image, found, seen in sequence:
        tracker.expect(image, at)
        numbers = tracker.update(image, found, at)
        assert len(set(numbers)) == len(numbers)
        for who, number in zip(seen, numbers.tolist(), strict=True):
            given.setdefault(who, {}).setdefault(number, at)
    return {who: list(numbers) for who, numbers in given.items()}


def line(x, y, vx=0.0, vy=0.0):
    return lambda at: (x + vx * at, y + vy * at)


@pytest.mark.parametrize("speed", [60, 150, 300])
@pytest.mark.parametrize("seed", range(5))
def test_faces_that_cross_keep_their_numbers(speed, seed):
    span = 250 / speed
    paths = [line(620 - speed * span, 200, speed), line(620 + speed * span, 215, -speed)]
    given = numbers_of(film(paths, round(2 * span * FPS), seed=seed))
    assert sorted(given) == [0, 1]
    assert all(len(numbers) == 1 for numbers in given.values())
    assert given[0] != given[1]


@pytest.mark.parametrize("seed", range(5))
def test_three_that_cross_at_one_place_keep_their_numbers(seed):
    paths = [line(420, 120, 100, 40), line(820, 120, -100, 40), line(620, 350, 0, -75)]
    given = numbers_of(film(paths, 4 * FPS, seed=seed))
    assert all(len(numbers) == 1 for numbers in given.values()), given


@pytest.mark.parametrize("speed", [0, 80, 160])
@pytest.mark.parametrize("seed", range(5))
def test_a_face_hidden_for_a_second_comes_back_with_its_number(speed, seed):
    paths = [line(450, 150, speed), line(700, 300)]
    sequence = film(paths, 3 * FPS, hidden=lambda who, at: who == 0 and 0.8 <= at < 1.8, seed=seed)
    assert all(len(numbers) == 1 for numbers in numbers_of(sequence).values())


@pytest.mark.parametrize("seed", range(5))
def test_a_face_that_turns_back_behind_another_is_known_by_its_looks(seed):
    def back_and_forth(at):
        return (450 + 170 * (1 - abs(at - 1)), 200)

    paths = [line(620, 205), back_and_forth]
    given = numbers_of(film(paths, 2 * FPS, seed=seed))
    assert all(len(numbers) == 1 for numbers in given.values()), given


@pytest.mark.parametrize("seed", range(3))
def test_a_shaking_camera_changes_no_number(seed):
    rng = np.random.default_rng(seed)
    shake = rng.normal(0, 25, (200, 2)).clip(-60, 60)
    paths = [line(560, 200), line(660, 200), line(760, 200)]
    sequence = film(paths, 90, camera=lambda at: np.array([350, 60]) + shake[round(at * FPS)], seed=seed)
    assert all(len(numbers) == 1 for numbers in numbers_of(sequence).values())


def test_a_panning_camera_changes_no_number_even_while_a_face_is_hidden():
    paths = [line(600, 200), line(720, 260)]
    sequence = film(
        paths, 60, camera=lambda at: (100 + 200 * at, 0), hidden=lambda who, at: who == 0 and 0.6 <= at < 1.2
    )
    assert all(len(numbers) == 1 for numbers in numbers_of(sequence).values())


def test_boxes_are_expected_where_a_moving_face_will_be():
    tracker = Tracker()
    for at, image, found, _ in film([line(400, 200, 200)], 31, jitter=0):
        boxes = tracker.expect(image, at)
        tracker.update(image, found, at)
    np.testing.assert_allclose(boxes[0], found.boxes_xyxy[0], atol=2)


def test_a_face_gone_for_long_gets_a_new_number():
    gone = film([line(500, 200)], 6 * FPS, hidden=lambda who, at: 1 <= at < 4)
    assert len(numbers_of(gone)[0]) == 2
    gone = film([line(500, 200)], 6 * FPS, hidden=lambda who, at: 1 <= at < 4)
    assert len(numbers_of(gone, Tracker(max_lost_s=5))[0]) == 1


def test_another_scene_ends_all_tracks():
    tracker = Tracker()
    frames = list(film([line(500, 200)], 10))
    for at, image, found, _ in frames:
        tracker.expect(image, at)
        before = tracker.update(image, found, at)
    other = np.ascontiguousarray(world(7)[:400, 300:940])
    assert len(tracker.expect(other, 0.4)) == 0
    assert tracker.update(other, frames[-1][2], 0.4) != before


def test_those_that_may_be_seen_again_are_alive():
    tracker = Tracker(max_lost_s=1.0)
    frames = list(film([line(500, 200)], 2))
    assert tracker.alive == set()
    for at, image, found, _ in frames:
        tracker.expect(image, at)
        tracker.update(image, found, at)
    (_, image, _, _), seen_s = frames[-1], frames[-1][0]
    for lost_s, alive in ((0.9, {0}), (1.1, set())):
        tracker.expect(image, seen_s + lost_s)
        assert tracker.alive == alive


def test_without_beginning_strangers_have_no_number():
    tracker = Tracker()
    ((at, image, found, _),) = film([line(500, 200)], 1)
    tracker.expect(image, at)
    assert tracker.update(image, found, at, begin=False).tolist() == [-1]
    assert tracker.update(image, found, at).tolist() == [0]


def test_a_face_that_was_just_lost_is_said():
    tracker = Tracker()
    for at, image, found, seen in film([line(500, 200)], 20, hidden=lambda who, at: at > 0.2):
        tracker.expect(image, at)
        tracker.update(image, found, at)
        assert tracker.missing() == (not seen and at < 0.51)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 700, 3), (3000, 4, 3)])
def test_pictures_of_any_shape_go(shape):
    tracker = Tracker()
    for i in range(3):
        image = np.full(shape, 20 * i, dtype=np.uint8)
        tracker.expect(image, i / FPS)
        assert tracker.update(image, detections([[-5, -5, 4, 4], [900, 900, 960, 960]]), i / FPS).tolist() == [0, 1]


def test_a_negative_time_is_refused():
    with pytest.raises(BadSetting, match="max_lost_s"):
        Tracker(max_lost_s=-1)


def test_assignment_costs_as_little_as_scipys():
    rng = np.random.default_rng(0)
    for _ in range(500):
        rows, columns = rng.integers(0, 7, 2)
        costs = rng.uniform(0, 40, (rows, columns))
        pairs = assign(costs, 25.0)
        padded = np.hstack([costs, np.full((rows, rows), 25.0)])
        least = padded[linear_sum_assignment(padded)].sum()
        assert sum(costs[pair] for pair in pairs) + 25.0 * (rows - len(pairs)) == pytest.approx(least)
        assert len({column for _, column in pairs}) == len(pairs)
