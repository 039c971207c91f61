"""A controller with WLED, over HTTP."""

from typing import Any

from affectlens.apps.light.lamps import _host
from affectlens.apps.light.palette import Light
from affectlens.core.errors import BadSetting, MissingExtra

_FORM = "wled://host[:port]"


class WledLamp:
    """A WLED controller on its JSON API: its selected segments, in one colour.

    Raises:
        BadSetting: more or less than host and port is given. MissingExtra: the extra "light" is not installed.
    """

    def __init__(self, url: str) -> None:
        parts, port = _host.split(url, 80, _FORM)
        try:
            import httpx2
        except ImportError as error:
            raise MissingExtra("a WLED lamp", "light") from error
        if parts.path.strip("/") or parts.username is not None:
            raise BadSetting(f"a WLED URL may contain only a host and a port; expected {_FORM}")
        self.name = f"wled://{_host.place(parts)}"
        try:
            self._url = httpx2.URL(f"http://{_host.place(parts)}/json/state", port=port)
        except httpx2.InvalidURL as error:
            raise BadSetting(f"invalid host in a WLED URL ({str(error).lower()}): {_FORM}") from error
        # no proxy: a lamp is in the same network
        self._client = httpx2.Client(timeout=_host.RESPONSE_TIMEOUT_S, trust_env=False)

    def show(self, light: Light, over_s: float) -> None:
        """As `Lamp.show`."""
        answer = self._client.post(self._url, json=_wled(light, over_s))
        if not answer.is_success:
            raise ConnectionError(f"HTTP status {answer.status_code}")
        try:
            understood = answer.json().get("success")
        except (ValueError, AttributeError):
            understood = False
        if not understood:
            raise ConnectionError("the response is not from a WLED controller")

    def close(self) -> None:
        """As `Lamp.close`."""
        self._client.close()


def _wled(light: Light, over_s: float) -> dict[str, Any]:
    """The state to be set: one colour without an effect, faded to in tenths of a second, this once ("tt").

    A segment without a number stands for all that are selected; in a list it would be the first.
    """
    level, tenths = round(light.brightness * 255), round(over_s * 10)
    if not level:
        return {"on": False, "tt": tenths}
    return {"on": True, "bri": level, "tt": tenths, "seg": {"fx": 0, "col": [list(light.rgb)]}}


def build(url: str) -> WledLamp:
    """The lamp at wled://host[:port].  Raises as `WledLamp`."""
    return WledLamp(url)
