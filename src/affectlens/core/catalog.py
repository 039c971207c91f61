"""The file name is the registry: what a folder of the package offers, and how one entry is loaded."""

import difflib
import importlib
import pkgutil
from types import ModuleType

from affectlens.core.errors import UnknownName


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


def unknown(what: str, name: str, names: list[str]) -> str:
    """The one-line message for a name that is not among `names`."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"choose from: {', '.join(names)}"
    return f"unknown {what} '{name}'; {hint}"
