import csv
import errno
import io
import json
import logging
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from affectlens import Analyzer
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.runtime.media import PORTRAIT
from affectlens.training import callbacks, data, fit, run
from affectlens.training.module import ExpressionModule


@pytest.mark.parametrize("missing", ["lightning", "torch"])
def test_without_its_extra_training_is_one_line_that_names_it(cli, monkeypatch, tmp_path, missing):
    monkeypatch.setitem(sys.modules, "lightning", sys)
    monkeypatch.setitem(sys.modules, missing, None)
    result = cli("train", "default", "--data", f"ferplus:{tmp_path}")
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert "pip install 'affectlens[train]'" in result.err


SHORT = [f"--set={setting}" for setting in ("epochs=1", "batch_size=2", "precision=32-true")]


@pytest.fixture
def ferplus(make_ferplus, tmp_path):
    return f"ferplus:{make_ferplus(tmp_path / 'ferplus')}"


@pytest.mark.slow
def test_a_run_leaves_a_folder_with_a_model_that_analyzes(cli, ferplus, tmp_path, portrait):
    result = cli("train", "default", "--data", ferplus, "--out", tmp_path / "run", *SHORT)
    assert (result.code, result.err) == (0, "")
    assert {
        *("recipe.json", "labels.json", "versions.json", "curves.csv", "curves.png"),
        *("log.txt", "checkpoints", "metrics.json", "model.onnx", "lock"),
    } == {file.name for file in (tmp_path / "run").iterdir()}
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["epochs"] == 1
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert f"temperature {metrics['temperature']}" in result.out
    analyzer = Analyzer(tmp_path / "run" / "model.onnx")
    assert analyzer.spec.recipe == "default/ferplus"
    assert analyzer.spec.temperature == metrics["temperature"]
    assert len(analyzer.analyze(portrait).faces) == 1


