import numpy as np
import pytest

from affectlens.evaluation import network_plots, plots
from affectlens.evaluation.metrics import ClassDistances

LABELS = ("calm", "keen", "$odd")
RNG = np.random.default_rng(0)
PLACES = RNG.uniform(-1, 1, (60, 2))
SURFACE = np.linspace(0.5, 8, 25, dtype=np.float32).reshape(5, 5)
PARTS = {
    "before": ClassDistances(np.array([1, np.nan, 3]), 4.0),
    "after": ClassDistances(np.array([1, np.nan, 1]), 4.0),
}
EVERY = {
    "feature_map": lambda: network_plots.feature_map(PLACES, np.arange(60) % 3, LABELS, PLACES[:3]),
    "feature_map_without_centres": lambda: network_plots.feature_map(PLACES, np.arange(60) % 3, LABELS, None),
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
    assert "mean of the class" not in texts(EVERY["feature_map_without_centres"]())


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
