"""Annotated copies of photos and videos, and where they come to be."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from affectlens.core.columns import Column, Kind
from affectlens.core.errors import UnreadableMedia
from affectlens.core.measures import Measure
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.annotate import AnnotatedCopy, AtomicFiles, UniqueNames
from affectlens.runtime.video import open_video

IMAGE = np.full((80, 120, 3), 90, dtype=np.uint8)


@pytest.fixture
def made(make_face):
    """An analysis with one face, of a photo or of a frame at a time."""

    def make(time_s=None, image=IMAGE):
        return Analysis("a", "tiny", ("neutral", "happiness"), (make_face(),), image=image, time_s=time_s)

    return make


def copied(place, analyses, stem="a", sound_of=None, whole=True):
    """What went wrong with the copy of these."""
    errors = []
    with AnnotatedCopy(place, stem, sound_of, errors.append) as copy:
        for analysis in analyses:
            copy.add(analysis)
        if whole:
            copy.end()
    return errors


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_photo_is_drawn_as_jpeg_and_a_video_as_video(made, tmp_path):
    place = UniqueNames(tmp_path, set())
    assert copied(place, [made()], "photo") == copied(place, [made(i / 10) for i in range(5)], "clip") == []
    assert files(tmp_path) == ["clip.faces.mp4", "photo.faces.jpg"]
    drawn = cv2.imread(str(tmp_path / "photo.faces.jpg"))
    assert np.abs(drawn.astype(int) - cv2.resize(IMAGE, drawn.shape[1::-1])).max() > 50
    video = open_video(tmp_path / "clip.faces.mp4")
    assert [frame.time_s for frame in video] == [pytest.approx(i / 10, abs=0.001) for i in range(5)]
    video.close()


def test_nothing_is_written_without_a_place_or_a_picture(made, tmp_path):
    assert copied(None, [made()]) == []
    assert copied(UniqueNames(tmp_path, set()), [made(image=None)]) == []
    assert copied(AtomicFiles(tmp_path, tmp_path), [made(0.0, image=None)]) == []
    assert files(tmp_path) == []


def test_names_that_a_source_or_another_copy_has_are_numbered(made, tmp_path):
    (tmp_path / "a.faces.jpg").write_bytes(b"a source")
    (tmp_path / "b.faces.jpg").write_bytes(b"of an earlier run")
    place = UniqueNames(tmp_path, {(tmp_path / "a.faces.jpg").resolve()})
    for stem in ("a", "a", "b"):
        assert copied(place, [made()], stem) == []
    assert files(tmp_path) == ["a-2.faces.jpg", "a-3.faces.jpg", "a.faces.jpg", "b.faces.jpg"]
    assert (tmp_path / "a.faces.jpg").read_bytes() == b"a source"
    assert (tmp_path / "b.faces.jpg").stat().st_size > 100


@pytest.mark.parametrize("times", [[None], [0.0, 0.1, 0.2]])
def test_a_whole_file_appears_at_the_end_and_not_before(made, tmp_path, times):
    folder, work = tmp_path / "copies", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    copy = AnnotatedCopy(AtomicFiles(folder, work), "000001-a", None, pytest.fail)
    for time_s in times:
        copy.add(made(time_s))
    assert files(folder) == []
    copy.end()
    assert (files(folder), files(work)) == (["000001-a.faces" + (".mp4" if times[0] == 0 else ".jpg")], [])


def test_what_was_not_seen_to_its_end_stays_or_goes_as_the_place_says(made, tmp_path):
    folder, work = tmp_path / "copies", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    frames = [made(i / 10) for i in range(5)]
    assert copied(UniqueNames(folder, set()), frames, whole=False) == []
    assert files(folder) == ["a.faces.mp4"]
    assert copied(AtomicFiles(folder, work), frames, "b", whole=False) == []
    assert (files(folder), files(work)) == (["a.faces.mp4"], [])


def test_what_cannot_be_written_is_told_once_and_costs_nothing_else(made, tmp_path):
    (tmp_path / "a.faces.mp4").mkdir()
    (error,) = copied(UniqueNames(tmp_path, set()), [made(i / 10) for i in range(5)])
    assert isinstance(error, OSError)
    (error,) = copied(AtomicFiles(tmp_path / "nowhere", tmp_path), [made()], "c")
    assert isinstance(error, FileNotFoundError)
    assert files(tmp_path) == ["a.faces.mp4"]


def test_sound_that_cannot_be_read_is_told(made, tmp_path):
    (tmp_path / "a.mov").write_bytes(b"Dear diary")
    (error,) = copied(UniqueNames(tmp_path, set()), [made(0.0), made(0.1)], sound_of=tmp_path / "a.mov")
    assert isinstance(error, UnreadableMedia)
    assert error.reason == Reason.NOT_A_VIDEO


@pytest.mark.parametrize("times", [[None], [0.0, 0.1, 0.2]])
def test_a_measure_that_cannot_be_drawn_costs_nothing_and_is_told_once(made, make_face, tmp_path, times, caplog):
    def draw(canvas, face, values):
        raise KeyError(f"ink for {tmp_path}")

    measure = Measure("pen", (Column("pen", Kind.REAL, "how much ink", (), "", digits=2),), draw=draw)
    face = make_face(measures={"pen": {"pen": 1.0}})
    analyses = [replace(made(time_s), faces=(face,), measures=(measure,)) for time_s in times]
    assert copied(UniqueNames(tmp_path, set()), analyses) == []
    assert len(files(tmp_path)) == 1
    (line,) = caplog.messages
    assert line.startswith("the measure 'pen' failed, so it is not drawn: KeyError: ")
