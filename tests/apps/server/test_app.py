import contextlib
import itertools
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from urllib.parse import urlsplit

import cv2
import httpx2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from affectlens import Analyzer
from affectlens.apps.server import tasks, videos
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.schemas import Result, to_wire
from affectlens.core.errors import UnreadableMedia
from affectlens.runtime.media import PORTRAIT, decode_image
from affectlens.runtime.stream import VideoSettings
from affectlens.runtime.temporal import Smoothing
from affectlens.runtime.video import VideoFile

PHOTO = PORTRAIT.read_bytes()
JPEG = {"content-type": "image/jpeg"}
VIDEO = {"content-type": "video/mp4"}


def post(url, data=PHOTO, headers=JPEG, **parameters):
    return httpx2.post(f"{url}/v1/analyze", content=data, headers=headers, params=parameters, timeout=30)


def lines(response):
    return [json.loads(line) for line in response.text.splitlines()]


def metric(url, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx2.get(f"{url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_for(what, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, portrait, make_video):
    file = tmp_path_factory.mktemp("clips") / "clip.mp4"
    make_video(file, [np.roll(portrait, 2 * i, axis=1) for i in range(12)], fps=10)
    return file.read_bytes()


@pytest.fixture
def slow(plugin):
    """An engine whose detector waits in its process until `go` is called."""
    go = plugin.folder / "go"
    detector = plugin(
        "slow_detector",
        f"""
        import time
        from pathlib import Path
        from affectlens.core.detection import no_faces

        def detect(image):
            while not Path({str(go)!r}).exists():
                time.sleep(0.01)
            return no_faces()
        """,
    ).detect
    engine = Analyzer(detector=detector)
    engine.go = go.touch
    yield engine
    engine.go()


def test_a_photo_gives_what_the_analyzer_says(url, analyzer):
    answer = post(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    (face,), row = answer.json()["faces"], analyzer.analyze(PORTRAIT).to_rows()[0]
    assert face["expression"] == row["expression"] == "happiness"
    assert face["box_xyxy"] == [row[key] for key in ("x1", "y1", "x2", "y2")]
    assert face["probabilities"] == {key[2:]: row[key] for key in row if key.startswith("p_")}
    assert (answer.json()["width"], answer.json()["height"]) == (512, 512)


def test_a_form_and_a_nameless_type_are_taken_too(url):
    form = httpx2.post(f"{url}/v1/analyze", files={"file": ("x.jpg", PHOTO, "image/jpeg")})
    nameless = post(url, headers={"content-type": "application/octet-stream"})
    assert form.json() == nameless.json() == post(url).json()


def test_an_image_without_a_face_is_an_answer(url, encoded_gray):
    answer = post(url, encoded_gray, {"content-type": "image/png"})
    assert answer.status_code == 200
    assert answer.json()["reason"] == "no_face"
    assert answer.json()["faces"] == []


@pytest.fixture(scope="module")
def encoded_gray():
    return cv2.imencode(".png", np.full((80, 120, 3), 128, np.uint8))[1].tobytes()


def test_where_the_model_looked_is_told_on_demand(url):
    explanation = post(url, explain=True).json()["faces"][0]["explanation"]
    assert explanation["method"] == "evidence"
    assert explanation["crop"].startswith("iVBOR")
    assert explanation["heat"].startswith("iVBOR")


def test_a_video_gives_a_line_for_each_frame_as_it_is_done(url, clip):
    answer = post(url, clip, VIDEO)
    found = lines(answer)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [line["frame"] for line in found] == list(range(12))
    assert {face["track"] for line in found for face in line["faces"]} == {0}
    assert found[-1]["time_s"] == pytest.approx(1.1)
    assert found[0]["duration_s"] == pytest.approx(1.2)
    assert len(lines(post(url, clip, VIDEO, every=3))) == 4
    assert len(lines(post(url, clip, VIDEO, fps=5))) == 6


def test_a_clip_cut_short_keeps_what_was_read_and_says_why_it_ends(url, tmp_path, portrait, make_video):
    make_video(tmp_path / "long.mkv", [portrait] * 60, fps=10)
    whole = (tmp_path / "long.mkv").read_bytes()
    found = lines(post(url, whole[: len(whole) // 2], VIDEO))
    assert len(found) > 5
    assert all(line["faces"] for line in found[:-1])
    assert found[-1]["reason"] == "truncated"
    assert found[-1]["width"] == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"hello, this is no picture, and no video either", "not_an_image"),
        (PHOTO[:2000], "truncated"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "not_an_image"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "not_an_image"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(url, data, reason):
    answer = post(url, data, {"content-type": "application/octet-stream"})
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_a_photo_that_breaks_off_late_is_answered_and_called_incomplete(url):
    answer = post(url, PHOTO[: int(0.96 * len(PHOTO))], {"content-type": "image/jpeg"}).json()
    assert (answer["incomplete"], len(answer["faces"])) == (True, 1)
    assert post(url, PHOTO, {"content-type": "image/jpeg"}).json()["incomplete"] is False


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "image/heic", "damaged"),
        (b"junk" * 20, "image/jpeg", "not_an_image"),
        (b"junk" * 20, "video/mp4", "not_a_video"),
        (PHOTO, "video/mp4", "not_a_video"),
    ],
)
def test_what_is_not_what_it_is_said_to_be_is_refused_as_that(url, data, kind, reason):
    answer = post(url, data, {"content-type": kind})
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)


def test_sound_alone_and_no_frames_are_refused_with_their_reasons(url, tmp_path, make_video):
    make_video(tmp_path / "sound.mka", [], sound="aac", codec=None)
    make_video(tmp_path / "empty.mkv", [], sound="aac")
    for name, reason in (("sound.mka", "no_video"), ("empty.mkv", "no_frames")):
        answer = post(url, (tmp_path / name).read_bytes(), VIDEO)
        assert (answer.status_code, answer.json()["reason"]) == (422, reason)


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/x-www-form-urlencoded", ""])
def test_a_wrong_content_type_is_refused_and_says_what_is_taken(url, kind):
    answer = post(url, headers={"content-type": kind})
    assert answer.status_code == 415
    assert "image/" in answer.json()["detail"]


@pytest.mark.parametrize("parameters", [{"every": 0}, {"fps": -1}, {"explain": "perhaps"}])
def test_a_wrong_parameter_is_named(url, parameters):
    answer = post(url, **parameters)
    (name,) = parameters
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{name}: ")


def test_an_unknown_parameter_is_named_with_the_nearest(url):
    answer = post(url, fsp=5)
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_request")
    assert answer.json()["detail"] == "unknown parameter 'fsp'; did you mean 'fps'?"
    with pytest.raises(InvalidStatus) as refused:
        stream(url, "?smoth=0").__enter__()
    assert refused.value.response.status_code == 400


def test_a_clip_cannot_be_explained(url, clip):
    answer = httpx2.post(f"{url}/v1/analyze?explain=true", content=clip, headers={"content-type": "video/mp4"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "the parameter 'explain' applies only to photos")


def test_who_opens_the_interface_in_a_browser_is_told_how_it_is_used(url):
    answer = httpx2.get(f"{url}/v1/analyze")
    assert answer.status_code == 405
    assert "POST a photo or video" in answer.json()["detail"]


def test_a_form_without_the_file_or_without_sense_is_refused(url):
    other = httpx2.post(f"{url}/v1/analyze", files={"picture": ("x.jpg", PHOTO, "image/jpeg")})
    for charset in ("punycode", "undefined", "utf-16", "nonsense"):  # of which some raise UnicodeError
        field = b'--x\r\nContent-Disposition: form-data; name="caf\xc3\xa9"\r\n\r\n\xff\r\n--x--\r\n'
        answer = post(url, field, {"content-type": f"multipart/form-data; boundary=x; charset={charset}"})
        assert (answer.status_code, answer.json()["reason"]) == (400, "bad_request"), charset
    broken = post(url, b"--x\r\nnonsense", {"content-type": "multipart/form-data; boundary=x"})
    assert (other.status_code, other.json()["reason"]) == (400, "bad_request")
    assert (broken.status_code, broken.json()["reason"]) == (400, "bad_request")


def test_an_image_bomb_is_refused_before_it_is_decoded(serve):
    url = serve(Limits(pixels=512 * 512 - 1))
    answer = post(url)
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_many_pixels")


def test_large_frames_and_long_videos_are_refused_before_they_are_decoded(serve, clip):
    large = post(serve(Limits(pixels=512 * 512 - 1)), clip, VIDEO)
    long = post(serve(Limits(video_s=1.0)), clip, VIDEO)
    assert (large.status_code, large.json()["reason"]) == (413, "too_many_pixels")
    assert (long.status_code, long.json()["reason"]) == (413, "too_large")


@pytest.mark.parametrize("bound", [{"video_s": 0.95}, {"video_frames": 10}])
def test_a_video_that_does_not_say_how_long_it_is_ends_at_the_limit(analyzer, bound, monkeypatch, clip):
    monkeypatch.setattr(VideoFile, "_announced_s", lambda file: None)
    found = []
    with pytest.raises(UnreadableMedia, match="too_large"):
        found.extend(tasks.video(analyzer, Limits(**bound), clip, VideoSettings(every=2)))
    assert [line.frame for line in found] == [0, 2, 4, 6, 8]


def test_an_upload_is_counted_while_it_comes(serve):
    url = serve(Limits(photo_bytes=10_000, video_bytes=50_000))
    chunked = httpx2.post(f"{url}/v1/analyze", content=iter([PHOTO[:6000], PHOTO[6000:30000]]), headers=JPEG)
    announced = post(url, b"\0" * 500_000, VIDEO)
    unannounced = httpx2.post(f"{url}/v1/analyze", content=iter([b"\0" * 60_000] * 4), headers=VIDEO)
    form = httpx2.post(f"{url}/v1/analyze", files={"file": ("x.jpg", PHOTO[:30000], "image/jpeg")})
    for answer in (chunked, announced, unannounced, form):
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")


def test_a_gigabyte_is_answered_at_once_and_not_kept(serve):
    url = serve()
    before = metric(url, "process_resident_memory_bytes")
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as client:
        head = f"POST /v1/analyze HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: video/mp4\r\n"
        client.sendall(f"{head}Content-Length: {2**30}\r\n\r\n".encode())
        assert b"413" in client.recv(1000)
        for _ in range(256):
            client.sendall(b"\0" * 2**20)
    assert metric(url, "process_resident_memory_bytes") - before < 50e6
    assert post(url).status_code == 200


def test_uploads_together_are_bounded(serve):
    url = serve(Limits(held_bytes=20_000))
    answer = post(url)
    assert (answer.status_code, answer.json()["reason"]) == (503, "busy")
    assert int(answer.headers["retry-after"]) > 0
    assert metric(url, "affectlens_upload_held_bytes") == 0


@pytest.mark.slow
def test_a_client_that_stalls_is_told_and_one_that_leaves_is_forgotten(serve):
    url = serve(Limits(stall_s=1.0))
    address = urlsplit(url)
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: image/jpeg\r\nContent-Length: 9000"
    with socket.create_connection((address.hostname, address.port)) as stalling:
        stalling.sendall(f"{head}\r\n\r\n".encode() + PHOTO[:4000])
        stalling.settimeout(5)
        assert b" 408 " in stalling.recv(1000)
    leaving = socket.create_connection((address.hostname, address.port))
    leaving.sendall(f"{head}\r\n\r\n".encode() + PHOTO[:4000])
    leaving.close()
    assert post(url).status_code == 200
    wait_for(lambda: metric(url, "affectlens_upload_held_bytes") == 0)


def test_one_too_many_is_told_when_to_come_again(serve, slow):
    url = serve(Limits(waiting=2, workers=1), engine=slow)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post(url))) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: metric(url, "affectlens_waiting") == 2)
    refused = post(url)
    assert (refused.status_code, refused.json()["reason"]) == (503, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    slow.go()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert post(url).status_code == 200


def test_health_and_metrics_answer_while_the_queue_is_full(serve, slow):
    url = serve(Limits(waiting=1, workers=1), engine=slow)
    thread = threading.Thread(target=post, args=(url,))
    thread.start()
    wait_for(lambda: metric(url, "affectlens_waiting") == 1)
    assert httpx2.get(f"{url}/healthz").json()["status"] == "ok"
    slow.go()
    thread.join()


@pytest.mark.slow
def test_one_video_at_a_time_and_a_client_that_leaves_frees_the_place(
    serve, tmp_path, portrait, make_video, monkeypatch
):
    make_video(tmp_path / "long.mp4", [portrait] * 300, fps=30)
    data, url = (tmp_path / "long.mp4").read_bytes(), serve()
    with httpx2.stream("POST", f"{url}/v1/analyze", content=data, headers=VIDEO) as answer:
        begun = answer.iter_lines()
        assert answer.status_code == 200
        assert next(begun)
        with monkeypatch.context() as impatient:
            impatient.setattr(videos, "_LEAVING_S", 0.1)
            second = post(url, data, VIDEO)
        assert (second.status_code, second.json()["reason"]) == (503, "busy")
        assert post(url).status_code == 200
    assert len(lines(post(url, data, VIDEO, every=100))) == 3  # at once: the end of the first is waited for
    wait_for(lambda: metric(url, "affectlens_videos") == 0)


def test_a_service_that_is_stopped_says_so_at_the_end_of_a_video(serve, tmp_path, portrait, make_video, caplog):
    data = make_video(tmp_path / "long.mp4", [portrait] * 300, fps=30).read_bytes()
    url = serve()
    with httpx2.stream("POST", f"{url}/v1/analyze", content=data, headers=VIDEO) as answer:
        begun = answer.iter_lines()
        next(begun)
        serve.stop(url)
        *found, last = [json.loads(line) for line in begun]
    assert len(found) < 298
    assert (last["reason"], last["frame"], last["time_s"]) == ("stopped", len(found) + 1, None)
    assert "stopped before the end" in last["detail"]
    assert not caplog.records


def test_a_service_that_is_stopped_refuses_what_has_not_begun(serve, caplog):
    url = serve()
    address = urlsplit(url)
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: image/jpeg\r\nContent-Length: 9000"
    with socket.create_connection((address.hostname, address.port)) as uploading:
        uploading.sendall(f"{head}\r\n\r\n".encode() + PHOTO[:4000])
        wait_for(lambda: metric(url, "affectlens_upload_held_bytes") > 0)
        serve.stop(url)
        answer = b"".join(iter(partial(uploading.recv, 2000), b"")).decode()
    assert " 503 " in answer
    assert "retry-after: 5" in answer
    assert '"stopped"' in answer
    assert not caplog.records


def test_a_photo_that_is_not_finished_when_the_service_is_stopped_is_refused(serve, slow, caplog):
    url, begun_s = serve(engine=slow), time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, url)
        wait_for(lambda: metric(url, "affectlens_waiting") == 1)
        serve.stop(url)
    assert (answer.result().status_code, answer.result().json()["reason"]) == (503, "stopped")
    assert time.monotonic() - begun_s < 8
    assert not caplog.records


