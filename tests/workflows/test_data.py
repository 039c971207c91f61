import cv2
import numpy as np
import pytest

import affectlens


@pytest.mark.parametrize("name", ["plain", "a?b", "a+b:c", "a&b=c"])
def test_a_folder_is_a_data_set_whatever_its_name(tmp_path, name):
    for label in ("calm", "keen"):
        folder = tmp_path / name / "train" / label
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "1.png"), np.full((48, 48), len(label), dtype=np.uint8))
    faces = affectlens.load_data(tmp_path / name, "train")
    assert (len(faces), faces.labels) == (2, ("calm", "keen"))


def test_a_path_that_does_not_exist_says_what_a_data_set_is():
    with pytest.raises(affectlens.BadData, match=r"'nowhere' is neither a folder nor .* NAME:FOLDER"):
        affectlens.load_data("nowhere")
