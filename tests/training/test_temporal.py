from dataclasses import replace

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.data.table import FaceTable
from affectlens.models.layers.temporal import TemporalHead
from affectlens.training import temporal
from affectlens.training.frame_features import FrameFeatures
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find
from affectlens.training.temporal import TemporalSettings, check_trainable, load_head, predictions_of, train_head

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
    predictions = np.concatenate([logits, 2 * features[:, :2] - 1], axis=1) if affect else logits
    floats = [column.astype(np.float32) for column in (features, predictions, votes)]
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
    return temporal.frame_metrics(frames.with_predictions(predictions_of(head, frames)))


@pytest.mark.parametrize("kind", ["gru", "tcn"])
def test_a_head_that_remembers_beats_one_that_does_not_by_far(recipe, data, kind):
    unseen = videos(2)
    run = temporal.frame_metrics(unseen.with_predictions(unseen.predictions))
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
    before = temporal.frame_metrics(valid.with_predictions(valid.predictions))
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
    parts = [torch.from_numpy(column[rows]) for column in (train.predictions, train.votes, train.targets, train.affect)]
    predictions, votes, targets, affect = parts
    predictions.requires_grad_()
    objective(predictions, torch.zeros(40, QUICK.width), votes, targets, affect).backward()
    gradient = predictions.grad.abs()
    assert (gradient[:, :CLASSES].sum(dim=1) > 0).tolist() == (targets >= 0).tolist()
    assert (gradient[:, CLASSES:].sum(dim=1) > 0).tolist() == affect.isfinite().all(dim=1).tolist()
    nothing = objective(predictions, torch.zeros(40, QUICK.width), votes * 0, targets * 0 - 1, affect * np.nan)
    assert nothing is None


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


def table(targets, affect=np.nan):
    """Faces with these expressions, all of the same valence and arousal."""
    count = len(targets)
    values = np.full(count, affect, dtype=np.float32)
    votes = np.where(np.array(targets)[:, None] >= 0, np.eye(CLASSES, dtype=np.float32)[targets], 0)
    ids, images = tuple(map(str, range(count))), np.zeros((count, 8, 8, 3), dtype=np.uint8)
    return FaceTable(ids, images, votes, np.array(targets), LABELS, valence=values, arousal=values)


def test_what_cannot_be_trained_is_refused_by_the_labels_alone(recipe, small_networks):
    def check(losses, train, valid):
        chosen = replace(recipe, losses=losses, loss_options={}, size_px=16, pretrained=False)
        check_trainable(ExpressionModule(chosen, CLASSES), train, valid, QUICK)

    labelled, described, bare = table([0, 1, 2, 3]), table([-1, -1], 0.5), table([-1, -1])
    expressions, affect = {"soft_cross_entropy": 1.0}, {"va_ccc": 1.0}
    check(expressions, labelled, labelled)
    check(affect, described, described)
    with pytest.raises(BadSetting, match="can train a head over frames, which predicts expressions, valence and"):
        check({"mask_bce": 1.0}, labelled, labelled)
    with pytest.raises(BadSetting, match="needs training faces with valence and arousal"):
        check(affect, labelled, described)
    for losses, train, valid in ((expressions, labelled, bare), (affect, described, labelled)):
        with pytest.raises(BadData, match="no validation frame has a label"):
            check(losses, train, valid)


def test_a_stored_head_predicts_the_same(recipe, data, tmp_path):
    head, _, _ = train_head(recipe, LABELS, *data, replace(QUICK, epochs=2))
    unseen = videos(2)
    expected = predictions_of(head, unseen)
    temporal.save_head(head, tmp_path / "head.pt")
    loaded = load_head(tmp_path / "head.pt")
    assert not loaded.training
    np.testing.assert_array_equal(predictions_of(loaded, unseen), expected)


@pytest.mark.parametrize(
    "options", [{"width": 12_000}, {"width": 10**12}, {"features": 10**9}, {"width": "x"}, {"width": True}, {"wide": 1}]
)
def test_a_head_whose_options_ask_for_more_than_its_weights_is_refused_unmade(tmp_path, monkeypatch, options):
    head = TemporalHead("gru", features=4, predictions=3, width=2)
    torch.save({"options": head.options | options, "weights": head.state_dict()}, tmp_path / "head.pt")
    made = []
    monkeypatch.setattr(
        temporal, "TemporalHead", lambda **some: made.append(torch.get_default_device().type) or TemporalHead(**some)
    )
    with pytest.raises(BadModelFile, match="is not a head over frames: ") as error:
        load_head(tmp_path / "head.pt")
    assert set(made) == {"meta"}  # where tensors have shapes only
    assert len(str(error.value).splitlines()) == 1


def test_a_file_without_a_head_is_refused(tmp_path):
    with pytest.raises(BadModelFile, match=r"no trained head: '.*head\.pt' does not exist"):
        load_head(tmp_path / "head.pt")
    torch.save({"state_dict": {}}, tmp_path / "head.pt")
    with pytest.raises(BadModelFile, match="is not a head over frames: 'options'"):
        load_head(tmp_path / "head.pt")


def test_a_flipped_byte_of_a_head_is_noticed(recipe, data, tmp_path):
    file = tmp_path / "head.pt"
    temporal.save_head(train_head(recipe, LABELS, *data, replace(QUICK, epochs=1))[0], file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)
    with pytest.raises(BadModelFile, match=r"head\.pt' is damaged: the checksum of its part"):
        load_head(file)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"window": 0}, "window must be at least 1, got 0"), ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(BadSetting, match=message):
        TemporalSettings(**settings)
