import errno
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.data.source import parse
from affectlens.training import run as runs
from affectlens.training.module import ExpressionModule
from affectlens.training.run import load_checkpoint, load_labels, load_recipe, load_run, locked, open_run

LABELS = ("calm", "keen", "wry")
FACTS = {"train_faces": "7"}


class Evil:
    """What makes a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


@pytest.fixture
def small(recipe):
    """A recipe whose network is made quickly."""
    return replace(recipe, model="deep_emotion", model_options={"dropout": 0.25})


@pytest.fixture
def folder(small, tmp_path):
    """A run folder with the best weights of a fresh network."""
    out = tmp_path / "run"
    open_run(small, LABELS, FACTS, out, resume=False)
    torch.manual_seed(3)
    (out / "checkpoints").mkdir()
    torch.save({"state_dict": ExpressionModule(small, len(LABELS)).state_dict()}, runs.best_checkpoint(out))
    return out


def files(folder):
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


# Opening


def test_a_new_run_has_its_recipe_labels_and_versions(small, tmp_path):
    out = tmp_path / "runs" / "mine"
    open_run(small, LABELS, FACTS, out, resume=False)
    assert files(out) == {"recipe.json", "labels.json", "versions.json"}
    assert load_recipe(out) == small
    assert load_labels(out) == LABELS
    (start,) = json.loads((out / "versions.json").read_text())
    assert start["train_faces"] == "7"
    assert {"affectlens", "torch", "lightning", "numpy", "onnxruntime", "python", "commit"} <= set(start)
    assert start["torch"] == torch.__version__.partition("+")[0]


def test_every_start_is_logged(small, folder):
    open_run(small, LABELS, FACTS, folder, resume=True)
    starts = json.loads((folder / "versions.json").read_text())
    assert [start["train_faces"] for start in starts] == ["7", "7"]


def test_a_run_on_other_data_is_refused(small, folder):
    with pytest.raises(BadSetting, match="other data: train_faces was 7, got 6"):
        open_run(small, LABELS, {"train_faces": "6"}, folder, resume=True)


def test_a_run_is_not_opened_twice_unless_it_is_resumed(small, folder):
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    with pytest.raises(BadSetting, match=r"already contains a run; choose another folder, or resume the run"):
        open_run(small, LABELS, FACTS, folder, resume=False)
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before


def test_a_run_of_another_recipe_is_refused_with_all_keys_that_differ(small, folder):
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    other = replace(small, epochs=9, model_options={"dropout": 0.5}, mean=(0.25,), margin=1.5)
    with pytest.raises(BadSetting, match=r"another recipe: epochs, model_options, mean differ") as error:
        open_run(other, LABELS, FACTS, folder, resume=True)
    assert "recipe.json" in str(error.value)
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before


@pytest.mark.parametrize("labels", [LABELS[:2], LABELS[::-1], (*LABELS, "shy")])
def test_a_run_of_other_labels_is_refused(small, folder, labels):
    with pytest.raises(BadSetting, match="other labels: calm, keen, wry"):
        open_run(small, labels, FACTS, folder, resume=True)
    assert load_labels(folder) == LABELS


def test_the_crop_on_photos_may_change(small, folder):
    open_run(replace(small, margin=1.5, shift_y=0.1, rotate=False), LABELS, FACTS, folder, resume=True)
    assert (load_recipe(folder).margin, load_recipe(folder).shift_y, load_recipe(folder).rotate) == (1.5, 0.1, False)


@pytest.mark.parametrize("changes", [{"find_faces": True}, {}])
def test_the_crop_on_photos_may_not_change_where_training_cut_faces(small, tmp_path, changes):
    small = replace(small, **changes)
    facts = FACTS if changes else FACTS | {"data": "ckplus+affectnet&classes=8&find_faces=yes"}
    open_run(small, LABELS, facts, tmp_path, resume=False)
    with pytest.raises(BadSetting, match="another recipe: margin differs"):
        open_run(replace(small, margin=1.5), LABELS, facts, tmp_path, resume=True)


def test_options_that_are_tuples_are_the_same_after_json(recipe, tmp_path):
    assert isinstance(recipe.model_options["widths"], tuple)
    open_run(recipe, LABELS, FACTS, tmp_path, resume=False)
    open_run(recipe, LABELS, FACTS, tmp_path, resume=True)
    assert len(json.loads((tmp_path / "versions.json").read_text())) == 2


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_disk_that_fills_while_a_run_is_opened_leaves_no_run_or_one_that_goes_on(
    small, tmp_path, monkeypatch, written
):
    write = Path.write_bytes
    left = [written]

    def full(path, content):
        if not left[0]:
            write(path, content[:3])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        left[0] -= 1
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            open_run(small, LABELS, FACTS, tmp_path / "run", resume=False)
    assert not any(name.endswith(".partial") for name in files(tmp_path))
    open_run(small, LABELS, FACTS, tmp_path / "run", resume=True)
    assert (load_recipe(tmp_path / "run"), load_labels(tmp_path / "run")) == (small, LABELS)


# Reading


@pytest.mark.parametrize(("name", "load"), [("recipe.json", load_recipe), ("labels.json", load_labels)])
def test_a_folder_without_a_run_says_what_is_missing(folder, tmp_path, name, load):
    with pytest.raises(BadModelFile, match=f"is not a run folder: it has no {name}"):
        load(tmp_path)
    (folder / name).unlink()
    with pytest.raises(BadModelFile, match=f"is not a run folder: it has no {name}"):
        load(folder)


@pytest.mark.parametrize("name", ["recipe.json", "labels.json"])
@pytest.mark.parametrize("content", [b"", b'{"epochs": ', b"\xff\xfe\x00"])
def test_a_damaged_file_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(BadModelFile, match=name):
        load_run(folder)


@pytest.mark.parametrize("content", ['["a", 1]', '["a", "a"]', '["a", ""]', "7", '"abc"', "{}", "[" * 100_000, "NaN"])
def test_labels_that_are_none_are_one_line(folder, content):
    (folder / "labels.json").write_text(content)
    with pytest.raises(BadModelFile, match=r"labels\.json' is damaged: ") as error:
        load_run(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["[]", "[[]]", '"x"', "{}", '["x"]', "1e400"])
def test_starts_that_are_none_are_one_line(small, folder, content):
    (folder / "versions.json").write_text(content)
    calls = (
        lambda: runs.remark(folder),
        lambda: runs.load_data(folder),
        lambda: open_run(small, LABELS, FACTS, folder, resume=True),
    )
    for call in calls:
        with pytest.raises(BadModelFile, match=r"versions\.json' is damaged: expected"):
            call()


@pytest.mark.parametrize("start", ['{"data": null}', '{"data": [1]}', '{"data": "a&b&c=1"}', '{"remark": []}', "{}"])
def test_strange_values_of_a_start_are_no_error(folder, start):
    (folder / "versions.json").write_text(f"[{start}]")
    assert isinstance(runs.remark(folder), str)
    assert isinstance(runs.load_data(folder)[0], str)


@pytest.mark.parametrize("content", ['"x"', "[1]", "null", "1" * 5000])
def test_a_recipe_that_is_no_object_is_one_line(small, folder, content):
    (folder / "recipe.json").write_text(content)
    with pytest.raises(BadModelFile, match=r"recipe\.json' is damaged: ") as error:
        load_recipe(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"temperature": [], "uncertain_below": 0}',
        '{"temperature": 1, "uncertain_below": "x"}',
        '{"temperature": 0, "uncertain_below": 0}',
        '{"temperature": NaN, "uncertain_below": 0}',
        '{"temperature": 1, "uncertain_below": 1e999}',
        '{"temperature": 1, "uncertain_below": 0, "class_prior": ["x"]}',
        '{"temperature": 1, "uncertain_below": 0, "class_prior": 7}',
        '{"temperature": 1%s, "uncertain_below": 0}' % ("0" * 400),
    ],
)
def test_a_calibration_that_is_none_is_one_line(folder, content):
    (folder / "metrics.json").write_text(content)
    with pytest.raises(BadModelFile, match=r"metrics\.json' is damaged: ") as error:
        runs.load_calibration(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"epoch,loss\n0,0x10\n",
        b"epoch,loss\n0\n",
        b"epoch,loss\n0,1,2\n",
        b"epoch,loss\nnan,1\n",
        b"loss\n1\n",
        b"epoch,loss\n0,\x80\n",
        b'epoch,loss\n0,"' + b"1" * 200_000 + b'"\n',
    ],
)
def test_curves_that_are_none_are_one_line_before_a_run_goes_on(small, folder, content):
    (folder / "curves.csv").write_bytes(content)
    for call in (
        lambda: runs.read_curves(folder / "curves.csv"),
        lambda: open_run(small, LABELS, FACTS, folder, resume=True),
    ):
        with pytest.raises(BadData, match=r"curves\.csv") as error:
            call()
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["cut", "nul", "object", "other classes", "folder", "no numbers"])
def test_centres_that_are_none_are_one_line_without_advice(folder, kind):
    file = folder / "losses.npz"
    arrays = {
        "object": np.array([{}], dtype=object),
        "other classes": np.ones((4, 5)),
        "no numbers": np.array("x"),
    }
    np.savez(file, **{"centres.points": arrays.get(kind, np.ones((3, 2, 5), np.float32))})
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif kind == "nul":
        file.write_bytes(bytes(1000))
    if kind == "folder":
        file.unlink()
        file.mkdir()
        assert runs.load_centres(folder, len(LABELS)) is None
        return
    with pytest.raises(BadModelFile, match=r"losses\.npz' is damaged") as error:
        runs.load_centres(folder, len(LABELS))
    assert "pickle" not in str(error.value)


def test_a_recipe_of_a_later_version_is_refused_by_its_key(folder):
    settings = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps(settings | {"dreams": 3}))
    with pytest.raises(BadModelFile, match=r"recipe.json': unknown recipe key 'dreams'"):
        load_recipe(folder)


def test_the_best_network_comes_in_evaluation_mode_with_its_weights(small, folder):
    module = load_run(folder)
    assert not any(part.training for part in module.modules())
    stored = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(module.state_dict(), stored, rtol=0, atol=0)


def test_a_run_without_a_checkpoint_is_no_trained_run(folder):
    runs.best_checkpoint(folder).unlink()
    with pytest.raises(BadModelFile, match=r"no trained run: .*best\.ckpt' does not exist"):
        load_run(folder)


@pytest.mark.parametrize(
    ("changes", "classes"), [({"model": "compact_resnet"}, 3), ({"model_options": {"stn": True}}, 3), ({}, 8)]
)
def test_a_checkpoint_of_another_network_is_one_line(small, folder, changes, classes):
    other = replace(small, **{"model_options": {}} | changes)
    with pytest.raises(BadModelFile, match=r"best\.ckpt' is not a checkpoint of tiny/faces: ") as error:
        load_checkpoint(other, classes, runs.best_checkpoint(folder))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"PK\x03\x04 and no more", pickle.dumps([1, 2], protocol=2), pickle.dumps({"a": 1}, protocol=2)],
    ids=["empty", "junk", "cut off", "list", "other keys"],
)
def test_a_file_that_is_no_checkpoint_is_one_line(small, folder, content):
    runs.best_checkpoint(folder).write_bytes(content)
    with pytest.raises(BadModelFile, match=r"best\.ckpt' is not a checkpoint of tiny/faces: \S") as error:
        load_run(folder)
    assert len(str(error.value).splitlines()) == 1


def test_a_checkpoint_that_was_cut_off_is_one_line(folder):
    file = runs.best_checkpoint(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BadModelFile, match=r"best\.ckpt' is not a checkpoint of tiny/faces: \S"):
        load_run(folder)


def flip(file):
    """Change a byte in the middle of the file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)