def test_a_video_whose_first_line_does_not_come_before_the_service_is_stopped_is_refused(serve, slow, clip):
    url = serve(engine=slow)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, url, clip, VIDEO)
        wait_for(lambda: metric(url, "affectlens_videos") == 1)
        serve.stop(url)
    assert (answer.result().status_code, answer.result().json()["reason"]) == (503, "stopped")
    assert answer.result().headers["retry-after"]


@pytest.mark.parametrize(("limit", "said"), [("line_s", "after 0.5 s"), ("answer_s", "after 0.5 s")])
def test_a_video_that_takes_too_long_ends_with_that(serve, plugin, clip, limit, said):
    slower = plugin(
        "slower_detector",
        """
        import time
        from affectlens.core.detection import no_faces

        def detect(image, calls=[]):
            calls.append(1)
            time.sleep(LIMITED if len(calls) > 2 else 0)
            return no_faces()
        """.replace("LIMITED", "5" if limit == "line_s" else "0.3"),
    ).detect
    found = lines(post(serve(Limits(**{limit: 0.5}), engine=Analyzer(detector=slower)), clip, VIDEO))
    assert 0 < len(found) < 12
    assert found[-1]["reason"] == "too_slow"
    assert said in found[-1]["detail"]


@pytest.mark.slow
def test_who_does_not_take_the_lines_of_a_video_loses_it(serve, tmp_path, portrait, make_video, monkeypatch, caplog):
    of_frames = videos.Video.next

    async def long(video):
        return replace(await of_frames(video), text="x" * 2**20)

    monkeypatch.setattr(videos.Video, "next", long)
    make_video(tmp_path / "long.mp4", [portrait] * 300, fps=30)
    data, url = (tmp_path / "long.mp4").read_bytes(), serve(Limits(stall_s=0.5))
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as client:
        head = f"POST /v1/analyze HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: video/mp4\r\n"
        client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        wait_for(lambda: metric(url, "affectlens_videos") == 1)
        wait_for(lambda: metric(url, "affectlens_videos") == 0)
    assert metric(url, 'affectlens_pictures_total{kind="frame"}') < 200
    assert not caplog.records
    assert httpx2.get(f"{url}/healthz").status_code == 200


