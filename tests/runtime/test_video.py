import contextlib
import io
import os
import socket
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from affectlens.core import offline
from affectlens.core.errors import BadSetting, MissingExtra, NetworkRefused, UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime import video
from affectlens.runtime.video import open_video


def shade(i, height=48, width=64):
    """A frame whose left half tells its number, and whose upper part is bright."""
    frame = np.full((height, width, 3), 30, dtype=np.uint8)
    frame[:, : width // 2] = 40 + 4 * (i % 50)
    frame[: height // 4, width // 2 :] = 250
    return frame


def read(source):
    frames = open_video(source)
    try:
        return list(frames)
    finally:
        frames.close()


def ending(frames):
    """Why they end, and those before."""
    found = []
    with pytest.raises(UnreadableMedia) as caught:
        found.extend(frames)  # keeps those before the error
    frames.close()
    return caught.value.reason, found


def reason_of(source):
    with pytest.raises(UnreadableMedia) as caught:
        read(source)
    return caught.value.reason


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov", "a.flv", "a.avi", "a.mpg"])
def test_frames_come_in_order_with_their_times(make_video, tmp_path, name):
    codec = {"a.avi": "mpeg4", "a.mpg": "mpeg2video"}.get(name, "libx264")
    file = make_video(tmp_path / name, [shade(i) for i in range(20)], fps=25, codec=codec)
    frames = read(file)
    assert [frame.number for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(20) / 25, atol=0.002)
    for i, frame in enumerate(frames):
        assert (frame.image.shape, frame.image.dtype) == ((48, 64, 3), np.uint8)
        assert abs(float(frame.image[20:, :24].mean()) - (40 + 4 * i)) < 6


def test_a_stream_of_bytes_and_a_path_are_the_same(make_video, tmp_path):
    file = make_video(tmp_path / "a.mp4", [shade(i) for i in range(5)])
    from_bytes = read(io.BytesIO(file.read_bytes()))
    for one, other in zip(read(str(file)), from_bytes, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_times_of_a_variable_rate_are_kept_and_begin_at_zero(make_video, tmp_path):
    times = [2.0, 2.1, 2.15, 2.9, 3.0]
    file = make_video(tmp_path / "a.mkv", [shade(i) for i in range(5)], times_s=times)
    np.testing.assert_allclose([frame.time_s for frame in read(file)], np.array(times) - 2, atol=0.002)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_video_filmed_upside_down_or_sideways_stands_upright(make_video, tmp_path, rotation):
    upright = shade(5)
    stored = np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    (frame,) = read(make_video(tmp_path / "a.mp4", [stored], rotation=rotation))
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - upright).mean() < 6


def test_a_file_may_be_closed_while_another_thread_reads_it(make_video, tmp_path):
    file = make_video(tmp_path / "a.mp4", [shade(i, 480, 640) for i in range(200)])
    for wait_s in (0.0, 0.005, 0.02):
        frames, found = open_video(file), []
        reader = threading.Thread(target=lambda into, source: into.extend(source), args=(found, frames))
        reader.start()
        threading.Event().wait(wait_s)
        frames.close()
        reader.join(10)
        assert not reader.is_alive()
        assert len(found) < 200


def test_length_is_announced(make_video, tmp_path):
    frames = open_video(make_video(tmp_path / "a.mp4", [shade(i) for i in range(30)], fps=15))
    assert frames.duration_s == pytest.approx(2, abs=0.1)
    assert not frames.live
    frames.close()


def test_bad_files_have_their_reasons(make_video, tmp_path):
    whole = make_video(tmp_path / "a.mp4", [shade(i) for i in range(60)]).read_bytes()
    contents = {
        "empty.mp4": (b"", Reason.EMPTY_FILE),
        "text.mp4": (b"Dear diary" * 100, Reason.NOT_A_VIDEO),
        "cut.mp4": (whole[: len(whole) // 2], Reason.TRUNCATED),
        "head.mp4": (whole[:20], Reason.TRUNCATED),
        "other.mp4": (whole[4:], Reason.NOT_A_VIDEO),
        "damaged.mp4": (whole[:40] + bytes(len(whole) - 40), Reason.NOT_A_VIDEO),
    }
    for name, (content, reason) in contents.items():
        (tmp_path / name).write_bytes(content)
        assert reason_of(tmp_path / name) == reason
    assert reason_of(tmp_path / "nowhere.mp4") == Reason.MISSING
    assert reason_of(tmp_path) == Reason.NOT_A_FILE


def test_sound_alone_is_no_video(make_video, tmp_path):
    assert reason_of(make_video(tmp_path / "a.mp4", [], sound="aac", codec=None)) == Reason.NO_VIDEO


def test_a_video_without_frames_says_so(make_video, tmp_path):
    file = make_video(tmp_path / "a.mkv", [], sound="aac")
    assert reason_of(file) == Reason.NO_FRAMES


def test_a_truncated_file_gives_the_frames_it_has_and_then_says_so(make_video, tmp_path):
    rng = np.random.default_rng(0)
    file = make_video(tmp_path / "a.mkv", [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(150)])
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    reason, found = ending(open_video(file))
    assert reason == Reason.TRUNCATED
    assert 20 < len(found) < 100


def test_damage_in_the_middle_costs_some_frames_only(make_video, tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(90)]
    file = make_video(tmp_path / "a.ts", frames)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(rng.integers(0, 255, 4000, dtype=np.uint8))
    file.write_bytes(bytes(data))
    assert 60 <= len(read(file)) <= 90


def test_images_of_too_many_pixels_are_not_decoded(make_video, tmp_path):
    file = make_video(tmp_path / "a.mp4", [shade(0)])
    assert len(list(open_video(file, max_pixels=64 * 48))) == 1
    with pytest.raises(UnreadableMedia) as refused:
        open_video(file, max_pixels=64 * 48 - 1)
    assert refused.value.reason == Reason.TOO_MANY_PIXELS


def frames_of(codec, side, count):
    """Encoded gray frames of side x side pixels."""
    context = av.CodecContext.create(codec, "w")
    context.width = context.height = side
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
    context.options = {"preset": "ultrafast", "threads": "1", "qp": "51"} if codec == "libx264" else {}
    if codec != "libx264":
        context.framerate = Fraction(25)
    gray = av.VideoFrame(side, side, "yuv420p")
    for plane in gray.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    packets = []
    for number in range(count):
        gray.pts = number
        packets += context.encode(gray)
    return [bytes(packet) for packet in [*packets, *context.encode(None)]]


def growing_video(file, codec, side, format):
    """A video of 64 x 64 pixels whose last two frames are side x side."""
    with av.open(str(file), "w", format=format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number, data in enumerate(frames_of(codec, 64, 40) + frames_of(codec, side, 2)):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
    return file


@pytest.mark.parametrize(
    ("codec", "format"), [("libx264", "mpegts"), ("mpeg4", "mpegts"), ("libvpx", "matroska"), ("mpeg2video", "mpegts")]
)
def test_the_decoder_itself_refuses_later_frames_of_too_many_pixels(monkeypatch, tmp_path, codec, format):
    file = growing_video(tmp_path / "a.video", codec, 2048, format)
    reason, frames = ending(open_video(file, max_pixels=1_000_000))
    assert (reason, len(frames) >= 38) == (Reason.TOO_MANY_PIXELS, True)
    monkeypatch.setattr(video.VideoFile, "_check_size", lambda *_: None)
    with contextlib.suppress(UnreadableMedia):
        assert {frame.image.shape for frame in open_video(file, max_pixels=1_000_000)} == {(64, 64, 3)}


def open_files():
    """Paths of all files that this process has open; none where the system does not tell."""
    handles = Path("/proc/self/fd")
    return {os.path.realpath(handle) for handle in handles.iterdir()} if handles.exists() else set()


@pytest.mark.parametrize("tag", [b"zzz9", b"\0\0\0\0"])
def test_a_video_of_an_unknown_codec_says_so_and_is_closed(make_video, tmp_path, tag):
    file = make_video(tmp_path / "a.mp4", [shade(0)])
    file.write_bytes(file.read_bytes().replace(b"avc1", tag))
    assert reason_of(file) == Reason.UNSUPPORTED
    assert str(file) not in open_files()


def test_whatever_fails_while_a_video_is_opened_is_damage_and_the_file_is_closed(make_video, monkeypatch, tmp_path):
    file = make_video(tmp_path / "a.mp4", [shade(0)])
    monkeypatch.setattr(video, "moving_pictures", lambda container: container.no_such_thing)
    assert reason_of(file) == Reason.DAMAGED
    assert str(file) not in open_files()


@pytest.mark.parametrize("name", ["list.mp4", "list.mkv"])
def test_a_list_of_other_files_in_disguise_is_refused(make_video, tmp_path, name):
    secret = make_video(tmp_path / "secret.mp4", [shade(0)])
    script = f"ffconcat version 1.0\nfile '{secret.name}'\n"
    (tmp_path / name).write_text(script)
    with av.open(str(tmp_path / name)) as opened:  # FFmpeg itself would follow it
        assert len(list(opened.decode(video=0))) == 1
    assert reason_of(tmp_path / name) == Reason.NOT_A_VIDEO
    assert reason_of(io.BytesIO(script.encode())) == Reason.NOT_A_VIDEO
    (tmp_path / name).write_text(f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    assert reason_of(tmp_path / name) == Reason.NOT_A_VIDEO


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtra, match=r"affectlens\[video\]"):
        open_video(tmp_path / "a.mp4")


class Capture:
    """A camera that is unplugged after some pictures."""

    def __init__(self, pictures):
        self.pictures = list(pictures)
        self.released = False

    def isOpened(self):  # noqa: N802  # OpenCV's name
        return bool(self.pictures)

    def read(self):
        return (True, self.pictures.pop(0)) if self.pictures else (False, None)

    def release(self):
        self.released = True


def test_a_camera_gives_rgb_until_it_is_unplugged(monkeypatch):
    blue = np.zeros((4, 6, 3), dtype=np.uint8)
    blue[..., 0] = 200
    capture, asked = Capture([blue] * 3), []
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: asked.append(number) or capture)
    camera = open_video("camera:2")
    assert camera.live
    reason, found = ending(camera)
    assert reason == Reason.STREAM_LOST
    assert [frame.number for frame in found] == [0, 1, 2]
    assert found[0].image[0, 0].tolist() == [0, 0, 200]
    assert 0 <= found[0].time_s <= found[2].time_s
    assert (asked, capture.released) == ([2], True)


def test_a_camera_that_is_not_there_says_so(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Capture([]))
    assert reason_of("camera:0") == Reason.NO_CAMERA


@pytest.mark.parametrize("name", ["camera:", "camera:front", "camera:-1"])
def test_a_camera_without_a_number_is_refused(name):
    with pytest.raises(BadSetting, match="camera:0"):
        open_video(name)


def test_a_network_stream_is_read_until_it_ends(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"rtsp://127.0.0.1:{port}/live"
    monkeypatch.setattr(
        video, "_STREAM_OPTIONS", video._STREAM_OPTIONS | {"rtsp_flags": "listen", "listen_timeout": "10"}
    )

    def send():
        for _ in range(50):
            try:
                with av.open(url, "w", format="rtsp", options={"rtsp_transport": "tcp"}) as out:
                    stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "g": "5"})
                    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                    for i in range(40):
                        out.mux(stream.encode(av.VideoFrame.from_ndarray(shade(i), format="rgb24")))
                    out.mux(stream.encode(None))
                return
            except av.FFmpegError:
                threading.Event().wait(0.1)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    reason, found = ending(open_video(url))
    sender.join(10)
    assert reason == Reason.STREAM_LOST
    assert len(found) >= 20
    assert [frame.number for frame in found] == list(range(len(found)))


def test_who_closes_a_stalled_source_does_not_wait_and_the_decoder_lets_it_go(make_video, tmp_path):
    frames = open_video(make_video(tmp_path / "a.mp4", [shade(i) for i in range(3)]))
    going = iter(frames)
    next(going)
    with frames._turn:  # as a decoder has it that waits for the network
        closing = threading.Thread(target=frames.close)
        closing.start()
        closing.join(5)
        assert not closing.is_alive()
        assert frames._container.streams.video[0].codec_context.width == 64
    assert list(going) == []
    with pytest.raises(AssertionError, match="not open"):
        frames._container.seek(0)


def test_a_camera_is_not_let_go_while_it_is_being_read(monkeypatch):
    inside, go_on, released = threading.Event(), threading.Event(), []

    class Slow(Capture):
        def read(self):
            inside.set()
            go_on.wait(10)
            assert not released
            return super().read()

        def release(self):
            released.append(True)

    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Slow([shade(0)] * 3))
    camera = open_video("camera:0")
    found = []
    reader = threading.Thread(target=lambda: found.extend(camera))
    reader.start()
    assert inside.wait(5)
    camera.close()
    assert not released
    go_on.set()
    reader.join(5)
    assert released == [True]
    assert len(found) <= 1


def test_pixels_that_are_said_to_be_wide_count_as_wide(make_video, tmp_path):
    file = tmp_path / "wide.mkv"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(20)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(shade(0), format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableMedia) as refused:
        open_video(file, max_pixels=64 * 48 * 19)
    assert refused.value.reason == Reason.TOO_MANY_PIXELS
    assert read(file)[0].image.shape == (48, 64 * 20, 3)


def test_a_network_stream_that_is_not_there_says_so():
    assert reason_of("rtsp://127.0.0.1:9/live") == Reason.STREAM_LOST


def test_a_network_stream_is_refused_offline(monkeypatch):
    monkeypatch.setitem(offline._state, "forbidden", True)
    with pytest.raises(NetworkRefused, match="rtsp://host/live"):
        open_video("rtsp://me:secret@host/live")


def test_sound_longer_than_the_picture_is_no_truncation(make_video, tmp_path):
    file = make_video(tmp_path / "a.mkv", [shade(i) for i in range(3)], fps=30, sound="aac")
    assert len(read(file)) == 3


def test_few_frames_per_second_are_no_truncation(make_video, tmp_path):
    file = make_video(tmp_path / "a.mp4", [shade(i) for i in range(3)], times_s=[0, 5, 10])
    assert len(read(file)) == 3


def test_a_name_with_a_colon_is_a_file(make_video, tmp_path, monkeypatch):
    file = make_video(tmp_path / "a.mp4", [shade(0)])
    file.rename(tmp_path / "12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read("12:30.mp4")) == 1


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    assert reason_of(tmp_path / "pipe.mp4") == Reason.NOT_A_FILE
    assert reason_of(tmp_path / "loop.mp4") == Reason.NOT_A_FILE


def test_a_number_too_large_for_a_camera_says_so():
    assert reason_of("camera:99999999999") == Reason.NO_CAMERA


def test_sample_clips_are_read_whole(media):
    for name, frames in (("single_face.mp4", 72), ("no_face.mp4", 95)):
        assert len(read(Path(media(name)))) == frames
