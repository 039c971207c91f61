import csv
import itertools
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from affectlens.core.errors import BadData, BadSetting
from affectlens.data.splits import train_or_valid
from affectlens.training import frame_features, run
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find, with_settings
from affectlens.training.run import locked
from affectlens.workflows.temporal import load_temporal_head, train_temporal

LABELS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
FRAMES = 40
PAGE = Path(__file__).parents[3] / "docs" / "training.md"
TONES = (20, 90, 160, 235)


def names(split, count):
    """Videos that the reader takes for `split`."""
    found = (f"video{number}" for number in range(1000))
    return [name for name in found if train_or_valid(name) == split][:count]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Aff-Wild2 whose frames show a tone; the expression is the tone of the frame before, valence and arousal are how
    bright and how dark the last three were. Every ninth frame has no annotation.
    """
    folder = tmp_path_factory.mktemp("affwild2")
    rng = np.random.default_rng(0)
    parts = {"Train_Set": [*names("train", 20), *names("valid", 5)], "Validation_Set": [f"seen{i}" for i in range(6)]}
    for part, own in parts.items():
        for video in own:
            write(folder, part, video, rng.integers(0, len(TONES), FRAMES), rng)
    return folder


def write(folder, part, video, shown, rng):
    crops = folder / "cropped_aligned" / video
    crops.mkdir(parents=True)
    expressions, affects = [], []
    for frame, tone in enumerate(shown):
        picture = rng.normal(TONES[tone], 4, (16, 16, 3)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(crops / f"{frame + 1:05d}.jpg"), picture)
        known = frame % 9 > 0
        last = shown[max(0, frame - 2) : frame + 1]
        expressions.append(str(shown[frame - 1]) if known else "-1")
        affects.append(f"{(last > 1).mean() - 0.5:.3f},{(last == 0).mean() - 0.5:.3f}" if known else "-5,-5")
    header = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise"
    for kind, lines in (("EXPR", [header, *expressions]), ("VA", ["valence,arousal", *affects])):
        file = folder / f"{kind}_Set" / part / f"{video}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")


@pytest.fixture
def trained(tmp_path, small_networks):
    """A run folder of a network whose features tell the tones; it was not trained."""
    settings = ["model_options.backbone=breg_next", "size_px=16", "pretrained=false"]
    recipe = with_settings(find("antoniadis/t6.1-ccc-affwild2"), settings)
    out = tmp_path / "run"
    facts = {"data": "affwild2&both=yes&max=5"}
    run.open_run(recipe, LABELS, facts, out, resume=False)
    (out / "checkpoints").mkdir()
    torch.manual_seed(0)
    torch.save({"state_dict": ExpressionModule(recipe, len(LABELS)).state_dict()}, run.best_checkpoint(out))
    return out


def test_the_head_finds_what_single_frames_do_not_show(trained, videos, cli):
    result = cli("temporal", trained, "--data", f"affwild2:{videos}", "--window", 16, "--epochs", 25)
    assert (result.code, result.err) == (0, "")
    assert "train: 800 frames of 20 videos, 700 with an expression" in result.out
    place = trained / "temporal" / "gru-window16-epochs25-seed0"
    found = json.loads((place / "metrics.json").read_text())
    assert found["data"] == "affwild2&both=yes&frames=all"
    assert found["losses"] == ["soft_cross_entropy", "va_ccc"]
    for split, count in (("valid", 5), ("test", 6)):
        metrics = found[split]
        assert {metrics[name]["frames"] for name in ("run", "frame", "gru")} == {count * 35}
        assert metrics["gru"]["challenge"] > metrics["frame"]["challenge"] + 0.3
        assert metrics["gru"]["accuracy"] > 0.8
        assert metrics["gru"]["valence_ccc"] > metrics["frame"]["valence_ccc"] + 0.1
        assert metrics["gain"]["frame"]["interval"][0] > 0.2
        assert (metrics["gain"]["frame"]["better"], metrics["gain"]["frame"]["videos"]) == (count, count)
        assert f"{metrics['gru']['challenge']:.4f}" in result.out
    with (place / "curves.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["head"] for line in lines] == ["frame"] * 26 + ["gru"] * 26
    assert rescored(place, "valid") == pytest.approx(found["valid"]["gru"]["accuracy"])


def rescored(place, split):
    """The accuracy of a stored head on stored features."""
    head = load_temporal_head(place)
    with np.load(place.parent / f"features-{split}.npz") as frames, torch.inference_mode():
        features, predictions = (torch.from_numpy(frames[name])[None] for name in ("features", "predictions"))
        starts, targets = frames["starts"], frames["targets"]
        videos = list(itertools.starmap(slice, itertools.pairwise(starts)))
        found = torch.cat([head(features[:, video], predictions[:, video])[0][0] for video in videos]).numpy()
    return (found[:, : len(LABELS)].argmax(axis=1) == targets)[targets >= 0].mean()


def test_another_head_reuses_the_features_and_a_limit_on_training_samples_leaves_no_gaps(
    trained, videos, monkeypatch, tmp_path
):
    recipe = json.loads((trained / "recipe.json").read_text()) | {"data_options": {"max": "7"}}
    (trained / "recipe.json").write_text(json.dumps(recipe))
    out = tmp_path / "heads"
    first = train_temporal(trained, f"affwild2:{videos}", out, epochs=1)
    with np.load(out / "features-train.npz") as frames:
        assert len(frames["targets"]) == 800
    monkeypatch.setattr(frame_features, "features_of", None)  # it is not called again
    second = train_temporal(trained, f"affwild2:{videos}", out, head="tcn", epochs=1)
    assert {file.name for file in out.iterdir()} == {
        *(f"features-{split}.npz" for split in ("train", "valid", "test")), first.folder.name, second.folder.name,
    }  # fmt: skip
    assert first.metrics["valid"]["run"] == second.metrics["valid"]["run"]
    with pytest.raises(BadSetting, match="gru-window64-epochs1-seed0' already contains a head; choose another"):
        train_temporal(trained, f"affwild2:{videos}", out, epochs=1)


def test_an_interrupted_call_goes_on_after_the_last_split(trained, videos, monkeypatch):
    computed = []

    def interrupted(module, table, progress):
        if computed:
            raise KeyboardInterrupt
        computed.append(len(table))
        return features_of(module, table, progress)

    features_of = frame_features.features_of
    monkeypatch.setattr(frame_features, "features_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_temporal(trained, f"affwild2:{videos}", epochs=1)
    assert [file.name for file in (trained / "temporal").glob("*.npz")] == ["features-train.npz"]
    monkeypatch.setattr(frame_features, "features_of", lambda *given: computed.append(1) or features_of(*given))
    train_temporal(trained, f"affwild2:{videos}", epochs=1)
    assert computed == [800, 1, 1]


def test_what_is_wrong_is_said_before_any_features_are_computed(trained, videos, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_features, "features_of", None)
    data = f"affwild2:{videos}"
    (tmp_path / "file").touch()
    for out, message in (
        (tmp_path / "file", "file' is a file, expected a folder for heads"),
        (trained, "run' contains a run, expected a folder for heads; choose another folder"),
    ):
        with pytest.raises(BadSetting, match=message):
            train_temporal(trained, data, out)
    with pytest.raises(NotADirectoryError):
        train_temporal(trained, data, tmp_path / "file" / "heads")
    recipe = json.loads((trained / "recipe.json").read_text()) | {"losses": {"mask_bce": 1.0}, "loss_options": {}}
    (trained / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(BadSetting, match="can train a head over frames"):
        train_temporal(trained, data)
    assert not (trained / "temporal").exists()


def test_a_head_that_another_process_trains_is_refused(trained, videos, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_features, "features_of", None)
    place = tmp_path / "heads" / "gru-window64-epochs20-seed0"
    with locked(place), pytest.raises(BadSetting, match="another process trains the run in"):
        train_temporal(trained, f"affwild2:{videos}", tmp_path / "heads")


def test_the_python_of_the_page_runs(trained, videos, tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?temporal.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "antoniadis-t6.1-ccc-affwild2").symlink_to(trained)
    (tmp_path / "affwild2").symlink_to(videos)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block.replace("seed=1", "seed=1, epochs=1"), str(PAGE), "exec"), names)
    assert (names["logits"].shape, names["affect"].shape) == ((FRAMES, len(LABELS)), (FRAMES, 2))


def test_from_python_into_a_folder_of_ones_own(trained, videos, tmp_path):
    done = train_temporal(trained, f"affwild2:{videos}?frames=", tmp_path / "mine", head="tcn", epochs=1, window=8)
    assert done.folder == tmp_path / "mine" / "tcn-window8-epochs1-seed0"
    assert done.metrics["data"] == "affwild2&both=yes"
    assert set(done.metrics["valid"]) == {"run", "frame", "tcn", "gain"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "affwild2:{videos}", "--out", "{run}"), "'{run}' contains a run, expected a folder for heads"),
        (("--data", "table:{run}/faces.csv"), "must have the run's classes in its order: neutral, anger"),
        (
            ("--data", f"table:{{run}}/alone.csv?labels={','.join(LABELS)}"),
            "sequences need the video of every frame, in the group 'video'",
        ),
    ],
)
def test_what_cannot_be_is_one_line(trained, videos, cli, arguments, message):
    picture = next(videos.rglob("*.jpg"))
    for name, labels in (("faces", ("calm", "keen")), ("alone", LABELS)):
        lines = [f"{picture},{label},{split}" for label in labels for split in ("train", "valid")]
        lines = [f"{i},{line}" for i, line in enumerate(lines)]
        (trained / f"{name}.csv").write_text("\n".join(["id,path,expression,split", *lines]) + "\n")
    places = {"run": trained, "videos": videos}
    result = cli("temporal", trained, *(word.format(**places) for word in arguments))
    assert result.code == 1
    assert len(result.errors) == 1
    assert message.format(**places) in result.err


def test_a_head_that_there_is_not_and_data_without_validation_are_refused(trained, videos, tmp_path):
    with pytest.raises(BadSetting, match="head must be gru or tcn, got 'frame'"):
        train_temporal(trained, f"affwild2:{videos}", head="frame")
    for place in ("EXPR_Set/Train_Set", "cropped_aligned"):
        for video in names("train", 2):
            source = videos / place / (f"{video}.txt" if place.startswith("EXPR") else video)
            target = tmp_path / "less" / place / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    with pytest.raises(BadData, match="needs frames of the split 'valid', but there are none"):
        train_temporal(trained, f"affwild2:{tmp_path / 'less'}")


def test_a_run_of_valence_and_arousal_alone_has_no_challenge_and_data_may_lack_a_test_split(trained, videos, tmp_path):
    recipe = json.loads((trained / "recipe.json").read_text()) | {"losses": {"va_ccc": 1.0}}
    (trained / "recipe.json").write_text(json.dumps(recipe))
    for part in ("EXPR_Set/Train_Set", "VA_Set/Train_Set", "cropped_aligned"):
        (tmp_path / "less" / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "less" / part).symlink_to(videos / part)
    found = train_temporal(trained, f"affwild2:{tmp_path / 'less'}", tmp_path / "out", epochs=1).metrics
    assert "test" not in found
    assert set(found["valid"]) == {"run", "frame", "gru"}
    assert set(found["valid"]["gru"]) == {"described_frames", "valence_ccc", "arousal_ccc"}


def test_a_folder_without_a_run_is_one_line(videos, cli, tmp_path):
    result = cli("temporal", tmp_path, "--data", f"affwild2:{videos}")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "is not a run folder" in result.err