@pytest.mark.slow
@pytest.mark.parametrize("row", ["t6.5-breg-next-gcn", "t6.5-breg-next-ccc"])
def test_a_model_that_regresses_valence_and_arousal_says_so_wherever_it_answers(
    cli, ferplus, tmp_path, row, small_networks
):
    data, run = f"{ferplus}?va=projected", tmp_path / "run"
    small = ("--set=size_px=32", "--set=eye_distance=0", "--set=batch_size=4")
    result = cli("train", f"antoniadis/{row}", "--data", data, "--out", run, *SHORT, *small)
    assert (result.code, result.err) == (0, "")
    result = cli("analyze", PORTRAIT, "--model", run, "--format", "csv")
    (answer,) = csv.DictReader(io.StringIO(result.out))
    assert answer["va_source"] == "regressed"
    assert -1 <= float(answer["valence"]) <= 1
    figures = json.loads(cli("evaluate", run, "--data", data, "--json").out)
    assert figures["data_va"] == "projected"
    scored = json.loads(cli("evaluate", run / "checkpoints" / "best.ckpt", "--data", data, "--json").out)
    for name in ("valence", "arousal"):
        assert figures["all"][name]["rmse"] == pytest.approx(scored["all"][name]["rmse"], abs=0.02)
    assert Analyzer(run).spec.provenance["data_options"]["va"] == "projected"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("epoch=3", "did you mean 'epochs'?"),
        ("work=mine", "cannot be set"),
        ("learning_rate=nan", "finite"),
        ("momentum=2", "momentum"),
        ("size_px=5000", "size_px"),
        ("mean=0.4,0.5,0.6", "one per channel"),
        ("model=compact_resnt", "did you mean 'compact_resnet'?"),
        ("model_options.width=8,16", "did you mean 'widths'?"),
        ("losses.multi_targt=1", "did you mean 'multi_target'?"),
        ("loss_options.soft_cross_entropy.temp=2", "did you mean 'temperature'?"),
        ("model_options={}", "entry by entry: model_options.NAME=VALUE"),
        ("data_options.protocol=majority", "unknown value 'majority' of the option 'protocol' of 'ferplus'"),
        ("sampler=age", "'age' needs a column age_years"),
        ("teacher_weight=0.5", "needs a teacher"),
        ("optimiser=lion", "optimiser must be sgd or adam or adamw, got lion"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_one_line_and_leaves_no_folder(cli, ferplus, tmp_path, setting, named):
    result = cli("train", "default", "--data", ferplus, "--out", tmp_path / "run", "--set", setting)
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")
    assert named in result.err
    assert not (tmp_path / "run").exists()


# Faults while it runs

QUICK = [
    f"--set={setting}" for setting in ("epochs=2", "batch_size=2", "precision=32-true", "drop_near_duplicates=false")
]


@pytest.fixture
def quick(cli, tmp_path):
    """Trains a small network into tmp_path/run."""
    return lambda data, *more: cli("train", "caciolai", "--data", data, "--out", tmp_path / "run", *QUICK, *more)


@pytest.fixture
def large(tmp_path):
    """Class folders of pictures that are too large to be kept in memory."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("valid", 2)):
        for label in ("calm", "keen"):
            folder = tmp_path / "large" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                cv2.imwrite(str(folder / f"{split}{number}.png"), rng.integers(0, 256, (160, 160), dtype=np.uint8))
    return tmp_path / "large"


@pytest.fixture
def at_epoch(monkeypatch):
    """Does something as an epoch begins, once."""

    def plan(number, action):
        start = ExpressionModule.on_train_epoch_start
        waiting = [action]

        def begin(module):
            if module.current_epoch == number and waiting:
                waiting.pop()()
            start(module)

        monkeypatch.setattr(ExpressionModule, "on_train_epoch_start", begin)

    return plan


@pytest.fixture
def log_on_stderr(monkeypatch):
    """Takes pytest's own handlers away, so that the log goes where it goes outside of tests."""
    return lambda: monkeypatch.setattr(logging.getLogger(), "handlers", [])


def epochs(run):
    with (run / "curves.csv").open(newline="") as stream:
        return [row["epoch"] for row in csv.DictReader(stream)]


@pytest.mark.slow
def test_a_picture_that_is_damaged_in_the_middle_is_named_once_and_training_ends(
    quick, large, tmp_path, at_epoch, log_on_stderr
):
    log_on_stderr()
    damaged = large / "train" / "calm" / "train1.png"
    at_epoch(0, lambda: damaged.write_bytes(b"\x89PNG and no more"))
    result = quick(f"folder:{large}", "--set=sampler=shuffle")
    assert result.code == 0
    (line,) = result.errors
    assert line.startswith(f"warning: left out: cannot decode '{damaged}' as an image: not a JPEG")
    assert epochs(tmp_path / "run") == ["0", "1"]
    assert Analyzer(tmp_path / "run" / "model.onnx").spec.labels == ("calm", "keen")


@pytest.mark.slow
def test_a_validation_picture_that_is_damaged_in_the_middle_does_not_cost_the_model(
    quick, large, tmp_path, at_epoch, log_on_stderr
):
    log_on_stderr()
    damaged = large / "valid" / "calm" / "valid1.png"
    at_epoch(0, lambda: damaged.write_bytes(b"\x89PNG and no more"))
    result = quick(f"folder:{large}")
    assert result.code == 0
    assert str(damaged) in result.err
    assert (tmp_path / "run" / "model.onnx").is_file()


def test_damaged_pictures_are_counted_before_training(quick, large, monkeypatch):
    (large / "train" / "keen" / "train0.png").write_bytes(b"\x89PNG and no more")
    monkeypatch.setattr(fit, "fit", lambda *_, **__: None)
    result = quick(f"folder:{large}")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "caciolai/baseline: 7 faces for training (0 left out as near-duplicates of held-out faces), 4 for validation",
        "  classes: calm, keen",
        "  train: 1 left out: image cannot be decoded",
        "  valid: with only 4 labelled faces, epoch selection and calibration are unreliable",
    ]


@pytest.mark.parametrize("labelled", [99, 100])
def test_faces_without_one_label_are_named_and_a_hundred_with_one_are_enough(quick, ferplus, monkeypatch, labelled):
    load = data.load_data

    def many(*arguments):
        given = load(*arguments)
        votes = np.repeat(given.valid.votes[:1], 120, axis=0)
        ids, images = tuple(map(str, range(120))), np.zeros((120, 48, 48), dtype=np.uint8)
        targets = np.where(np.arange(120) < labelled, 0, -1)
        return replace(given, valid=FaceTable(ids, images, votes, targets, given.valid.labels))

    monkeypatch.setattr(fit, "fit", lambda *_, **__: None)
    monkeypatch.setattr(data, "load_data", many)
    lines = quick(ferplus).out.splitlines()
    assert f"  valid: {120 - labelled} have no majority label and are not included in the metrics" in lines
    rough = "  valid: with only 99 labelled faces, epoch selection and calibration are unreliable"
    assert (rough in lines) == (labelled == 99)


