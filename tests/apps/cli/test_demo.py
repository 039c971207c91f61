import pytest

from affectlens.core.expressions import FERPLUS
from affectlens.runtime.media import read_image


def test_the_demo_prints_every_expression_and_writes_the_picture(process, tmp_path):
    result = process("demo", "--annotate", tmp_path / "demo.jpg")
    assert (result.code, result.err) == (0, "")
    assert all(label in result.out for label in FERPLUS)
    assert [line.split()[:3] for line in result.out.splitlines()[1:2]] == [["portrait.jpg", "0", "happiness"]]
    assert str(tmp_path / "demo.jpg") in result.out.replace("\n", "")
    assert read_image(tmp_path / "demo.jpg").shape == (512, 512, 3)


def test_the_suffix_says_the_format_of_the_picture(cli, tmp_path):
    assert cli("demo", "--annotate", tmp_path / "demo.png").code == 0
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert read_image(tmp_path / "demo.png").shape == (512, 512, 3)


@pytest.mark.parametrize("name", ["demo.xyz", "demo"])
def test_a_suffix_that_says_no_format_of_a_picture_is_one_line(cli, tmp_path, name):
    result = cli("demo", "--annotate", tmp_path / name)
    assert result.code == 1
    assert len(result.errors) == 1
    assert ".jpg or .png" in result.err
    assert not (tmp_path / name).exists()


def test_without_an_option_the_picture_goes_into_the_current_folder(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("demo").code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["affectlens-demo.jpg"]


def test_brackets_in_the_name_of_the_picture_are_shown_as_they_are(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "[red].jpg" in cli("demo", "--annotate", "[red].jpg").out


def test_a_picture_that_cannot_be_written_is_one_line(cli, tmp_path):
    result = cli("demo", "--annotate", tmp_path / "no" / "demo.jpg")
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")
