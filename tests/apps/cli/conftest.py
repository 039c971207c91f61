"""The command line in this process and in one of its own, and files to give it."""

import os
import re
import subprocess
import sys
import zlib
from typing import NamedTuple

import pytest

from affectlens.apps.cli.main import main
from affectlens.runtime.media import PORTRAIT


class Result(NamedTuple):
    """How a call ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def errors(self):
        """The lines on standard error."""
        return self.err.splitlines()


def plain(text):
    """Without the colours that some terminals and CI ask for."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def cli(monkeypatch, capfd):
    """Calls the command line in this process, where it starts quickly."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["affectlens", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as done:
            code = done.code or 0
        return Result(code, *map(plain, capfd.readouterr()))

    return call


@pytest.fixture(scope="session")
def process():
    """Calls the command line as people do, in a process of its own."""

    def call(*arguments, **environment):
        command = [sys.executable, "-m", "affectlens", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment
        )
        return Result(done.returncode, plain(done.stdout), plain(done.stderr))

    return call


@pytest.fixture
def bad_files(tmp_path):
    """A folder of files that look like photos and are none, and the reason of each."""
    folder = tmp_path / "bad"
    folder.mkdir()
    photo = PORTRAIT.read_bytes()
    header = b"IHDR\0\0\xc3\x50\0\0\xc3\x50\x08\x02\0\0\0"
    check = zlib.crc32(header).to_bytes(4)
    contents = {
        "empty.jpg": (b"", "empty_file"),
        "text.jpg": (b"Dear diary", "not_an_image"),
        "cut.jpg": (photo[: len(photo) // 2], "truncated"),
        "header.png": (b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + check + b"\0\0\0\x09IDAT", "too_many_pixels"),
        "two\nlines.jpg": (photo[:100], "truncated"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    return folder, {str(folder / name): reason for name, (_, reason) in contents.items()}
