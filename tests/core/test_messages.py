import errno
import json

import pytest

from affectlens.core.errors import BadSetting, MissingExtra, UnreadableMedia
from affectlens.core.messages import (
    MAX_LENGTH,
    describe,
    first_line,
    one_line,
    reason_of,
    shortened,
    visible,
    visible_json,
    without_advice,
)
from affectlens.core.reasons import Reason

KEPT = ["", "plain.jpg", "été 😀 [red]", "C:\\new", "👩‍👩‍👧 क्‍ष می‌خواهم", "\xa0"]
"""With joiners, which hold emoji together and shape letters."""
HIDDEN = [
    *map(chr, (*range(32), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))),
    *("\u061c", "\u200e", "\u200f"),
]


@pytest.mark.parametrize("text", KEPT)
def test_letters_of_every_script_stay_as_they_are(text):
    assert visible(text) == visible_json(text) == text


@pytest.mark.parametrize("character", HIDDEN, ids=ascii)
def test_what_controls_a_terminal_is_escaped_as_python_does(character):
    assert visible(f"a{character}b") == f"a{ascii(character)[1:-1]}b"


def test_escaped_json_means_the_same():
    value = {"".join(HIDDEN): ["".join(HIDDEN), "été 😀"]}
    text = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert visible(text) == text
    assert "été 😀" in text


def test_a_message_is_one_line_that_controls_nothing():
    assert describe(BadSetting("two\r\nlines \x1b]0;pwn\x07 \u202egpj")) == r"two lines \x1b]0;pwn\x07 \u202egpj"
    error = FileNotFoundError(2, "No such file or directory", "\x9b2J.csv")
    assert describe(error) == r"No such file or directory: '\x9b2J.csv'"


def test_a_short_message_stays_and_becomes_one_line():
    assert shortened("a\n  b\tc") == "a b c"
    assert describe(BadSetting("a\nb")) == "a b"
    assert one_line(ValueError("a\nb")) == "ValueError: a"
    assert (first_line(ValueError("a\nb")), first_line(ValueError())) == ("a", "ValueError")


@pytest.mark.parametrize(
    "say", [describe, first_line, one_line, lambda error: reason_of(UnreadableMedia("failed", str(error)))[1]]
)
def test_of_a_long_message_the_beginning_and_the_end_stay(say):
    text = say(ValueError("what " + "x" * 200_000 + " fix"))
    assert len(text) <= MAX_LENGTH
    assert "what x" in text
    assert " ... " in text
    assert text.endswith("x fix")


def test_an_error_of_the_system_names_its_file():
    assert describe(OSError(errno.EINVAL, "not a regular file", "/a")) == "not a regular file: '/a'"


def test_every_error_of_a_source_has_its_reason():
    assert reason_of(MissingExtra("reading", "video"))[0] == Reason.MISSING_EXTRA
    assert reason_of(ValueError("x")) == (Reason.FAILED, "ValueError: x")
    with pytest.raises(BadSetting):
        reason_of(BadSetting("x"))


@pytest.mark.parametrize("said", ["Cannot use ``weights_only=True`` with", "This file contains pickled (object) data"])
def test_advice_to_unpickle_is_not_passed_on(said):
    assert without_advice(said) == "it contains no weights that can be read safely"
    assert without_advice("invalid header") == "invalid header"
