import numpy as np
import pytest

from affectlens.evaluation import plots, training_plots

LABELS = ("calm", "keen", "$odd")
BATCHES = {
    "shuffle": np.array([[8, 2, 0], [6, 2, 2], [10, 0, 0]]),
    "expression": np.array([[4, 4, 2], [2, 4, 4]]),
}
P = np.array([0.1, 0.5, 0.9])
EVERY = {
    "batch_shares": lambda: training_plots.batch_shares(LABELS, BATCHES),
    "batch_shares_of_one": lambda: training_plots.batch_shares(LABELS, {"shuffle": BATCHES["shuffle"]}),
    "focal_curves": lambda: training_plots.focal_curves(P, {0.0: -np.log(P), 2.0: -((1 - P) ** 2) * np.log(P)}),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_plot_becomes_a_png_whose_words_lie_within_it(name, tmp_path, fits_its_page):
    figure = EVERY[name]()
    plots.save(figure, tmp_path / "it.png")
    fits_its_page(figure)


def test_shares_are_means_over_batches_and_lines_their_range(texts):
    figure = EVERY["batch_shares"]()
    (axes,) = figure.axes
    shuffled, even = axes.containers
    assert [bar.get_width() for bar in shuffled] == pytest.approx([0.8, 4 / 30, 2 / 30])
    assert [bar.get_width() for bar in even] == pytest.approx([0.3, 0.4, 0.3])
    (first, *_), (second, *_) = (lines.get_segments() for lines in axes.collections[:2])
    assert first[:, 0].tolist() == pytest.approx([0.62, 0.98])
    assert second[:, 0].tolist() == pytest.approx([0.21, 0.39])
    said = texts(figure)
    assert {"80.0 %", "6.7 %", "shuffle (3 batches)", "expression (2 batches)"} <= set(said)
    assert "share of a batch of 10: mean, and range of nine in ten batches" in said


def test_focal_curves_are_named_by_gamma(texts):
    figure = EVERY["focal_curves"]()
    plain, focal = figure.axes[0].lines
    np.testing.assert_allclose(plain.get_ydata(), -np.log(P))
    np.testing.assert_allclose(focal.get_ydata() / plain.get_ydata(), (1 - P) ** 2)
    assert {"γ = 0 (cross-entropy)", "γ = 2"} <= set(texts(figure))
