"""The file name is the registry: what a folder of the package offers, and how one entry is loaded.

Installed packages add entries of their own: an entry point of the group `affectlens.<kind>` names a module that exports
what a file of that folder would.
"""

import difflib
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from affectlens.core.errors import BadSetting, UnknownName


def available(kind: str) -> list[str]:
    """Public module stems in `affectlens/<kind>/`, sorted, and behind them names of installed plug-ins; imports none of
    them.

    `kind` is a folder in dotted form: "models", "losses", "data.readers", "faces.detectors", "faces.measures",
    "training.recipes".
    """
    files = sorted(_files(kind))
    return [*files, *sorted(_plugins(kind, tuple(sys.path)).keys() - set(files))]


def _files(kind: str) -> list[str]:
    package = importlib.import_module(f"affectlens.{kind}")
    return [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_") and not m.ispkg]


@lru_cache(maxsize=64)
def _plugins(kind: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """What packages on a `path` add; reading them takes some milliseconds."""
    del path
    return {entry.name: entry for entry in entry_points(group=f"affectlens.{kind}")}


def load(kind: str, name: str) -> ModuleType:
    """Import the entry `name` of `kind`.

    Raises:
        UnknownName: no such file; the message carries the nearest name. BadSetting: a plug-in cannot be imported.
    """
    names = available(kind)
    if name not in names:
        raise UnknownName(unknown(_singular(kind), name, names))
    if name in _files(kind):
        return importlib.import_module(f"affectlens.{kind}.{name}")
    entry = _plugins(kind, tuple(sys.path))[name]
    try:
        module: ModuleType = entry.load()
    except Exception as error:  # whatever a package of others raises
        owner = entry.dist.name if entry.dist else entry.value
        raise BadSetting(
            f"{_singular(kind)} '{name}' of the package '{owner}' cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return module


def build(kind: str, name: str, *arguments: Any, options: Mapping[str, Any]) -> Any:
    """What the entry's `build` makes of the arguments and the named options.

    Raises:
        UnknownName: no such entry. BadSetting: `build` has no such option, or not with a value of this type or range.
    """
    function = load(kind, name).build
    known = list(inspect.signature(function).parameters)[len(arguments) :]
    hints = typing.get_type_hints(function)
    checked: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known:
            raise BadSetting(unknown(f"option of {_singular(kind)} '{name}'", option, known))
        try:
            checked[option] = TypeAdapter(hints.get(option, Any)).validate_python(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise BadSetting(f"option '{option}' of {_singular(kind)} '{name}': {said}, got '{value}'") from error
    try:
        return function(*arguments, **checked)
    except (RuntimeError, TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise BadSetting(
            f"{_singular(kind)} '{name}' cannot be made with {given or 'its defaults'}: {error}"
        ) from error


def unknown(what: str, name: str, names: list[str]) -> str:
    """The one-line message for a name that is not among `names`."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    others = f"choose from: {', '.join(names)}" if names else "there is none"
    hint = f"did you mean '{near[0]}'?" if near else others
    return f"unknown {what} '{name}'; {hint}"


def _singular(kind: str) -> str:
    """What one entry is called: a reader of "data.readers", a loss of "losses"."""
    plural = kind.rpartition(".")[2]
    return plural.removesuffix("es" if plural.endswith("sses") else "s")