@pytest.mark.slow
def test_hundreds_of_idle_sockets_do_not_matter_and_are_let_go(serve):
    url = serve(head_s=1.0)
    address = urlsplit(url)
    idle = [socket.create_connection((address.hostname, address.port)) for _ in range(400)]
    idle[0].sendall(b"GET / HTTP/1.1\r\nHost: loc")
    assert post(url).status_code == 200
    for one in idle:
        one.settimeout(10)
        assert one.recv(10) == b""
        one.close()


def test_too_many_connections_without_a_request_give_way(serve):
    url = serve(connections=10)
    address = urlsplit(url)
    idle = [socket.create_connection((address.hostname, address.port)) for _ in range(30)]
    assert [httpx2.get(f"{url}/healthz").status_code for _ in range(10)] == [200] * 10
    idle[0].settimeout(5)
    assert idle[0].recv(10) == b""  # which waited longest
    for one in idle:
        one.close()


def test_too_many_connections_with_requests_are_told_when_to_come_again(serve, caplog):
    url = serve(connections=10)
    address = urlsplit(url)
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: image/jpeg\r\nContent-Length: 9000"
    busy = [socket.create_connection((address.hostname, address.port)) for _ in range(10)]
    for one in busy:
        one.sendall(f"{head}\r\n\r\n".encode() + PHOTO[:100])
    for _ in range(3):
        answer = post(url)
        assert (answer.status_code, answer.json()["reason"], answer.headers["retry-after"]) == (503, "busy", "5")
    for one in busy:
        one.close()
    wait_for(lambda: httpx2.get(f"{url}/healthz").status_code == 200)
    assert not caplog.records


