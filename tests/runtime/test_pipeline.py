"""The way of a video through the engine, with painted faces that a made detector finds, and with real ones."""

import threading
import time

import cv2
import numpy as np
import pytest

from affectlens import Analyzer, Reason
from affectlens.core.detection import Detections, no_faces
from affectlens.core.errors import BadModelFile, BadSetting, UnreadableMedia
from affectlens.runtime.pipeline import VideoSettings, ahead, analyze_frames
from affectlens.runtime.temporal import Smoothing
from affectlens.runtime.video import Frame


class Clip:
    """Frames from memory, which may break off."""

    duration_s = None
    live = False

    def __init__(self, images, fps=30, error=None):
        self.images, self.fps, self.error, self.closed = images, fps, error, False

    def __iter__(self):
        for i, image in enumerate(self.images):
            yield Frame(i, i / self.fps, image)
        if self.error:
            raise self.error

    def close(self):
        self.closed = True


class Finder:
    """Finds the white square, or follows it; counts how often it was asked for what."""

    def __init__(self, follows=True):
        self.everywhere, self.near = 0, 0
        if follows:
            self.follow = self._follow

    def __call__(self, image):
        self.everywhere += 1
        return self._found(image)

    def _follow(self, image, boxes_xyxy):
        self.near += 1
        return self._found(image)

    @staticmethod
    def _found(image):
        rows, columns = np.nonzero(image[..., 0] > 200)
        if not len(rows):
            return no_faces()
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], dtype=np.float32)
        return Detections(box, np.full((1, 5, 2), np.nan, dtype=np.float32), np.ones(1, dtype=np.float32))


def square(i, gone=False):
    """A frame with a white square that moves right, over a background with something to hold on to."""
    image = np.random.default_rng(0).integers(0, 120, (120, 300, 3), dtype=np.uint8)
    if not gone:
        image[40:80, 20 + 2 * i : 60 + 2 * i] = 255
    return image


def analyses(clip, finder=None, **settings):
    return list(analyze_frames(Analyzer(detector=finder or Finder()), clip, "clip", VideoSettings(**settings)))


def test_each_frame_has_its_analysis_in_order(analyzer):
    clip = Clip([square(i) for i in range(30)])
    found = analyses(clip)
    assert [one.frame for one in found] == list(range(30))
    np.testing.assert_allclose([one.time_s for one in found], np.arange(30) / 30)
    assert {one.source for one in found} == {"clip"}
    assert {face.track for one in found for face in one.faces} == {0}
    for one, image in zip(found, clip.images, strict=True):
        assert one.image is image
    assert clip.closed


def test_rows_have_frame_time_and_track():
    (row, *_) = analyses(Clip([square(0)] * 3))[2].to_rows()
    assert (row["frame"], row["time_s"], row["track"], row["face"]) == (2, 0.0667, 0, 0)


def test_it_is_looked_everywhere_every_tenth_frame_and_followed_between():
    finder = Finder()
    analyses(Clip([square(i) for i in range(40)]), finder)
    assert (finder.everywhere, finder.near) == (4, 36)
    finder = Finder()
    analyses(Clip([square(i) for i in range(40)]), finder, detect_every=4)
    assert (finder.everywhere, finder.near) == (10, 30)


def test_a_detector_that_cannot_follow_is_asked_each_time():
    finder = Finder(follows=False)
    found = analyses(Clip([square(i) for i in range(20)]), finder)
    assert finder.everywhere == 20
    assert {face.track for one in found for face in one.faces} == {0}


