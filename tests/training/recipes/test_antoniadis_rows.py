"""What the thesis says of its rows beyond what every recipe must do, and its rows for videos on frames as they lie."""

import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadData, BadSetting
from affectlens.data.source import parse
from affectlens.training.data import load_data
from affectlens.training.fit import fit
from affectlens.training.recipe import find, with_settings
from affectlens.training.recipes.antoniadis import ROWS, TABLES
from affectlens.training.tables import rows_of


def test_table_3_1_has_eight_classes_but_for_its_last_row_and_the_others_have_seven():
    eight = {row for row, recipe in ROWS.items() if recipe.data_options.get("classes") == "8"}
    assert eight == {row for row in ROWS if row.startswith("t3.1-")} - {"t3.1-baseline"}
    assert all(recipe.data_options == {"both": "yes"} for recipe in ROWS.values() if recipe.data == "affwild2")


def test_figures_on_videos_are_those_of_the_challenge():
    videos = {row for row in ROWS if row.endswith("-affwild2")}
    rows = rows_of(TABLES)
    assert {name for name, row in rows.items() if "challenge" in row.paper} == videos - {"t6.3-single-affwild2"}
    assert not any("mean_class_accuracy" in rows[name].paper for name in videos)


@pytest.fixture
def videos(tmp_path):
    """Aff-Wild2 of forty videos with four frames each, of which two have an expression, valence and arousal; the reader
    takes a tenth of them for validation.
    """
    expressions = ["Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise", "0", "4", "-1", "4"]
    affect = ["valence,arousal", "0.1,0.2", "0.6,-0.3", "0.2,0.2", "-5,-5"]
    random = np.random.default_rng(0)
    for video in map(str, range(40)):
        for kind, lines in (("EXPR", expressions), ("VA", affect)):
            file = tmp_path / f"{kind}_Set" / "Train_Set" / f"{video}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(lines) + "\n")
        for frame in range(1, 5):
            file = tmp_path / "cropped_aligned" / video / f"{frame:05d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), random.integers(0, 256, (112, 112, 3), dtype=np.uint8))
    return parse(f"affwild2:{tmp_path}")


@pytest.mark.parametrize("row", [row for row in ROWS if row.endswith("-affwild2")])
def test_rows_for_videos_load_frames_with_both_annotations(row, videos):
    data = load_data(ROWS[row], videos)
    assert data.options["both"] == "yes"
    assert len(data.train) + len(data.valid) == 2 * 40
    assert np.isfinite(data.train.valence).all()
    assert np.isfinite(data.train.arousal).all()
    assert (data.train.targets >= 0).all()
    assert ROWS[row].size_px == 112


def test_selection_by_concordance_needs_valence_and_arousal(data, tmp_path):
    settings = ["pretrained=false", "model_options.backbone=breg_next", "eye_distance=0", "size_px=16", "select=ccc"]
    alone = with_settings(find("antoniadis/t6.1-single"), settings)
    with pytest.raises(BadSetting, match="select=ccc needs valence and arousal, which 'multi_task'"):
        fit(alone, data, tmp_path / "run", resume=False)
    with pytest.raises(BadSetting, match="needs training faces with valence and arousal"):
        fit(with_settings(find("antoniadis/t6.1-ccc"), settings), data, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_recipes_that_align_refuse_faces_without_landmarks(videos):
    recipe = with_settings(ROWS["t6.1-single-affwild2"], ["eye_distance=0.4"])
    with pytest.raises(BadData, match="no face has landmarks for alignment; set eye_distance=0"):
        load_data(recipe, videos)
