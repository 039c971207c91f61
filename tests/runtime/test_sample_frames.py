import numpy as np
import pytest

from affectlens import Analyzer, BadSetting, UnreadableMedia, sample_frames


@pytest.mark.parametrize("faces", [1, 5])
def test_frames_have_the_faces_that_were_asked_for(analyzer, faces):
    (frame,) = sample_frames(faces=faces)
    assert (frame.shape, frame.dtype) == ((480, 640, 3), np.uint8)
    assert len(analyzer.analyze(frame).faces) == faces


def test_the_portrait_moves_forwards_and_backwards_and_never_jumps():
    frames = list(sample_frames(62))
    assert len(frames) == 62
    assert (frames[0] != frames[1]).any()
    np.testing.assert_array_equal(frames[29], frames[30])
    np.testing.assert_array_equal(frames[28], frames[31])
    np.testing.assert_array_equal(frames[0], frames[60])


def test_each_frame_is_an_array_of_its_own():
    first, *_, last = sample_frames(61)
    first[:] = 0
    assert last.any()


def test_frames_of_a_clip_keep_its_shape_on_black(make_video, portrait, tmp_path):
    clip = make_video(tmp_path / "clip.mp4", [portrait[:256], portrait[256:]])
    top, bottom, again = sample_frames(3, clip=clip)
    assert not top[:80].any()
    assert top[100:380].mean() > 60
    assert np.abs(top.astype(int) - bottom).mean() > 10
    np.testing.assert_array_equal(bottom, again)


def test_frames_track_as_one_person():
    stream = Analyzer().stream()
    assert {face.track for frame in sample_frames(12) for face in stream.push(frame).faces} == {0}


def test_no_frames_are_none():
    assert list(sample_frames(0)) == []


@pytest.mark.parametrize(("wrong", "words"), [({"count": -1}, "at least 0, got -1"), ({"faces": 7}, "1 to 6, got 7")])
def test_numbers_out_of_range_are_refused_at_once(wrong, words):
    with pytest.raises(BadSetting, match=words):
        sample_frames(**wrong)


def test_a_clip_that_cannot_be_read_is_refused_at_once(tmp_path):
    with pytest.raises(UnreadableMedia):
        sample_frames(3, clip=tmp_path / "nothing.mp4")
