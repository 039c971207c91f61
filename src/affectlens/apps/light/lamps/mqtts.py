"""Any lamp with Home Assistant's JSON schema over MQTT, encrypted (TLS)."""

from affectlens.apps.light.lamps._mqtt import MqttLamp


def build(url: str) -> MqttLamp:
    """The lamp at mqtts://[user:password@]host[:port]/command/topic.

    Raises:
        BadSetting: another URL, no topic, or one with wildcards. MissingExtra: the extra "light" is not installed.
    """
    return MqttLamp(url, port=8883, encrypted=True)
