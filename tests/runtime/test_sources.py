"""One source to its analyses, and which errors become an analysis."""

import shutil
import sys

import cv2
import numpy as np
import pytest

from affectlens import Analyzer, Reason
from affectlens.core.errors import (
    AffectLensError,
    BadModelFile,
    BadSetting,
    MissingExtra,
    NetworkRefused,
    UnknownName,
    UnreadableMedia,
)
from affectlens.core.messages import reason_of
from affectlens.runtime.media import PORTRAIT
from affectlens.runtime.sources import Analyses, analyses_of, items_of, open_frames
from affectlens.runtime.stream import VideoSettings
from affectlens.runtime.video import open_video


@pytest.fixture(scope="module")
def whole():
    return Analyzer(detector="whole")


@pytest.fixture(scope="module")
def clip(make_video, portrait, tmp_path_factory):
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_video(file, [cv2.resize(portrait, (64, 64))] * 6, fps=10)


def said(analyses):
    """(name, frame, reason) of each."""
    return [(one.source, one.frame, one.reason) for one in analyses]


# The policy


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (UnreadableMedia(Reason.DAMAGED, "no end"), Reason.DAMAGED, "no end"),
        (MissingExtra("reading videos", "video"), Reason.MISSING_EXTRA, str(MissingExtra("reading videos", "video"))),
        (ValueError("first\nsecond"), Reason.FAILED, "ValueError: first"),
        (MemoryError(), Reason.FAILED, "MemoryError"),
    ],
)
def test_what_fails_with_one_source_has_a_reason_and_one_line(whole, error, reason, detail):
    assert reason_of(error) == (reason, detail)
    failed = whole.recognizer.failed("a.jpg", error, 3)
    assert (failed.source, failed.reason, failed.detail, failed.frame) == ("a.jpg", reason, detail, 3)
    assert (failed.time_s, whole.recognizer.failed("a.jpg", error, 3, 0.5).time_s) == (None, 0.5)


@pytest.mark.parametrize("kind", [BadSetting, BadModelFile, UnknownName, NetworkRefused, AffectLensError])
def test_what_would_fail_with_every_source_is_raised(whole, kind):
    error = kind("all alike")
    with pytest.raises(kind, match="all alike"):
        reason_of(error)

    def media():
        raise error

    with pytest.raises(kind, match="all alike"):
        Analyses(whole, media)


