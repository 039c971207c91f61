import pytest

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.work import COPIES, UNFINISHED, BatchSettings, Worker
from affectlens.core.errors import BadModelFile
from affectlens.core.reasons import Reason
from affectlens.runtime.media import PORTRAIT

PHOTO = Item("a/portrait.jpg", str(PORTRAIT))


@pytest.fixture
def worker(tmp_path):
    for folder in (COPIES, UNFINISHED):
        (tmp_path / folder).mkdir()
    return Worker(BatchSettings(detector="whole", annotate_in=tmp_path))


def test_a_photo_has_one_part_and_its_copy(worker, tmp_path):
    (part,) = worker.parts(7, PHOTO)
    assert (part.number, part.first, len(part.rows)) == (7, True, 1)
    assert (part.end.read, part.end.reason, part.end.warning) == (True, None, "")
    assert [path.name for path in (tmp_path / COPIES).iterdir()] == ["000007-portrait.faces.jpg"]
    assert list((tmp_path / UNFINISHED).iterdir()) == []


def test_a_copy_that_cannot_be_written_is_a_warning(worker, tmp_path):
    (tmp_path / COPIES).rmdir()
    (part,) = worker.parts(7, PHOTO)
    assert (len(part.rows), part.end.reason) == (1, None)
    assert part.end.warning.startswith("cannot write the annotated copy: ")
    assert list((tmp_path / UNFINISHED).iterdir()) == []


@pytest.mark.parametrize("video", [False, True])
def test_a_fault_of_the_listing_is_the_reason(worker, video):
    (part,) = worker.parts(1, Item("a", "a", video, fault=(Reason.MISSING, "no such file")))
    assert (part.rows[0]["reason"], part.end.read, part.end.detail) == ("missing", False, "no such file")


def test_what_every_source_would_fail_with_ends_the_batch(worker):
    def fails(image):
        raise BadModelFile("the detector's file is gone")

    worker._analyzer._detect = fails
    with pytest.raises(BadModelFile, match="gone"):
        list(worker.parts(1, PHOTO))
