import subprocess
import sys

import numpy as np
import pytest

from affectlens.core.errors import BadData, MissingExtra
from affectlens.evaluation import plots
from affectlens.evaluation.evaluation import compute_metrics

LABELS = ("anger", "fear", "sadness")
EVERY = {
    "confusion_matrix": lambda found: plots.confusion_matrix(found["confusion_matrix"], found["labels"]),
    "curves": lambda found: plots.curves([{"epoch": 0, "train_loss": 1.5, "valid_accuracy": 0.5}]),
    "reliability": lambda found: plots.reliability(found["reliability"]),
    "selective": lambda found: plots.selective({"model": found["selective"]}),
    "parallel_coordinates": lambda found: plots.parallel_coordinates({"a": [0.1, None, 0.3]}, LABELS),
    "per_class_bars": lambda found: plots.per_class_bars({"a": [0.1, None, 0.3], "b": [1, 1, 1]}, LABELS),
    "group_bars": lambda found: plots.group_bars(found["groups"]["age"], "age"),
    "group_labels": lambda found: plots.group_labels(found["groups"]["age"], found["labels"], "age"),
}


def names(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("name", EVERY)
def test_every_plot_becomes_a_png_whose_words_lie_within_it(name, scores, tmp_path, fits_its_page):
    figure = EVERY[name](compute_metrics(scores()))
    file = tmp_path / f"{name}.png"
    plots.save(figure, file)
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content.endswith(b"IEND\xaeB`\x82")
    assert list(tmp_path.iterdir()) == [file]
    fits_its_page(figure)


def test_pyplot_is_not_loaded_and_matplotlib_only_for_a_plot():
    code = """
import sys
from affectlens.evaluation import plots, report
print("matplotlib" in sys.modules, "jinja2" in sys.modules)
plots.per_class_bars({"a": [0.1, 0.2]}, "ab").canvas.draw()
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["False"] * 3, done.stderr


@pytest.mark.parametrize("name", EVERY)
def test_without_matplotlib_every_plot_names_the_extra(name, scores, monkeypatch):
    found = compute_metrics(scores())
    for module in ("figure", "colors", "backends.backend_agg"):
        monkeypatch.setitem(sys.modules, f"matplotlib.{module}", None)
    with pytest.raises(MissingExtra, match=r"affectlens\[plots\]"):
        EVERY[name](found)


def test_cells_of_the_confusion_matrix_have_counts_and_per_cent_of_their_row():
    figure = plots.confusion_matrix([[6, 2, 0], [1, 0, 2], [0, 0, 0]], LABELS)
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells == ["6\n75 %", "2\n25 %", "0\n0 %", "1\n33 %", "0\n0 %", "2\n67 %", "–", "–", "–"]
    shades = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shades, [[0.75, 0.25, 0], [1 / 3, 0, 2 / 3], [0, 0, 0]])


def test_curves_show_losses_above_and_accuracies_below():
    rows = [
        {"epoch": "0", "train_loss": "1.5", "valid_nll": "1.25", "valid_accuracy": "0.5", "lr": "0.1"},
        {"epoch": "1", "train_loss": "1.0", "valid_nll": "", "valid_accuracy": "0.75", "lr": "0.1"},
    ]
    upper, lower = plots.curves(rows).axes
    assert {line.get_label(): list(line.get_ydata()) for line in lower.lines} == {"valid accuracy": [0.5, 0.75]}
    train, valid = upper.lines
    assert (train.get_label(), list(train.get_xdata()), list(train.get_ydata())) == ("train loss", [0, 1], [1.5, 1.0])
    np.testing.assert_array_equal(valid.get_ydata(), [1.25, np.nan])


def test_curves_have_concordance_in_a_part_of_its_own_and_whole_epochs():
    rows = [{"epoch": "0", "train_loss": "1.5", "valid_accuracy": "0.5", "valid_ccc": "0.25"}]
    figure = plots.curves(rows)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "concordance"]
    assert list(figure.axes[2].lines[0].get_ydata()) == [0.25]
    assert list(figure.axes[2].get_xticks()) == [0]


def test_curves_of_a_loss_alone_have_one_part():
    assert len(plots.curves([{"epoch": 0, "train_loss": 1.0}]).axes) == 1


@pytest.mark.parametrize("rows", [[], [{"epoch": 0}], [{"train_loss": 1.0}]])
def test_curves_without_anything_to_show_are_refused(rows):
    with pytest.raises(BadData, match="training curves need"):
        plots.curves(rows)


def test_reliability_shows_bins_and_their_faces():
    bins = {"edges": [0, 0.3, 0.6, 1], "confidence": [None, 0.5, 0.8], "accuracy": [None, 1, 0.6], "count": [0, 9, 10]}
    upper, lower = plots.reliability(bins).axes
    assert [(bar.get_x(), bar.get_height()) for bar in upper.patches] == [(0, 0), (0.3, 1), (0.6, 0.6)]
    assert [bar.get_height() for bar in lower.patches] == [0, 9, 10]
    points = next(line for line in upper.lines if line.get_marker() == "o")
    assert (list(points.get_xdata()), list(points.get_ydata())) == ([0.8], [0.6])
    upper = plots.reliability(bins | {"count": [0, 1, 1]}).axes[0]
    assert "o" not in [line.get_marker() for line in upper.lines]


def test_selective_curves_of_several_models_and_their_thresholds():
    models = {
        "a": {"coverage": [0.001, 0.5, 1], "accuracy": [0.0, 0.9, 0.8]},
        "b": {"coverage": [0.5, 1], "accuracy": [0.85, 0.7]},
    }
    figure = plots.selective(models, {"a": (0.5, 0.9), "b": (0.0, None)})
    first, second, circles = figure.axes[0].lines
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([0.001, 0.5, 1], [0.0, 0.9, 0.8])
    assert list(second.get_ydata()) == [0.85, 0.7]
    assert (list(circles.get_xdata()), list(circles.get_ydata())) == ([0.5], [0.9])
    assert names(figure) == ["a", "b", "threshold of uncertainty"]
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    low, high = figure.axes[0].get_ylim()
    assert 0.6 < low < 0.7 < 0.9 < high < 1


def test_bars_of_classes_say_their_per_cent_and_absent_classes_a_dash():
    figure = plots.per_class_bars({"a": [0.5, None, 0], "b": [1, 0.25, 0.333]}, LABELS)
    first, second = figure.axes[0].containers
    assert [bar.get_width() for bar in first] == [0.5, 0, 0]
    assert [bar.get_width() for bar in second] == [1, 0.25, 0.333]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ["50.0 %", "–", "0.0 %", "100.0 %", "25.0 %", "33.3 %"]
    heights = [bar.get_y() for bar in first]
    assert heights == sorted(heights)
    assert figure.axes[0].yaxis_inverted()


def test_group_bars_have_intervals_and_numbers(texts):
    groups = {
        "3-9": {"faces": 12, "accuracy": 0.5, "accuracy_interval": [0.25, 0.75]},
        "10-19": {"faces": 3, "accuracy": 1.0, "accuracy_interval": [0.44, 1.0]},
    }
    figure = plots.group_bars(groups, "age")
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 1]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.25, 0.75], [0.44, 1.0]]
    assert {"3-9 (12)", "10-19 (3)", "50.0 %", "100.0 %"} <= set(texts(figure))
    assert axes.get_xlabel() == "accuracy by age (faces), 95 % interval"


def test_group_labels_stack_the_shares_of_the_labels(texts):
    groups = {"3-9": {"faces": 10, "labels": [5, 3, 2]}, "10-19": {"faces": 4, "labels": [0, 4, 0]}}
    figure = plots.group_labels(groups, LABELS, "age")
    anger, fear, sadness = figure.axes[0].containers
    assert [bar.get_width() for bar in anger] == [0.5, 0]
    np.testing.assert_allclose([(bar.get_x(), bar.get_width()) for bar in fear], [(0.5, 0.3), (0, 1)])
    np.testing.assert_allclose([bar.get_x() for bar in sadness], [0.8, 1])
    assert names(figure) == list(LABELS)
    assert {"3-9 (10)", "10-19 (4)"} <= set(texts(figure))


def test_parallel_coordinates_scale_each_axis_from_its_lowest_to_its_highest(texts):
    figure = plots.parallel_coordinates({"a": [0.2, 0.5, 0.7], "b": [0.6, 0.5, None], "c": [0.3, 0.5, 0.6]}, LABELS)
    a, b, c = figure.axes[0].lines
    np.testing.assert_allclose(a.get_ydata(), [0, 0.5, 1])
    np.testing.assert_allclose(b.get_ydata(), [1, 0.5, np.nan])
    np.testing.assert_allclose(c.get_ydata(), [0.25, 0.5, 0])
    assert {"0.200", "0.600", "0.700", *LABELS} <= set(texts(figure))


def test_parallel_coordinates_with_limits_have_one_scale(texts):
    figure = plots.parallel_coordinates({"anger": [0.0, 0.5, 2.0]}, LABELS, (0, 2), "score")
    assert figure.axes[0].lines[0].get_color() == "#db3236"
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0, 0.25, 1])
    assert {"0", "1", "2", "score"} <= set(texts(figure))


def test_names_are_cut_and_never_formulas(texts):
    figure = plots.per_class_bars({"_a$b$": [1, 1], "b" * 99: [1, 1]}, ["$\\nonsense$", "c" * 99], "$x_")
    assert {r"_a\$b\$", "b" * 31 + "…", r"\$\nonsense\$", "c" * 31 + "…", r"\$x_"} <= set(texts(figure))
    assert names(figure) == [r"_a\$b\$", "b" * 31 + "…"]


def test_more_lines_than_colours_differ_in_dashes():
    figure = plots.parallel_coordinates({str(i): [i, -i] for i in range(20)}, ["a", "b"])
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 20


def test_save_replaces_a_file_and_leaves_it_alone_when_drawing_fails(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"old")
    figure = plots.per_class_bars({"a": [1, 1, 1]}, LABELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "savefig", broken)
        with pytest.raises(OSError, match="out of memory"):
            plots.save(figure, file)
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (b"old", [file])
    plots.save(figure, file)
    assert file.read_bytes().startswith(b"\x89PNG")


def broken(stream, **options):
    """Stands for a drawing that fails half-way."""
    stream.write(b"\x89PNG half")
    raise OSError("out of memory")


def test_the_same_figure_gives_the_same_drawing():
    first, second = (plots.svg(plots.per_class_bars({"a": [0.1, 0.2, 0.3]}, LABELS)) for _ in range(2))
    assert first == second
    assert first.startswith(b"<?xml")


def test_the_axis_of_an_accuracy_ends_at_one():
    figure = plots.curves(
        [{"epoch": e, "train_loss": 1.5, "valid_accuracy": value} for e, value in enumerate((0, 1.0))]
    )
    assert figure.axes[1].get_ylim() == (0, 1)


def test_letters_are_shapes_unless_the_font_lacks_one():
    drawn = [plots.svg(plots.per_class_bars({"a": [0.1, 0.2]}, [name, "b"])).decode() for name in ("café", "日本")]
    assert ["<text" in drawing for drawing in drawn] == [False, True]
    assert "日本" in drawn[1]
