"""A real MQTT broker, a real HTTP server and a lamp that does what a test wants."""

import http.server
import json
import queue
import secrets
import shutil
import socket
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@pytest.fixture(scope="session")
def until():
    """Waits until something is so."""

    def wait(condition, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.005)

    return wait


@pytest.fixture
def free_port():
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """Mosquitto on loopback; can be stopped and started again."""

    def __init__(self, folder, port, users, certificate):
        self.port, self._config = port, folder / "mosquitto.conf"
        lines = [f"listener {port} 127.0.0.1", "user root", f"allow_anonymous {'false' if users else 'true'}"]
        if users:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for name, password in users.items():
                subprocess.run(["mosquitto_passwd", "-b", passwords, name, password], check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        if certificate:
            lines += [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
        self._config.write_text("\n".join(lines) + "\n")
        self._process = None

    def start(self):
        self._process = subprocess.Popen([MOSQUITTO, "-c", self._config], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert self._process.poll() is None, "mosquitto ended at once"
                assert time.monotonic() < end, "mosquitto did not start"
                time.sleep(0.01)

    def stop(self):
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def broker(tmp_path, free_port):
    """Starts Mosquitto: for users with passwords or for everyone, with a certificate and its key or in the clear."""
    started = []

    def start(users=None, certificate=None):
        if not MOSQUITTO:
            pytest.skip("no mosquitto on this machine (Debian's package mosquitto)")
        started.append(Broker(tmp_path, free_port, users, certificate))
        return started[-1].start()

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def listen():
    """Listens to a topic of a broker: a queue of messages."""
    clients = []

    def start(port, topic, user=None, password=None, authority=None):
        messages, ready = queue.SimpleQueue(), threading.Event()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, f"test-{secrets.token_hex(4)}", reconnect_on_failure=False)
        client.username_pw_set(user, password)
        if authority:
            client.tls_set(authority)
        client.on_connect = lambda *_: client.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda _client, _data, message: messages.put(message)
        client.connect("127.0.0.1", port)
        client.loop_start()
        clients.append(client)
        assert ready.wait(10)
        return messages

    yield start
    for client in clients:
        client.disconnect()


class Wled(http.server.ThreadingHTTPServer):
    """What a WLED controller answers, or fails to; `got` holds path and body of each request."""

    def __init__(self, port=0):
        self.got, self.status, self.answers = [], 200, threading.Event()
        self.body = b'{"success":true}'
        self.answers.set()
        super().__init__(("127.0.0.1", port), WledHandler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.answers.set()
        self.shutdown()
        self.server_close()
        self._thread.join(10)


class WledHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, body))
        self.server.answers.wait(10)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def wled():
    """Starts a server that answers as WLED does."""
    started = []

    def start(port=0):
        started.append(Wled(port))
        return started[-1]

    yield start
    for one in started:
        one.stop()


class FakeLamp:
    """Notes what it is shown, and when; fails while `error` is set, hangs while `free` is not."""

    name = "fake://lamp"

    def __init__(self):
        self.shown, self.asked_s, self.error, self.closed = [], [], None, threading.Event()
        self.free = threading.Event()
        self.free.set()

    def show(self, light, over_s):
        self.asked_s.append(time.monotonic())
        self.free.wait(10)
        if self.error:
            raise self.error
        self.shown.append(light)

    def close(self):
        self.closed.set()


@pytest.fixture
def lamp():
    fake = FakeLamp()
    yield fake
    fake.free.set()
