"""Learning rate, early stop and choice of the best epoch, through whole runs; and what of them a resumed run keeps."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadData
from affectlens.evaluation import metrics
from affectlens.training.fit import fit
from affectlens.training.module import ExpressionModule
from affectlens.training.run import read_curves

FIGURE = {"nll": "negative_log_likelihood", "accuracy": "accuracy", "macro_recall": "macro_recall"}


@pytest.fixture
def play(recipe, data, tmp_path, monkeypatch):
    """Runs a recipe on which validation gives the scripted values of its `select`; the folder, and rates by epoch."""

    def run(values, resume=False, stop_before=None, out=tmp_path, **changes):
        changed = replace(recipe, **{"epochs": len(values), "ema": 0.0, "learning_rate": 0.01} | changes)
        rates = []
        begin = ExpressionModule.on_train_epoch_start

        def note(module):
            if module.current_epoch == stop_before:
                raise KeyError("power cut")
            rates.append(module.trainer.optimizers[0].param_groups[0]["lr"])
            monkeypatch.setattr(metrics, FIGURE[changed.select], lambda *_: values[module.current_epoch])
            begin(module)

        with monkeypatch.context() as patch:
            patch.setattr(ExpressionModule, "on_train_epoch_start", note)
            if stop_before is None:
                fit(changed, data, out, resume=resume)
            else:
                with pytest.raises(KeyError, match="power cut"):
                    fit(changed, data, out, resume=resume)
        return out, rates

    return run


def plateau(values, better, factor, patience, rate=0.01):
    """The rate of each epoch, counted out."""
    rates, best, bad = [], values[0], 0
    for value in values:
        rates.append(rate)
        bad = 0 if better(value, best) or not rates[1:] else bad + 1
        best = value if better(value, best) else best
        if bad > patience:
            rate, bad = rate * factor, 0
    return rates


def test_steps_divide_the_rate_every_so_many_epochs(play):
    _, rates = play([0.5] * 5, schedule="steps", schedule_factor=0.1, schedule_patience=2, select="accuracy")
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])


@pytest.mark.slow
def test_attributes_select_the_best_epoch_by_their_mean_accuracy(recipe, data, tmp_path, small_networks):
    settings = {
        "model": "attributes",
        "model_options": {"backbone": "small"},
        "size_px": 14,
        "losses": {"attribute_bce": 1},
    }
    attributes = np.random.default_rng(0).integers(0, 2, (64, 40)).astype(np.float32)
    labels = {"labels": ("not_smiling", "smiling"), "votes": np.eye(2, dtype=np.float32)[np.arange(64) % 2]}
    train = replace(data.train, attributes=attributes, targets=np.arange(64) % 2, **labels)
    valid = train.keep(np.arange(64) < 16)
    changed = replace(recipe, **settings, select="attribute_accuracy", epochs=3)
    fit(changed, replace(data, train=train, valid=valid), tmp_path, resume=False)
    found = [row["valid_attribute_accuracy"] for row in read_curves(tmp_path / "curves.csv")]
    assert all(0.2 < value < 1 for value in found)
    assert checkpoint(tmp_path, "best.ckpt")["epoch"] == found.index(max(found))
    with pytest.raises(BadData, match="needs validation faces with facial attributes; there are none"):
        fit(changed, replace(data, train=replace(train, attributes=attributes[:, :0])), tmp_path / "no")


def checkpoint(out, name):
    return torch.load(out / "checkpoints" / name, map_location="cpu", weights_only=True)


def epochs(out):
    with (out / "curves.csv").open() as lines:
        return [int(row["epoch"]) for row in csv.DictReader(lines)]


RISING = [0.1, 0.3, 0.3, 0.2, 0.25, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
FALLING = [1 - value for value in RISING]


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("select", "factor", "patience"),
    [("accuracy", 0.5, 0), ("accuracy", 0.1, 2), ("macro_recall", 0.5, 1), ("nll", 0.5, 1)],
)
def test_on_a_plateau_the_rate_falls_by_its_factor_after_its_patience(play, select, factor, patience):
    values = FALLING if select == "nll" else RISING
    settings = {"schedule": "plateau", "schedule_factor": factor, "schedule_patience": patience}
    _, rates = play(values, select=select, **settings)
    better = (lambda new, old: new < old) if select == "nll" else (lambda new, old: new > old)
    expected = plateau(values, better, factor, patience)
    assert rates == pytest.approx(expected)
    assert len(set(expected)) > 1


def test_the_exponential_rate_falls_by_its_factor_each_epoch(play):
    _, rates = play([0.5] * 4, select="accuracy", schedule="exponential", schedule_factor=0.8)
    assert rates == pytest.approx([0.01, 0.008, 0.0064, 0.00512])


def test_the_constant_rate_stays(play):
    _, rates = play([0.5] * 3, select="accuracy", schedule="constant")
    assert rates == [0.01] * 3


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("select", "patience", "last"),
    [("accuracy", 1, 2), ("accuracy", 2, 3), ("macro_recall", 3, 4), ("nll", 4, 9), ("accuracy", 0, 10)],
)
def test_training_stops_after_as_many_epochs_without_a_better_one(play, select, patience, last):
    values = FALLING if select == "nll" else RISING
    out, rates = play(values, select=select, schedule="constant", early_stop=patience)
    assert len(rates) == last + 1
    assert epochs(out) == list(range(last + 1))
    assert checkpoint(out, "last.ckpt")["epoch"] == last


@pytest.mark.parametrize(
    ("select", "values", "best"),
    [
        ("accuracy", [0.2, 0.6, 0.4], 1),
        ("macro_recall", [0.2, 0.4, 0.6], 2),
        ("macro_recall", [0.6, 0.4, 0.2], 0),
        ("nll", [2.0, 1.0, 3.0], 1),
        ("accuracy", [0.4, 0.6, 0.6], 1),
    ],
)
def test_the_best_epoch_is_the_first_one_with_the_best_of_what_selects(play, select, values, best):
    out, _ = play(values, select=select, schedule="constant")
    assert checkpoint(out, "best.ckpt")["epoch"] == best
    assert checkpoint(out, "last.ckpt")["epoch"] == 2


VALUES = [0.5, 0.4, 0.45, 0.6, 0.5, 0.5]
SCHEDULES = {
    "plateau": {"schedule": "plateau", "schedule_factor": 0.5, "schedule_patience": 0},
    "plateau-patient": {"schedule": "plateau", "schedule_factor": 0.1, "schedule_patience": 1},
    "exponential": {"schedule": "exponential", "schedule_factor": 0.5},
    "constant": {"schedule": "constant"},
    "one-cycle": {"schedule": "one-cycle"},
}


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("cut", [1, 3])
def test_a_resumed_run_goes_on_with_the_rates_of_an_uninterrupted_one(play, tmp_path, schedule, cut):
    settings = {"select": "accuracy"} | SCHEDULES[schedule]
    whole, rates = play(VALUES, out=tmp_path / "whole", **settings)
    broken, first = play(VALUES, out=tmp_path / "broken", stop_before=cut, **settings)
    _, second = play(VALUES, out=broken, resume=True, **settings)
    assert first + second == pytest.approx(rates)
    for name in ("last.ckpt", "best.ckpt"):
        torch.testing.assert_close(
            checkpoint(broken, name)["state_dict"], checkpoint(whole, name)["state_dict"], rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("cut", [1, 3])
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(play, cut):
    values = [0.5, 0.4, 0.45, 0.48, 0.9, 0.9]
    settings = {"select": "accuracy", "schedule": "constant", "early_stop": 3}
    out, _ = play(values, stop_before=cut, **settings)
    play(values, out=out, resume=True, **settings)
    assert epochs(out) == [0, 1, 2, 3]


def test_resuming_a_run_that_stopped_early_trains_no_further(play):
    settings = {"select": "accuracy", "schedule": "constant", "early_stop": 2}
    out, rates = play([0.5, 0.4, 0.4, 0.9, 0.9], **settings)
    assert len(rates) == 3
    before = checkpoint(out, "last.ckpt")["state_dict"]
    _, more = play([0.5, 0.4, 0.4, 0.9, 0.9], out=out, resume=True, **settings)
    assert more == []
    assert epochs(out) == [0, 1, 2]
    torch.testing.assert_close(checkpoint(out, "last.ckpt")["state_dict"], before, rtol=0, atol=0)
    assert checkpoint(out, "best.ckpt")["epoch"] == 0


@pytest.mark.parametrize(("warmup", "peak"), [(0.25, 1), (0.75, 5)])
def test_one_cycle_rises_for_the_share_of_steps_that_is_the_warmup(recipe, data, tmp_path, monkeypatch, warmup, peak):
    rates, step = [], ExpressionModule.optimizer_step

    def note(module, *arguments, **named):
        rates.append(module.trainer.optimizers[0].param_groups[0]["lr"])
        step(module, *arguments, **named)

    monkeypatch.setattr(ExpressionModule, "optimizer_step", note)
    changed = replace(recipe, schedule="one-cycle", warmup=warmup, ema=0.0)
    fit(changed, data, tmp_path, resume=False)
    assert len(rates) == 8
    assert rates[peak] == pytest.approx(changed.learning_rate)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
