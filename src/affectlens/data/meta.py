"""Ages and groups of samples from an additional CSV file (`?meta=FILE`)."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from affectlens.core.errors import BadData
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._tables import number, rows

_OWN = ("id", "age_years")


def with_meta(samples: Iterator[Sample | Dropped], file: Path) -> Iterator[Sample | Dropped]:
    """`samples` with the ages and groups of their rows in `file`; one that has no row stays as it is.

    The column `id` is a sample's id or, where it is unique, the name of its file; `age_years` is optional, further
    columns become groups. Where no sample has a row, a warning says so.

    Raises:
        BadData: the file has no column `id`, names something twice, or an age is no number.
    """
    known: dict[str, tuple[str, dict[str, str]]] = {}
    for place, row in rows(file, ("id",)):
        if row["id"] in known:
            raise BadData(f"{place}: duplicate id '{row['id']}'")
        known[row["id"]] = (place, row)
    by_name: dict[str, str] = {}
    seen = described = 0
    for sample in samples:
        if isinstance(sample, Dropped):
            yield sample
            continue
        seen += 1
        name = sample.id if sample.id in known else sample.path.name
        if name not in known:
            yield sample
            continue
        place, row = known[name]
        if name != sample.id and by_name.setdefault(name, sample.id) != sample.id:
            raise BadData(
                f"{place}: the file name '{name}' is ambiguous ('{by_name[name]}' and '{sample.id}'); use their ids"
            )
        described += 1
        yield _described(sample, place, row)
    if seen and not described:
        logging.getLogger("affectlens").warning("'%s' has no row for any of the %d samples", file, seen)


def _described(sample: Sample, place: str, row: dict[str, str]) -> Sample:
    """The sample with what its row says."""
    groups = {key: value for key, value in row.items() if key not in _OWN}
    age = number(row["age_years"], place, "age_years") if row.get("age_years") else sample.age_years
    if age is not None and not age >= 0:
        raise BadData(f"{place}: age_years must be >= 0, got {age}")
    return replace(sample, age_years=age, groups={**sample.groups, **groups})
