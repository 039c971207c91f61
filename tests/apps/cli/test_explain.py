import cv2
import numpy as np

from affectlens.runtime.media import PORTRAIT


def test_it_writes_a_heat_map_and_names_the_units_of_the_expression(cli, tmp_path):
    target = tmp_path / "seen.png"
    result = cli("explain", PORTRAIT, "--out", target)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].startswith("face 0: happiness ")
    assert lines[0].endswith(" %, method: evidence")
    assert lines[1] == "  typical of happiness: 6 cheek raiser + 12 lip corner puller"
    assert str(target) in result.out.replace("\n", "")
    assert cv2.imread(str(target)).shape == (240, 748, 3)


def test_a_photo_without_a_face_is_one_line(cli, tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200), 90, dtype=np.uint8))
    result = cli("explain", tmp_path / "wall.png")
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert result.err.startswith("error: cannot explain ")
    assert ": no face found" in result.err


def test_a_name_that_is_no_picture_is_refused_before_the_work(cli, tmp_path):
    for name in ("seen.txt", "seen", "."):
        result = cli("explain", PORTRAIT, "--out", tmp_path / name)
        assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert cli("explain", PORTRAIT, "--out", tmp_path / "new" / "seen.png").code == 0


def test_by_default_the_picture_lies_here_and_not_among_the_photos(cli, tmp_path, monkeypatch):
    photo, here = tmp_path / "photos" / "me.jpg", tmp_path / "here"
    photo.parent.mkdir()
    here.mkdir()
    photo.write_bytes(PORTRAIT.read_bytes())
    monkeypatch.chdir(here)
    assert cli("explain", photo, "--detector", "mtcnn").code == 0
    assert [path.name for path in here.iterdir()] == ["me-explained.png"]
    assert [path.name for path in photo.parent.iterdir()] == ["me.jpg"]