@pytest.mark.parametrize(("described", "said"), [(0, None), (3, "  train: 3 without valence and arousal"), (6, None)])
def test_faces_without_valence_and_arousal_are_counted_where_others_have_them(
    tmp_path, quick, monkeypatch, described, said
):
    rng = np.random.default_rng(0)
    rows = ["path,expression,split,valence,arousal"]
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 256, (48, 48), dtype=np.uint8))
        split = "train" if number < 6 else "valid"
        pair = "0.5,-0.25" if number < described else ","
        rows.append(f"{number}.png,{('calm', 'keen')[number % 2]},{split},{pair}")
    (tmp_path / "faces.csv").write_text("\n".join(rows))
    monkeypatch.setattr(fit, "fit", lambda *_, **__: None)
    result = quick(f"table:{tmp_path / 'faces.csv'}")
    assert (result.code, result.err) == (0, "")
    assert [line for line in result.out.splitlines() if "valence" in line] == ([said] if said else [])


def test_a_class_without_a_validation_face_is_named(quick, large, monkeypatch):
    shutil.rmtree(large / "valid" / "keen")
    monkeypatch.setattr(fit, "fit", lambda *_, **__: None)
    assert "  valid: no faces of keen" in quick(f"folder:{large}").out.splitlines()


def test_a_run_that_is_interrupted_in_its_first_epoch_promises_nothing(quick, ferplus, at_epoch):
    def interrupt():
        raise KeyboardInterrupt

    at_epoch(0, interrupt)
    result = quick(ferplus)
    assert result.code == 130
    assert "continue" not in result.err


def test_a_file_in_the_place_of_the_run_folder_is_named_before_the_data_are_read(cli, tmp_path):
    (tmp_path / "run").touch()
    result = cli("train", "caciolai", "--data", f"folder:{tmp_path}", "--out", tmp_path / "run")
    assert (result.code, result.errors) == (
        1,
        [f"error: '{tmp_path / 'run'}' is a file, expected a folder for the run"],
    )


def test_resuming_where_nothing_is_says_so(quick, ferplus, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "fit", lambda *_, **__: None)
    said = f"no run to continue in '{tmp_path / 'run'}'; starting a new one"
    assert quick(ferplus, "--resume").out.splitlines()[0] == said
    assert said not in quick(ferplus).out


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(quick, ferplus, tmp_path, at_epoch):
    def interrupt():
        raise KeyboardInterrupt

    at_epoch(1, interrupt)
    result = quick(ferplus, "--set=epochs=3")
    assert result.code == 130
    assert "resume the run to continue after the last complete epoch" in result.err
    assert "Traceback" not in result.err
    resumed = quick(ferplus, "--set=epochs=3", "--resume")
    assert resumed.code == 0
    assert "no run to continue in" not in resumed.out
    with (tmp_path / "run" / "curves.csv").open() as curves:
        assert [row["epoch"] for row in csv.DictReader(curves)] == ["0", "1", "2"]


