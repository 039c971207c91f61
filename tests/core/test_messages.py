import json

import pytest

from affectlens.core.errors import BadSetting
from affectlens.core.messages import describe, visible, visible_json

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