def test_a_face_that_is_lost_is_looked_for_at_once_and_comes_back_with_its_number():
    finder = Finder()
    found = analyses(Clip([square(i, gone=10 <= i < 25) for i in range(40)]), finder)
    assert [len(one.faces) for one in found] == [1] * 10 + [0] * 15 + [1] * 15
    assert {one.reason for one in found[10:25]} == {Reason.NO_FACE}
    assert {face.track for one in found for face in one.faces} == {0}
    assert finder.everywhere > 5


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        ({"every": 4}, list(range(0, 30, 4))),
        ({"fps": 10.0}, list(range(0, 30, 3))),
        ({"fps": 4.0}, [0, 8, 15, 23]),
        ({"fps": 100.0}, list(range(30))),
        ({"fps": 15.0, "every": 3}, list(range(0, 30, 3))),
    ],
)
def test_frames_may_be_left_out(settings, numbers):
    assert [one.frame for one in analyses(Clip([square(i) for i in range(30)]), **settings)] == numbers


@pytest.mark.parametrize("bad", [{"every": 0}, {"detect_every": 0}, {"fps": 0.0}, {"fps": float("nan")}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(BadSetting, match=next(iter(bad))):
        VideoSettings(**bad)


def test_what_breaks_off_keeps_what_there_was_and_says_why():
    clip = Clip([square(0)] * 5, error=UnreadableMedia(Reason.TRUNCATED, "half of it"))
    *good, last = analyses(clip)
    assert [one.frame for one in good] == list(range(5))
    assert (last.reason, last.detail, last.frame, last.faces) == (Reason.TRUNCATED, "half of it", 5, ())
    assert clip.closed


def test_frames_may_have_times_before_zero(analyzer):
    frames = [(square(i), -2 + i / 10) for i in range(10)]
    for settings, numbers in ((VideoSettings(), list(range(10))), (VideoSettings(fps=5.0), [0, 2, 4, 6, 8])):
        found = list(Analyzer(detector=Finder()).video(frames, settings))
        assert [one.frame for one in found] == numbers
        assert found[0].time_s == -2


def test_a_frame_whose_faces_cannot_be_found_is_a_row_and_the_video_goes_on():
    def fails(image):
        if image[0, 0, 0] == 7:
            raise RuntimeError("out of cheese")
        return no_faces()

    images = [np.full((20, 20, 3), value, dtype=np.uint8) for value in (1, 7, 2, 3)]
    found = analyses(Clip(images, error=UnreadableMedia(Reason.TRUNCATED, "half of it")), fails)
    assert [(one.frame, one.reason) for one in found] == [
        (0, Reason.NO_FACE),
        (1, Reason.FAILED),
        (2, Reason.NO_FACE),
        (3, Reason.NO_FACE),
        (4, Reason.TRUNCATED),
    ]
    assert (found[1].detail, found[1].time_s) == ("RuntimeError: out of cheese", pytest.approx(1 / 30))
    assert found[4].time_s is None


def test_a_frame_that_cannot_be_read_costs_those_beside_it_nothing(monkeypatch):
    analyzer = Analyzer(detector=Finder())
    read = analyzer.recognizer.read

    def fails(images):
        if any(image[0, 0, 0] == 7 for image, _ in images):
            raise MemoryError
        return read(images)

    monkeypatch.setattr(analyzer.recognizer, "read", fails)
    images = [square(i) for i in range(12)]
    images[5][0, 0] = 7
    found = list(analyze_frames(analyzer, Clip(images), "clip", VideoSettings()))
    assert [one.frame for one in found if one.reason] == [5]
    assert (found[5].reason, found[5].time_s) == (Reason.FAILED, pytest.approx(5 / 30))
    assert all(len(one.faces) == 1 for one in found if one.frame != 5)


def test_an_error_of_the_settings_is_raised():
    def fails(image):
        raise BadModelFile("no such file")

    with pytest.raises(BadModelFile):
        analyses(Clip([square(0)]), fails)


def test_smoothing_is_an_option():
    clip = [square(i) for i in range(10)]
    assert all(face.smoothed for one in analyses(Clip(clip)) for face in one.faces)
    assert not any(face.smoothed for one in analyses(Clip(clip), smoothing=None) for face in one.faces)
    plain, smooth = (analyses(Clip(clip), smoothing=s) for s in (None, Smoothing()))
    for one, other in zip(plain, smooth, strict=True):
        assert one.faces[0].probabilities == other.faces[0].probabilities


def test_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    clip = Clip([square(0)] * 1000)
    for count, _ in enumerate(analyze_frames(Analyzer(detector=Finder()), clip, "clip", VideoSettings())):
        if count == 3:
            break
    del _
    for _ in range(50):
        if threading.active_count() == before and clip.closed:
            break
        time.sleep(0.1)
    assert (threading.active_count(), clip.closed) == (before, True)


def test_who_stops_does_not_wait_for_a_source_that_has_stalled():
    go_on = threading.Event()

    class Stalled(Clip):
        def __iter__(self):
            yield from super().__iter__()
            go_on.wait(30)

    before = threading.active_count()
    analyses = analyze_frames(Analyzer(detector=Finder()), Stalled([square(0)]), "", VideoSettings())
    assert next(analyses).frame == 0
    start = time.monotonic()
    analyses.close()
    assert time.monotonic() - start < 5
    go_on.set()
    while threading.active_count() > before:
        assert time.monotonic() - start < 20
        time.sleep(0.05)


def test_a_live_source_is_read_at_its_own_pace_and_the_oldest_frames_are_dropped():
    slow = threading.Event()

    class Live(Clip):
        live = True

        def __iter__(self):
            for frame in super().__iter__():
                time.sleep(0.005)
                yield frame

    def detect(image):
        slow.wait(0.05)
        return Finder._found(image)

    found = analyses(Live([square(0)] * 100), detect)
    numbers = [one.frame for one in found]
    assert numbers == sorted(set(numbers))
    assert 5 < len(numbers) < 60
    assert numbers[-1] == 99
    assert any(30 < number < 70 for number in numbers)


def test_items_are_made_ahead_in_order_and_an_error_comes_after_them():
    def items():
        yield from range(100)
        raise ValueError("end")

    seen = []
    with pytest.raises(ValueError, match="end"):
        seen.extend(ahead(items(), 5))  # keeps those before the error
    assert {len(batch) for batch in seen} <= {1, 2, 3, 4, 5}
    assert [item for batch in seen for item in batch] == list(range(100))


def test_no_more_are_made_than_may_wait():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    batches = ahead(items(), 3)
    next(batches)
    time.sleep(0.2)
    assert len(made) <= 8
    batches.close()


def moving(portrait, count):
    """The portrait's face that wanders over a larger picture."""
    face = cv2.resize(portrait[:260, 90:350], (130, 130), interpolation=cv2.INTER_AREA)
    ground = cv2.resize(np.random.default_rng(0).integers(60, 140, (12, 16, 3), dtype=np.uint8), (320, 240))
    for i in range(count):
        image = ground.copy()
        x, y = 20 + 3 * i, 40 + i
        image[y : y + 130, x : x + 130] = face
        yield image


def test_the_real_detector_follows_a_real_face(analyzer, portrait):
    found = list(analyze_frames(analyzer, Clip(list(moving(portrait, 45))), "clip", VideoSettings()))
    assert [len(one.faces) for one in found] == [1] * 45
    assert {one.faces[0].track for one in found} == {0}
    assert {one.faces[0].expression for one in found} == {"happiness"}
    left = np.array([one.faces[0].box_xyxy[0] for one in found])
    np.testing.assert_allclose(left - left[0], 3 * np.arange(45), atol=6)


def test_a_file_is_analyzed_by_name(analyzer, make_video, portrait, tmp_path):
    file = make_video(tmp_path / "clip.mp4", list(moving(portrait, 12)))
    found = list(analyzer.video(file, VideoSettings(every=3)))
    assert [(one.source, one.frame, len(one.faces)) for one in found] == [(str(file), i, 1) for i in (0, 3, 6, 9)]
    (bad,) = analyzer.video(tmp_path / "nowhere.mp4")
    assert (bad.reason, bad.faces) == (Reason.MISSING, ())