def test_a_client_that_sends_byte_by_byte_is_let_go(serve):
    url, begun_s = serve(Limits(stall_s=1.0, rate=1000)), time.monotonic()
    address = urlsplit(url)
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: image/jpeg\r\nContent-Length: 9000"
    with socket.create_connection((address.hostname, address.port)) as slow_one:
        slow_one.sendall(f"{head}\r\n\r\n".encode())
        slow_one.settimeout(0.05)
        answer = b""
        while not answer:
            with contextlib.suppress(TimeoutError):
                slow_one.sendall(b"x")
                answer = slow_one.recv(1000)
            assert time.monotonic() - begun_s < 10
    assert b" 408 " in answer


def test_a_refusal_after_the_whole_upload_does_not_hold_the_connection(url):
    with httpx2.Client() as client:
        for _ in range(3):
            start_s = time.monotonic()
            assert client.post(f"{url}/v1/analyze", content=b"nonsense", headers=JPEG).status_code == 422
            assert time.monotonic() - start_s < 0.8


@pytest.mark.parametrize("path", ["/v1/nothing", "/", "/v1/analyze", "/healthz"])
def test_a_stream_elsewhere_is_not_found(url, path, caplog):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws{url.removeprefix('http')}{path}", compression=None, proxy=None).__enter__()
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body) == {"reason": "not_found", "detail": "streams are at /v1/stream"}
    assert not caplog.records


