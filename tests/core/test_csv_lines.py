import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectlens.core.csv_lines import csv_line, text_of

FORMULAS = [
    *("=1+1.jpg", "@SUM(1).jpg", "-1+2.jpg", "+3.jpg", "=cmd|' /C calc'!A0"),
    *("\t=1.jpg", "\r=1.jpg", "\n=1.jpg", "＝1", "＋1", "－1", "＠1"),
]
OTHERS = ["plain.jpg", "in/=1+1.jpg", "a\n=1", "'quoted'", "''", "", " =1", "a\rb", "a;b", 'say "hi"', "1.5"]


def cells(line):
    (row,) = csv.reader(io.StringIO(line, newline=""))
    return row


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_has_an_apostrophe_before_it_unless_raw(text):
    for before in ("", "'", "''"):
        assert cells(csv_line([f"{before}{text}", "x"])) == [f"'{before}{text}", "x"]
        assert text_of(f"'{before}{text}") == f"{before}{text}"
        assert cells(csv_line([f"{before}{text}", "x"], raw=True)) == [f"{before}{text}", "x"]


@pytest.mark.parametrize("text", OTHERS)
def test_other_texts_stay_as_they_are(text):
    assert cells(csv_line([text, "x"])) == [text_of(text), "x"] == [text, "x"]


def test_numbers_are_no_formulas():
    assert csv_line([-1, -0.5, +1e-9, None, True, False, "-1"]) == "-1,-0.5,1e-09,,true,false,'-1\n"


def test_a_cell_with_a_separator_or_a_line_end_is_quoted():
    assert csv_line(["a\rb", "a;b", "a\tb", 'a"b', "a b"]) == '"a\rb","a;b","a\tb","a""b",a b\n'


@given(st.lists(st.text("'=+-@＝\t\r\n;,\"ab", max_size=8), min_size=2, max_size=4))
def test_every_text_comes_back(texts):
    assert [text_of(cell) for cell in cells(csv_line(texts))] == texts
    assert cells(csv_line(texts, raw=True)) == texts
