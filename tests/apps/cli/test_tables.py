import errno
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from affectlens import Analysis, Reason
from affectlens.apps.cli import tables
from affectlens.apps.cli.console import PLAIN
from affectlens.apps.cli.tables import table_writer
from affectlens.core.quality import Quality

LABELS = ("neutral", "happiness")


@pytest.fixture
def printed(tmp_path):
    """The lines of the table that is written to a file."""

    def write(*analyses):
        with table_writer(tmp_path / "table.txt") as add:
            for analysis in analyses:
                add(analysis)
        return (tmp_path / "table.txt").read_text(encoding="utf-8").splitlines()

    return write


def test_a_table_that_cannot_be_written_leaves_the_one_before(printed, make_face, tmp_path, monkeypatch):
    analysis = Analysis("x.jpg", "m", LABELS, (make_face(),))
    before, write = printed(analysis), Path.write_text

    def half(path, text, **options):
        write(path, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        printed(analysis, analysis)
    assert (tmp_path / "table.txt").read_text().splitlines() == before


@pytest.fixture
def shown(monkeypatch):
    """The lines of the table on a terminal that is `width` columns wide."""

    def write(width, *analyses):
        screen = io.StringIO()
        console = Console(file=screen, width=width, force_terminal=True, color_system=None, **PLAIN)
        monkeypatch.setattr(tables, "terminal", console)
        with table_writer(None) as add:
            for analysis in analyses:
                add(analysis)
        return screen.getvalue().splitlines()

    return write


def test_a_face_is_one_line_under_a_header(printed, make_face):
    header, line = printed(Analysis("x.jpg", "m", LABELS, (make_face(),)))
    assert header.split() == [
        "source",
        "face",
        "expression",
        "probability",
        "valence",
        "arousal",
        "va_source",
        "disagreement",
        "quality",
        "box",
        "score",
    ]
    assert line.split() == [
        *("x.jpg", "0", "happiness", "0.75", "+0.57", "+0.36", "projected", "0.50", "10,20", "40x50", "0.90")
    ]


def test_an_uncertain_face_says_so(printed, make_face):
    _, line = printed(Analysis("x.jpg", "m", LABELS, (make_face(uncertain=True),)))
    assert "uncertain (happiness?)" in line


def test_a_face_without_affect_leaves_it_out(printed, make_face):
    _, line = printed(Analysis("x.jpg", "m", LABELS, (make_face(valence=None, arousal=None, va_source=None),)))
    assert line.split() == ["x.jpg", "0", "happiness", "0.75", "0.50", "10,20", "40x50", "0.90"]


def test_a_source_without_a_face_shows_its_reason(printed):
    _, line = printed(Analysis("x.jpg", "m", LABELS, reason=Reason.DAMAGED))
    assert line.split() == ["x.jpg", "-", "damaged"]


@pytest.mark.parametrize(
    "source", ["a[1].jpg", "[red].jpg", "[/x].jpg", "a[bold]b[/bold].jpg", ":smile:.jpg", "a\\[b].jpg"]
)
def test_brackets_and_colons_in_a_name_are_shown_as_they_are(printed, make_face, source):
    _, line = printed(Analysis(source, "m", LABELS, (make_face(),)))
    assert line.split()[:3] == [source, "0", "happiness"]


def test_a_very_long_name_does_not_push_the_answer_out(printed, make_face):
    text = "\n".join(printed(Analysis("folder/" * 40 + "x.jpg", "m", LABELS, (make_face(),))))
    assert "happiness" in text
    assert "+0.57" in text
    assert "0.90" in text


def test_the_table_goes_to_standard_output_without_a_file(capsys, make_face):
    with table_writer(None) as add:
        add(Analysis("x.jpg", "m", LABELS, (make_face(),)))
    assert "happiness" in capsys.readouterr().out


def wide_cells(make_face, source):
    """An uncertain face on a photo of many pixels, whose cells are as wide as they get."""
    box = np.array([1000, 1200, 2000, 2500], dtype=np.float32)
    return Analysis(source, "m", LABELS, (make_face(uncertain=True, valence=-0.57, box_xyxy=box),))


def test_eighty_columns_show_the_answer_whole_and_leave_the_rest_out(shown, make_face):
    header, *lines = shown(80, wide_cells(make_face, "x.jpg"), Analysis("y.jpg", "m", LABELS, (make_face(),)))
    assert header.split() == ["source", "face", "expression", "probability", "valence", "arousal"]
    assert [line.split() for line in lines] == [
        ["x.jpg", "0", "uncertain", "(happiness?)", "0.75", "-0.57", "+0.36"],
        ["y.jpg", "0", "happiness", "0.75", "+0.57", "+0.36"],
    ]


@pytest.mark.parametrize("source", ["folder/" * 30 + "x.jpg", "x" * 200 + ".jpg", "笑顔" * 60 + ".jpg"])
@pytest.mark.parametrize("width", [80, 130, 131, 200])
def test_a_long_name_folds_and_no_cell_is_cut(shown, make_face, source, width):
    _, *lines = shown(width, wide_cells(make_face, source), Analysis("y.jpg", "m", LABELS, reason=Reason.MISSING))
    assert max(len(line) for line in lines) <= width
    assert "…" not in "".join(lines)
    first = lines[0].split()
    answer = ["0", "uncertain", "(happiness?)", "0.75", "-0.57", "+0.36"]
    assert first[1:7] == answer
    assert first[7:] == ([] if width < 131 else ["projected", "0.50", "1000,1200", "1000x1300", "0.90"])
    assert first[0] + "".join(line.strip() for line in lines[1:-1]) == source
    assert lines[-1].split() == ["y.jpg", "-", "missing"]


def test_what_is_wrong_with_a_face_is_in_the_table(printed, make_face):
    seen = Quality(10, 1.0, 1.0, 0.01, 0.5, 0.0, 0.0, 0.0, 0.0)
    _, line = printed(Analysis("x.jpg", "m", LABELS, (make_face(quality=seen),)))
    assert "small+dark" in line.split()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_fits_into_eighty_columns(shown, reason):
    _, line = shown(80, Analysis("x.jpg", "m", LABELS, reason=reason))
    assert line.split() == ["x.jpg", "-", reason.value]


def test_a_terminal_of_131_columns_shows_every_column(shown, printed, make_face):
    analysis = Analysis("x.jpg", "m", LABELS, (make_face(),))
    assert [line.split() for line in shown(131, analysis)] == [line.split() for line in printed(analysis)]


@pytest.mark.parametrize(("width", "columns"), [(80, 7), (99, 7), (100, 10)])
def test_a_person_has_whole_numbers_on_any_terminal(shown, make_face, width, columns):
    face = make_face(track=0, valence=-0.003, arousal=0.35)
    header, line = shown(width, Analysis("clip.mp4", "m", LABELS, (face,), time_s=1.0))
    assert len(header.replace(" s ", "_s ").split()) == columns
    assert line.split()[-2:] == ["+0.00", "+0.35"]
    assert line.startswith("clip.mp4 ")