def test_what_clients_do_wrong_is_no_error_of_the_service(serve, caplog):
    url = serve(token="secret")
    address = urlsplit(url)
    with pytest.raises(InvalidStatus) as refused:
        stream(url).__enter__()
    assert refused.value.response.status_code == 401
    for request in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h9\r\n\r\n",
    ):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(request)
            assert b" 40" in client.recv(1000)
    assert not caplog.records


def test_a_request_head_without_end_is_refused(serve):
    url = serve()
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        with contextlib.suppress(OSError):
            for _ in range(12):
                client.sendall(b"x" * 10_000)
                time.sleep(0.01)
        assert b" 431 " in client.recv(100)
    assert post(url, headers={**JPEG, "x-long": "x" * 20_000}).status_code == 200


def test_none_of_many_requests_at_once_gets_the_answer_of_another(serve, portrait):
    url = serve()
    pictures = [np.ascontiguousarray(portrait[10 * i : 300, 10 * i : 300]) for i in range(8)]
    photos = [cv2.imencode(".png", picture[..., ::-1])[1].tobytes() for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda photo: post(url, photo).json(), photos * 3))
    alone = Analyzer()
    for answer, picture in zip(answers, pictures * 3, strict=True):
        expected = to_wire(alone.analyze(picture), picture.shape[1::-1])
        assert Result.model_validate(answer) == expected


