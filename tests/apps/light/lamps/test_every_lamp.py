"""What every lamp in the catalogue must do, and each against a real broker (Mosquitto) or HTTP server, on loopback."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affectlens.apps.light import lamp as lamps
from affectlens.apps.light.driver import LampThread
from affectlens.apps.light.lamp import KIND, open_lamp
from affectlens.apps.light.lamps import _host
from affectlens.apps.light.palette import Light
from affectlens.core import catalog
from affectlens.core.errors import BadSetting, MissingExtra, NetworkRefused

URLS = {
    "mqtt": "mqtt://ann:s3cret@host/topic",
    "mqtts": "mqtts://ann:s3cret@host/topic",
    "wled": "wled://host",
}
"""One of each lamp, with a password where it may have one."""
ORANGE, BLUE, OFF = Light((255, 128, 0), 0.5), Light((0, 0, 255), 1.0), Light((255, 170, 90), 0.0)
ON = {"state": "ON", "brightness": 128, "color": {"r": 255, "g": 128, "b": 0}, "transition": 0.2}


@pytest.fixture
def lit():
    """Opens lamps, which are closed in the end."""
    opened = []

    def start(url):
        opened.append(open_lamp(url))
        return opened[-1]

    yield start
    for lamp in opened:
        lamp.close()


@pytest.fixture
def drive():
    threads = []

    def start(url):
        threads.append(LampThread(open_lamp(url), rate=100, pauses_s=(0.05, 0.1)))
        return threads[-1]

    yield start
    for thread in threads:
        thread.close()


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(_host, "RESPONSE_TIMEOUT_S", 0.5)


@pytest.mark.parametrize("scheme", catalog.available(KIND))
def test_every_lamp_is_called_by_its_url_without_a_password_and_can_be_closed_unused(scheme):
    assert scheme in URLS, f"add a row to URLS in tests/apps/light/lamps/test_every_lamp.py for '{scheme}'"
    lamp = open_lamp(URLS[scheme])
    assert lamp.name == URLS[scheme].replace("ann:s3cret@", "")
    lamp.close()


def test_a_lamp_is_one_file_and_needs_no_host(contribute, monkeypatch, lit, tmp_path):
    page = Path(__file__).parents[4] / "docs" / "light.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    contribute(KIND, "file", example)
    monkeypatch.setattr(lamps, "network_forbidden", lambda: True)
    lit(f"file://{tmp_path}/lamp.txt").show(ORANGE, 0.2)
    assert (tmp_path / "lamp.txt").read_text() == "(255, 128, 0) 0.50\n"
    with pytest.raises(BadSetting, match="must begin with file://, mqtt://, "):
        open_lamp("serial:///dev/ttyUSB0")


def test_what_build_returns_must_be_a_lamp(contribute):
    contribute(KIND, "file", "def build(url): return url")
    with pytest.raises(
        BadSetting, match="build\\(\\) of the lamp 'file' must return an object with name, show and close"
    ):
        open_lamp("file:///lamp.txt")


def test_mqtt_speaks_home_assistants_json_schema(broker, listen, lit):
    port = broker().port
    messages = listen(port, "room/lamp/set")
    lamp = lit(f"mqtt://127.0.0.1:{port}/room/lamp/set")
    lamp.show(ORANGE, 0.2)
    lamp.show(OFF, 1.0)
    first, second = messages.get(timeout=20), messages.get(timeout=20)
    assert json.loads(first.payload) == ON
    assert json.loads(second.payload) == {"state": "OFF", "transition": 1.0}
    assert (first.qos, first.retain) == (1, False)


def test_mqtt_shows_user_and_password(broker, listen, lit):
    port = broker({"ann": "p/w:@ü"}).port
    messages = listen(port, "lamp", "ann", "p/w:@ü")
    lit(f"mqtt://ann:p%2Fw:%40ü@127.0.0.1:{port}/lamp").show(ORANGE, 0.2)
    assert json.loads(messages.get(timeout=20).payload) == ON
    for user in ("", "ann:wrong@", "ann@"):
        lamp = lit(f"mqtt://{user}127.0.0.1:{port}/lamp")
        with pytest.raises(ConnectionError, match=r"^the broker refused the connection: not authorized$"):
            lamp.show(ORANGE, 0.2)


def test_a_password_is_in_no_message(broker, drive, until, caplog):
    port = broker({"ann": "right"}).port
    drive(f"mqtt://ann:s3cret@127.0.0.1:{port}/lamp").set(ORANGE)
    until(lambda: caplog.messages)
    assert (
        f"no response from mqtt://127.0.0.1:{port}/lamp (the broker refused the connection: not authorized)"
        in caplog.text
    )
    assert "s3cret" not in caplog.text


def test_mqtt_survives_a_broker_that_stops_and_starts(broker, listen, drive, until, caplog):
    mosquitto = broker()
    messages = listen(mosquitto.port, "lamp")
    thread = drive(f"mqtt://127.0.0.1:{mosquitto.port}/lamp")
    thread.set(ORANGE)
    assert json.loads(messages.get(timeout=20).payload)["color"]["g"] == 128
    mosquitto.stop()
    thread.set(BLUE)
    until(lambda: caplog.messages)
    time.sleep(0.3)  # a few more attempts
    mosquitto.start()
    messages = listen(mosquitto.port, "lamp")
    until(lambda: len(caplog.messages) == 2)
    thread.set(ORANGE)
    until(lambda: json.loads(messages.get(timeout=20).payload)["color"] == {"r": 255, "g": 128, "b": 0})
    assert "no response from" in caplog.messages[0]
    assert caplog.messages[1].startswith("connection to mqtt://")
    assert len(caplog.messages) == 2


def test_a_broker_that_says_nothing_is_not_waited_for(hasty, lit):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        lamp = lit(f"mqtt://127.0.0.1:{silent.getsockname()[1]}/lamp")
        with pytest.raises(TimeoutError, match="the broker did not respond"):
            lamp.show(ORANGE, 0.2)


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1 and its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl on this machine")
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files


paho_leaves_refused_sockets_open = pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")


@paho_leaves_refused_sockets_open
def test_encrypted_mqtt_trusts_only_certificates_that_it_knows(
    broker, listen, drive, until, certificate, monkeypatch, caplog
):
    port = broker(certificate=certificate).port
    drive(f"mqtts://127.0.0.1:{port}/lamp").set(BLUE)
    until(lambda: caplog.messages)
    assert "certificate verify failed" in caplog.messages[0]
    messages = listen(port, "lamp", authority=str(certificate[0]))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert json.loads(messages.get(timeout=20).payload)["color"] == {"r": 0, "g": 0, "b": 255}


@paho_leaves_refused_sockets_open
def test_a_broker_that_does_not_encrypt_is_not_spoken_to(broker, listen, drive, until, caplog):
    port = broker().port
    messages = listen(port, "lamp")
    drive(f"mqtts://127.0.0.1:{port}/lamp").set(BLUE)
    until(lambda: caplog.messages)
    assert messages.empty()


def test_wled_gets_its_json(wled, lit):
    server = wled()
    lamp = lit(f"wled://127.0.0.1:{server.port}/")
    lamp.show(ORANGE, 0.2)
    lamp.show(OFF, 1.0)
    assert server.got == [
        ("/json/state", {"on": True, "bri": 128, "tt": 2, "seg": {"fx": 0, "col": [[255, 128, 0]]}}),
        ("/json/state", {"on": False, "tt": 10}),
    ]


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"error": 3}', b""])
def test_what_answers_otherwise_than_wled_is_no_lamp(wled, lit, body):
    server = wled()
    server.body = body
    with pytest.raises(ConnectionError, match="the response is not from a WLED controller"):
        lit(f"wled://127.0.0.1:{server.port}").show(ORANGE, 0.2)


def test_wled_that_fails_hangs_or_is_gone_comes_back(hasty, wled, drive, until, caplog):
    server = wled()
    port = server.port
    thread = drive(f"wled://127.0.0.1:{port}")
    thread.set(ORANGE)
    until(lambda: server.got)

    server.status = 500
    thread.set(BLUE)
    until(lambda: len(caplog.messages) == 1)
    assert "HTTP status 500" in caplog.messages[0]
    server.status = 200
    until(lambda: len(caplog.messages) == 2)

    server.answers.clear()
    thread.set(ORANGE)
    until(lambda: len(caplog.messages) == 3)
    assert "timed out" in caplog.messages[2]
    server.answers.set()
    until(lambda: len(caplog.messages) == 4)

    server.stop()
    thread.set(BLUE)
    until(lambda: len(caplog.messages) == 5)
    server = wled(port)
    until(lambda: len(caplog.messages) == 6)
    assert server.got[-1][1]["seg"]["col"] == [[0, 0, 255]]
    assert all(f"wled://127.0.0.1:{port}" in message for message in caplog.messages)


def test_a_lamp_at_home_is_not_looked_for_behind_a_proxy(wled, lit, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server = wled()
    lit(f"wled://127.0.0.1:{server.port}").show(ORANGE, 0.2)
    assert len(server.got) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "lamp",
        "http://host/topic",
        "mqtt://",
        "mqtt:///topic",
        "mqtt://host",
        "mqtt://host/",
        "mqtt://host:0/topic",
        "mqtt://host:99999/topic",
        "mqtt://host/room/+/set",
        "mqtt://host/room/%23",
        "mqtt://[::1/topic",
        "mqtt://ann:s3cret/x@host/topic",
        "mqtt://ann:1234/s3cret@host/topic",
        "mqtt://ann:s3cret#x@host/topic",
        "mqtt://ann:s3cret?x@host/topic",
        "mqtt://host/a/#",
        "mqtt://host/a?",
        "wled://",
        "wled://host/json",
        "wled://ann:s3cret@host",
        "wled://a b",
        "wled://999.1.1.1",
    ],
)
def test_what_is_no_lamp_is_told_the_form_and_nothing_secret(url):
    with pytest.raises(BadSetting) as refused:
        open_lamp(url)
    assert any(f"{scheme}://" in str(refused.value) for scheme in catalog.available(KIND))
    assert "s3cret" not in str(refused.value)
    assert "1234" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("mqtt://ann:s3cret@host/a/b", "mqtt://host/a/b"),
        ("MQTTS://host:1/a%20b", "mqtts://host:1/a b"),
        ("mqtt://[::1]:99/set", "mqtt://[::1]:99/set"),
        ("wled://[fe80::1]/", "wled://[fe80::1]"),
        ("wled://lamp.local:8080", "wled://lamp.local:8080"),
    ],
)
def test_a_lamp_is_called_by_its_url_without_the_password(lit, url, name):
    assert lit(url).name == name


@pytest.mark.parametrize(("url", "package"), [("mqtt://host/set", "paho.mqtt.client"), ("wled://host", "httpx2")])
def test_without_the_package_the_extra_is_named(monkeypatch, url, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"affectlens\[light\]"):
        open_lamp(url)


def test_offline_there_are_no_lamps(monkeypatch):
    monkeypatch.setattr(lamps, "network_forbidden", lambda: True)
    for url in ("mqtt://ann:s3cret@host/set", "wled://host"):
        with pytest.raises(
            NetworkRefused, match=r"^offline mode: connecting to the lamp '[a-z]+://host[^@]*' is not allowed$"
        ):
            open_lamp(url)
