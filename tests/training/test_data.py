from dataclasses import replace

import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.data.source import parse
from affectlens.data.table import FaceTable
from affectlens.training.data import check_landmarks, load_data
from affectlens.training.recipe import find


@pytest.fixture
def full_frames(tmp_path, portrait):
    """Data of full frames of 640x490, as CK+'s, one of them without a face, beside cropped faces of 224 pixels, as
    AffectNet's, in which nobody would find one.
    """
    frame = np.full((490, 640), 128, dtype=np.uint8)
    frame[20:410, 130:520] = cv2.resize(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), (390, 390))
    wall = np.full((224, 224, 3), 90, dtype=np.uint8)
    pictures = {"frames": {"happy": frame, "sad": cv2.flip(frame, 1), "calm": np.full((490, 640), 128, np.uint8)}}
    pictures["faces"] = dict.fromkeys(("happy", "sad", "calm"), wall)
    for name, classes in pictures.items():
        for split in ("train", "valid"):
            for label, picture in classes.items():
                (tmp_path / name / split / label).mkdir(parents=True)
                cv2.imwrite(str(tmp_path / name / split / label / "1.png"), picture)
    return tmp_path


def test_faces_of_one_part_of_a_hybrid_are_found_and_those_of_the_other_stay(full_frames):
    recipe = replace(find("vats/swin-se-sam"), balanced=False)
    source = parse(f"folder:{full_frames / 'frames'}?find_faces=yes+folder:{full_frames / 'faces'}")
    data = load_data(recipe, source)
    for table in (data.train, data.valid):
        shapes = dict(zip(table.ids, (image.shape for image in table.images), strict=True))
        assert list(shapes.values()) == [(224, 224, 3)] * 5
        assert sum(".folder/happy/" in name for name in shapes) == 2
        assert sum(".folder/calm/" in name for name in shapes) == 1
        assert table.dropped == {"no face found": 1}
    by_id = dict(zip(data.train.ids, data.train.images, strict=True))
    face = by_id["train/1.folder/happy/1.png"]
    assert face.std() > 20  # no frame of gray around it
    assert (by_id["train/2.folder/happy/1.png"] == 90).all()
    assert data.facts["data"].endswith("&find_faces=yes")


def test_with_the_recipe_key_all_pictures_are_searched(full_frames):
    recipe = replace(find("vats/swin-se-sam"), balanced=False, find_faces=True)
    data = load_data(recipe, parse(f"folder:{full_frames / 'frames'}+folder:{full_frames / 'faces'}"))
    assert [name.startswith("train/1.") for name in data.train.ids] == [True, True]
    assert data.train.dropped == {"no face found": 4}


def test_faces_that_are_to_be_found_need_no_landmarks_to_be_aligned(recipe):
    aligned = replace(recipe, eye_distance=0.4)
    votes, targets = np.eye(2, dtype=np.float32), np.arange(2)
    images = np.zeros((2, 200, 200), dtype=np.uint8)
    table = FaceTable(("1", "2"), images, votes, targets, ("calm", "keen"), find_face=np.array([True, True]))
    check_landmarks(table, aligned)
    with pytest.raises(BadData, match="no face has landmarks for alignment"):
        check_landmarks(replace(table, find_face=np.array([True, False])), aligned)
