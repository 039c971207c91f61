import json
from dataclasses import replace

import numpy as np
import pytest

from affectlens.core.quality import Quality
from affectlens.evaluation import audit as auditing
from affectlens.evaluation.corruptions import CORRUPTIONS
from affectlens.evaluation.evaluation import Scores

LABELS = ("neutral", "happiness")


def scores(right, sure=0.9, **changes):
    """Faces of which some are answered rightly, all with the same certainty."""
    right = np.asarray(right, dtype=bool)
    targets = np.arange(len(right)) % 2
    predicted = np.where(right, targets, 1 - targets)
    probabilities = np.full((len(right), 2), 1 - sure)
    probabilities[np.arange(len(right)), predicted] = sure
    return Scores(LABELS, probabilities, targets, **changes)


def seen(**measures):
    usual = {"size_px": 48, "inside": 1, "sharpness": 1, "brightness": 0.5, "contrast": 0.2, "overexposed": 0}
    return Quality(**(usual | measures), yaw_deg=np.nan, pitch_deg=np.nan, roll_deg=np.nan)


@pytest.fixture
def found():
    side = np.array(["left"] * 40 + ["right"] * 40 + ["few"] * 10)
    clean = scores([True] * 70 + [False] * 20, groups={"side": side}, uncertain_below=0.5)
    worse = [scores([True] * (60 - 10 * severity) + [False] * (30 + 10 * severity)) for severity in range(5)]
    corrupted = dict.fromkeys(CORRUPTIONS, [scores([True] * 80 + [False] * 10)] * 5)
    surest = [scores([True] * 75 + [False] * 15)] * 4 + [scores([True] * 15 + [False] * 75, sure=0.99)]
    return auditing.audit(clean, corrupted | {"blur": worse, "noise": surest})


def test_each_severity_has_its_level_and_figures(found):
    rows = found["corruptions"]["blur"]
    assert [row["level"] for row in rows] == list(CORRUPTIONS["blur"].levels)
    assert [row["accuracy"] for row in rows] == pytest.approx([60 / 90, 50 / 90, 40 / 90, 30 / 90, 20 / 90])
    assert rows[0]["confidence"] == pytest.approx(0.9)
    assert rows[0]["expected_calibration_error"] == pytest.approx(0.9 - 60 / 90)


def test_groups_say_how_sure_the_model_may_be(found):
    group = found["calibration"]["side"]
    assert {value: row["faces"] for value, row in group.items()} == {"few": 10, "left": 40, "right": 40}
    assert group["left"]["accuracy"] == 1
    assert group["left"]["expected_calibration_error"] == pytest.approx(0.1)
    assert group["right"]["accuracy"] == 0.75
    assert group["few"]["expected_calibration_error"] is None
    assert found["clean"]["groups"]["side"]["left"]["accuracy"] == 1


def test_faces_without_a_label_do_not_count():
    part = scores([True] * 10)
    part = replace(part, targets=np.array([-1] * 5 + list(part.targets[5:])), groups={"all": np.array(["x"] * 10)})
    assert auditing.audit(part, {})["calibration"]["all"]["x"]["faces"] == 5


def test_it_is_ready_for_json(found):
    assert json.loads(json.dumps(found, allow_nan=False))["clean"]["faces"] == 90


def test_quarters_are_called_by_their_bounds_and_in_order():
    groups = auditing.measured_groups([seen(brightness=value) for value in np.linspace(0.05, 0.85, 41)])
    assert set(groups) == {"brightness"}  # the others do not differ
    names, counts = np.unique(groups["brightness"], return_counts=True)
    assert names.tolist() == ["0.05 to 0.25", "0.25 to 0.45", "0.45 to 0.65", "0.65 to 0.85"]
    assert counts.sum() == 41
    assert counts.min() >= 10
    narrow = auditing.measured_groups([seen(contrast=0.12 + value / 1000) for value in range(9)])["contrast"]
    assert sorted(set(narrow)) == ["0.120 to 0.122", "0.122 to 0.124", "0.124 to 0.126", "0.126 to 0.128"]
    sizes = auditing.measured_groups([seen(size_px=value) for value in (20, 40, 80, 160, 320)])["size in pixels"]
    assert sizes[-1] == "160 to 320"


@pytest.mark.slow
def test_the_report_is_one_page_with_pictures_and_says_what_costs_most(found, portrait):
    page = auditing.audit_report(found, {"model": "x"}, portrait[:48, :48])
    assert page.count("data:image/svg+xml;base64,") >= 5
    assert "Corrupted pictures" in page
    assert "severities, blur reduces accuracy most, from 77.78\xa0% to 44.44\xa0%" in page
    assert (
        "most overconfident under noise: at the fifth severity its accuracy is 16.67\xa0%, but its mean confidence"
        in page
    )
    assert "Calibration by side" in page
