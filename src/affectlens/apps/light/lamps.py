"""Lamps by their URL: any with Home Assistant's JSON schema over MQTT, and WLED over HTTP."""

import json
import queue
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from affectlens.apps.light.palette import Light
from affectlens.core.errors import BadSetting, MissingExtra, NetworkRefused
from affectlens.core.offline import network_forbidden

if TYPE_CHECKING:
    from paho.mqtt.client import Client

FORMS = "mqtt://[user:password@]host[:port]/command/topic, mqtts://... (encrypted) or wled://host[:port]"
"""What `open_lamp` understands."""

_PORTS = {"mqtt": 1883, "mqtts": 8883, "wled": 80}
_HOST = re.compile(r"[\w.:%-]+")
_RESPONSE_TIMEOUT_S = 3.0
"""How long a lamp may take for each answer."""


class Lamp(Protocol):
    """Something that shines."""

    name: str
    """Its URL without user and password."""

    def show(self, light: Light, over_s: float) -> None:
        """Fade to `light` in so many seconds; connects where there is no connection (any more).

        Raises:
            Exception: any; it was not reached, and may be asked again.
        """
        ...

    def close(self) -> None:
        """Let the connection go; the light stays."""
        ...


def open_lamp(url: str) -> Lamp:
    """The lamp behind a URL (`FORMS`); nothing is sent before `Lamp.show`. "%2F" is a slash in a password.

    Raises:
        BadSetting: not a URL of a lamp. MissingExtra: the extra "light" is not installed.
        NetworkRefused: in offline mode.
    """
    try:
        parts = urlsplit(url)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        unclear = set("?#") & set(url) or "@" in parts.path
        good = port > 0 and not unclear and _HOST.fullmatch(parts.hostname or "")
    except (KeyError, ValueError):
        good = False
    if not good:
        raise BadSetting(
            f"this is not the URL of a lamp: {FORMS}; write /, @, ? and # in names as %2F, %40, %3F and %23"
        )
    lamp: Lamp = WledLamp(parts, port) if parts.scheme == "wled" else MqttLamp(parts, port)
    if network_forbidden():
        raise NetworkRefused(f"offline mode: the lamp '{lamp.name}' was refused")
    return lamp


class MqttLamp:
    """A lamp that takes Home Assistant's JSON light schema on its command topic; each message is acknowledged by the
    broker (QoS 1), none is retained.

    Raises:
        BadSetting: no topic, or one with wildcards. MissingExtra: the extra "light" is not installed.
    """

    def __init__(self, parts: SplitResult, port: int) -> None:
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError as error:
            raise MissingExtra("a lamp over MQTT", "light") from error
        self._host, self._port, self._encrypted = parts.hostname or "", port, parts.scheme == "mqtts"
        self._user = None if parts.username is None else unquote(parts.username)
        self._password = None if parts.password is None else unquote(parts.password)
        self._topic = unquote(parts.path.removeprefix("/"))
        if not self._topic or set(self._topic) & set("+#\0"):
            raise BadSetting(f"a lamp over MQTT needs a command topic without wildcards: {FORMS}")
        self.name = f"{parts.scheme}://{_place(parts)}/{self._topic}"
        self._client: Client | None = None

    def show(self, light: Light, over_s: float) -> None:
        """As `Lamp.show`."""
        try:
            if self._client is None or not self._client.is_connected():
                self.close()
                self._client = self._connect()
            sent = self._client.publish(self._topic, json.dumps(_home_assistant(light, over_s)), qos=1)
            sent.wait_for_publish(_RESPONSE_TIMEOUT_S)
            if not sent.is_published():
                raise TimeoutError("the broker acknowledges nothing")
        except Exception:
            self.close()  # with what was not acknowledged, which would come late
            raise

    def _connect(self) -> "Client":
        """A client that the broker has let in."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        name = f"affectlens-{secrets.token_hex(4)}"
        client = Client(CallbackAPIVersion.VERSION2, name, reconnect_on_failure=False)
        client.on_connect = lambda _client, _data, _flags, code, _properties: answers.put(code)
        client.connect_timeout = _RESPONSE_TIMEOUT_S
        if self._encrypted:
            client.tls_set()
        if self._user is not None:
            client.username_pw_set(self._user, self._password)
        client.connect(self._host, self._port)
        client.loop_start()
        try:
            code = answers.get(timeout=_RESPONSE_TIMEOUT_S)
        except queue.Empty:
            _end(client)
            raise TimeoutError("the broker says nothing") from None
        if code.is_failure:
            _end(client)
            raise ConnectionError(f"the broker refuses: {str(code).lower()}")
        return client

    def close(self) -> None:
        """As `Lamp.close`."""
        client, self._client = self._client, None
        if client is not None:
            _end(client)


def _end(client: "Client") -> None:
    client.disconnect()
    with suppress(AttributeError):  # paho's thread may have ended by itself a moment ago
        client.loop_stop()


def _home_assistant(light: Light, over_s: float) -> dict[str, Any]:
    """The message of the JSON schema that Home Assistant itself would send; "color_mode" belongs to states only."""
    level = round(light.brightness * 255)
    if not level:
        return {"state": "OFF", "transition": round(over_s, 2)}
    red, green, blue = light.rgb
    colour = {"r": red, "g": green, "b": blue}
    return {"state": "ON", "brightness": level, "color": colour, "transition": round(over_s, 2)}


class WledLamp:
    """A WLED controller on its JSON API: its selected segments, in one colour.

    Raises:
        BadSetting: more than host and port are given. MissingExtra: the extra "light" is not installed.
    """

    def __init__(self, parts: SplitResult, port: int) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise MissingExtra("a lamp with WLED", "light") from error
        if parts.path.strip("/") or parts.username is not None:
            raise BadSetting(f"a lamp with WLED has a host and a port only: {FORMS}")
        self.name = f"wled://{_place(parts)}"
        try:
            self._url = httpx2.URL(f"http://{_place(parts)}/json/state", port=port)
        except httpx2.InvalidURL as error:
            raise BadSetting(f"a lamp with WLED needs the name of a host ({str(error).lower()}): {FORMS}") from error
        # no proxy: a lamp is in the same network
        self._client = httpx2.Client(timeout=_RESPONSE_TIMEOUT_S, trust_env=False)

    def show(self, light: Light, over_s: float) -> None:
        """As `Lamp.show`."""
        answer = self._client.post(self._url, json=_wled(light, over_s))
        if not answer.is_success:
            raise ConnectionError(f"it answers {answer.status_code}")
        try:
            understood = answer.json().get("success")
        except (ValueError, AttributeError):
            understood = False
        if not understood:
            raise ConnectionError("what answers is no WLED")

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


def _place(parts: SplitResult) -> str:
    """Host and port as they stand in the URL."""
    return parts.netloc.rpartition("@")[2]
