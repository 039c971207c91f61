import json
import time
from dataclasses import replace

import pytest

from affectlens import reproduce
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.training.callbacks import OutOfTime
from affectlens.training.recipes import antoniadis, caciolai
from affectlens.training.run import load_recipe, locked
from affectlens.workflows import reproduce as reproducing

SHORT = {"epochs": 1, "batch_size": 2, "precision": "32-true"}


@pytest.fixture
def place(tmp_path, make_ferplus):
    make_ferplus(tmp_path / "ferplus")
    return tmp_path


def call(place, rows=(), settings=SHORT, **more):
    folders = {"out": place / "results", "runs": place / "runs"}
    return reproduce("caciolai", f"ferplus:{place / 'ferplus'}", rows, settings=settings, **folders, **more)


@pytest.mark.slow
def test_seeds_are_run_side_by_side(place):
    text = call(place, ["baseline"], jobs=2, seeds=2).read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| baseline")]
    assert line.endswith(" | 0, 1 |")
    assert " ± " in line
    for seed, folder in enumerate(["baseline", "baseline/seed-1"]):
        assert load_recipe(place / "results" / "caciolai" / folder).seed == seed
    with pytest.raises(BadSetting, match="jobs must be >= 1"):
        call(place, ["baseline"], jobs=0)


def test_a_row_that_fails_costs_only_itself(place, monkeypatch):
    train = reproducing.run_recipe

    def fail(recipe, *arguments, **options):
        if recipe.row == "baseline":
            raise BadSetting("this one cannot")
        return train(recipe, *arguments, **options)

    monkeypatch.setattr(reproducing, "run_recipe", fail)
    with pytest.raises(AffectLensError, match=r"1 of 2 runs failed: caciolai/baseline; .*README\.md"):
        call(place, ["baseline", "stn"])
    text = (place / "results" / "caciolai" / "README.md").read_text()
    assert "| baseline | 60.61 | not run |" in text
    assert "| stn | 66.05 | **" in text


def test_the_table_is_there_after_every_row(place, monkeypatch):
    seen = []

    def score(*arguments, **options):
        file = place / "results" / "caciolai" / "README.md"
        seen.append("| baseline | 60.61 | **" in file.read_text() if file.is_file() else None)
        return scoring(*arguments, **options)

    scoring = reproducing.score
    monkeypatch.setattr(reproducing, "score", score)
    call(place, ["baseline", "stn"])
    assert seen == [None, True]


def test_what_does_not_fit_into_the_time_is_left_for_the_next_call(place):
    table = call(place, ["baseline"], settings=SHORT | {"epochs": 3}, minutes=0)
    assert "| baseline | 60.61 | not run |" in table.read_text()
    assert not (place / "runs").exists()


def test_an_epoch_that_would_end_too_late_is_not_begun(place, monkeypatch):
    from affectlens.training import callbacks

    hours = iter(range(100))
    monkeypatch.setattr(callbacks.time, "time", lambda: 3600.0 * next(hours))
    source = reproducing.source_of(f"ferplus:{place / 'ferplus'}")
    recipe = replace(caciolai.BASELINE, epochs=5, batch_size=2, precision="32-true")
    with pytest.raises(OutOfTime, match="no time left for epoch 3 of 5"):
        reproducing.run_recipe(recipe, source, place / "run", deadline=2.5 * 3600)
    monkeypatch.undo()
    log = (place / "run" / "log.txt").read_text()
    assert "epoch 2:" in log
    assert "epoch 3: " not in log.replace("stopped in epoch 3: ", "")
    reproducing.run_recipe(recipe, source, place / "run", resume=True, deadline=time.time() + 3600)
    assert "training from epoch 3 of 5" in (place / "run" / "log.txt").read_text()


