import base64
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from affectlens.core.errors import BadData, MissingExtra
from affectlens.evaluation import plots, report
from affectlens.evaluation.evaluation import Scores, compare, compute_metrics

FACTS = {"model": "bundled", "data": "ferplus & <others>"}
VOID = {"meta", "img"}
LOADING = {"src", "href", "srcset", "data", "poster", "action", "background"}


class Page(HTMLParser):
    """Elements of a page; fails on tags that do not close in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.images, self.sources, self.ids = [], [], [], [], []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in LOADING]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data + "|"


def check(html):
    """What holds for every report: well formed, nothing loaded, every image described; returns the page."""
    page = Page(html)
    assert "http:" not in html
    assert "https:" not in html
    assert not re.search(r"url\(|@import", html)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    for source in page.sources:
        assert source.startswith(("data:image/svg+xml;base64,", "#")), source
        assert not source.startswith("#") or source[1:] in page.ids
    assert len(set(page.ids)) == len(page.ids)
    for image in page.images:
        assert len(image["alt"]) > 20
        drawing = ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2]))
        assert drawing.tag.endswith("svg")
    assert 'lang="en"' in html
    assert "width=device-width" in html
    assert "prefers-color-scheme: dark" in html
    return page


def cells(found):
    """Every number of the figures as the report writes it."""
    fractions = [
        *found["accuracy_interval"],
        *(found[key] for key in ("accuracy", "mean_class_accuracy", "coverage", "accuracy_when_certain")),
        *(value for mean in ("macro", "weighted") for value in found[mean].values()),
        *(row[key] for row in found["classes"] for key in ("precision", "recall", "f1")),
        *found["selective"]["coverage"],
        *found["selective"]["accuracy"],
        *(row["accuracy"] for group in found["groups"].values() for row in group.values()),
        *(end for group in found["groups"].values() for row in group.values() for end in row["accuracy_interval"]),
    ]
    plain = [
        *(found[key] for key in ("expected_calibration_error", "negative_log_likelihood", "area_under_risk_coverage")),
        found["uncertain_below"],
        found["disagreement"]["spearman"],
        *(found["valence"][key] for key in ("ccc", "rmse", "pearson")),
        *found["reliability"]["confidence"],
        *found["reliability"]["accuracy"],
        *found["selective"]["threshold"],
        *(value for row in found["mean_probabilities"] for value in row),
    ]
    counts = [
        *(found["faces"], found["faces_without_label"], found["disagreement"]["faces"], found["valence"]["faces"]),
        *(row["faces"] for row in found["classes"]),
        *found["reliability"]["count"],
        *(value for row in found["confusion_matrix"] for value in row),
        *(row["faces"] for group in found["groups"].values() for row in group.values()),
        *(count for group in found["groups"].values() for row in group.values() for count in row["labels"]),
    ]
    written = [f"{100 * value:.2f}" for value in fractions if value is not None]
    return {*written, *(f"{value:.4f}" for value in plain if value is not None), *map(str, counts)}


def numbers(page):
    return set(re.findall(r"-?\d+(?:\.\d+)?", page.text))


def test_an_evaluation_report_holds_every_number_and_loads_nothing(scores):
    found = json.loads(json.dumps(compute_metrics(scores())))
    page = check(report.evaluation_report(found, FACTS))
    assert cells(found) - numbers(page) == set()
    assert len(page.images) == 7
    for words in ("Evaluation", "ferplus & <others>", "contempt", "By age"):
        assert f"{words}|" in page.text


def test_alt_texts_say_what_the_figures_show(scores):
    found = compute_metrics(scores())
    alts = " ".join(image["alt"] for image in Page(report.evaluation_report(found, FACTS)).images)
    matrix = np.array(found["confusion_matrix"])
    np.fill_diagonal(matrix, 0)
    row, column = np.unravel_index(matrix.argmax(), matrix.shape)
    assert f"{found['labels'][row]} classified as {found['labels'][column]}: {matrix.max()} of" in alts
    assert f"calibration error {found['expected_calibration_error']:.4f}" in alts
    assert f"answers {100 * found['coverage']:.2f}\xa0% of the faces" in alts


@pytest.mark.slow
def test_names_of_users_are_escaped(scores):
    nasty = '"><script>alert(1)</script>'
    given = scores(groups={nasty: np.full(200, nasty)})
    page = check(report.evaluation_report(compute_metrics(given), {nasty: nasty}, nasty))
    assert nasty in page.text


@pytest.mark.parametrize(
    "given",
    [
        Scores(("anger", "fear"), np.array([[0.9, 0.1]]), np.array([0])),
        Scores(("anger", "fear"), np.array([[0.9, 0.1]]), np.array([-1])),
        Scores(("anger", "fear"), np.eye(2), np.array([0, 1]), uncertain_below=1.0),
    ],
)
def test_few_faces_make_a_report_too(given):
    page = check(report.evaluation_report(compute_metrics(given), {}))
    assert str(compute_metrics(given)["faces"]) in numbers(page)
    assert "None" not in page.text
    assert "nan" not in page.text


def test_a_comparison_holds_the_figures_of_each_model_and_their_difference(scores):
    a, b = scores(), scores(seed=1, votes=None)
    named = {"first <model>": compute_metrics(a), "second": compute_metrics(b)}
    test = compare((a.predicted == a.targets), (b.predicted == b.targets))
    page = check(report.comparison_report(named, FACTS, {"second": test}))
    for found in named.values():
        expected = {found["accuracy"], found["macro"]["f1"], *(row["recall"] for row in found["classes"])} - {None}
        groups = {row["accuracy"] for row in found["groups"]["age"].values()}
        assert {f"{100 * value:.2f}" for value in expected | groups} <= numbers(page)
        assert f"{found['negative_log_likelihood']:.4f}" in page.text
    assert f"|{test['p_value']:.4f}|" in page.text
    assert {str(test["only_a"]), str(test["only_b"]), f"{test['statistic']:.2f}"} <= numbers(page)
    assert f"{100 * test['difference']:+.2f}" in page.text
    assert "against the first, first <model>," in page.text
    assert "first <model>" in page.text
    assert len(page.images) == 4


def test_a_tiny_p_is_not_written_as_zero(scores):
    found = compute_metrics(scores())
    test = compare(np.zeros(99, dtype=bool), np.ones(99, dtype=bool))
    page = Page(report.comparison_report({"a": found, "b": found}, {}, {"b": test}))
    assert "|< 0.0001|" in page.text


def test_a_comparison_of_models_with_other_labels_leaves_dashes(scores):
    other = Scores(("anger", "boredom"), np.array([[0.9, 0.1]]), np.array([1]))
    page = check(report.comparison_report({"a": compute_metrics(scores()), "b": compute_metrics(other)}, {}))
    assert "boredom|–|0.00\xa0%|" in page.text.replace("\n|", "")


def test_a_comparison_with_one_model_or_unlabelled_faces_still_works(scores):
    nobody = Scores(("anger", "fear"), np.array([[0.9, 0.1]]), np.array([-1]))
    unknown = scores(groups={"age": np.full(200, "")})
    check(report.comparison_report({"a": compute_metrics(unknown)}, {}))
    check(report.comparison_report({"a": compute_metrics(nobody), "b": compute_metrics(nobody)}, {}))
    check(report.comparison_report({"a": compute_metrics(scores()), "b": compute_metrics(nobody)}, {}))


def test_a_comparison_of_nothing_is_refused():
    with pytest.raises(BadData, match="at least one model"):
        report.comparison_report({}, {})


def test_any_other_report_uses_the_same_page():
    picture = report.ReportFigure(
        plots.curves([{"epoch": 0, "train_loss": 1.0}]), "Training loss over one epoch.", "Loss."
    )
    table = report.Table("Epochs", ["epoch", "loss"], [["0", "1.0"]])
    page = check(
        report.render(report.ReportPage("Training", {}, [report.Section("Curves", "Short.", [picture], [table])]))
    )
    for word in ("Training", "Curves", "Short.", "Loss.", "Epochs", "1.0"):
        assert f"{word}|" in page.text


def test_a_table_with_a_row_of_another_width_is_refused():
    with pytest.raises(BadData, match=r"has 2 columns and rows of \[1\]"):
        report.Table("Epochs", ["epoch", "loss"], [["0", "1.0"], ["1"]])


def test_without_jinja2_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"writing a report needs the extra 'report'.*affectlens\[report\]"):
        report.render(report.ReportPage("Empty"))
