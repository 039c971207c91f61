import inspect

from affectlens.core import errors
from affectlens.core.errors import AffectLensError, MissingExtra, UnreadableMedia
from affectlens.core.reasons import Reason


def test_every_error_is_an_affectlens_error():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert len(kinds) > 1
    assert all(issubclass(kind, AffectLensError) for kind in kinds)


def test_unreadable_media_keeps_its_reason():
    error = UnreadableMedia(Reason.EMPTY_FILE, "a.jpg has no bytes")
    assert error.reason == "empty_file"
    assert str(error) == "empty_file: a.jpg has no bytes"


def test_missing_extra_says_what_to_install():
    assert str(MissingExtra("training", "train")).endswith("pip install 'affectlens[train]' or, in a clone, '.[train]'")
