"""What every writer in the catalogue must do."""

import contextlib
import io

import pytest

from affectlens import Analysis, Reason
from affectlens.apps.cli.analyze import TABLE
from affectlens.core import catalog
from affectlens.core.columns import Schema
from affectlens.core.errors import BadSetting

LABELS = ("neutral", "happiness")
WRITERS = catalog.available("runtime.writers")


@pytest.fixture
def analyses(make_face):
    return [
        Analysis("photo.jpg", "m", LABELS, (make_face(), make_face(uncertain=True))),
        Analysis("été,\n😀.jpg", "m", LABELS, reason=Reason.DAMAGED),
    ]


def write(name, file, analyses):
    with catalog.build("runtime.writers", name, file, Schema(LABELS), options={}) as write_one:
        for analysis in analyses:
            write_one(analysis)


def broken_off(analyses):
    yield analyses[0]
    raise KeyboardInterrupt


def test_none_is_called_as_the_table_of_the_terminal():
    assert TABLE not in WRITERS


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_written_and_the_same_again(name, analyses, tmp_path):
    for file in ("a", "b"):
        write(name, tmp_path / file, analyses)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != b""


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_to_write_and_a_file_left_early_are_no_errors(name, analyses, tmp_path):
    write(name, tmp_path / "nothing", [])
    with pytest.raises(KeyboardInterrupt):
        write(name, tmp_path / "a", broken_off(analyses))
    assert (tmp_path / "a").stat().st_size > 0


@pytest.mark.parametrize("name", WRITERS)
def test_standard_output_gets_what_a_file_gets_at_once_or_is_refused(name, analyses, tmp_path):
    class Stream(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed = len(self.getvalue())

    stream = Stream(newline="")
    with contextlib.redirect_stdout(stream):
        try:
            write(name, None, (analysis for analysis in analyses if stream.flushed == len(stream.getvalue())))
        except BadSetting:
            assert stream.getvalue() == ""
            return
    write(name, tmp_path / "a", analyses)
    assert (tmp_path / "a").read_bytes().decode() == stream.getvalue()
    assert "nan" not in stream.getvalue().lower()
    assert "None" not in stream.getvalue()


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_cannot_be_written_is_an_os_error(name, analyses, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        write(name, tmp_path / "nowhere" / "a", analyses)