def test_a_missing_extra_is_the_last_analysis_of_a_video_everywhere(whole, clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    expected = [(str(clip), None, Reason.MISSING_EXTRA)]
    assert said(Analyses(whole, clip)) == said(whole.video(clip)) == expected


# What a source may be


def test_a_photo_by_path_bytes_and_array_has_one_analysis(whole, portrait):
    for media, name in ((PORTRAIT, str(PORTRAIT)), (str(PORTRAIT), str(PORTRAIT)), (PORTRAIT.read_bytes(), "")):
        analyses = Analyses(whole, media)
        assert (analyses.is_video, analyses.duration_s) == (False, None)
        assert said(analyses) == [(name, None, None)]
    assert said(Analyses(whole, portrait, name="mine")) == [("mine", None, None)]


def test_a_video_by_path_stream_frames_and_pairs_has_one_for_each_frame(whole, clip):
    pairs = [(frame.image, frame.time_s) for frame in open_video(clip)]
    with clip.open("rb") as stream:
        for media in (clip, stream, lambda: open_video(clip), pairs):
            analyses = Analyses(whole, media, VideoSettings(every=2), "clip")
            assert analyses.is_video
            assert said(analyses) == [("clip", i, None) for i in (0, 2, 4)]
    assert Analyses(whole, clip).duration_s == pytest.approx(0.6, abs=0.05)


def test_arrays_without_times_need_a_rate(whole, portrait):
    frames = [portrait] * 3
    assert [one.time_s for one in whole.video(frames, frame_rate=4)] == [0, 0.25, 0.5]
    with pytest.raises(BadSetting, match="frame_rate"):
        list(whole.video(frames))
    rows = [one.to_rows() for one in whole.video(frames, frame_rate=4)]
    turned = whole.video([frame[..., ::-1] for frame in frames], frame_rate=4, colour="bgr")
    assert [one.to_rows() for one in turned] == rows


def test_rates_and_colours_are_for_arrays(clip):
    for options in ({"frame_rate": 5}, {"colour": "bgr"}):
        with pytest.raises(BadSetting, match="only to arrays"):
            open_frames(clip, **options)


def test_an_error_of_the_iterable_is_a_reason_after_its_frames(whole, portrait):
    def frames():
        yield portrait, 0.0
        raise OSError("the driver is gone")

    *_, last = analyses = said(whole.video(frames()))
    assert analyses == [("", 0, None), ("", 1, Reason.FAILED)]
    assert last[2] is Reason.FAILED


def test_what_cannot_be_opened_or_listed_is_one_analysis(whole, tmp_path):
    for media in (tmp_path / "nowhere.jpg", tmp_path / "nowhere.mp4"):
        assert said(Analyses(whole, media)) == [(str(media), None, Reason.MISSING)]
    error = UnreadableMedia(Reason.NO_IMAGES, "the folder contains no images")
    assert said(Analyses(whole, error, name="folder")) == [("folder", None, Reason.NO_IMAGES)]


def test_a_source_that_is_left_is_let_go(whole, clip):
    opened = []

    def media():
        opened.append(open_video(clip))
        return opened[-1]

    with Analyses(whole, media) as analyses:
        next(iter(analyses))
    assert list(opened[0]) == []
    with Analyses(whole, media):
        pass
    assert list(opened[1]) == []


def test_files_folders_and_globs_are_listed_once_each(clip, tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a.png", "deep/c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    shutil.copy(clip, tmp_path / "clip.mp4")
    names = [str(tmp_path / name) for name in ("a.png", "b.png", "clip.mp4", "deep/c.png")]
    assert [name for name, _ in items_of(str(tmp_path))] == names
    several = items_of([str(tmp_path / "b.png"), str(tmp_path / "*.png"), "camera:0", str(tmp_path / "*.gif")])
    assert [name for name, _ in several] == [names[1], names[0], "camera:0", str(tmp_path / "*.gif")]
    assert several[-1][1].reason == Reason.MISSING


def test_several_sources_are_analyzed_one_after_the_other(whole, clip, tmp_path):
    for name in ("b.png", "a.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    shutil.copy(clip, tmp_path / "clip.mp4")
    names = [str(tmp_path / name) for name in ("a.png", "b.png", "clip.mp4")]
    gone = tmp_path / "gone.jpg"
    for sources in (tmp_path, str(tmp_path), [tmp_path / "a.png", str(tmp_path / "b*"), tmp_path], items_of(tmp_path)):
        found = [(one.name, one.file, one.is_video, said(one)) for one in analyses_of(whole, sources)]
        assert [(name, str(file), video) for name, file, video, _ in found] == [
            (name, name, name.endswith("mp4")) for name in names
        ]
        assert [len(each) for *_, each in found] == [1, 1, 6]
    assert [said(one) for one in analyses_of(whole, [gone, names[0]])] == [
        [(str(gone), None, Reason.MISSING)],
        [(names[0], None, None)],
    ]
    found = [said(one) for one in analyses_of(whole, names[2], VideoSettings(every=3))]
    assert found == [[(names[2], i, None) for i in (0, 3)]]


def test_a_list_of_paths_is_no_list_of_arrays_and_the_other_way_round(whole, portrait):
    for one_source in (Analyses(whole, [PORTRAIT]), whole.video([PORTRAIT, PORTRAIT])):
        with pytest.raises(BadSetting, match="use analyses_of for lists of paths"):
            list(one_source)
    with pytest.raises(BadSetting, match="expected paths, folders, globs, streams or cameras, got ndarray"):
        list(analyses_of(whole, [portrait]))


def test_an_iterable_without_frames_has_one_analysis_as_a_file_has(whole):
    assert said(Analyses(whole, [])) == said(whole.video([], frame_rate=5)) == [("", 0, Reason.NO_FRAMES)]


def test_analyses_that_were_passed_over_say_that_they_are_closed(analyzer):
    first, _ = list(analyses_of(analyzer, [str(PORTRAIT), str(PORTRAIT.parent / "nowhere.jpg")]))
    with pytest.raises(BadSetting, match=r"portrait\.jpg' are closed; iterate over them once"):
        list(first)
