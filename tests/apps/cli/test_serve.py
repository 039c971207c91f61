import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from affectlens.runtime.media import PORTRAIT


@pytest.fixture
def started():
    """Starts `affectlens serve` as people do; gives the process and the address that it prints."""
    processes = []

    def start(*arguments, **environment):
        command = [sys.executable, "-m", "affectlens", "serve", "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
        )
        processes.append(process)
        return process, re.search(r"(https?://\S+)/ ", process.stdout.readline())[1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_until_it_is_interrupted(started, stop):
    process, url = started()
    health = json.load(urllib.request.urlopen(f"{url}/healthz"))
    assert health["status"] == "ok"
    assert health["model"]
    process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
def test_it_ends_at_once_in_the_middle_of_everything(started, portrait, make_video, tmp_path):
    process, url = started()
    address = urlsplit(url)
    clip = make_video(tmp_path / "long.mp4", [portrait] * 1800).read_bytes()
    kinds = (("video/mp4", len(clip)), ("image/jpeg", 90_000))
    begin = f"POST /v1/analyze HTTP/1.1\r\nHost: {address.netloc}\r\n"
    heads = [f"{begin}Content-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() for kind, size in kinds]
    with (
        socket.create_connection((address.hostname, address.port)) as video,
        socket.create_connection((address.hostname, address.port)) as upload,
        connect(f"ws{url.removeprefix('http')}/v1/stream", proxy=None) as stream,
    ):
        upload.sendall(heads[1] + b"half")
        video.sendall(heads[0] + clip)
        assert b" 200 " in video.recv(1000)
        stream.send(PORTRAIT.read_bytes())
        stream.recv()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


@pytest.mark.slow
def test_offline_it_answers_too(started):
    _, url = started("--offline")
    assert json.load(urllib.request.urlopen(f"{url}/healthz"))["status"] == "ok"


@pytest.mark.slow
def test_another_model_can_be_served(started, write_model, tmp_path):
    _, url = started("--model", write_model(tmp_path / "tiny.onnx"), "--detector", "whole")
    assert json.load(urllib.request.urlopen(f"{url}/v1/model"))["labels"] == ["calm", "excited"]


def test_beyond_loopback_a_token_is_needed(cli):
    result = cli("serve", "--host", "0.0.0.0")
    assert result.code == 1
    assert len(result.errors) == 1
    assert "--token" in result.err


@pytest.mark.slow
def test_the_token_may_come_from_the_environment(started):
    process, url = started("--host", "0.0.0.0", AFFECTLENS_TOKEN="secret")
    assert urlsplit(url).hostname == socket.gethostname().lower()
    assert "without --certificate, token and pictures are sent unencrypted" in process.stderr.readline()
    address = f"http://127.0.0.1:{urlsplit(url).port}"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{address}/v1/model")
    request = urllib.request.Request(f"{address}/v1/model", headers={"authorization": "Bearer secret"})
    assert json.load(urllib.request.urlopen(request))["labels"]


def test_a_port_in_use_is_one_line(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = cli("serve", "--port", taken.getsockname()[1])
    assert result.code == 1
    assert len(result.errors) == 1
    assert "cannot listen on 127.0.0.1" in result.err


def test_a_host_that_is_none_is_one_line(cli):
    result = cli("serve", "--host", "999.1.1.1", "--token", "x", "--port", "0")
    assert result.code == 1
    assert len(result.errors) == 1


def test_https_needs_certificate_and_key_that_can_be_read(cli, tmp_path):
    assert "both" in cli("serve", "--certificate", tmp_path / "a.pem").err
    result = cli("serve", "--certificate", tmp_path / "a.pem", "--key", tmp_path / "a.key")
    assert result.code == 1
    assert "a.pem" in result.err
    assert len(result.errors) == 1


def test_without_the_extra_it_is_named(cli, monkeypatch):
    monkeypatch.delitem(sys.modules, "affectlens.apps.server.serving", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = cli("serve")
    assert result.code == 1
    assert "affectlens[serve]" in result.err
    assert len(result.errors) == 1
