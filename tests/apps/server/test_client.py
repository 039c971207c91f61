import http.server
import socket
import threading

import numpy as np
import pytest

from affectlens import Client, ServiceError
from affectlens.apps.server.limits import Limits
from affectlens.core.errors import BadSetting, MissingExtra
from affectlens.core.reasons import Reason
from affectlens.runtime.media import PORTRAIT


@pytest.fixture
def client(url):
    with Client(url) as client:
        yield client


def test_a_photo_is_answered_as_by_the_analyzer(client, analyzer):
    here, there = analyzer.analyze(PORTRAIT), client.analyze(PORTRAIT)
    assert there.to_rows() == here.to_rows()
    assert np.array_equal(there.image, here.image)
    assert np.array_equal(there.draw(), here.draw())


def test_bytes_are_answered_as_by_the_analyzer(client, analyzer):
    data = PORTRAIT.read_bytes()
    assert client.analyze(data).to_rows() == analyzer.analyze(data).to_rows()
    assert client.analyze(data[:3000]).reason == "truncated"


def test_an_array_is_sent_and_answered(client, portrait):
    analysis = client.analyze(portrait)
    assert analysis.faces[0].expression == "happiness"
    assert analysis.source == ""
    assert np.array_equal(analysis.image, portrait)


def test_explanations_come_along(client, analyzer):
    seen, here = client.analyze(PORTRAIT, explain=True), analyzer.explaining().analyze(PORTRAIT)
    assert np.array_equal(seen.faces[0].explanation.crop, here.faces[0].explanation.crop)
    assert np.abs(seen.faces[0].explanation.heat - here.faces[0].explanation.heat).max() < 0.003
    assert seen.faces[0].explanation.method == here.faces[0].explanation.method


@pytest.mark.slow
def test_a_video_is_answered_as_by_the_analyzer(client, analyzer, tmp_path, portrait, make_video):
    clip = make_video(tmp_path / "clip.mp4", [np.roll(portrait, 2 * i, axis=1) for i in range(8)], fps=10)
    here = [row for analysis in analyzer.video(clip) for row in analysis.to_rows()]
    assert [row for analysis in client.video(clip) for row in analysis.to_rows()] == here
    with clip.open("rb") as stream:
        assert len(list(client.video(stream, every=4))) == 2


def test_a_stream_keeps_its_faces(client, portrait):
    found = list(client.stream(np.roll(portrait, 2 * i, axis=1) for i in range(6)))
    assert [analysis.frame for analysis in found] == list(range(6))
    assert {face.track for analysis in found for face in analysis.faces} == {0}
    assert np.array_equal(found[2].image, np.roll(portrait, 4, axis=1))


@pytest.mark.slow
@pytest.mark.parametrize(("data", "reason"), [(None, "missing"), (b"", "empty_file"), (b"nonsense", "not_an_image")])
def test_what_cannot_be_read_has_its_reason(client, tmp_path, data, reason):
    file = tmp_path / "photo.jpg"
    if data is not None:
        file.write_bytes(data)
    analysis = client.analyze(file)
    assert analysis.reason == Reason(reason)
    assert analysis.faces == ()
    assert analysis.source == str(file)
    (failed,) = client.video(file)
    assert failed.reason == Reason(reason.replace("n_image", "_video"))


@pytest.mark.slow
def test_a_clip_is_no_photo_and_a_photo_no_clip(client, tmp_path, portrait, make_video):
    assert client.analyze(make_video(tmp_path / "a.mp4", [portrait])).reason == Reason.NOT_AN_IMAGE
    assert [analysis.reason for analysis in client.video(PORTRAIT)] == [Reason.NOT_A_VIDEO]


def test_the_model_is_told(client):
    assert client.model().labels[0] == "neutral"


def test_a_token_is_shown_and_missed(serve, portrait):
    url = serve(token="secret")
    with Client(url, token="secret") as client:
        assert client.analyze(PORTRAIT).faces
        assert len(list(client.stream([portrait]))) == 1
    with Client(url) as client, pytest.raises(ServiceError, match=r"token is missing or wrong .unauthorized."):
        client.analyze(PORTRAIT)
    with Client(url) as client, pytest.raises(ServiceError, match=r"token is missing or wrong .unauthorized."):
        list(client.stream([portrait]))


def test_nobody_there_is_one_line():
    with Client("http://127.0.0.1:9", timeout_s=2) as client:
        with pytest.raises(ServiceError, match="unreachable") as refused:
            client.analyze(PORTRAIT)
        with pytest.raises(ServiceError, match="unreachable"):
            list(client.stream([np.zeros((8, 8, 3), np.uint8)]))
    assert "\n" not in str(refused.value)


def test_a_busy_service_is_asked_again_for_a_while(serve):
    url = serve(Limits(held_bytes=1000))
    with Client(url, patience_s=0) as client, pytest.raises(ServiceError) as refused:
        client.analyze(PORTRAIT)
    assert refused.value.reason == "busy"

    calls = []

    class Later(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            calls.append(1)
            self.send_response(503 if len(calls) < 3 else 418)
            self.send_header("retry-after", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Later) as other:
        threading.Thread(target=other.serve_forever).start()
        with Client(f"http://127.0.0.1:{other.server_port}") as client, pytest.raises(ServiceError, match="418"):
            client.analyze(PORTRAIT)
        other.shutdown()
    assert len(calls) == 3


def test_a_service_that_is_stopped_ends_a_video_with_an_error(serve, tmp_path, portrait, make_video):
    clip, url = make_video(tmp_path / "long.mp4", [portrait] * 200, fps=30), serve()
    with Client(url) as client:
        found = client.video(clip)
        next(found)
        serve.stop(url)
        with pytest.raises(ServiceError, match="stopped before the end"):
            list(found)


@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}\n  ", b"Content-Length: 99\r\n\r\n{}\n"]
)
def test_an_answer_that_breaks_off_is_an_error(framing, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            with listening.accept()[0] as connection:
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing)

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(f"http://127.0.0.1:{listening.getsockname()[1]}") as client, pytest.raises(ServiceError) as lost:
            client.model()
        thread.join()
    assert lost.value.reason == "unreachable"
    assert "incomplete" in str(lost.value) or "without sending complete" in str(lost.value)


def test_what_is_no_image_is_refused_here(client):
    with pytest.raises(BadSetting, match="RGB uint8"):
        client.analyze(np.zeros((4, 4)))


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "httpx2", None)
    with pytest.raises(MissingExtra, match="client"):
        Client()


def test_a_token_that_no_header_can_hold_and_a_certificate_that_is_none_are_refused(tmp_path):
    with pytest.raises(BadSetting, match="ASCII"):
        Client(token="sécret")
    (tmp_path / "a.pem").write_text("no certificate")
    with pytest.raises(BadSetting, match=r"a\.pem"):
        Client(certificate=tmp_path / "a.pem")


def test_a_stream_beyond_the_limit_is_busy(serve, portrait):
    url = serve(Limits(streams=1))
    with Client(url) as first, Client(url, patience_s=0) as second:
        going = first.stream([portrait] * 3)
        assert next(going).faces
        with pytest.raises(ServiceError) as refused:
            list(second.stream([portrait]))
        assert refused.value.reason == "busy"
        going.close()