def test_a_missing_run_to_learn_or_start_from_is_named_before_the_data_are_read(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    result = cli("train", "default/distilled", "--data", f"folder:{tmp_path / 'empty'}", "--out", tmp_path / "run")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "teacher='runs/default-ferplus'" in result.err
    assert "set teacher=PATH" in result.err
    known = tmp_path / "known" / "checkpoints"
    known.mkdir(parents=True)
    (known / "best.ckpt").touch()
    more = ("--data", f"folder:{tmp_path / 'empty'}", "--out", tmp_path / "run", f"--set=teacher={tmp_path / 'known'}")
    result = cli("train", "default/distilled", *more)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "start_from='runs/default-ferplus'" in result.err


def test_a_damaged_picture_that_was_not_opened_at_first_does_not_stop_the_search_for_near_duplicates(
    quick, large, monkeypatch
):
    damaged = large / "train" / "keen" / "train0.png"
    load = DataSource.load

    def damage(source, split):
        loaded = load(source, split)
        damaged.write_bytes(b"\x89PNG and no more")
        return loaded

    monkeypatch.setattr(DataSource, "load", damage)
    monkeypatch.setattr(fit, "fit", lambda *_, **__: None)
    result = quick(f"folder:{large}", "--set=drop_near_duplicates=true")
    assert result.code == 0
    assert "8 faces for training" in result.out


@pytest.mark.slow
def test_a_disk_that_fills_is_one_line_and_the_run_goes_on_when_there_is_room(quick, ferplus, tmp_path, monkeypatch):
    write = callbacks.Curves.on_train_epoch_end

    def full(callback, trainer, module):
        if trainer.current_epoch == 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(callback.file))
        write(callback, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Curves, "on_train_epoch_end", full)
        result = quick(ferplus)
    assert result.code == 1
    assert result.errors == [f"error: No space left on device: '{tmp_path / 'run' / 'curves.csv'}'"]
    assert not list((tmp_path / "run").rglob("*.partial"))
    assert epochs(tmp_path / "run") == ["0"]
    result = quick(ferplus, "--resume")
    assert (result.code, result.err) == (0, "")
    assert epochs(tmp_path / "run") == ["0", "1"]
    assert (tmp_path / "run" / "model.onnx").is_file()
    assert len(json.loads((tmp_path / "run" / "versions.json").read_text())) == 2


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_disk_that_fills_as_the_run_begins_leaves_one_that_can_be_begun_again(
    quick, ferplus, tmp_path, monkeypatch, written
):
    write = run._write
    left = [written]

    def full(file, value):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        left[0] -= 1
        write(file, value)

    with monkeypatch.context() as patch:
        patch.setattr(run, "_write", full)
        result = quick(ferplus)
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.err.startswith("error: No space left on device: ")
    monkeypatch.setattr(fit.L.Trainer, "fit", lambda *_, **__: 1 // 0)
    assert "ZeroDivisionError" in quick(ferplus, "--resume").err  # it got as far as training


@pytest.mark.slow
def test_a_checkpoint_is_whole_or_not_there_also_where_temporary_files_are_on_another_disk(
    quick, ferplus, tmp_path, monkeypatch
):
    """As shutil.move does from one disk to another: rename fails, and the copy breaks off when the disk is full."""
    rename, copy = os.rename, shutil.copyfile

    def other_disk(source, target, **more):
        if str(target).endswith(".ckpt") and Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target, **more)

    def full(source, target, **more):
        if not str(target).endswith("last.ckpt"):
            return copy(source, target, **more)
        Path(target).write_bytes(Path(source).read_bytes()[:1000])
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", other_disk)
        patch.setattr(shutil, "copyfile", full)
        assert quick(ferplus).code in (0, 1)
    files = list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    assert files
    for file in files:
        assert torch.load(file, weights_only=True)["state_dict"]
    assert quick(ferplus, "--resume").code == 0


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 and no more"])
def test_a_damaged_last_checkpoint_is_one_line_that_names_it(quick, ferplus, tmp_path, monkeypatch, content):
    with monkeypatch.context() as patch:
        patch.setattr(fit.L.Trainer, "fit", lambda *_, **__: 1 // 0)
        quick(ferplus)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(exist_ok=True)
    last.write_bytes(content)
    result = quick(ferplus, "--resume")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "last.ckpt" in result.err
    assert "should not happen" not in result.err


def test_a_last_checkpoint_that_would_run_code_runs_none(quick, ferplus, tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    with monkeypatch.context() as patch:
        patch.setattr(fit.L.Trainer, "fit", lambda *_, **__: 1 // 0)
        quick(ferplus)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(exist_ok=True)
    torch.save({"state_dict": Evil()}, last)
    result = quick(ferplus, "--resume")
    assert (result.code, len(result.errors)) == (1, 1)
    assert not (tmp_path / "made").exists()


def test_resuming_with_options_that_are_lists_goes_on(quick, ferplus, tmp_path, monkeypatch):
    monkeypatch.setattr(fit.L.Trainer, "fit", lambda *_, **__: 1 // 0)
    settings = (
        "--set=model=compact_resnet",
        "--set=model_options.widths=8,8,8,8",
        "--set=model_options.depths=1,1,1,1",
    )
    for more in ((), ("--resume",)):
        assert "ZeroDivisionError" in quick(ferplus, *settings, *more).err


def test_a_run_of_other_settings_or_labels_is_not_resumed(quick, ferplus, tmp_path, monkeypatch):
    monkeypatch.setattr(fit.L.Trainer, "fit", lambda *_, **__: 1 // 0)
    quick(ferplus)
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    for arguments, named in (
        ((ferplus,), "choose another folder, or resume the run"),
        ((ferplus, "--resume", "--set=flip=0"), "another recipe: flip differ"),
        ((f"{ferplus}?protocol=standard", "--resume"), "other data: data was ferplus&protocol=caciolai"),
    ):
        result = quick(*arguments)
        assert (result.code, len(result.errors)) == (1, 1)
        assert named in result.err
    assert {file: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before
