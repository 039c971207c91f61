"""What a lamp is, and the one behind a URL: a file of `lamps/`, or an installed plug-in, for each scheme."""

from typing import Protocol, runtime_checkable

from affectlens.apps.light.palette import Light
from affectlens.core import catalog
from affectlens.core.errors import BadSetting, NetworkRefused
from affectlens.core.offline import network_forbidden

KIND = "apps.light.lamps"


@runtime_checkable
class Lamp(Protocol):
    """A lamp that can show a light."""

    name: str
    """Its URL without user and password."""

    def show(self, light: Light, over_s: float) -> None:
        """Fade to `light` in so many seconds; connects where there is no connection (any more).

        Raises:
            Exception: any; it was not reached, and may be asked again.
        """
        ...

    def close(self) -> None:
        """Close the connection; the lamp keeps its light."""
        ...


def schemes() -> str:
    """How the URLs of lamps begin, for messages."""
    *others, last = (f"{scheme}://" for scheme in catalog.available(KIND))
    return f"{', '.join(others)} or {last}"


def open_lamp(url: str) -> Lamp:
    """The lamp behind a URL; nothing is sent before `Lamp.show`. "%2F" is a slash in a password.

    Raises:
        BadSetting: not a URL of a lamp. MissingExtra: an extra is not installed. NetworkRefused: in offline mode, where
            the URL names a host.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in catalog.available(KIND):
        raise BadSetting(f"invalid lamp URL; it must begin with {schemes()} (docs/light.md)")
    lamp = catalog.build(KIND, scheme, url, options={})
    if not isinstance(lamp, Lamp):
        raise BadSetting(
            f"build() of the lamp '{scheme}' must return an object with name, show and close, got {type(lamp).__name__}"
        )
    if not rest.startswith("/") and network_forbidden():
        raise NetworkRefused(f"offline mode: connecting to the lamp '{lamp.name}' is not allowed")
    return lamp
