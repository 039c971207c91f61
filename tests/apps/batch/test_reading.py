import pytest

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.reading import Reader
from affectlens.core.errors import UnreadableMedia
from affectlens.core.reasons import Reason


@pytest.mark.parametrize("video", [False, True])
def test_an_address_that_cannot_be_used_is_the_fault_of_that_source(video):
    item = Item("nowhere", "nosuch://host/a.mp4", video)
    with pytest.raises(UnreadableMedia, match="cannot reach") as refused:
        Reader().video(item) if video else Reader().photo(item)
    assert refused.value.reason == Reason.FAILED
