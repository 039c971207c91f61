from dataclasses import replace

import pytest

from affectlens.core.errors import BadSetting
from affectlens.training.recipe import find
from affectlens.training.tables import Row, Table, rows_of

ROW = Row(find("default"), {"accuracy": 0.5})


def tables(*rows):
    return {str(number): Table("", (row,)) for number, row in enumerate(rows)}


def test_a_row_of_two_tables_has_the_figures_of_both():
    rows = rows_of(tables(ROW, replace(ROW, paper={"valence_ccc": 0.7}, cell=("tau", "one", "0"))))
    assert rows == {ROW.name: replace(ROW, paper={"accuracy": 0.5, "valence_ccc": 0.7})}


@pytest.mark.parametrize(
    "other",
    [
        replace(ROW, recipe=replace(ROW.recipe, epochs=7)),
        replace(ROW, after="first"),
        replace(ROW, paper={"accuracy": 0.6}),
    ],
)
def test_a_row_of_two_tables_is_the_same_in_both(other):
    with pytest.raises(BadSetting, match=f"'{ROW.name}' stands in two tables"):
        rows_of(tables(ROW, other))
