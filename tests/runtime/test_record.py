import contextlib

import av
import numpy as np
import pytest

from affectlens.core.errors import AffectLensError, MissingExtra
from affectlens.runtime.record import Recorder, suffix_for
from affectlens.runtime.video import open_video


def pictures(count, height=48, width=64):
    return [np.full((height, width, 3), 20 + 8 * i, dtype=np.uint8) for i in range(count)]


def read(file):
    frames = open_video(file)
    try:
        return list(frames)
    finally:
        frames.close()


def sound(file):
    """(packets' times, bytes) of the sound."""
    with av.open(str(file)) as container:
        packets = [p for p in container.demux(audio=0) if p.pts is not None]
        return [float(p.pts * p.time_base) for p in packets], [bytes(p) for p in packets]


def test_pictures_and_times_come_back(tmp_path):
    times = [0.0, 0.04, 0.1, 0.5, 0.52]
    with Recorder(tmp_path / "out.mp4") as recorder:
        for picture, time_s in zip(pictures(5), times, strict=True):
            recorder.write(picture, time_s)
    assert recorder.file == tmp_path / "out.mp4"
    frames = read(recorder.file)
    np.testing.assert_allclose([frame.time_s for frame in frames], times, atol=0.002)
    for i, frame in enumerate(frames):
        assert abs(float(frame.image.mean()) - (20 + 8 * i)) < 3


@pytest.mark.parametrize("size", [(48, 64), (49, 64), (48, 65), (49, 65), (1, 1), (3, 201)])
def test_sizes_are_made_even(tmp_path, size):
    with Recorder(tmp_path / "out.mp4") as recorder:
        recorder.write(pictures(1, *size)[0], 0.0)
    (frame,) = read(recorder.file)
    assert frame.image.shape == (max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2), 3)


def test_pictures_of_another_size_are_fitted(tmp_path):
    with Recorder(tmp_path / "out.mp4") as recorder:
        recorder.write(pictures(1)[0], 0.0)
        recorder.write(pictures(1, 20, 100)[0], 0.1)
        recorder.write(pictures(10, 20, 100)[9], 0.2)
    frames = read(recorder.file)
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 3
    assert abs(float(frames[2].image[20:28].mean()) - 92) < 8
    assert frames[2].image[:10].max() < 12


def test_equal_times_still_follow_each_other(tmp_path):
    with Recorder(tmp_path / "out.mp4") as recorder:
        for picture in pictures(3):
            recorder.write(picture, 0.0)
    assert len(read(recorder.file)) == 3


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("pcm_s16le", ".mkv")])
def test_sound_is_copied_to_the_bit(make_video, tmp_path, codec, suffix):
    source = make_video(tmp_path / "in.mkv", pictures(20), fps=10, sound=codec)
    with Recorder(tmp_path / f"out{suffix_for(source)}", source) as recorder:
        for frame in read(source):
            recorder.write(frame.image, frame.time_s)
    assert recorder.file.suffix == suffix
    times, packets = sound(recorder.file)
    before_times, before = sound(source)
    first = before.index(packets[0])  # the encoder's first, before time 0, is left out
    assert first <= 1
    assert packets == before[first : first + len(packets)]
    assert before_times[first + len(packets) - 1] > 1.8
    np.testing.assert_allclose(times, before_times[first : first + len(times)], atol=0.03)


def test_sound_stays_with_the_picture_where_the_video_begins_late(make_video, tmp_path):
    source = make_video(tmp_path / "in.mkv", pictures(20), times_s=[1 + i / 10 for i in range(20)], sound="pcm_s16le")
    with Recorder(tmp_path / f"out{suffix_for(source)}", source) as recorder:
        for frame in read(source):
            recorder.write(frame.image, frame.time_s)
    times, packets = sound(recorder.file)
    before_times, before = sound(source)
    first = before.index(packets[0])
    assert before_times[first] - times[0] == pytest.approx(1, abs=0.03)


def test_nothing_written_makes_no_file(tmp_path):
    with Recorder(tmp_path / "out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtra, match=r"affectlens\[video\]"):
        Recorder(tmp_path / "out.mp4")


def test_the_rest_of_the_sound_is_copied_where_all_was_seen(make_video, tmp_path):
    source = make_video(tmp_path / "in.mkv", pictures(3), fps=10, sound="pcm_s16le")
    ends = {}
    for whole in (False, True):
        recorder = Recorder(tmp_path / f"{whole}.mkv", source)
        for frame in read(source):
            recorder.write(frame.image, frame.time_s)
        recorder.close(rest_of_sound=whole)
        ends[whole] = sound(recorder.file)[0][-1]
    assert ends[False] < 0.4
    assert ends[True] > 0.9


def test_what_the_encoder_refuses_is_one_line(tmp_path):
    recorder = Recorder(tmp_path / "out.mp4")
    with pytest.raises(AffectLensError, match="cannot write"):
        recorder.write(np.zeros((4, 40_000, 3), dtype=np.uint8), 0.0)
    with contextlib.suppress(AffectLensError):
        recorder.close()
    recorder.close()
