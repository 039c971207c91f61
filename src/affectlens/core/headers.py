"""Columns of a table, inferred from its header."""

from collections.abc import Sequence

from affectlens.core import catalog
from affectlens.core.columns import Column, Schema
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.measures import Measure
from affectlens.core.messages import one_line, warn_once
from affectlens.core.outputs import OUTPUTS


def schema_in(header: Sequence[str]) -> Schema:
    """The columns of a table with this header; unknown ones are left out.

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
    """The measure that is installed under this name.

    Raises:
        UnknownName: no such measure. BadSetting: its `build` fails, or returns something else or one of another name.
    """
    try:
        measure = catalog.load("faces.measures", name).build()
    except AffectLensError:
        raise
    except Exception as error:  # of code from elsewhere
        raise BadSetting(f"cannot create the installed measure '{name}': {one_line(error)}") from error
    if not isinstance(measure, Measure):
        raise BadSetting(f"the installed measure '{name}' must be an affectlens.Measure, got {type(measure).__name__}")
    if measure.name != name:
        raise BadSetting(f"the installed measure '{name}' has the name '{measure.name}'; the names must match")
    return measure


def all_measures() -> tuple[Measure, ...]:
    """All that are installed and can be made, whatever network they need; the others are a warning in the log."""
    found = []
    for name in catalog.available("faces.measures"):
        try:
            found.append(make_measure(name))
        except AffectLensError as error:
            warn_once(str(error))
    return tuple(found)
