import numpy as np
import pytest

from affectlens.core.errors import BadData, BadSetting
from affectlens.evaluation import affect_plots, plots

LABELS = ("calm", "keen", "$odd")
RNG = np.random.default_rng(0)
AFFECT = RNG.uniform(-1, 1, (60, 2))
TARGETS = np.arange(60) % 4 - 1
ANSWERS = {
    "a-model/with-a-long-name-of-many-words": [("keen 51 %", False), ("keen 99 %", True)],
    "$other": [("calm 60 %", True), ("$odd? 20 %", False)],
}
EVERY = {
    "va_plane": lambda: affect_plots.va_plane(AFFECT, TARGETS, LABELS, 12),
    "captioned_faces": lambda: affect_plots.captioned_faces(
        [np.zeros((8, 8), dtype=np.uint8), np.zeros((9, 7, 3), dtype=np.uint8)], ["calm 0.90\ntrue: $odd", "a"], [0, 1]
    ),
    "answers_side_by_side": lambda: affect_plots.answers_side_by_side(
        [np.zeros((8, 8), dtype=np.uint8), np.zeros((9, 7, 3), dtype=np.uint8)],
        ["calm", "keen\nVA +0.10 +0.20"],
        ANSWERS,
    ),
    "emotion_space": lambda: affect_plots.emotion_space(
        [np.zeros((8, 8), dtype=np.uint8)] * 2,
        AFFECT[:6].reshape(2, 6)[:, :3] * 9,
        ["calm 90 %\ntrue: keen"] * 2,
        LABELS,
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_plot_becomes_a_png_whose_words_lie_within_it(name, tmp_path, fits_its_page):
    figure = EVERY[name]()
    plots.save(figure, tmp_path / "it.png")
    fits_its_page(figure)


def test_the_plane_has_a_panel_per_class_with_its_mean_and_divisions(texts):
    figure = affect_plots.va_plane(AFFECT, TARGETS, LABELS, 8)
    assert len(figure.axes) == 3
    assert {"calm (15)", "keen (15)", "\\$odd (15)"} <= set(texts(figure))
    *sectors, mean = figure.axes[1].lines
    assert len(sectors) == 8
    np.testing.assert_allclose(np.ravel(mean.get_xydata()), AFFECT[TARGETS == 1].mean(axis=0))
    assert len(affect_plots.va_plane(AFFECT, TARGETS, LABELS, 0).axes[0].lines) == 1


def test_classes_without_faces_have_no_panel_and_no_faces_are_an_error():
    assert len(affect_plots.va_plane(AFFECT, np.where(TARGETS == 1, 1, -1), LABELS).axes) == 1
    with pytest.raises(BadData, match="no face has a label, valence and arousal"):
        affect_plots.va_plane(np.full((60, 2), np.nan), TARGETS, LABELS)
    with pytest.raises(BadSetting, match="divisions must be 0, 4, 8, 12, got 5"):
        affect_plots.va_plane(AFFECT, TARGETS, LABELS, 5)


def test_cells_are_as_wide_as_the_pictures():
    faces = [np.zeros((10, 20), dtype=np.uint8)] * 3
    width, height = affect_plots.captioned_faces(faces, ["a"] * 3, [True] * 3).get_size_inches()
    assert width > 2 * height


def test_a_dot_lies_at_each_known_point():
    points = np.array([[2, 3], [np.nan, 1]], dtype=np.float32)
    drawn = affect_plots.dotted(np.zeros((8, 8), dtype=np.uint8), points)
    assert drawn.shape == (240, 240, 3)
    assert drawn[90, 60].tolist() == [0, 255, 255]
    rows, columns = np.nonzero(drawn[..., 1])
    assert (abs(rows - 90).max(), abs(columns - 60).max()) <= (4, 4)


def test_each_row_has_a_face_its_truth_and_the_answer_of_each_model_in_its_colour():
    figure = EVERY["answers_side_by_side"]()
    assert [bool(axes.images) for axes in figure.axes] == [True, False, False, False] * 2
    cells = [axes.texts[0] for axes in figure.axes if axes.texts]
    said = ["calm", "keen 51 %", "calm 60 %", "keen\nVA +0.10 +0.20", "keen 99 %", "\\$odd? 20 %"]
    assert [cell.get_text() for cell in cells] == said
    blue, red = plots.COLOURS[:2]
    assert [cell.get_color() for cell in cells] == [plots.INK, red, blue, plots.INK, blue, red]
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["", "ground truth", "a-model/with-a-long-\nname-of-many-words", "\\$other"]


def test_scores_are_lines_in_the_colour_of_the_frame_of_their_face():
    figure = EVERY["emotion_space"]()
    below, *faces = figure.axes
    for i, (line, axes) in enumerate(zip(below.lines, faces, strict=True)):
        np.testing.assert_allclose(line.get_ydata(), AFFECT[:6].reshape(2, 6)[i, :3] * 9)
        assert line.get_color() == plots.COLOURS[i]
        assert axes.lines[0].get_marker() == line.get_marker() == plots.MARKS[i]
        assert axes.get_xlabel() == "calm 90 %\ntrue: keen"
    assert [label.get_text() for label in below.get_xticklabels()] == ["calm", "keen", "\\$odd"]


def test_captions_are_blue_where_right_and_red_where_wrong():
    figure = EVERY["captioned_faces"]()
    wrong, right = (axes.xaxis.label for axes in figure.axes)
    assert (wrong.get_color(), right.get_color()) == (plots.COLOURS[1], plots.COLOURS[0])
    assert wrong.get_text() == "calm 0.90\ntrue: \\$odd"