def stream(url, query=""):
    return connect(f"ws{url.removeprefix('http')}/v1/stream{query}", compression=None, proxy=None)


def test_a_stream_numbers_its_frames_and_keeps_its_faces(url):
    with stream(url) as socket_:
        found = []
        for _ in range(5):
            socket_.send(PHOTO)
            found.append(json.loads(socket_.recv()))
    assert [result["frame"] for result in found] == [0, 1, 2, 3, 4]
    assert {result["faces"][0]["track"] for result in found} == {0}
    assert found[-1]["faces"][0]["smoothed"]["probabilities"]["happiness"] > 0.9
    assert found[-1]["light"]["rgb"][0] == 255
    assert 0 < found[-1]["light"]["brightness"] <= 1
    times = [result["time_s"] for result in found]
    assert times == sorted(times)
    assert times[-1] > 0


@pytest.mark.parametrize("smooth", [True, False])
def test_a_stream_answers_as_frames_that_are_pushed(analyzer, url, portrait, monkeypatch, smooth):
    clock = SimpleNamespace(monotonic=partial(next, itertools.count(100, 1 / 32)))
    monkeypatch.setattr("affectlens.runtime.stream.time", clock)
    photos = [cv2.imencode(".jpg", np.roll(portrait, 5 * i, axis=1)[..., ::-1])[1].tobytes() for i in range(12)]
    with stream(url, f"?smooth={smooth}") as socket_:
        found = []
        for photo in photos:
            socket_.send(photo)
            found.append(Result.model_validate_json(socket_.recv()))
    pushed = analyzer.stream(VideoSettings(smoothing=Smoothing() if smooth else None))
    for i, (photo, result) in enumerate(zip(photos, found, strict=True)):
        expected = to_wire(pushed.push(decode_image(photo), i / 32), (512, 512))
        assert result.model_copy(update={"light": None}) == expected
        assert (result.frame, len(result.faces), result.faces[0].smoothed is not None) == (i, 1, smooth)


