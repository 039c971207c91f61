"""What is known of the columns of a table by its header."""

from collections.abc import Sequence

from affectlens.core import catalog
from affectlens.core.columns import Column, Schema
from affectlens.core.measures import Measure
from affectlens.core.outputs import OUTPUTS


def schema_in(header: Sequence[str]) -> Schema:
    """The columns of a table with this header; those that nobody knows are left out.

    Raises:
        BadSetting: there are columns of the same name.
    """
    return Schema.of_names(header, columns_in(header))


def columns_in(header: Sequence[str]) -> tuple[Column, ...]:
    """Of the columns that not every row has, those that may stand in a table with this header: of measures that are
    installed, and of outputs of networks.
    """
    known = [column for measure in all_measures() for column in measure.columns]
    known += [column for output in OUTPUTS.values() for column in output.columns_in(header)]
    found: dict[str, Column] = {}
    for column in known:
        found.setdefault(column.name, column)
    return tuple(found.values())


def make_measure(name: str) -> Measure:
    """The measure that is installed under this name.  Raises UnknownName."""
    measure: Measure = catalog.load("faces.measures", name).build()
    return measure


def all_measures() -> tuple[Measure, ...]:
    """All that are installed, whatever network they need."""
    return tuple(map(make_measure, catalog.available("faces.measures")))
