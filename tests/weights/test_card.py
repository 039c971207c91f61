import hashlib
import json
import re
from pathlib import Path

import pytest

from affectlens.core.session import model_file, open_session, read_spec

ROOT = Path(__file__).parents[2]


def test_the_card_names_the_file_that_ships():
    model = model_file("bundled").read_bytes()
    card = model_file("bundled").with_name("default.md").read_text(encoding="utf-8")
    assert hashlib.sha256(model).hexdigest() in card
    assert f"{len(model):,} bytes" in card


@pytest.mark.parametrize("row", ["accuracy", "macro recall", "expected calibration error"])
def test_the_card_says_what_the_file_says_of_its_validation(row):
    file = model_file("bundled")
    figures = read_spec(open_session(file), str(file)).provenance["validation"]
    card = file.with_name("default.md").read_text(encoding="utf-8")
    natural = re.search(rf"^\| {row} \|.*\| (.*) \|$", card, re.MULTILINE)
    assert natural is not None
    assert float(natural[1]) == pytest.approx(figures[row.replace(" ", "_")], abs=5e-5)


@pytest.fixture
def audited():
    """The report of `affectlens audit bundled` on the test split, as it is committed."""
    return json.loads((ROOT / "docs" / "audit" / "report.json").read_text())


def test_the_audit_is_of_the_file_that_ships(audited):
    assert audited["model_sha256"] == hashlib.sha256(model_file("bundled").read_bytes()).hexdigest()
    assert (audited["split"], audited["clean"]["faces"]) == ("test", 3137)


def test_card_and_readme_say_what_the_audit_measured_on_test(audited):
    clean = audited["clean"]
    card = (
        model_file("bundled")
        .with_name("default.md")
        .read_text(encoding="utf-8")
        .partition("`--prior balanced`, which")[0]
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted = {
        "accuracy": clean["accuracy"],
        "macro recall": clean["mean_class_accuracy"],
        "expected calibration error": clean["expected_calibration_error"],
        "coverage": clean["coverage"],
        "accuracy when certain": clean["accuracy_when_certain"],
    } | {f"recall of {row['label']}": row["recall"] for row in clean["classes"]}
    for name, value in wanted.items():
        assert f"| {name} | {value:.4f} |" in card
    assert f"accuracy | **{clean['accuracy']:.4f}** |" in readme
    assert f"macro recall (mean class accuracy) | {clean['mean_class_accuracy']:.4f} |" in readme
    assert f"expected calibration error (15 bins) | {clean['expected_calibration_error']:.4f} |" in readme
    certain = f"{clean['coverage']:.1%} / {clean['accuracy_when_certain']:.4f}"
    assert f"answers that are not `uncertain` / their accuracy | {certain} |" in readme
    recalls = ", ".join(f"{row['label']} {row['recall']:.2f}" for row in clean["classes"])
    assert recalls in " ".join(readme.split())


@pytest.mark.parametrize("notes", sorted((ROOT / "results").glob("*/notes.md")), ids=lambda file: file.parent.name)
def test_tables_of_a_work_end_with_its_notes(notes):
    assert notes.read_text(encoding="utf-8").strip() in notes.with_name("README.md").read_text(encoding="utf-8")