def test_a_bad_picture_in_a_stream_has_its_reason_and_the_stream_goes_on(url):
    with stream(url) as socket_:
        for data, reason in ((b"nonsense", "not_an_image"), (PHOTO[:900], "truncated"), (PHOTO, None)):
            socket_.send(data)
            answer = json.loads(socket_.recv())
            assert answer["reason"] == reason
            assert answer["time_s"] >= 0


def test_a_wrong_parameter_of_a_stream_is_named(url):
    with pytest.raises(InvalidStatus) as refused:
        stream(url, "?smooth=perhaps").__enter__()
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["detail"].startswith("smooth: ")


def test_text_in_a_stream_ends_it_with_a_reason(url):
    with stream(url) as socket_:
        socket_.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            socket_.recv()
    assert closed.value.rcvd.code == 1003
    assert "binary" in closed.value.rcvd.reason


def test_an_idle_stream_and_one_too_many_are_closed(serve):
    url = serve(Limits(streams=1, idle_s=0.5))
    with stream(url) as first:
        with pytest.raises(InvalidStatus) as refused:
            stream(url).__enter__()
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["retry-after"]
        with pytest.raises(ConnectionClosed) as closed:
            first.recv(timeout=20)
    assert "no picture" in closed.value.rcvd.reason
    wait_for(lambda: metric(url, "affectlens_streams") == 0)
    with stream(url) as again:
        again.send(PHOTO)
        assert json.loads(again.recv())["faces"]


def test_a_frame_that_finds_no_room_is_told_so(serve, slow):
    url = serve(Limits(waiting=1, workers=1), engine=slow)
    thread = threading.Thread(target=post, args=(url,))
    thread.start()
    wait_for(lambda: metric(url, "affectlens_waiting") == 1)
    with stream(url) as socket_:
        socket_.send(PHOTO)
        assert json.loads(socket_.recv())["reason"] == "busy"
        slow.go()
        thread.join()
        socket_.send(PHOTO)
        assert json.loads(socket_.recv())["reason"] == "no_face"


def test_streams_that_break_off_are_forgotten(serve):
    url = serve()
    for _ in range(5):
        with stream(url) as socket_:
            socket_.send(PHOTO)
            socket_.socket.close()
    wait_for(lambda: metric(url, "affectlens_streams") == 0 and metric(url, "affectlens_waiting") == 0)


