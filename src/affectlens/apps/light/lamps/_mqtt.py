"""A lamp on an MQTT broker."""

import json
import queue
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from affectlens.apps.light.lamps import _host
from affectlens.apps.light.palette import Light
from affectlens.core.errors import BadSetting, MissingExtra

if TYPE_CHECKING:
    from paho.mqtt.client import Client


class MqttLamp:
    """A lamp that takes Home Assistant's JSON light schema on its command topic; each message is acknowledged by the
    broker (QoS 1), none is retained.

    Args:
        url: SCHEME://[user:password@]host[:port]/command/topic.
        port: where the URL has none.
        encrypted: with TLS.

    Raises:
        BadSetting: another URL, no topic, or one with wildcards. MissingExtra: the extra "light" is not installed.
    """

    def __init__(self, url: str, port: int, encrypted: bool) -> None:
        form = f"{'mqtts' if encrypted else 'mqtt'}://[user:password@]host[:{port}]/command/topic"
        parts, port = _host.split(url, port, form)
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError as error:
            raise MissingExtra("an MQTT lamp", "light") from error
        self._host, self._port, self._encrypted = parts.hostname or "", port, encrypted
        self._user = None if parts.username is None else unquote(parts.username)
        self._password = None if parts.password is None else unquote(parts.password)
        self._topic = unquote(parts.path.removeprefix("/"))
        if not self._topic or set(self._topic) & set("+#\0"):
            raise BadSetting(f"an MQTT lamp needs a command topic without wildcards (+, #); expected {form}")
        self.name = f"{parts.scheme}://{_host.place(parts)}/{self._topic}"
        self._client: Client | None = None

    def show(self, light: Light, over_s: float) -> None:
        """As `Lamp.show`."""
        try:
            if self._client is None or not self._client.is_connected():
                self.close()
                self._client = self._connect()
            sent = self._client.publish(self._topic, json.dumps(_home_assistant(light, over_s)), qos=1)
            sent.wait_for_publish(_host.RESPONSE_TIMEOUT_S)
            if not sent.is_published():
                raise TimeoutError("the broker did not acknowledge the message")
        except Exception:
            self.close()  # with what was not acknowledged, which would come late
            raise

    def _connect(self) -> "Client":
        """A client that is connected to the broker."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        name = f"affectlens-{secrets.token_hex(4)}"
        client = Client(CallbackAPIVersion.VERSION2, name, reconnect_on_failure=False)
        client.on_connect = lambda _client, _data, _flags, code, _properties: answers.put(code)
        client.connect_timeout = _host.RESPONSE_TIMEOUT_S
        if self._encrypted:
            client.tls_set()
        if self._user is not None:
            client.username_pw_set(self._user, self._password)
        client.connect(self._host, self._port)
        client.loop_start()
        try:
            code = answers.get(timeout=_host.RESPONSE_TIMEOUT_S)
        except queue.Empty:
            _end(client)
            raise TimeoutError("the broker did not respond") from None
        if code.is_failure:
            _end(client)
            raise ConnectionError(f"the broker refused the connection: {str(code).lower()}")
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
