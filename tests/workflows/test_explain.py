import cv2
import numpy as np
import pytest

import affectlens
from affectlens.runtime.media import PORTRAIT


def test_from_python_it_writes_the_sheet_and_gives_the_analysis(tmp_path):
    found = affectlens.explain(PORTRAIT, tmp_path / "new" / "seen.png")
    assert [face.explanation.method for face in found.faces] == ["evidence"]
    assert cv2.imread(str(tmp_path / "new" / "seen.png")).shape == (240, 748, 3)


def test_without_a_face_nothing_is_written(tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200), 90, dtype=np.uint8))
    with pytest.raises(affectlens.AffectLensError, match=r"cannot explain '.*': no face found"):
        affectlens.explain(tmp_path / "wall.png", tmp_path / "seen.png")
    assert not (tmp_path / "seen.png").exists()


def test_a_leading_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    affectlens.explain(PORTRAIT, "~/seen.png")
    assert (tmp_path / "seen.png").is_file()
