"""Hostile variants of files: whole contents, places that are no files, and mutations."""

import os
import random
import re
import shutil
from pathlib import Path

_NUMBERS = [
    *("-1", "0", "1e308", "-1e400", "nan", "inf", "0x10", "1e", "--1", "\u0663", "1_0", "", "1" * 5000),
    *("2147483648", "9223372036854775808", "99999999999999999999999"),
]
_VALUES = [
    *("null", "true", "-1", "1e400", "NaN", '"x"', '""', "[]", "{}", "[[]]", '{"a": 1}', '"\\ud800"', '"a\\u0000b"'),
    *("[null]", '["a", "a"]', '"' + "x" * 200_000 + '"', "1" * 400),
]
_LINES = [
    "",
    ",",
    '"',
    "x" * 200_000,
    '"' + "y" * 200_000 + '"',
    "\0",
    ",".join("1" * 3000),
    "\r",
    "a\u2028b",
    "\x1b[31m",
]

WHOLE = {
    "empty": b"",
    "zeros": bytes(1000),
    "blank lines": b"\n" * 1000,
    "no text": b"\xff\xfe\xfa" * 100,
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "closed lists": b"[" * 50_000 + b"]" * 50_000,
    "null": b"null",
    "text": b'"x"',
    "list": b"[]",
    "object": b"{}",
    "digits": b"1" * 10_000,
    "huge cell": b'a,b\n"' + b"x" * 300_000 + b'",1\n',
    "open quote": b'"' + b"x\n" * 10_000,
    "UTF-16": "a,b\n1,2".encode("utf-16"),
    "page": b"<html>",
    "pickle": b"\x80\x02cos\nmkdir\nX\x04\x00\x00\x00evilq\x00\x85R.",
    "aliases": b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b]\n",
}
PLACES = ("missing", "folder", "link to itself", "pipe", "endless", "full")


def put(file: Path, name: str) -> None:
    """One of `WHOLE` or `PLACES` where `file` is or was."""
    remove(file)
    if name in WHOLE:
        file.write_bytes(WHOLE[name])
    elif name == "folder":
        file.mkdir()
    elif name == "pipe":
        os.mkfifo(file)
    elif name != "missing":
        file.symlink_to({"link to itself": file.name, "endless": "/dev/zero", "full": "/dev/full"}[name])


def remove(file: Path) -> None:
    """Whatever is there."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


def mutated(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """The bytes of a file with one to four changes; those of a text, half of the time, with another value or line."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if text and rng.random() < 0.7:
        return _other_text(text, rng).encode("utf-8", "surrogateescape")
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _change(changed, rng, other)
    return _with_sums(changed) if changed[257:262] == b"ustar" else bytes(changed)


def _other_text(text: str, rng: random.Random) -> str:
    pattern, values = rng.choice(
        [
            (r"-?\d+(\.\d+)?", _NUMBERS),
            (r'"[^"]*"|-?\d+(\.\d+)?|true|false|null|\[\]', _VALUES),
            (r"(?m)^.*$", _LINES),
            (r"\w+", ["", "\0", "x", "&a", "*a"]),
        ]
    )
    found = list(re.finditer(pattern, text))
    if not found:
        return text + rng.choice(_LINES)
    start, end = rng.choice(found).span()
    return text[:start] + rng.choice(values) + text[end:]


def _change(data: bytearray, rng: random.Random, other: bytes) -> None:
    """Cut, overwrite, flip, repeat, insert or splice in one place, more often near the beginning and the end."""
    length = len(data)
    if not length:
        return
    at = rng.randrange(min(length, rng.choice((64, 512, 4096, length))))
    at = length - 1 - at if rng.random() < 0.3 else at
    width = rng.choice((1, 2, 4, 8, 100, 5000))
    how = rng.randrange(8)
    if how == 0:
        del data[at:]
    elif how == 1:
        del data[at : at + width]
    elif how == 2:
        data[at] ^= 1 << rng.randrange(8)
    elif how in (3, 4):
        data[at : at + min(width, 8)] = rng.choice((b"\xff", b"\x7f", b"\x80", b"\0")) * min(width, 8)
    elif how == 5:
        data[at:at] = rng.randbytes(min(width, 100))
    elif how == 6:
        data[at:at] = data[at : at + width] * rng.choice((1, 2, 50))
    else:
        data[at:] = other[rng.randrange(len(other) or 1) :]


def _with_sums(data: bytearray) -> bytes:
    """A tar file with the right checksums in its headers, so that what they say is believed."""
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % (sum(data[at : at + 512]) % 8**6)
    return bytes(data)
