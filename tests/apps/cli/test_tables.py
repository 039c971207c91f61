import pytest

from affectlens import Analysis, Reason
from affectlens.apps.cli.tables import table_writer

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


def test_a_face_is_one_line_under_a_header(printed, make_face):
    header, line = printed(Analysis("x.jpg", "m", LABELS, (make_face(),)))
    assert header.split() == [
        "source",
        "face",
        "expression",
        "probability",
        "disagreement",
        "valence",
        "arousal",
        "box",
        "score",
    ]
    assert line.split() == ["x.jpg", "0", "happiness", "0.75", "0.50", "+0.57", "+0.36", "10,20", "40x50", "0.90"]


def test_an_uncertain_face_says_so(printed, make_face):
    _, line = printed(Analysis("x.jpg", "m", LABELS, (make_face(uncertain=True),)))
    assert "uncertain (happiness?)" in line


def test_a_face_without_affect_leaves_it_out(printed, make_face):
    _, line = printed(Analysis("x.jpg", "m", LABELS, (make_face(valence=None, arousal=None),)))
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
