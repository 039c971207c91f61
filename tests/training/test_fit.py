import csv
import itertools
import json
import pickle
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from affectlens.core.errors import BadData, BadModelFile, BadSetting, UnknownName
from affectlens.data import source as sources
from affectlens.data.readers.ferplus import FOLDERS, LICENCE
from affectlens.evaluation import metrics
from affectlens.models.layers.mobile_facenet import MobileFaceNet
from affectlens.models.layers.outputs import Outputs
from affectlens.training import run as run_folder
from affectlens.training.data import load_data
from affectlens.training.fit import Devices, fit
from affectlens.training.loaders import valid_loader
from affectlens.training.module import ExpressionModule
from affectlens.training.objective import dataset_statistics
from affectlens.training.prediction import predict
from affectlens.training.run import best_checkpoint, load_checkpoint, read_curves, remark

SIZES = {"train": 6, "valid": 3, "test": 3}


class PowerCut(Exception):
    pass


class Evil:
    """What raises when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise AssertionError('it ran')",)


@pytest.fixture(scope="module")
def run(recipe, data, tmp_path_factory):
    """The folder and the best checkpoint of an uninterrupted run."""
    out = tmp_path_factory.mktemp("run")
    return out, fit(recipe, data, out, resume=False)


@pytest.fixture
def interrupted(recipe, data, tmp_path, monkeypatch):
    """The folder of the same run, cut off as its second epoch begins."""

    def cut(module):
        if module.current_epoch == 1:
            raise PowerCut
        start(module)

    start = ExpressionModule.on_train_epoch_start
    with monkeypatch.context() as patch:
        patch.setattr(ExpressionModule, "on_train_epoch_start", cut)
        with pytest.raises(PowerCut):
            fit(recipe, data, tmp_path, resume=False)
    return tmp_path


def checkpoint(out, name):
    return torch.load(out / "checkpoints" / name, map_location="cpu", weights_only=True)


def weights(out, name="last.ckpt"):
    return checkpoint(out, name)["state_dict"]


def curve(out):
    with (out / "curves.csv").open() as lines:
        return list(csv.DictReader(lines))


def epochs(out):
    with (out / "curves.csv").open() as lines:
        return [int(row["epoch"]) for row in csv.DictReader(lines) if row["train_loss"] and row["valid_accuracy"]]


def test_a_run_folder_holds_recipe_versions_curves_and_checkpoints(run, recipe, data):
    out, best = run
    assert json.loads((out / "recipe.json").read_text()) == json.loads(json.dumps(recipe.as_dict()))
    (versions,) = json.loads((out / "versions.json").read_text())
    assert versions["torch"] == torch.__version__.partition("+")[0]
    assert versions["train_faces"] == "64"
    assert versions["train_faces_left_out_as_near_duplicates"] == "3"
    assert versions["valid_faces_with_majority"] == "36"
    assert tuple(json.loads((out / "labels.json").read_text())) == data.train.labels
    assert epochs(out) == [0, 1]
    assert best == out / "checkpoints" / "best.ckpt"
    assert best.is_file()


def test_weights_are_averaged_as_the_recipe_says(recipe, data, tmp_path, monkeypatch):
    decay, seen = 0.5, []
    end = ExpressionModule.optimizer_step

    def step(module, *arguments, **named):
        end(module, *arguments, **named)
        seen.append(module.network.head.weight.detach().clone())

    monkeypatch.setattr(ExpressionModule, "optimizer_step", step)
    fit(replace(recipe, ema=decay, epochs=1), data, tmp_path, resume=False)
    assert len(seen) == 4
    expected = seen[0]
    for value in seen[1:]:
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(weights(tmp_path)["network.head.weight"], expected)
    assert not torch.allclose(expected, seen[-1])


def test_the_best_checkpoint_loads_in_evaluation_mode(run, recipe, data):
    module = load_checkpoint(recipe, 8, run[1])
    assert not module.training
    answers, _ = predict(module, data.valid)
    assert answers.logits.shape == (40, 8)
    assert np.isfinite(answers.logits).all()


def test_the_same_recipe_gives_the_same_weights(run, recipe, data, tmp_path):
    torch.manual_seed(99)
    fit(recipe, data, tmp_path, resume=False)
    torch.testing.assert_close(weights(tmp_path), weights(run[0]), rtol=0, atol=1e-6)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(run, interrupted, recipe, data):
    assert (interrupted / "checkpoints" / "last.ckpt").is_file()
    fit(recipe, data, interrupted, resume=True)
    torch.testing.assert_close(weights(interrupted), weights(run[0]), rtol=0, atol=1e-6)


def test_a_resumed_run_keeps_the_curves_of_its_first_part(interrupted, recipe, data):
    assert epochs(interrupted) == [0]
    fit(recipe, data, interrupted, resume=True)
    assert epochs(interrupted) == [0, 1]


def test_every_start_adds_its_versions(interrupted, recipe, data):
    fit(recipe, data, interrupted, resume=True)
    starts = json.loads((interrupted / "versions.json").read_text())
    assert len(starts) == 2
    assert starts[0] == starts[1]


def test_the_log_tells_starts_epochs_and_failures(interrupted, recipe, data, monkeypatch):
    monkeypatch.setattr(ExpressionModule, "on_validation_epoch_end", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(recipe, data, interrupted, resume=True)
    monkeypatch.undo()
    fit(recipe, data, interrupted, resume=True)
    lines = [line.split(" ", 2)[2] for line in (interrupted / "log.txt").read_text().splitlines()]
    begun = [line for line in lines if line.startswith("training from epoch")]
    assert begun[-2:] == ["training from epoch 2 of 2 on 1 x cpu, 32-true"] * 2
    assert any(line.startswith("stopped in epoch 2: ZeroDivisionError: division by zero") for line in lines)
    last = lines[-1]
    assert last.startswith("epoch 2: ")
    assert f"valid_accuracy {float(curve(interrupted)[-1]['valid_accuracy']):.4f}" in last


@pytest.mark.parametrize(("losses", "best"), [([1, 2, 3], 0), ([2, 1, 3], 1), ([3, 2, 1], 2)])
def test_last_is_the_last_epoch_and_best_the_one_of_lowest_loss(recipe, data, tmp_path, monkeypatch, losses, best):
    upcoming = iter(losses)
    monkeypatch.setattr(metrics, "negative_log_likelihood", lambda *_: float(next(upcoming)))
    fit(replace(recipe, epochs=3), data, tmp_path, resume=False)
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert checkpoint(tmp_path, "last.ckpt")["epoch"] == 2
    assert checkpoint(tmp_path, "best.ckpt")["epoch"] == best


@pytest.mark.parametrize("weights", ["best", "last"])
def test_the_recipe_says_which_weights_a_run_ends_with(recipe, data, tmp_path, monkeypatch, weights):
    upcoming = iter([1.0, 2.0])
    monkeypatch.setattr(metrics, "negative_log_likelihood", lambda *_: next(upcoming))
    kept = fit(replace(recipe, epochs=2, weights=weights), data, tmp_path, resume=False)
    assert kept == run_folder.final_checkpoint(tmp_path) == tmp_path / "checkpoints" / f"{weights}.ckpt"
    expected = checkpoint(tmp_path, f"{weights}.ckpt")["state_dict"]
    ends = run_folder.load_run(tmp_path).state_dict()
    assert all(torch.equal(ends[key], expected[key]) for key in ends)


def test_last_is_written_after_every_epoch_also_when_validation_gets_worse(recipe, data, tmp_path, monkeypatch):
    seen = []

    def look(module):
        last = tmp_path / "checkpoints" / "last.ckpt"
        seen.append(checkpoint(tmp_path, last.name)["epoch"] if last.is_file() else None)
        start(module)

    start = ExpressionModule.on_train_epoch_start
    growing = itertools.count(1.0)
    monkeypatch.setattr(metrics, "negative_log_likelihood", lambda *_: next(growing))
    monkeypatch.setattr(ExpressionModule, "on_train_epoch_start", look)
    fit(replace(recipe, epochs=3), data, tmp_path, resume=False)
    assert seen == [None, 0, 1]


def test_a_resumed_run_keeps_the_best_epoch_of_its_first_part(recipe, data, interrupted, monkeypatch):
    before = checkpoint(interrupted, "best.ckpt")
    monkeypatch.setattr(metrics, "negative_log_likelihood", lambda *_: 1e6)
    fit(recipe, data, interrupted, resume=True)
    assert checkpoint(interrupted, "last.ckpt")["epoch"] == 1
    assert checkpoint(interrupted, "best.ckpt")["epoch"] == before["epoch"] == 0


@pytest.mark.parametrize("changes", [{"model": "compact_resnt"}, {"losses": {"soft_cross_entrpy": 1.0}}])
def test_a_recipe_that_cannot_be_trained_leaves_no_run_folder(recipe, data, tmp_path, changes):
    with pytest.raises(UnknownName, match="did you mean"):
        fit(replace(recipe, **changes), data, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_resuming_a_finished_run_returns_its_best_checkpoint(run, recipe, data):
    out, best = run
    before = weights(out)
    assert fit(recipe, data, out, resume=True) == best
    torch.testing.assert_close(weights(out), before, rtol=0, atol=0)


def test_resuming_where_nothing_is_starts_a_run(recipe, data, tmp_path):
    assert fit(replace(recipe, epochs=1), data, tmp_path / "new", resume=True).is_file()


@pytest.mark.slow
def test_frozen_parts_stay_through_sharpness_aware_steps_and_what_learns_instead_is_said(
    recipe, data, faces, tmp_path, small_networks
):
    torch.manual_seed(3)
    torch.save(MobileFaceNet().state_dict(), tmp_path / "marks.pth")
    options = {"side_px": 32, "units": (1, 1, 1), "landmark_file": str(tmp_path / "marks.pth")}
    changed = replace(recipe, model="poster", model_options=options, sam_radius=0.05, ema=0.0, epochs=1, batch_size=4)
    data = replace(data, train=faces(8, seed=1), valid=faces(8, seed=2))
    out = tmp_path / "frozen"
    fit(changed, data, out, resume=False)
    state = load_checkpoint(changed, 8, best_checkpoint(out)).network.landmarks.network.state_dict()
    for key, value in torch.load(tmp_path / "marks.pth").items():
        if key in state:
            assert torch.equal(state[key], value), key
    assert remark(out) == ""
    bare = replace(changed, model_options={"side_px": 32, "units": (1, 1, 1)})
    fit(bare, data, tmp_path / "learning", resume=False)
    assert remark(tmp_path / "learning").startswith(
        "the landmark stream is trained too, because no trained MobileFaceNet is"
    )


def test_curves_have_the_accuracy_of_training_too(run):
    rows = read_curves(run[0] / "curves.csv")
    assert all(0 <= row["train_accuracy"] <= 1 for row in rows)
    assert rows[-1]["train_accuracy"] > 1 / 8


def test_a_run_is_not_overwritten(run, recipe, data):
    out, best = run
    before = best.read_bytes()
    with pytest.raises(BadSetting, match="already contains a run"):
        fit(recipe, data, out, resume=False)
    assert best.read_bytes() == before


def test_a_run_of_another_recipe_is_not_resumed(run, recipe, data):
    with pytest.raises(BadSetting, match="was started with another recipe: epochs, flip differ; epochs was 2, got 3"):
        fit(replace(recipe, epochs=3, flip=0.0), data, run[0], resume=True)
    assert json.loads((run[0] / "recipe.json").read_text())["epochs"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "plateau", "exponential"])
def test_a_run_may_go_on_for_more_epochs_where_the_schedule_does_not_depend_on_them(recipe, data, tmp_path, schedule):
    short = replace(recipe, schedule=schedule, epochs=1)
    fit(short, data, tmp_path / "longer", resume=False)
    fit(replace(short, epochs=3), data, tmp_path / "longer", resume=True)
    fit(replace(short, epochs=3), data, tmp_path / "whole", resume=False)
    assert curve(tmp_path / "longer") == curve(tmp_path / "whole")
    assert json.loads((tmp_path / "longer" / "recipe.json").read_text())["epochs"] == 3
    with pytest.raises(BadSetting, match="another recipe: epochs differ"):
        fit(short, data, tmp_path / "longer", resume=True)


def test_where_the_schedule_depends_on_the_epochs_the_message_says_so(run, recipe, data):
    assert recipe.schedule == "one-cycle"
    with pytest.raises(BadSetting, match=r"epochs was 2, got 9; .*one-cycle depends on the number of epochs"):
        fit(replace(recipe, epochs=9), data, run[0], resume=True)


def test_a_run_that_goes_on_loses_what_it_exported(recipe, data, tmp_path):
    fit(replace(recipe, schedule="constant", epochs=1), data, tmp_path, resume=False)
    for name in ("model.onnx", "metrics.json"):
        (tmp_path / name).touch()
    fit(replace(recipe, schedule="constant", epochs=2), data, tmp_path, resume=True)
    assert not (tmp_path / "model.onnx").exists()
    assert not (tmp_path / "metrics.json").exists()


def files(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("content", [lambda whole: whole[: len(whole) // 2], lambda whole: pickle.dumps(Evil())])
def test_a_finished_run_with_a_damaged_checkpoint_stays_as_it_is(recipe, data, tmp_path, content):
    fit(replace(recipe, schedule="constant", epochs=1), data, tmp_path)
    (tmp_path / "model.onnx").write_text("exported")
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.write_bytes(content(last.read_bytes()))
    before = files(tmp_path)
    with pytest.raises(BadModelFile, match=r"last\.ckpt' is not a checkpoint .*; delete it to restart the run$"):
        fit(replace(recipe, schedule="constant", epochs=2), data, tmp_path, resume=True)
    assert files(tmp_path) == before


def test_a_flipped_byte_of_the_last_checkpoint_is_noticed_before_the_run_goes_on(recipe, data, tmp_path):
    fit(replace(recipe, schedule="constant", epochs=1), data, tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 16
    last.write_bytes(content)
    before = files(tmp_path)
    with pytest.raises(BadModelFile, match=r"last\.ckpt' is damaged: the checksum .*; delete it to restart the run$"):
        fit(replace(recipe, schedule="constant", epochs=2), data, tmp_path, resume=True)
    assert files(tmp_path) == before


def test_a_run_goes_on_whatever_was_remarked_about_its_start(interrupted, recipe, data, monkeypatch):
    monkeypatch.setattr("affectlens.training.fit.begin", lambda *_, **__: "the head learns")
    fit(recipe, data, interrupted, resume=True)
    assert remark(interrupted) == "the head learns"
    monkeypatch.setattr("affectlens.training.fit.begin", lambda *_, **__: "only the head learns")
    fit(recipe, data, interrupted, resume=True)
    assert remark(interrupted) == "only the head learns"


def test_other_faces_of_the_same_number_are_other_data(run, recipe, data):
    ages = np.arange(len(data.train), dtype=np.float32)
    with pytest.raises(BadSetting, match="was started with other data: faces was"):
        fit(recipe, replace(data, train=replace(data.train, age_years=ages)), run[0], resume=True)


def test_a_rise_of_a_single_step_is_no_division_by_zero(recipe, data, tmp_path):
    short = replace(recipe, epochs=5, batch_size=64, warmup=0.2)
    assert fit(short, data, tmp_path, resume=False)


def test_a_size_that_the_network_does_not_take_leaves_no_run_folder(recipe, data, tmp_path):
    wrong = replace(recipe, model="deep_emotion", model_options={}, size_px=64)
    with pytest.raises(BadSetting, match="'deep_emotion' cannot process faces of 64x64 gray"):
        fit(wrong, data, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


MODEL = """
from torch import nn

