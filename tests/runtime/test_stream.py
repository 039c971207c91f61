"""Frames that are pushed: the same answers as a video, and what is told of persons and expressions as they go."""

import threading
import time

import cv2
import numpy as np
import pytest

from affectlens import Analyzer, EventKind, Reason, StreamEvent
from affectlens.core.detection import Detections, no_faces
from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.runtime.stream import VideoSettings
from affectlens.runtime.temporal import FaceFollower, Smoothing


@pytest.fixture(scope="module")
def tiny(write_model, tmp_path_factory):
    """A model that takes bright faces for happy ones and dark ones for neutral."""
    file = tmp_path_factory.mktemp("model") / "tiny.onnx"
    return write_model(file, labels=("neutral", "happiness"), bias=(0.0, -8.0), slope=(0.0, 16.0))


def squares(image):
    """A detector of the squares of 40 pixels in the blue of `scene`."""
    rows = np.flatnonzero((image[..., 2] == 255).any(axis=1))
    columns = np.flatnonzero((image[..., 2] == 255).any(axis=0))
    if not len(rows):
        return no_faces()
    starts = [x for x in columns.tolist() if x == 0 or x - 1 not in columns]
    boxes = np.array([[x, rows[0], x + 40, rows[-1] + 1] for x in starts], dtype=np.float32)
    return Detections(boxes, np.full((len(boxes), 5, 2), np.nan, np.float32), np.ones(len(boxes), np.float32))


