import hashlib
import re

import pytest

from affectlens.core.session import model_file, open_session, read_spec


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
