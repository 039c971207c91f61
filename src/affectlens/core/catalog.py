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
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any

from pydantic import Field, PydanticUserError, TypeAdapter, ValidationError

from affectlens.core.errors import AffectLensError, BadSetting, UnknownName
from affectlens.core.messages import one_line

_TEXT = Annotated[str, Field(min_length=1)]

DOORS: Mapping[str, Mapping[str, Any]] = {
    "apps.light.lamps": {"build": ("url",)},
    "data.readers": {
        "read": ("directory", "split", "options"),
        "labels": ("directory", "options"),
        "LICENCE": _TEXT,
        "OPTIONS": dict[str, tuple[str, ...]],
    },
    "faces.detectors": {"build": ()},
    "faces.measures": {"build": ()},
    "losses": {"build": ("statistics",)},
    "models": {"build": ("classes", "in_channels")},
    "runtime.writers": {"build": ("file", "schema")},
    "training.recipes": {"ROWS": Annotated[dict[str, Any], Field(min_length=1)]},
}
"""What every file of a kind defines: functions with the arguments that they are called with, and values of a type. What
`build` takes beyond these arguments are the options of the entry; each has a type and a default.
"""


def available(kind: str) -> list[str]:
    """Public module stems in `affectlens/<kind>/`, sorted, and behind them names of installed plug-ins; imports none of
    them.

    `kind` is a folder in dotted form: a key of `DOORS`.
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
        UnknownName: no such file; the message carries the nearest name. BadSetting: it cannot be imported, or does not
            define what `DOORS` says.
    """
    names = available(kind)
    if name not in names:
        raise UnknownName(unknown(_singular(kind), name, names))
    try:
        if name in _files(kind):
            module = importlib.import_module(f"affectlens.{kind}.{name}")
        else:
            module = _plugins(kind, tuple(sys.path))[name].load()
    except Exception as error:  # whatever a file of others raises
        raise BadSetting(f"{_entry(kind, name)} cannot be loaded: {one_line(error)}") from error
    _check(kind, name, module)
    return module


def options(kind: str, name: str) -> dict[str, Any]:
    """The options of an entry's `build`, and the type of each.  Raises as `load`."""
    return _options(kind, name, load(kind, name).build)


def build(kind: str, name: str, *arguments: Any, options: Mapping[str, Any]) -> Any:
    """What the entry's `build` makes of the arguments and the named options.

    Raises:
        UnknownName: no such entry. BadSetting: as `load`, or `build` has no such option, or not with a value of this
            type or range.
    """
    function = load(kind, name).build
    known = _options(kind, name, function)
    checked: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known:
            raise BadSetting(unknown("option", option, list(known), f"of {_singular(kind)} '{name}'"))
        try:
            checked[option] = TypeAdapter(known[option]).validate_python(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise BadSetting(f"option '{option}' of {_singular(kind)} '{name}': {said}, got '{value}'") from error
        except PydanticUserError as error:
            raise BadSetting(f"{_entry(kind, name)}: the type of the option '{option}' is not supported") from error
    try:
        return function(*arguments, **checked)
    except (AffectLensError, OSError):
        raise
    except Exception as error:
        said = str(error) if isinstance(error, RuntimeError | TypeError | ValueError) else one_line(error)
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise BadSetting(
            f"{_singular(kind)} '{name}' cannot be built with {given or 'its defaults'}: {said}"
        ) from error


def _entry(kind: str, name: str) -> str:
    """An entry and where it comes from."""
    what = f"{_singular(kind)} '{name}'"
    if name in _files(kind):
        return f"{what} (affectlens/{kind.replace('.', '/')}/{name}.py)"
    plugin = _plugins(kind, tuple(sys.path))[name]
    return f"{what} of the package '{plugin.dist.name if plugin.dist else plugin.value}'"


def _check(kind: str, name: str, module: ModuleType) -> None:
    """Raises BadSetting unless the module defines what `DOORS` says of its kind."""
    for door, expected in DOORS.get(kind, {}).items():
        found = getattr(module, door, None)
        if not isinstance(expected, tuple):
            try:
                TypeAdapter(expected).validate_python(found, strict=True)
            except ValidationError as error:
                said = "it is missing" if found is None else error.errors()[0]["msg"]
                raise BadSetting(f"{_entry(kind, name)} must define {door}: {said}") from error
            continue
        arguments = [*expected, *["..."] * (door == "build")]
        wanted = f"{_entry(kind, name)} must define {door}({', '.join(arguments)})"
        if not callable(found):
            raise BadSetting(f"{wanted}: {'it is missing' if found is None else 'it is not a function'}")
        signature = inspect.signature(found)
        if gathering := [
            one for one in signature.parameters.values() if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        ]:
            raise BadSetting(f"{wanted} with one named parameter per option instead of {gathering[0]}")
        try:
            signature.bind(*expected)
        except TypeError as error:
            raise BadSetting(f"{wanted}, with defaults for further parameters; got {door}{signature}") from error
        if door == "build":
            _options(kind, name, found)


def _options(kind: str, name: str, function: Any) -> dict[str, Any]:
    """The options of `function`, the `build` of an entry, and the type of each.

    Raises:
        BadSetting: one has no annotation, or none that can be resolved.
    """
    parameters = list(inspect.signature(function).parameters.values())[len(DOORS[kind]["build"]) :]
    names = vars(sys.modules[inspect.unwrap(function).__module__])
    found: dict[str, Any] = {}
    for one in parameters:
        if one.annotation is one.empty:
            raise BadSetting(
                f"{_entry(kind, name)}: the option '{one.name}' of build has no type annotation; write "
                f"'{one.name}: TYPE = DEFAULT'"
            )
        annotated = SimpleNamespace(__annotations__={one.name: one.annotation})
        try:
            found |= typing.get_type_hints(annotated, names, include_extras=True)
        except Exception as error:  # whatever stands there
            raise BadSetting(
                f"{_entry(kind, name)}: cannot resolve the type of the option '{one.name}' of build: {one_line(error)}"
            ) from error
    return found


_MAX_SHOWN = 40
"""Names of which a message lists no more."""


def unknown(what: str, name: str, names: list[str], where: str = "") -> str:
    """The one-line message for a name that is not among `names`; `where` says of what, "of 'ferplus'" for example."""
    begun = [one for one in names if len(name) > 2 and one.startswith(name)]
    near = begun or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    shown = names if len(names) <= _MAX_SHOWN else [*names[:_MAX_SHOWN], f"and {len(names) - _MAX_SHOWN} more"]
    others = f"choose from: {', '.join(one or 'nothing' for one in shown)}" if names else "none are available"
    hint = f"did you mean '{near[0]}'?" if near else others
    return f"unknown {what} '{name}'{where and f' {where}'}; {hint}"


def _singular(kind: str) -> str:
    """What one entry is called: a reader of "data.readers", a loss of "losses"."""
    plural = kind.rpartition(".")[2]
    return plural.removesuffix("es" if plural.endswith("sses") else "s")