def test_the_documentation_is_whole_and_from_here(url):
    page = httpx2.get(f"{url}/docs")
    assert page.status_code == 200
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert address.startswith("/")
        assert httpx2.get(url + address).status_code == 200
    described = httpx2.get(f"{url}/openapi.json").json()
    assert {"/v1/analyze", "/v1/model", "/healthz", "/metrics"} <= set(described["paths"])
    body = described["paths"]["/v1/analyze"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/*", "video/*", "application/octet-stream"} == set(body)


def test_the_model_is_described_with_its_colours_and_limits(url, analyzer):
    model = httpx2.get(f"{url}/v1/model").json()
    assert model["labels"] == list(analyzer.spec.labels) == list(model["colours"])
    assert model["circumplex"]["happiness"] == [0.76, 0.48]
    assert model["video_s"] == 600


def test_metrics_count_what_was_answered(serve):
    url = serve()
    post(url)
    post(url, b"nonsense")
    assert metric(url, 'affectlens_requests_total{path="/v1/analyze",status="200"}') == 1
    assert metric(url, 'affectlens_requests_total{path="/v1/analyze",status="422"}') == 1
    assert metric(url, "affectlens_faces_total") == 1
    assert metric(url, 'affectlens_pictures_total{kind="photo"}') == 1


def test_nothing_that_is_uploaded_is_stored(serve, monkeypatch, clip):
    def refuse(*_, **__):
        raise AssertionError("a file is opened")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", refuse)
    url = serve()
    large = clip + b"\0" * 3_000_000
    assert httpx2.post(f"{url}/v1/analyze", files={"file": ("x.mp4", large, "video/mp4")}).status_code == 200
    assert post(url).status_code == 200


def test_a_fault_of_the_service_is_told_as_one_and_logged(serve, plugin, caplog):
    url = serve(engine=Analyzer(detector=plugin("faulty_detector", "def detect(image): return 1 / 0").detect))
    answer = post(url)
    assert (answer.status_code, answer.json()["reason"]) == (500, "failed")
    with stream(url) as socket_:
        socket_.send(PHOTO)
        assert json.loads(socket_.recv())["reason"] == "failed"
    assert "ZeroDivisionError" in caplog.text
    assert "faulty_detector.py" in caplog.text  # where it was


def test_a_picture_that_takes_too_long_is_given_up_and_its_process_replaced(serve, slow):
    url = serve(Limits(photo_s=0.3, workers=1), engine=slow)
    answer = post(url)
    assert (answer.status_code, answer.json()["reason"]) == (422, "too_slow")
    with stream(url) as socket_:
        socket_.send(PHOTO)
        assert json.loads(socket_.recv())["reason"] == "too_slow"
        slow.go()
        socket_.send(PHOTO)
        assert json.loads(socket_.recv())["reason"] == "no_face"
    assert post(url).status_code == 200


def test_a_picture_that_ends_its_process_twice_is_given_up(serve, plugin):
    deaths = plugin.folder / "deaths"
    deadly = plugin(
        "deadly_detector",
        f"""
        import os
        from affectlens.core.detection import no_faces

        def detect(image):
            if image.shape[0] == 512:
                open({str(deaths)!r}, "a").write("x")
                os._exit(11)
            return no_faces()
        """,
    ).detect
    url = serve(Limits(workers=1), engine=Analyzer(detector=deadly))
    answer = post(url)
    assert (answer.status_code, answer.json()["reason"]) == (422, "crashed")
    assert "code 11" in answer.json()["detail"]
    assert deaths.read_text() == "xx"
    assert post(url, cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()).json()["reason"] == "no_face"


def test_a_wrong_path_is_a_problem_too(url):
    answer = httpx2.get(f"{url}/v1/nothing")
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")


@pytest.mark.slow
def test_a_client_that_leaves_a_video_with_few_lines_frees_the_place_at_once(serve, tmp_path, make_video):
    frames = [np.zeros((240, 320, 3), np.uint8)] * 3000
    data, url = make_video(tmp_path / "long.mp4", frames, fps=30).read_bytes(), serve()
    with httpx2.stream("POST", f"{url}/v1/analyze", content=data, headers=VIDEO, params={"every": 2900}) as answer:
        assert next(answer.iter_lines())
    start = time.monotonic()
    wait_for(lambda: metric(url, "affectlens_videos") == 0)
    assert time.monotonic() - start < 3


def test_a_second_video_is_refused_before_it_has_come(serve, tmp_path, portrait, make_video, monkeypatch):
    monkeypatch.setattr(videos, "_LEAVING_S", 0.1)
    make_video(tmp_path / "long.mp4", [portrait] * 300, fps=30)
    data, url = (tmp_path / "long.mp4").read_bytes(), serve()
    address = urlsplit(url)
    with httpx2.stream("POST", f"{url}/v1/analyze", content=data, headers=VIDEO) as answer:
        begun = answer.iter_lines()
        assert next(begun)
        with socket.create_connection((address.hostname, address.port)) as second:
            head = f"POST /v1/analyze HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: video/mp4\r\n"
            second.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[:5000])
            assert b" 503 " in second.recv(100)
        assert metric(url, "affectlens_upload_held_bytes") == 0
