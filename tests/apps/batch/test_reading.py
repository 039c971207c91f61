from affectlens.apps.batch.reading import fault_of
from affectlens.core.errors import MissingExtra, UnreadableMedia
from affectlens.core.reasons import Reason


def test_what_went_wrong_is_a_code_and_one_line():
    assert fault_of(UnreadableMedia(Reason.DAMAGED, "no end")) == (Reason.DAMAGED, "no end")
    assert fault_of(MissingExtra("videos", "video"))[0] == Reason.MISSING_EXTRA
    assert fault_of(ValueError("first\nsecond\nthird")) == (Reason.FAILED, "ValueError: first")