def test_a_flipped_byte_of_a_checkpoint_is_noticed(folder):
    file = runs.best_checkpoint(folder)
    flip(file)
    for load in (load_run, lambda folder: runs.keep_losses(file, folder)):
        with pytest.raises(
            BadModelFile, match=r"best\.ckpt' is damaged: the checksum of its part '.*' is wrong"
        ) as error:
            load(folder)
        assert len(str(error.value).splitlines()) == 1


def test_a_flipped_byte_of_stored_centres_is_noticed(folder):
    np.savez(folder / "losses.npz", **{"center.centres.points": np.ones((300, 4), np.float32)})
    assert runs.load_centres(folder, 3).shape == (3, 100, 4)
    flip(folder / "losses.npz")
    with pytest.raises(BadModelFile, match=r"losses\.npz' is damaged"):
        runs.load_centres(folder, 3)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(folder, tmp_path, kind):
    made = tmp_path / "made"
    content = {"state_dict": Evil(made)}
    file = runs.best_checkpoint(folder)
    if kind == "pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(BadModelFile, match="is not a checkpoint") as error:
        load_run(folder)
    assert len(str(error.value).splitlines()) == 1
    assert not made.exists()
    if kind == "pickle":  # the payload does what it says
        pickle.loads(file.read_bytes())
        assert made.exists()