SMALL = {
    "caciolai": (["baseline", "stn"], {}),
    "vats": (["swin"], {"size_px": 64}),
    "dare": (["poster"], {"size_px": 56, "model_options.side_px": 48, "model_options.units": (1, 1, 1)}),
    "antoniadis": (
        ["t3.1-baseline", "t6.1-gcn"],
        {"model_options.backbone": "breg_next", "size_px": 16, "eye_distance": 0.0, "select": "accuracy"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("work", SMALL)
def test_the_table_of_every_work_comes_from_one_call_that_can_be_interrupted(place, monkeypatch, work):
    rows, settings = SMALL[work]
    begun, train = [], reproducing.run_recipe

    def watch(recipe, *arguments, **options):
        begun.append(recipe.row)
        if len(begun) == len(rows):
            raise KeyboardInterrupt
        return train(recipe, *arguments, **options)

    monkeypatch.setattr(reproducing, "run_recipe", watch)
    data = f"ferplus:{place / 'ferplus'}?va=projected"
    folders = {"out": place / "results", "runs": place / "runs"}
    options = {"settings": {**SHORT, "pretrained": False, **settings}, "other_data": True, **folders}
    with pytest.raises(KeyboardInterrupt):
        reproduce(work, data, rows, **options)
    text = reproduce(work, data, rows, **options).read_text()
    assert begun == [*rows, rows[-1]]
    for row in rows:
        (line, *_) = [line for line in text.splitlines() if line.startswith(f"| {row} |")]
        assert "**" in line


@pytest.mark.slow
def test_a_support_vector_machine_takes_over_the_network_of_its_row(place, monkeypatch):
    trained = []
    train = reproducing.run_recipe

    def watch(recipe, *arguments, **options):
        trained.append(recipe.row)
        return train(recipe, *arguments, **options)

    monkeypatch.setattr(reproducing, "run_recipe", watch)
    row, svm = "t5.3-ccc-island-classic", "t5.4-ccc-island-classic-svm"
    assert antoniadis.ROWS[svm].classifier == "svm"
    settings = SHORT | {
        "model_options.backbone": "breg_next",
        "size_px": 16,
        "eye_distance": 0.0,
        "pretrained": False,
        "select": "accuracy",
    }
    for split in ("Train", "Valid", "Test"):
        folder = place / "ferplus" / f"FER2013{split}"
        faces = []
        for column in range(7):
            (folder / f"face{column}.png").write_bytes((folder / f"fer{column % 4}.png").read_bytes())
            votes = ",".join("10" if other == column else "0" for other in range(10))
            faces.append(f'face{column}.png,"(0, 0, 48, 48)",{votes}\n')
        (folder / "label.csv").write_text("".join(faces))
    data = f"ferplus:{place / 'ferplus'}?va=projected&classes=7"
    folders = {"out": place / "results", "runs": place / "runs"}
    text = reproduce("antoniadis", data, [svm], settings=settings, other_data=True, **folders).read_text()
    assert f"| {svm} | 65.69 (affectnet) | **" in text
    assert trained == [row, svm]
    network, machine = (place / "runs" / f"antoniadis-{name}" for name in (row, svm))
    assert json.loads((machine / "recipe.json").read_text())["classifier"] == "svm"
    assert (machine / "curves.csv").read_text() == (network / "curves.csv").read_text()
    assert (machine / "checkpoints" / "last.ckpt").read_bytes() == (network / "checkpoints" / "last.ckpt").read_bytes()


def test_an_error_of_another_library_costs_only_its_row(place, monkeypatch):
    train = reproducing.run_recipe

    def fail(recipe, *arguments, **options):
        if recipe.row == "baseline":
            raise RuntimeError("out of memory")
        return train(recipe, *arguments, **options)

    monkeypatch.setattr(reproducing, "run_recipe", fail)
    with pytest.raises(AffectLensError, match="1 of 2 runs failed: caciolai/baseline"):
        call(place, ["baseline", "stn"])


def test_a_result_on_other_data_is_not_passed_off(place):
    call(place, ["baseline"])
    with pytest.raises(BadSetting, match="was tested on other data"):
        call(place, ["baseline"], test=f"ferplus:{place / 'ferplus'}?protocol=standard&classes=7")


def test_an_interrupted_table_says_how_it_goes_on(place, monkeypatch):
    class Messages(list):
        message = list.append

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproducing, "run_recipe", interrupt)
    messages = Messages()
    with pytest.raises(KeyboardInterrupt):
        call(place, ["baseline"], progress=messages)
    assert messages[-1] == "interrupted; the same command continues after the last complete epoch"
    assert reproducing._training_data == {}


def test_a_run_in_which_another_process_trains_is_not_tested(place):
    call(place, ["baseline"])
    result = place / "results" / "caciolai" / "baseline"
    for file in result.iterdir():
        file.unlink()
    (run,) = (file.parent for file in place.rglob("model.onnx"))
    with locked(run), pytest.raises(AffectLensError, match="another process trains the run in"):
        call(place, ["baseline"])
    assert list(result.iterdir()) == []
