import hashlib
import json
from pathlib import Path

import pytest

from affectlens.core.session import model_file, open_session, read_spec

ROOT = Path(__file__).parents[2]


def test_the_card_names_the_file_that_ships():
    model = model_file("bundled").read_bytes()
    card = model_file("bundled").with_name("default.md").read_text(encoding="utf-8")
    assert hashlib.sha256(model).hexdigest() in card
    assert f"{len(model):,} bytes" in card


def card():
    return model_file("bundled").with_name("default.md").read_text(encoding="utf-8")


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def evaluated(name):
    """What `affectlens evaluate bundled --json` printed, as it is committed."""
    return json.loads((ROOT / "results" / "bundled" / f"{name}.json").read_text())


def figures_of(part):
    """The figures of one column of the card, by the names of its rows."""
    return {
        "faces": f"{part['faces']:,}",
        "accuracy": part["accuracy"],
        "macro recall": part["mean_class_accuracy"],
        "expected calibration error": part["expected_calibration_error"],
        "coverage": part["coverage"],
        "accuracy when certain": part["accuracy_when_certain"],
        "disagreement (Spearman)": part["disagreement"]["spearman"],
    } | {f"recall of {row['label']}": row["recall"] for row in part["classes"]}


@pytest.mark.parametrize("name", ["test", "valid", "test-balanced", "valid-balanced"])
def test_what_was_evaluated_is_the_file_that_ships(name):
    found = evaluated(name)
    assert found["model_sha256"] == hashlib.sha256(model_file("bundled").read_bytes()).hexdigest()
    assert f"{found['split']}{'-balanced' if found.get('prior') == 'balanced' else ''}" == name


def test_the_file_says_of_its_validation_what_was_evaluated():
    file = model_file("bundled")
    said, found = read_spec(open_session(file), str(file)).provenance["validation"], evaluated("valid")["all"]
    assert said["accuracy"] == pytest.approx(found["accuracy"], abs=1e-6)
    assert said["macro_recall"] == pytest.approx(found["mean_class_accuracy"], abs=1e-6)
    assert said["expected_calibration_error"] == pytest.approx(found["expected_calibration_error"], abs=1e-4)


@pytest.mark.parametrize(("prior", "rows"), [("", 15), ("-balanced", 11)])
def test_every_cell_of_the_card_is_what_was_evaluated(prior, rows):
    natural, _, balanced = card().partition("With `--prior balanced`, which")
    table = [
        line.strip("| ").split(" | ") for line in (balanced if prior else natural).splitlines() if line[:2] == "| "
    ]
    test, valid = evaluated(f"test{prior}"), evaluated(f"valid{prior}")
    columns = [figures_of(part) for part in (test["all"], test["without_near_duplicates_of_train"], valid["all"])]
    cells = [line for line in table if line[0] in columns[0]]
    assert len(cells) == rows
    for name, *values in cells:
        wanted = [column[name] for column in columns]
        assert values == [value if name == "faces" else f"{value:.4f}" for value in wanted], name


def test_the_readme_says_what_was_evaluated():
    test, valid, balanced = (evaluated(name) for name in ("test", "valid", "test-balanced"))
    whole = test["all"]
    recalls = ", ".join(f"{row['label']} {row['recall']:.2f}" for row in whole["classes"])
    both = f"{balanced['all']['accuracy']:.4f} / {balanced['all']['mean_class_accuracy']:.4f}"
    for said in (
        f"8 classes: accuracy | **{whole['accuracy']:.4f}** |",
        f"macro recall (mean class accuracy) | {whole['mean_class_accuracy']:.4f} |",
        f"expected calibration error (15 bins) | {whole['expected_calibration_error']:.4f} |",
        f"(coverage) / their accuracy | {whole['coverage']:.1%} / {whole['accuracy_when_certain']:.4f} |",
        f"without a near-duplicate in Train: accuracy | {test['without_near_duplicates_of_train']['accuracy']:.4f} |",
        f"with their votes, test | {whole['disagreement']['spearman']:.3f} |",
        f"accuracy / macro recall | {both} |",
        f"validation, 3,191 faces: accuracy | {valid['all']['accuracy']:.4f} |",
        f"Recall per expression on test: {recalls}",
    ):
        assert said in " ".join(readme().split())


@pytest.fixture
def audited():
    """The report of `affectlens audit bundled` on the test split, as it is committed."""
    return json.loads((ROOT / "docs" / "audit" / "report.json").read_text())


def test_the_audit_is_of_the_file_that_ships(audited):
    assert audited["model_sha256"] == hashlib.sha256(model_file("bundled").read_bytes()).hexdigest()
    assert (audited["split"], audited["clean"]["faces"]) == ("test", 3137)


def test_the_audit_found_what_was_evaluated(audited):
    measured = ("groups", "confidence")  # which evaluate has not
    clean = {key: value for key, value in audited["clean"].items() if key not in measured}
    assert clean == {key: value for key, value in evaluated("test")["all"].items() if key not in measured}


@pytest.mark.parametrize("notes", sorted((ROOT / "results").glob("*/notes.md")), ids=lambda file: file.parent.name)
def test_tables_of_a_work_end_with_its_notes(notes):
    assert notes.read_text(encoding="utf-8").strip() in notes.with_name("README.md").read_text(encoding="utf-8")