def test_calibration_is_that_of_a_finished_run_and_none_before(folder):
    assert runs.load_calibration(folder) == (1.0, 0.0, None)
    (folder / "metrics.json").write_text(json.dumps({"temperature": 1.25, "uncertain_below": 0.5, "metrics": {}}))
    assert runs.load_calibration(folder) == (1.25, 0.5, None)
    found = {"temperature": 1.25, "uncertain_below": 0.5, "class_prior": [0.75, 0.25]}
    (folder / "metrics.json").write_text(json.dumps(found))
    assert runs.load_calibration(folder) == (1.25, 0.5, (0.75, 0.25))


def test_curves_are_numbers_by_epoch(tmp_path):
    (tmp_path / "curves.csv").write_text("epoch,valid_nll,train_loss\n0,2.5,nan\n1,1.5,0.25\n")
    first, second = runs.read_curves(tmp_path / "curves.csv")
    assert second == {"epoch": 1, "valid_nll": 1.5, "train_loss": 0.25}
    assert first["train_loss"] != first["train_loss"]


@pytest.mark.parametrize(
    ("spec", "protocol", "expected"),
    [
        ("ferplus:{}", "caciolai", "caciolai"),
        ("ferplus:{}?protocol=standard", "caciolai", "standard"),
        ("ferplus:{}", "", "standard"),
        ("folder:{}", "caciolai", None),
    ],
)
def test_the_protocol_of_a_recipe_is_for_its_own_data(recipe, tmp_path, spec, protocol, expected):
    source = runs.with_data_options(
        replace(recipe, data_options={"protocol": protocol} if protocol else {}), parse(spec.format(tmp_path))
    )
    assert source.options.get("protocol") == expected


def test_outside_a_checkout_and_without_git_the_versions_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runs.versions()["commit"] == "unknown: no git"


# The lock


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(folder, tmp_path):
    (tmp_path / "victim").write_text("mine")
    (folder / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(BadSetting, match=r"lock' is a link"), locked(folder):
        pass
    assert (tmp_path / "victim").read_text() == "mine"


def test_the_lock_of_a_run_is_one_file_that_stays(folder):
    with locked(folder):
        first = (folder / "lock").stat().st_ino
    with locked(folder):
        assert (folder / "lock").stat().st_ino == first


def test_a_folder_to_which_nothing_was_written_goes_with_its_lock(tmp_path):
    with locked(tmp_path / "runs" / "mine"):
        assert (tmp_path / "runs" / "mine").is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with locked(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir()  # it was there before


def test_a_process_that_is_killed_holds_no_lock(folder):
    code = f"""
import time
from pathlib import Path
from affectlens.training.run import locked

with locked(Path({str(folder)!r})):
    print("locked", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(BadSetting, match=f"another process trains the run in '{folder}'"), locked(folder):
        pass
    process.kill()
    process.communicate()
    with locked(folder):
        pass
