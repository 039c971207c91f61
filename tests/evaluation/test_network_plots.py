import numpy as np
import pytest

from affectlens.evaluation import network_plots, plots
from affectlens.evaluation.metrics import ClassDistances

LABELS = ("calm", "keen", "$odd")
RNG = np.random.default_rng(0)
PLACES = RNG.uniform(-1, 1, (60, 2))
OWNERS = np.array([0, 0, 1, 2, 2])
COSINES = np.array([[0.5, -0.1], [0, 0.2], [0.3, -0.7]])
SURFACE = np.linspace(0.5, 8, 25, dtype=np.float32).reshape(5, 5)
PARTS = {
    "before": ClassDistances(np.array([1, np.nan, 3]), 4.0),
    "after": ClassDistances(np.array([1, np.nan, 1]), 4.0),
}
EVERY = {
    "feature_map": lambda: network_plots.feature_map(PLACES, np.arange(60) % 3, LABELS, PLACES[:3], np.arange(3)),
    "feature_map_with_learned_centres": lambda: network_plots.feature_map(
        PLACES, np.arange(60) % 3, LABELS, PLACES[:5], OWNERS, network_plots.CentreKind.LEARNED
    ),
    "cross_relations": lambda: network_plots.cross_relations(
        {"one\n+ other": COSINES, "$joint": -COSINES, "graph": COSINES}, LABELS, ("valence", "arousal")
    ),
    "relations": lambda: network_plots.relations(
        np.array([[1, -0.5, 0], [-0.5, 1, 0.7], [0, 0.7, 1]]), LABELS, -1, "takes from", "node"
    ),
    "class_distances": lambda: network_plots.class_distances(PARTS, LABELS),
    "landscapes": lambda: network_plots.landscapes({"$one": SURFACE, "two": SURFACE[::-1]}, 1.0, "256 faces of test"),
    "landscape_without_relief": lambda: network_plots.landscapes({"flat": SURFACE * 0}, 0.5, "9 faces of valid"),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_plot_becomes_a_png_whose_words_lie_within_it(name, tmp_path, fits_its_page):
    figure = EVERY[name]()
    plots.save(figure, tmp_path / "it.png")
    fits_its_page(figure)


def test_relations_are_written_into_their_cells(texts):
    found = texts(EVERY["relations"]())
    assert [found.count(text) for text in ("1.00", "-0.50", "0.70", "0.00")] == [3, 2, 2, 2]
    assert {"takes from", "node"} <= set(found)


def test_the_map_says_what_the_large_marks_are(texts):
    assert "mean of the class" in texts(EVERY["feature_map"]())
    said = texts(EVERY["feature_map_with_learned_centres"]())
    assert "learned centre" in said
    assert "mean of the class" not in said


def test_learned_centres_are_squares_in_the_colour_of_their_class():
    (axes,) = EVERY["feature_map_with_learned_centres"]().axes
    squares = [line for line in axes.lines if line.get_markeredgewidth() > 1 and len(line.get_xdata())]
    assert [line.get_marker() for line in squares] == ["s"] * 3
    assert [line.get_color() for line in squares] == list(plots.COLOURS[:3])
    for label, line in enumerate(squares):
        np.testing.assert_array_equal(line.get_xydata(), PLACES[:5][label == OWNERS])


def test_relations_of_several_networks_are_beside_each_other_with_their_mean(texts):
    figure = EVERY["cross_relations"]()
    one, joint, _ = figure.axes
    assert [text.get_text() for text in one.texts] == ["0.50", "-0.10", "0.00", "0.20", "0.30", "-0.70"]
    assert one.get_title() == "one\n+ other\nmean of |cos| 0.30"
    assert joint.get_title().startswith("\\$joint")
    assert one.images[0].get_clim() == joint.images[0].get_clim() == (-1, 1)
    assert [label.get_text() for label in one.get_yticklabels()] == ["calm", "keen", "\\$odd"]


def test_distances_are_in_units_of_those_between_centres(texts):
    figure = EVERY["class_distances"]()
    before, after = figure.axes[0].containers
    assert [bar.get_width() for bar in before] == [0.25, 0, 0.75]
    assert [bar.get_width() for bar in after] == [0.25, 0, 0.25]
    assert {"before (0.50)", "after (0.25)"} <= set(texts(figure))


def test_landscapes_have_a_panel_each_in_common_shades_with_the_loss_in_the_middle(texts):
    figure = EVERY["landscapes"]()
    first, second, _ = figure.axes
    assert [axes.get_title() for axes in (first, second)] == ["\\$one (4.25 at +)", "two (4.25 at +)"]
    assert "cross-entropy (log scale), 256 faces of test" in texts(figure)
    levels = [axes.collections[0].get_clim() for axes in (first, second)]
    assert levels[0] == levels[1] == pytest.approx((0.5, 8))
