from dataclasses import replace

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadData, BadSetting
from affectlens.data.images import Images, Stored
from affectlens.data.table import FaceTable
from affectlens.models.layers.outputs import Outputs
from affectlens.training import temporal
from affectlens.training.recipe import find
from affectlens.training.temporal import FrameFeatures, TemporalSettings, answers_of, train_head

CLASSES = 4
LABELS = ("a", "b", "c", "d")
QUICK = TemporalSettings(window=16, width=24, epochs=12, batch_size=4, learning_rate=0.01)


def videos(seed, number=12, frames=60, affect=True):
    """Frames that show one of four states; the label is the state of the frame before, and valence and arousal are the
    means of one and of another state over the last four frames. The network of the run says what the frame shows.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(number):
        shown = rng.integers(0, CLASSES, frames)
        seen = np.eye(CLASSES)[shown]
        targets = np.concatenate([[-1], shown[:-1]])
        targets[rng.uniform(size=frames) < 0.2] = -1  # frames without a label, in the middle of the sequence
        means = np.stack([seen[max(0, t - 3) : t + 1].mean(axis=0) for t in range(frames)])
        values = np.where(rng.uniform(size=(frames, 1)) < 0.2, np.nan, 2 * means[:, :2] - 1)
        features = np.concatenate([seen, rng.normal(size=(frames, 4))], axis=1)
        parts.append(
            (features, 2 * seen, np.where(targets[:, None] >= 0, np.eye(CLASSES)[targets], 0), targets, values)
        )
    features, logits, votes, targets, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    answers = np.concatenate([logits, 2 * features[:, :2] - 1], axis=1) if affect else logits
    floats = [column.astype(np.float32) for column in (features, answers, votes)]
    return FrameFeatures(*floats, targets, values.astype(np.float32), np.arange(number + 1) * frames)


@pytest.fixture(scope="module")
def recipe():
    return replace(
        find("antoniadis/t6.1-ccc-affwild2"), model_options={"backbone": "breg_next", "affect": "regression"}
    )


@pytest.fixture(scope="module")
def data():
    return videos(0), videos(1, number=6)


def metrics(head, frames):
    return temporal.frame_metrics(frames.said(answers_of(head, frames)))


@pytest.mark.parametrize("kind", ["gru", "tcn"])
def test_a_head_that_remembers_beats_one_that_does_not_by_far(recipe, data, kind):
    unseen = videos(2)
    run = temporal.frame_metrics(unseen.said(unseen.answers))
    found = {}
    for name in ("frame", kind):
        head, _, _ = train_head(recipe, LABELS, *data, replace(QUICK, head=name))
        found[name] = metrics(head, unseen)
    assert max(run["accuracy"], found["frame"]["accuracy"]) < 0.35
    assert found[kind]["accuracy"] > 0.9
    assert found[kind]["valence_ccc"] > found["frame"]["valence_ccc"] + 0.15
    assert found[kind]["arousal_ccc"] > run["arousal_ccc"] + 0.15


def test_training_starts_from_the_run_and_keeps_the_best_epoch(recipe, data):
    train, valid = data
    head, objective, curves = train_head(recipe, LABELS, train, valid, replace(QUICK, epochs=3))
    assert [line["epoch"] for line in curves] == [0, 1, 2, 3]
    before = temporal.frame_metrics(valid.said(valid.answers))
    assert {key: curves[0][key] for key in before} == before
    assert curves[0]["train_loss"] is None
    assert temporal.selection(metrics(head, valid)) == pytest.approx(max(line["selection"] for line in curves))
    assert (objective.trained, objective.left_out) == (("soft_cross_entropy", "va_ccc"), ())


def test_a_seed_makes_the_same_head(recipe, data):
    first, second = (train_head(recipe, LABELS, *data, replace(QUICK, epochs=2))[2] for _ in range(2))
    assert first == second


def test_every_frame_is_trained_on_once_an_epoch_and_windows_move():
    starts = np.array([0, 5, 45, 46])
    found = []
    for epoch in (1, 2):
        frames = []
        for rows, real in temporal._windows(starts, replace(QUICK, batch_size=2), epoch):
            assert rows.shape == real.shape
            assert rows.shape[1] <= QUICK.window
            for row, own in zip(rows, real, strict=True):
                kept = row[own]
                assert (np.diff(kept) == 1).all()
                assert len(set(np.searchsorted(starts, kept, side="right"))) == 1  # of one video
                frames += kept.tolist()
        assert sorted(frames) == list(range(46))
        found.append(frames)
    assert found[0] != found[1]


def test_frames_without_a_label_are_of_no_loss(recipe, data):
    train, _ = data
    objective = train_head(recipe, LABELS, *data, replace(QUICK, epochs=1))[1].eval()
    rows = slice(0, 40)
    parts = [torch.from_numpy(column[rows]) for column in (train.answers, train.votes, train.targets, train.affect)]
    answers, votes, targets, affect = parts
    answers.requires_grad_()
    objective(answers, torch.zeros(40, QUICK.width), votes, targets, affect).backward()
    gradient = answers.grad.abs()
    assert (gradient[:, :CLASSES].sum(dim=1) > 0).tolist() == (targets >= 0).tolist()
    assert (gradient[:, CLASSES:].sum(dim=1) > 0).tolist() == affect.isfinite().all(dim=1).tolist()
    nothing = objective(answers, torch.zeros(40, QUICK.width), votes * 0, targets * 0 - 1, affect * np.nan)
    assert nothing.item() == 0


def test_losses_that_need_more_are_left_out(recipe, data):
    losses = {"soft_cross_entropy": 1.0, "center": 0.1, "va_divisions": 1.0, "mask_bce": 1.0}
    _, objective, _ = train_head(replace(recipe, losses=losses), LABELS, *data, replace(QUICK, epochs=1))
    assert objective.trained == ("soft_cross_entropy", "center")
    assert objective.left_out == ("va_divisions", "mask_bce")
    with pytest.raises(BadSetting, match=r"no loss of 'antoniadis/.*' can train a head over frames"):
        train_head(replace(recipe, losses={"mask_bce": 1.0}), LABELS, *data, QUICK)


def test_a_run_of_expressions_alone_and_one_of_affect_alone(recipe, data):
    alone = replace(recipe, losses={"soft_cross_entropy": 1.0}, loss_options={})
    head, _, curves = train_head(
        alone, LABELS, videos(0, affect=False), videos(1, affect=False), replace(QUICK, epochs=1)
    )
    assert head.last.out_features == CLASSES
    assert "valence_ccc" not in curves[0]
    affect = replace(recipe, losses={"va_ccc": 1.0}, loss_options={})
    _, objective, curves = train_head(affect, LABELS, *data, replace(QUICK, epochs=1))
    assert not objective.expressions
    assert "challenge" not in curves[0]


def test_without_a_label_on_validation_nothing_can_be_selected(recipe, data):
    train, valid = data
    nothing = replace(valid, targets=np.full(len(valid), -1), affect=np.full_like(valid.affect, np.nan))
    with pytest.raises(BadData, match="no validation frame has a label"):
        train_head(recipe, LABELS, train, nothing, QUICK)


class TonesFirst(torch.nn.Module):
    """A network that says how bright a picture is."""

    recipe = None

    def forward(self, images):
        bright = images.mean(dim=(1, 2, 3))
        return Outputs(torch.stack([bright, -bright], dim=1))


@pytest.mark.parametrize("target", ["votes", "label"])
def test_frames_are_described_in_their_order_and_undecodable_ones_left_out(recipe, tmp_path, target, caplog):
    (tmp_path / "broken.png").write_bytes(b"no picture" * 20)
    pictures = [np.full((200, 200, 3), tone, dtype=np.uint8) for tone in (10, 40, 90, 160, 250)]
    stored = [Stored(tmp_path / "broken.png"), *pictures]
    table = FaceTable(
        ("b/2", "b/3", "a/2", "a/1", "b/1", "a/3"),
        Images(stored),
        np.tile(np.float32([0.25, 0.75]), (6, 1)),
        np.array([1, 1, -1, 0, 1, 1]),
        ("dark", "light"),
        valence=np.arange(6, dtype=np.float32) / 10,
        arousal=np.zeros(6, dtype=np.float32),
        groups={"video": np.array(list("bbaaba"))},
    )
    module = TonesFirst()
    module.recipe = replace(recipe, size_px=16, target=target)
    found = temporal.features_of(module, table)
    assert found.starts.tolist() == [0, 2, 5]
    assert found.affect[:, 0].tolist() == pytest.approx([0.4, 0.1, 0.3, 0.2, 0.5])
    assert found.targets.tolist() == [1, 1, 0, -1, 1]
    assert found.answers[:, 0].argsort().tolist() == [1, 3, 2, 0, 4]
    np.testing.assert_array_equal(found.features, found.answers)  # of a network without features
    expected = [[0.25, 0.75]] * 5 if target == "votes" else [[0, 1], [0, 1], [1, 0], [0, 0], [0, 1]]
    assert found.votes.tolist() == expected


def test_without_a_picture_that_can_be_decoded_there_are_no_features(recipe, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture" * 20)
    nothing = np.zeros((1, 2), dtype=np.float32)
    table = FaceTable(
        ("1",),
        Images([Stored(tmp_path / "broken.png")]),
        nothing,
        np.array([-1]),
        ("a", "b"),
        groups={"video": np.array(["v"])},
    )
    module = TonesFirst()
    module.recipe = recipe
    with pytest.raises(BadData, match="cannot decode any of 1 images"):
        temporal.features_of(module, table)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"window": 0}, "window must be at least 1, got 0"), ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(BadSetting, match=message):
        TemporalSettings(**settings)