def scene(*faces, seed=0):
    """A picture with a face of a brightness at each place (left edge, brightness)."""
    coarse = np.random.default_rng(seed).integers(0, 90, (30, 75, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (300, 120), interpolation=cv2.INTER_CUBIC)
    for left, brightness in faces:
        image[40:80, left : left + 40] = (brightness, brightness, 255)
    return image


@pytest.fixture
def painted(tiny):
    return Analyzer(tiny, detector=squares)


def pushed(stream, frames, fps=32):
    """The rows of frames at an even rate."""
    return [row for i, frame in enumerate(frames) for row in stream.push(frame, i / fps).to_rows()]


def wandering(portrait, count):
    """The portrait's face that wanders over a larger picture."""
    face = cv2.resize(portrait[:260, 90:350], (130, 130), interpolation=cv2.INTER_AREA)
    for i in range(count):
        image = np.full((240, 320, 3), 110, dtype=np.uint8)
        image[40 + i : 170 + i, 20 + 3 * i : 150 + 3 * i] = face
        yield image


def test_a_pushed_frame_is_the_one_that_is_answered(painted):
    with painted.stream(name="camera") as stream:
        assert stream.number == -1
        for i, left in enumerate((20, 30, 40)):
            image = scene((left, 200))
            analysis = stream.push(image, 5 + i / 10)
            assert (analysis.source, analysis.frame, analysis.time_s) == ("camera", i, 5 + i / 10)
            assert analysis.image is image
            (face,) = analysis.faces
            assert (face.box_xyxy[0], face.track, face.smoothed is not None) == (left, 0, True)
    assert stream.number == 2


@pytest.mark.parametrize("detect_every", [1, 4, 10])
def test_a_file_its_arrays_and_pushing_them_give_the_same_rows(analyzer, make_video, portrait, tmp_path, detect_every):
    file = make_video(tmp_path / "clip.mp4", list(wandering(portrait, 25)))
    settings = VideoSettings(detect_every=detect_every, smoothing=Smoothing(baseline=True))
    of_file = list(analyzer.video(file, settings, name="clip"))
    frames = [(one.image, one.time_s) for one in of_file]
    rows = [row for one in of_file for row in one.to_rows()]
    assert len(rows) == 25
    assert {row["track"] for row in rows} == {0}
    of_arrays = analyzer.video(frames, settings, name="clip")
    assert [row for one in of_arrays for row in one.to_rows()] == rows
    stream = analyzer.stream(settings, name="clip")
    assert [row for image, time_s in frames for row in stream.push(image, time_s).to_rows()] == rows


def test_streams_in_two_threads_do_not_mix(analyzer, portrait):
    clips = [list(wandering(portrait, 12)), [frame[:, ::-1] for frame in wandering(portrait, 12)]]
    alone = [pushed(analyzer.stream(), clip) for clip in clips]
    assert alone[0] != alone[1]
    together = [None, None]
    barrier = threading.Barrier(2)

    def work(i):
        barrier.wait()
        together[i] = pushed(analyzer.stream(), clips[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_bgr_and_gray_arrays_are_told_by_their_option_and_shape(analyzer, portrait):
    (row,) = analyzer.stream().push(portrait, 0).to_rows()
    (bgr,) = analyzer.stream().push(portrait[..., ::-1], 0, colour="bgr").to_rows()
    assert bgr == row
    gray = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    (one,) = analyzer.stream().push(gray, 0).to_rows()
    assert one == analyzer.stream().push(np.dstack([gray] * 3), 0).to_rows()[0]


def test_times_are_those_of_a_clock_from_the_first_push(painted):
    stream = painted.stream()
    first = stream.push(scene((20, 200)))
    time.sleep(0.05)
    second = stream.push(scene((20, 200)))
    assert first.time_s == 0
    assert 0.05 <= second.time_s < 5


def test_what_is_no_frame_is_refused_and_does_not_count(painted):
    stream = painted.stream()
    stream.push(scene(), 3.0)
    for bad, complaint in (
        (lambda: stream.push(scene(), 2.9), "must not decrease: got 2.9 s after 3 s"),
        (lambda: stream.push(scene(), float("nan")), "finite"),
        (lambda: stream.push(scene(), "x"), "finite number of seconds, got 'x'"),
        (lambda: stream.push(scene(), "4"), "finite number of seconds, got '4'"),
        (lambda: stream.push(scene().astype(float), 4), "float64"),
        (lambda: stream.push(scene()[..., :2], 4), r"\(120, 300, 2\)"),
        (lambda: stream.push(np.zeros((0, 9, 3), np.uint8), 4), "no pixels"),
        (lambda: stream.push("photo.jpg", 4), "got str"),
        (lambda: stream.push(scene(), 4, colour="hsv"), "colour must be rgb or bgr, got 'hsv'"),
    ):
        with pytest.raises(BadSetting, match=complaint):
            bad()
    assert stream.push(scene(), 3.0).frame == 1


def test_settings_that_leave_frames_out_are_refused(painted):
    for settings in (VideoSettings(every=2), VideoSettings(fps=5.0)):
        with pytest.raises(BadSetting, match="every frame that is pushed"):
            painted.stream(settings)


def test_a_frame_that_fails_has_a_reason_and_the_stream_goes_on(tiny):
    def finds(image):
        if image[0, 0, 0] == 255:
            raise RuntimeError("out of cheese\nredo from start")
        return squares(image)

    stream = Analyzer(tiny, detector=finds).stream(name="camera")
    good, bad = scene((20, 200)), scene((20, 200))
    bad[0, 0] = 255
    stream.push(good, 0)
    failed = stream.push(bad, 1)
    assert (failed.reason, failed.detail) == (Reason.FAILED, "RuntimeError: out of cheese")
    assert (failed.source, failed.frame, failed.time_s, failed.faces) == ("camera", 1, 1.0, ())
    again = stream.push(good, 2)
    assert (again.frame, again.faces[0].track) == (2, 0)


@pytest.mark.parametrize("held", ["pushed", "arrays"])
def test_following_that_fails_costs_its_frame_and_no_event(tiny, held, monkeypatch):
    follow = FaceFollower.__call__

    def forgetful(self, face, time_s):
        if time_s == 1:
            raise RuntimeError("what was I saying")
        return follow(self, face, time_s)

    monkeypatch.setattr(FaceFollower, "__call__", forgetful)
    analyzer, events = Analyzer(tiny, detector=squares), []
    frames = [(scene(), 0), (scene((20, 40)), 1), (scene((20, 40)), 2)]
    if held == "pushed":
        with analyzer.stream(on_event=events.append) as stream:
            found = [stream.push(*frame) for frame in frames]
    else:
        found = list(analyzer.video(frames, on_event=events.append))
    assert [(one.frame, one.time_s, one.reason) for one in found] == [
        (0, 0, Reason.NO_FACE),
        (1, 1, Reason.FAILED),
        (2, 2, None),
    ]
    assert found[1].detail == "RuntimeError: what was I saying"
    assert [(event.kind, event.time_s) for event in events] == [("appeared", 1), ("left", 2)]


def test_what_every_frame_would_fail_with_is_raised(tiny):
    def fails(image):
        raise BadModelFile("no such file")

    with pytest.raises(BadModelFile):
        Analyzer(tiny, detector=fails).stream().push(scene())


def test_an_ended_stream_takes_no_frames(painted):
    stream = painted.stream()
    stream.end()
    with pytest.raises(BadSetting, match="ended"):
        stream.push(scene())


def happened(painted, frames, settings=None, fps=32):
    """(frame at which it was told, event) for a stream over these frames; "end" for what came with its end."""
    events, now = [], [None]
    with painted.stream(settings, lambda event: events.append((now[0], event))) as stream:
        for i, frame in enumerate(frames):
            now[0] = i
            stream.push(frame, i / fps)
        now[0] = "end"
    return events


def test_an_expression_is_told_as_it_begins_peaks_and_ends(painted):
    frames = [scene((20, bright)) for bright in [40] * 32 + [120] * 32 + [200] * 16 + [120] * 16 + [40] * 16]
    events = happened(painted, frames)
    assert [(at, event.kind, event.time_s) for at, event in events] == [
        (0, "appeared", 0),
        (32 + 7 + 2, "onset", 1),
        (80 + 2, "apex", 2),
        (96 + 2, "offset", 3),
        ("end", "left", 111 / 32),
    ]
    assert [event.expression for _, event in events] == [None, *["happiness"] * 3, None]
    assert [event.intensity for _, event in events] == [
        None,
        pytest.approx(0.62, abs=0.01),
        pytest.approx(0.99, abs=0.01),
        events[2][1].intensity,
        None,
    ]
    assert {event.track for _, event in events} == {0}


def test_without_smoothing_the_events_are_the_same(painted):
    frames = [scene((20, bright)) for bright in [40] * 20 + [200] * 20 + [40] * 20]
    events = happened(painted, frames)
    assert len(events) == 5
    assert happened(painted, frames, VideoSettings(smoothing=None)) == events


def test_an_expression_that_goes_on_ends_with_the_stream(painted):
    events = happened(painted, [scene((20, bright)) for bright in [40] * 20 + [200] * 20])
    assert [(at, event.kind) for at, event in events[2:]] == [("end", "apex"), ("end", "offset"), ("end", "left")]
    assert {event.time_s for _, event in events[3:]} == {39 / 32}


def test_persons_come_at_once_and_leave_two_seconds_after_their_last_frame(painted):
    left, right = (20, 40), (220, 40)
    events = happened(painted, [scene(left)] * 8 + [scene(left, right)] * 8 + [scene(right)] * 80)
    assert events == [
        (0, StreamEvent(EventKind.APPEARED, 0, 0)),
        (8, StreamEvent(EventKind.APPEARED, 1, 8 / 32)),
        (16 + 64, StreamEvent(EventKind.LEFT, 0, 15 / 32)),
        ("end", StreamEvent(EventKind.LEFT, 1, 95 / 32)),
    ]


def test_who_is_gone_for_a_moment_has_not_left(painted):
    events = happened(painted, [scene((20, 40))] * 8 + [scene()] * 32 + [scene((20, 40))] * 8)
    assert [(at, event.kind) for at, event in events] == [(0, "appeared"), ("end", "left")]


def test_a_change_of_scene_ends_all_at_once(painted):
    events = happened(painted, [scene((20, 200))] * 32 + [230 - scene(seed=1)] * 4)
    assert [(at, event.kind) for at, event in events] == [
        (0, "appeared"),
        (9, "onset"),
        (32, "apex"),
        (32, "offset"),
        (32, "left"),
    ]


def test_an_error_of_the_callback_is_the_callers(painted):
    def on_event(event):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        painted.stream(on_event=on_event).push(scene((20, 200)))


def test_a_video_tells_what_the_same_frames_tell_when_they_are_pushed(painted):
    frames = [scene((20, bright)) for bright in [40] * 20 + [200] * 20 + [40] * 4]
    told = [event for _, event in happened(painted, frames)]
    assert [event.kind for event in told] == ["appeared", "onset", "apex", "offset", "left"]
    events = []
    for _ in painted.video(frames, frame_rate=32, on_event=events.append):
        pass
    assert events == told


def test_a_video_that_is_left_ends_what_goes_on(painted):
    events = []
    video = painted.video([scene((20, 200))] * 20, frame_rate=32, on_event=events.append)
    next(video)
    video.close()
    assert [(event.kind, event.time_s) for event in events] == [("appeared", 0), ("left", 0)]


def test_an_error_of_the_callback_ends_a_video_too(painted):
    def on_event(event):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(painted.video([scene((20, 200))] * 3, frame_rate=32, on_event=on_event))


def test_nobody_is_remembered_who_has_left(painted):
    stream = painted.stream()
    for i in range(20):
        stream.push(scene((20 + 10 * i, 200)), 10.0 * i)
    assert len(stream._persons) == 1


def test_a_stream_is_made_in_less_than_a_millisecond(analyzer):
    start = time.perf_counter()
    for _ in range(100):
        analyzer.stream(on_event=print)
    assert (time.perf_counter() - start) / 100 < 0.001


@pytest.mark.parametrize("times", [(1.0, None), (None, 1.0)])
def test_frames_have_a_time_all_or_not_at_all(tiny, times):
    stream = Analyzer(tiny, detector=squares).stream()
    stream.push(scene(), times[0])
    with pytest.raises(BadSetting, match="with every frame or with none"):
        stream.push(scene(), times[1])


def test_a_time_that_is_an_image_is_named_in_one_line(tiny):
    with pytest.raises(BadSetting) as caught:
        Analyzer(tiny, detector=squares).stream().push(scene(), scene())
    assert str(caught.value) == "time_s must be a finite number of seconds, got ndarray; pairs must be (image, time_s)"
