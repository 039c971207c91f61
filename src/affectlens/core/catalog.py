"""The file name is the registry: what a folder of the package offers, and how one entry is loaded."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from affectlens.core.errors import BadSetting, UnknownName


def available(kind: str) -> list[str]:
    """Public module stems in `affectlens/<kind>/`, sorted; imports none of them.

    `kind` is a folder in dotted form: "models", "losses", "data.readers", "faces.detectors", "training.recipes".
    """
    package = importlib.import_module(f"affectlens.{kind}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_") and not m.ispkg)


def load(kind: str, name: str) -> ModuleType:
    """Import the entry `name` of `kind`.

    Raises:
        UnknownName: no such file; the message carries the nearest name.
    """
    names = available(kind)
    if name not in names:
        plural = kind.rpartition(".")[2]
        raise UnknownName(unknown(plural.removesuffix("es" if plural.endswith("sses") else "s"), name, names))
    return importlib.import_module(f"affectlens.{kind}.{name}")


def build(kind: str, name: str, *arguments: Any, options: Mapping[str, Any]) -> Any:
    """What the entry's `build` makes of the arguments and the named options.

    Raises:
        UnknownName: no such entry. BadSetting: `build` has no such option.
    """
    function = load(kind, name).build
    known = [p.name for p in inspect.signature(function).parameters.values() if p.default is not p.empty]
    for option in options:
        if option not in known:
            raise BadSetting(unknown(f"option of {kind.rpartition('.')[2].rstrip('s')} '{name}'", option, known))
    return function(*arguments, **options)


def unknown(what: str, name: str, names: list[str]) -> str:
    """The one-line message for a name that is not among `names`."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"choose from: {', '.join(names)}"
    return f"unknown {what} '{name}'; {hint}"
