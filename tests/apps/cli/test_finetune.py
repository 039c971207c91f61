import csv
import io
import json
import shlex
import shutil

import cv2
import numpy as np
import pytest

from affectlens import Analyzer

CLASSES = ("bored", "keen", "wry")
SHORT = [f"--set={setting}" for setting in ("epochs=1", "batch_size=4", "precision=32-true")]


@pytest.fixture
def folder(tmp_path):
    """Class folders with small faces: three of each class for training, one for validation."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("valid", 1)):
        for label in CLASSES:
            place = tmp_path / "pictures" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                cv2.imwrite(str(place / f"{number}.png"), rng.integers(0, 256, (48, 48), dtype=np.uint8))
    return tmp_path / "pictures"


@pytest.mark.slow
def test_a_folder_of_ones_own_labels_becomes_a_model_that_analyzes(cli, folder, portrait, tmp_path):
    cv2.imwrite(str(folder / "train" / "wry" / "portrait.png"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(folder / "train" / "keen" / "wall.png"), np.full((200, 200), 90, dtype=np.uint8))
    out = tmp_path / "run"
    result = cli("finetune", folder, "--out", out, *SHORT)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[:4] == [
        "finetune/bundled: 10 faces for training (0 left out as near-duplicates of held-out faces), 3 for validation",
        f"  classes: {', '.join(CLASSES)}",
        "  train: 1 left out: no face found",
        "  valid: with only 3 labelled faces, epoch selection and calibration are unreliable",
    ]
    assert result.out.splitlines()[-1] == f"model: {out / 'model.onnx'}"  # there are no test pictures
    assert f"model: {out / 'model.onnx'}" in result.out
    spec = Analyzer(out / "model.onnx").spec
    assert (spec.labels, spec.recipe) == (CLASSES, "finetune/bundled")
    assert spec.input == Analyzer().spec.input
    assert spec.provenance["data"] == "folder"
    assert spec.temperature == json.loads((out / "metrics.json").read_text())["temperature"]

    photo = folder / "train" / "wry" / "portrait.png"
    result = cli("analyze", photo, "--detector", "whole", "--model", out, "--format", "csv")
    assert (result.code, result.err) == (0, "")
    (row,) = csv.DictReader(io.StringIO(result.out))
    assert {key.removeprefix("p_") for key in row if key.startswith("p_")} == set(CLASSES)
    assert row["expression"] in CLASSES

    again = cli("finetune", folder, "--out", out, *SHORT)
    assert (again.code, len(again.errors)) == (1, 1)
    assert "resume the run" in again.err


@pytest.mark.slow
def test_the_command_that_scores_the_held_out_pictures_is_named(cli, folder, tmp_path):
    (folder / "valid").rename(folder / "test")  # a tenth of the training pictures stands in for validation
    for number in range(30):
        shutil.copy(folder / "train" / CLASSES[0] / "0.png", folder / "train" / CLASSES[0] / f"more{number}.png")
    result = cli("finetune", folder, "--out", tmp_path / "run", *SHORT, "--set=drop_near_duplicates=false")
    assert (result.code, result.err) == (0, "")
    command = result.out.splitlines()[-1].removeprefix("to score the model on the held-out test pictures: affectlens ")
    scored = cli(*shlex.split(command), "--json")
    assert (scored.code, scored.err) == (0, "")
    assert json.loads(scored.out)["all"]["faces"] == len(CLASSES)


def test_a_table_of_paths_is_taken_as_it_is(cli, folder, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("affectlens.workflows.finetune.run_recipe", lambda *arguments, **_: given.append(arguments))
    monkeypatch.setattr("affectlens.data.source.has_faces", lambda *_: False)
    (tmp_path / "mine.csv").write_text("path,expression\npictures/train/bored/0.png,bored\n")
    for place in (tmp_path / "mine.csv", folder, f"ferplus:{tmp_path}", f"table:{tmp_path / 'mine.csv'}"):
        result = cli("finetune", place, "--set", "epochs=3", "--resume")
        assert (result.code, result.err) == (0, "")
    assert [source.reader for _, source, *_ in given] == ["table", "folder", "ferplus", "table"]
    assert given[0][1].labels() == ("bored",)
    recipe, _, out, resume = given[0]
    assert (recipe.start_from, recipe.freeze_norms, recipe.find_faces, recipe.epochs) == ("bundled", True, True, 3)
    assert (str(out), resume) == ("runs/finetune", True)


def test_another_start_can_be_named(cli, folder, tmp_path, write_model):
    tiny = write_model(tmp_path / "tiny.onnx")
    result = cli("finetune", folder, "--out", tmp_path / "run", *SHORT, f"--set=start_from={tiny}")
    assert (result.code, len(result.errors)) == (1, 1)
    assert str(tiny) in result.err
    assert not (tmp_path / "run").exists()


def test_the_bundled_file_fits_only_its_own_architecture(cli, folder, tmp_path):
    for setting in ("model_options.depths=2,3,3,2", "model_options.widths=8,8,8,8"):
        result = cli("finetune", folder, "--out", tmp_path / "run", *SHORT, f"--set={setting}")
        assert (result.code, len(result.errors)) == (1, 1)
        assert "'bundled' has a different architecture" in result.err
        assert not (tmp_path / "run").exists()


def test_pictures_of_the_test_split_without_a_face_do_not_stop_it(cli, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("affectlens.training.fit.fit", lambda *_, **__: None)
    (folder / "test" / "keen").mkdir(parents=True)
    cv2.imwrite(str(folder / "test" / "keen" / "wall.png"), np.full((200, 200), 90, dtype=np.uint8))
    result = cli("finetune", folder, "--out", tmp_path / "run", *SHORT)
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("nowhere", "'nowhere' is neither a folder nor a CSV or Parquet file"),
        ("nowhere.csv", "'nowhere.csv' is neither a folder nor a CSV or Parquet file"),
        ("notes.txt", "'notes.txt' is neither a folder nor a CSV or Parquet file"),
        ("folder:nowhere", "data folder 'nowhere' does not exist"),
        ("foldr:.", "unknown reader 'foldr'; did you mean 'folder'?"),
        ("empty", "'empty' has no pictures in class folders"),
        ("columns.csv", "'columns.csv' lacks the column 'path'; found: file, label"),
        ("nobody", "no training faces left; left out of the training split: {'no face found': "),
        ("test_only", "split 'train'"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line_and_leaves_no_folder(cli, tmp_path, monkeypatch, source, named):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "nobody/train/a", "nobody/valid/a", "test_only/test/a"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "columns.csv").write_text("file,label\n0.png,bored\n")
    for place in ("nobody/train/a", "nobody/valid/a"):
        cv2.imwrite(f"{place}/wall.png", np.full((200, 200), 90, dtype=np.uint8))
    cv2.imwrite("test_only/test/a/face.png", np.zeros((48, 48), dtype=np.uint8))
    result = cli("finetune", source)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert result.err.startswith("error: ")
    assert named in result.err
    assert not (tmp_path / "runs").exists()
