from dataclasses import replace

import numpy as np
import pytest

from affectlens import Analysis, Reason
from affectlens.core.affect import Smoothed
from affectlens.core.expressions import COLOURS, FERPLUS
from affectlens.runtime import draw
from affectlens.runtime.draw import draw_faces


def changed(before, after):
    return (before != after).any(axis=2)


@pytest.fixture
def canvas():
    return np.full((200, 300, 3), 128, dtype=np.uint8)


def test_an_annotated_copy_has_the_same_shape_and_other_pixels(canvas, make_face):
    before = canvas.copy()
    drawn = draw_faces(canvas, [make_face()])
    assert drawn.shape == canvas.shape
    assert drawn.dtype == np.uint8
    assert changed(canvas, drawn).any()
    np.testing.assert_array_equal(canvas, before)


def test_the_box_is_drawn_in_the_colour_of_the_expression(canvas, make_face):
    drawn = draw_faces(canvas, [make_face(box_xyxy=np.float32([100, 60, 200, 180]))])
    assert drawn[180, 150] == pytest.approx(COLOURS["happiness"], abs=30)
    assert drawn[120, 100] == pytest.approx(COLOURS["happiness"], abs=30)


def test_landmarks_are_drawn_where_they_are(canvas, make_face):
    landmarks = np.float32([[130, 100], [170, 100], [150, 120], [135, 150], [165, 150]])
    face = make_face(box_xyxy=np.float32([100, 60, 200, 180]), landmarks_xy=landmarks)
    difference = changed(canvas, draw_faces(canvas, [face]))
    assert all(difference[int(y), int(x)] for x, y in landmarks)


def test_missing_landmarks_are_left_out(canvas, make_face):
    face = make_face(box_xyxy=np.float32([100, 60, 200, 180]), landmarks_xy=np.full((5, 2), np.nan, np.float32))
    assert not changed(canvas, draw_faces(canvas, [face]))[90:170, 110:190].any()


def test_an_uncertain_answer_looks_different(canvas, make_face):
    certain, uncertain = (draw_faces(canvas, [make_face(uncertain=flag)]) for flag in (False, True))
    assert changed(certain, uncertain).any()


@pytest.mark.parametrize(
    "box",
    [
        [-50, -50, 350, 250],
        [-50, -40, 20, 30],
        [290, 190, 400, 300],
        [-500, -500, -400, -400],
        [1e5, 1e5, 2e5, 2e5],
        [50, 50, 50, 50],
        [0, 0, 300, 200],
    ],
)
def test_faces_that_reach_beyond_the_image_raise_nothing(canvas, make_face, box):
    drawn = draw_faces(canvas, [make_face(box_xyxy=np.float32(box))])
    assert drawn.shape == canvas.shape


@pytest.mark.parametrize("box", [[20, 100, 120, 190], [20, 0, 120, 90], [-30, -30, 330, 230], [250, 80, 299, 150]])
def test_the_label_stays_within_the_image(canvas, make_face, box):
    landmarks = np.full((5, 2), np.nan, np.float32)
    face = make_face(box_xyxy=np.float32(box), landmarks_xy=landmarks)
    difference = (draw_faces(canvas, [face]) == COLOURS["happiness"]).all(axis=2)
    assert difference.sum() > 300


@pytest.mark.parametrize(
    ("shape", "times"),
    [
        *(((1, 1, 3), 200), ((2, 500, 3), 2), ((500, 2, 3), 2), ((2, 1001, 3), 1)),
        *(((48, 48, 3), 5), ((199, 300, 3), 2), ((200, 300, 3), 1)),
    ],
)
def test_small_images_are_enlarged_until_labels_can_be_read(make_face, shape, times):
    face = make_face(box_xyxy=np.float32([0, 0, shape[1], shape[0]]))
    height, width, _ = shape
    assert draw_faces(np.zeros(shape, dtype=np.uint8), [face]).shape == (height * times, width * times, 3)


