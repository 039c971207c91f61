"""Class names in users' own data: known expressions get their standard name, others are kept."""

from collections.abc import Iterable

from affectlens.core.errors import UnknownName
from affectlens.core.expressions import FERPLUS, canonical

OUTSIDE = "class outside the option labels"
"""Why an entry is left out whose class the option `labels` does not name."""


def class_name(name: str) -> str:
    """The project's name of a known expression, else `name` without surrounding space."""
    try:
        return canonical(name)
    except UnknownName:
        return name.strip()


def ordered(found: Iterable[str], option: str) -> tuple[str, ...]:
    """The classes that the option `labels` names ("a,b,c"); without it those found, FER+ in its order, others sorted.

    `found` is not iterated where the option names the classes.
    """
    if option:
        return tuple(dict.fromkeys(class_name(name) for name in option.split(",") if name.strip()))
    names = {class_name(name) for name in found}
    return (*(name for name in FERPLUS if name in names), *sorted(names - set(FERPLUS)))