class Network(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.head = nn.Linear(48 * 48, width)

    def forward(self, x):
        return {}

def build(classes, in_channels=1):
    return {}
"""


@pytest.mark.parametrize(
    ("answer", "made", "message"),
    [
        ("x", "None", "build of the model 'new' must return a torch.nn.Module, got NoneType"),
        ("self.head(x.flatten(1))", "Network(5)", r"with logits of shape \(1, 8\), or with Outputs .*; got \(1, 5\)"),
        ("[self.head(x.flatten(1))]", "Network(classes)", "or with Outputs that hold them; got list"),
        ("self.tail(x)", "Network(classes)", "'new' cannot process faces of 48x48 gray: AttributeError: "),
    ],
)
def test_a_network_that_answers_something_else_is_one_line(contribute, recipe, data, tmp_path, answer, made, message):
    contribute("models", "new", MODEL.format(answer, made))
    with pytest.raises(BadSetting, match=message):
        fit(replace(recipe, model="new", model_options={}), data, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", r"build\(\) of the loss 'new' must return a callable, got NoneType"),
        (
            "return lambda logits, truth: logits.sum()",
            "the loss 'new' asks for 'truth'; it may ask for logits, features, ",
        ),
        (
            "return lambda logits: logits.mean(dim=1)",
            r"the loss 'new' must return a scalar tensor .* got \(1,\)",
        ),
        (
            "return lambda logits: logits.sum().item()",
            r"the loss 'new' must return a scalar tensor .* got float",
        ),
        ("return lambda logits, target: logits @ target", "the loss 'new' failed: RuntimeError: "),
    ],
)
def test_a_loss_that_is_none_is_one_line_that_names_it(contribute, recipe, data, tmp_path, body, message):
    contribute("losses", "new", f"def build(statistics): {body}")
    with pytest.raises(BadSetting, match=message):
        fit(replace(recipe, losses={"new": 1.0}), data, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_a_parameter_of_a_loss_with_a_default_is_its_own(contribute, recipe, data):
    contribute("losses", "new", "def build(statistics): return lambda logits, scale=2.0: scale * logits.sum()")
    losses = ExpressionModule(replace(recipe, losses={"new": 1.0}), 8, dataset_statistics(data.train)).losses
    assert losses(Outputs(torch.ones(1, 8))) == {"new": 16}


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_the_crop_on_photos_may_change_after_training(recipe, data, tmp_path):
    short = replace(recipe, epochs=1)
    fit(short, data, tmp_path, resume=False)
    before = weights(tmp_path)
    fit(replace(short, margin=1.3, rotate=True), data, tmp_path, resume=True)
    assert json.loads((tmp_path / "recipe.json").read_text())["margin"] == 1.3
    torch.testing.assert_close(weights(tmp_path), before, rtol=0, atol=0)


@pytest.fixture
def ferplus(tmp_path):
    """A FER+ folder in which the first training face mirrors a validation face and the second is a test face."""
    rng = np.random.default_rng(0)
    splits = {split: rng.integers(0, 256, (count, 48, 48), dtype=np.uint8) for split, count in SIZES.items()}
    splits["train"][0] = splits["valid"][1, :, ::-1]
    splits["train"][1] = splits["test"][2]
    for split, images in splits.items():
        folder = tmp_path / FOLDERS[split]
        folder.mkdir()
        for number, image in enumerate(images):
            cv2.imwrite(str(folder / f"{number}.png"), image)
        lines = [f'{number}.png,"(0, 0, 48, 48)",9,0,0,0,0,0,0,0,0,0\n' for number in range(len(images))]
        (folder / "label.csv").write_text("".join(lines))
    return sources.parse(f"ferplus:{tmp_path}")


def test_near_duplicates_of_held_out_faces_are_left_out_of_training(ferplus, recipe):
    data = load_data(recipe, ferplus)
    assert data.near_duplicates_left_out == 2
    assert data.train.ids == tuple(f"train/{number}.png" for number in range(2, 6))
    assert len(data.valid) == 3


def test_the_licence_is_what_the_reader_says(ferplus, recipe):
    assert load_data(recipe, ferplus).licence == LICENCE


def test_the_protocol_is_that_of_the_recipe_unless_the_data_name_one(ferplus, recipe):
    reversed_splits = replace(recipe, data_options={"protocol": "caciolai"}, drop_near_duplicates=False)
    data = load_data(reversed_splits, ferplus)
    assert (len(data.train.labels), data.options["protocol"]) == (7, "caciolai")
    np.testing.assert_array_equal(data.valid.images[0], ferplus.load("test").images[0])
    given = sources.parse(f"ferplus:{ferplus.parts[0].directory}?protocol=standard")
    data = load_data(reversed_splits, given)
    assert (len(data.train.labels), data.options["protocol"]) == (8, "standard")
    np.testing.assert_array_equal(data.valid.images[0], ferplus.load("valid").images[0])


def test_data_of_another_reader_keep_their_own_protocol(recipe, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 48 * 48))
    usages = ["Training", "Training", "PublicTest", "PublicTest", "PrivateTest", "PrivateTest"]
    rows = [
        f"{n % 2},{' '.join(map(str, face))},{usage}"
        for n, (face, usage) in enumerate(zip(pixels, usages, strict=True))
    ]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n".join(rows))
    data = load_data(replace(recipe, data_options={"protocol": "caciolai"}), sources.parse(f"fer2013:{tmp_path}"))
    assert (len(data.train), len(data.valid), data.reader, data.options) == (2, 2, "fer2013", {})


def test_training_faces_without_votes_are_left_out(ferplus, recipe, monkeypatch):
    load = sources.DataSource.load

    def first_without_votes(source, split):
        table = load(source, split)
        votes = table.votes.copy()
        votes[2] = 0
        return replace(table, votes=votes, targets=np.where(np.arange(len(table)) == 2, -1, table.targets))

    monkeypatch.setattr(sources.DataSource, "load", first_without_votes)
    data = load_data(replace(recipe, drop_near_duplicates=False), ferplus)
    assert data.train.ids == tuple(f"train/{number}.png" for number in (0, 1, 3, 4, 5))
    assert len(data.valid) == 3


def test_without_a_validation_face_of_a_majority_there_is_nothing_to_select_on(ferplus, recipe):
    table = ferplus.parts[0].directory / FOLDERS["valid"] / "label.csv"
    table.write_text(table.read_text().replace(",9,0,", ",5,5,"))
    with pytest.raises(BadData, match="validation"):
        load_data(recipe, ferplus)


def test_where_every_training_face_has_a_near_duplicate_there_is_nothing_to_train_on(ferplus, recipe):
    valid, train = (ferplus.parts[0].directory / FOLDERS[split] for split in ("valid", "train"))
    for file in train.glob("*.png"):
        file.write_bytes((valid / "0.png").read_bytes())
    with pytest.raises(BadData, match="drop_near_duplicates"):
        load_data(recipe, ferplus)


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_2"])
def test_sharpness_aware_steps_are_refused_where_weights_are_sharded(recipe, data, tmp_path, strategy):
    with pytest.raises(BadSetting, match=f"'ddp', because every process needs all weights; got '{strategy}'"):
        fit(replace(recipe, sam_radius=0.05), data, tmp_path / "run", False, False, Devices(strategy=strategy))
    assert not (tmp_path / "run").exists()


def test_a_single_class_is_nothing_to_train_on(recipe, tmp_path):
    for split in ("train", "valid"):
        (tmp_path / split / "happy").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / split / "happy" / "1.png"), np.full((48, 48), len(split), dtype=np.uint8))
    recipe = replace(recipe, drop_near_duplicates=False)
    with pytest.raises(BadData, match="at least two classes, got happiness"):
        fit(recipe, load_data(recipe, sources.parse(f"folder:{tmp_path}")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_validation_faces_the_message_says_what_they_are_for(recipe, tmp_path):
    (tmp_path / "faces.csv").write_text("path,expression,split\na.png,happy,train\nb.png,sad,train\n")
    for number, name in enumerate("ab"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((48, 48), 90 * number, dtype=np.uint8))
    with pytest.raises(BadData, match="no validation faces to select the best epoch with"):
        load_data(recipe, sources.parse(f"table:{tmp_path / 'faces.csv'}"))


def test_near_duplicates_stay_if_the_recipe_says_so(ferplus, recipe):
    data = load_data(replace(recipe, drop_near_duplicates=False), ferplus)
    assert (len(data.train), data.near_duplicates_left_out) == (6, 0)


def test_every_loss_of_a_sum_has_a_column_and_they_add_up(recipe, data, tmp_path):
    two = replace(recipe, losses={"soft_cross_entropy": 1.0, "multi_target": 0.5}, epochs=1)
    fit(two, data, tmp_path, resume=False)
    (row,) = curve(tmp_path)
    parts = [float(row[f"train_{name}_loss"]) for name in two.losses]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(float(row["train_loss"]), abs=1e-5)


def test_one_loss_needs_no_column_of_its_own(run):
    out, _ = run
    assert [name for name in curve(out)[0] if name.startswith("train_") and name.endswith("loss")] == ["train_loss"]


def test_what_losses_hold_is_kept(recipe, data, tmp_path):
    assert recipe.losses == {"soft_cross_entropy": 1.0}
    centres = replace(
        recipe,
        model="multi_task",
        model_options={"backbone": "breg_next"},
        losses={"soft_cross_entropy": 1.0, "center": 0.1},
        epochs=1,
    )
    best = fit(centres, data, tmp_path, resume=False)
    run_folder.keep_losses(best, tmp_path)
    points = np.load(tmp_path / "losses.npz")["center.centres.points"]
    assert points.shape[0] == len(data.train.labels)
    stored = checkpoint(tmp_path, "best.ckpt")["state_dict"]
    np.testing.assert_array_equal(points, stored["losses.modules_of.center.centres.points"])


def test_validation_keeps_numbers_of_faces_and_no_images(recipe, data):
    module = ExpressionModule(recipe, len(data.valid.labels), dataset_statistics(data.train))
    for batch in valid_loader(data.valid, recipe):
        module.validation_step(batch)
    kept = sum(tensor.numel() * tensor.element_size() for part in module._valid for tensor in part.values())
    assert kept / len(data.valid) <= 4 * len(data.valid.labels) + 8


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is no g++")
def test_a_compiled_network_learns_what_a_plain_one_does(recipe, data, tmp_path):
    found = {}
    for compiled in (False, True):
        slow = replace(recipe, compile=compiled, epochs=1, learning_rate=1e-4)
        best = fit(slow, data, tmp_path / str(compiled))
        found[compiled] = torch.load(best, weights_only=True)["state_dict"]
    assert found[True].keys() == found[False].keys()
    for name, weight in found[False].items():
        torch.testing.assert_close(found[True][name], weight, rtol=1e-2, atol=1e-3)


def test_a_compiler_that_fails_is_one_line(recipe, data, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no working C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(BadSetting, match=r"compile=true does not work here: RuntimeError: no working C\+\+ compiler"):
        fit(replace(recipe, compile=True), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    folder = tmp_path / "run"
    with run_folder.locked(folder), pytest.raises(BadSetting, match="another process"), run_folder.locked(folder):
        pass
    assert not folder.exists()
    with run_folder.locked(folder):
        (folder / "recipe.json").touch()
    assert {file.name for file in folder.iterdir()} == {"lock", "recipe.json"}