def test_lines_grow_with_the_image(make_face):
    def box_pixels(scale):
        canvas = np.zeros((300 * scale, 300 * scale, 3), dtype=np.uint8)
        face = make_face(
            box_xyxy=np.float32([50, 80, 250, 280]) * scale, landmarks_xy=np.full((5, 2), np.nan, np.float32)
        )
        return draw_faces(canvas, [face])[150 * scale, : 150 * scale].any(axis=1).sum()

    assert box_pixels(8) > 2 * box_pixels(1)


def test_labels_that_have_no_colour_are_drawn_too(canvas, make_face):
    drawn = draw_faces(canvas, [make_face({"calm": 0.9, "excited": 0.1})])
    assert changed(canvas, drawn).any()


def test_a_view_that_is_not_contiguous_and_read_only_is_drawn_on_a_copy(canvas, make_face):
    canvas.setflags(write=False)
    view = canvas[::-1, :, ::-1]
    assert changed(view, draw_faces(view, [make_face()])).any()


def test_each_expression_has_a_colour_of_its_own():
    assert set(COLOURS) == set(FERPLUS)
    assert len(set(COLOURS.values())) == len(FERPLUS)


def test_an_analysis_without_faces_draws_a_copy(canvas):
    drawn = Analysis("", "m", ("a", "b"), reason=Reason.NO_FACE, image=canvas).draw()
    np.testing.assert_array_equal(drawn, canvas)
    assert drawn is not canvas
    assert not np.shares_memory(drawn, canvas)


def test_an_analysis_without_an_image_draws_nothing():
    assert Analysis("", "m", ("a", "b"), reason=Reason.MISSING).draw() is None


def test_the_portrait_is_drawn_around_its_face(analyzer, portrait):
    analysis = analyzer.analyze(portrait)
    difference = changed(portrait, analysis.draw())
    x1, y1, x2, y2 = analysis.faces[0].box_xyxy.astype(int)
    assert difference[y1 : y2 + 1, x1 : x2 + 1].any()
    assert not difference[y2 + 40 :].any()


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_panels_cover_neither_faces_nor_labels_nor_each_other(make_face, monkeypatch):
    boxes = [(300 + 220 * (i % 3), 120 + 260 * (i // 3)) for i in range(6)]
    faces = [make_face(box_xyxy=np.array([x, y, x + 120, y + 140], dtype=np.float32)) for x, y in boxes]
    panels, chips = [], []
    draw_panel, draw_answers = draw._draw_panel, draw._draw_answers
    monkeypatch.setattr(draw, "_draw_panel", lambda *rest: panels.append(rest[4]) or draw_panel(*rest))
    monkeypatch.setattr(draw, "_draw_answers", lambda *rest: chips.extend(draw_answers(*rest)) or chips)
    picture = draw.draw_live(np.full((700, 1200, 3), 90, dtype=np.uint8), faces)
    assert picture.shape == (700, 1200, 3)
    assert len(panels) >= 4
    everything = [*panels, *chips, *(tuple(face.box_xyxy.tolist()) for face in faces)]
    for i, panel in enumerate(panels):
        assert panel[0] >= 0 <= panel[1]
        assert panel[2] <= 1200
        assert panel[3] <= 700
        assert not any(overlap(panel, other) for other in everything[:i] + everything[i + 1 :])


def test_bars_are_as_long_as_what_is_smoothed(make_face):
    face = make_face(box_xyxy=np.array([100, 100, 300, 300], dtype=np.float32), smoothed=None)
    shown = replace(face, smoothed=Smoothed({"neutral": 0.0, "happiness": 1.0}, 0.5, 0.5))
    dark = np.zeros((700, 900, 3), dtype=np.uint8)
    beside = [draw.draw_live(dark, [one])[90:200, 310:] for one in (face, shown)]
    yellow = [int((part == (245, 180, 0)).all(axis=-1).sum()) for part in beside]
    assert yellow[1] > 1.2 * yellow[0]


def test_small_pictures_are_enlarged_for_the_window(make_face):
    assert draw.draw_live(np.zeros((240, 320, 3), dtype=np.uint8), [make_face()]).shape == (480, 640, 3)
