import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses import small_loss, soft_cross_entropy

CLASSES = 4
EXPERIMENT = Path(__file__).parents[2] / "experiments" / "noisy_labels.py"


def statistics(labels):
    return DatasetStatistics(("a", "b", "c", "d"), labels, np.full((len(labels), 2), np.nan, dtype=np.float32))


@pytest.mark.parametrize("seed", range(2))
def test_it_learns_what_cross_entropy_does_not_where_two_of_five_labels_are_wrong(seed):
    accuracies = runpy.run_path(str(EXPERIMENT))["accuracies"]
    known = {"sizes": (100,) * CLASSES, "noise": 0.4, "seed": seed, "epochs": 30}
    plain, _ = accuracies(soft_cross_entropy.build, {}, **known)
    careful, _ = accuracies(small_loss.build, {"share": 0.4}, **known)
    assert careful > plain + 0.15


def test_the_share_left_out_rises_with_the_faces_seen():
    loss = small_loss.build(statistics(np.arange(20) % CLASSES), share=0.5, warmup=2.0, relative=False)
    logits, target = torch.randn(10, CLASSES), torch.eye(CLASSES)[torch.arange(10) % CLASSES]
    sums = torch.nn.functional.cross_entropy(logits, target, reduction="none").sort().values
    for step in range(6):
        kept = 10 - int(5 * min(step / 4, 1) + 1e-4)
        torch.testing.assert_close(loss(logits, target), sums[:kept].mean())
    loss.eval()
    before = loss.progress.clone()
    loss(logits, target)
    assert loss.progress == before == 1
    assert "progress" in loss.state_dict()  # so that a resumed run goes on where it was


def test_the_warm_up_counts_the_faces_of_all_processes(monkeypatch):
    loss = small_loss.build(statistics(np.arange(20) % CLASSES), share=0.5, warmup=2.0)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    for seen in (1, 2, 3, 4):
        loss(torch.zeros(2, CLASSES), torch.eye(CLASSES)[:2])  # a quarter of a batch of 8; the warm-up takes 40 faces
        assert loss.progress.item() == pytest.approx(min(8 * seen / 40, 1))


def test_a_loss_that_is_usual_for_its_class_is_not_taken_for_a_wrong_label():
    """Class a is learned, b is not yet: of the two faces of each, the one that is worse than usual is left out."""
    target = torch.eye(CLASSES)[torch.tensor([0, 0, 1, 1])]
    logits = torch.log_softmax(torch.tensor([[5.0, 0, 0, 0], [1.5, 0, 0, 0], [2.0, 0, 0, 0], [2.2, 0, 0, 0]]), dim=1)
    losses = -(target * logits).sum(dim=1)
    for relative, kept in ((True, [0, 2]), (False, [0, 1])):
        loss = small_loss.build(statistics(np.array([0, 0, 1, 1])), share=0.5, warmup=0.0, relative=relative)
        loss.usual.copy_(torch.tensor([losses[:2].mean(), losses[2:].mean(), 1, 1]))
        assert loss(logits, target).item() == pytest.approx(losses[kept].mean().item())


def test_what_is_usual_follows_the_classes_of_the_batch():
    loss = small_loss.build(statistics(np.arange(20) % CLASSES))
    target = torch.eye(CLASSES)[torch.tensor([0, 0, 1])]
    loss(torch.zeros(3, CLASSES), target)
    np.testing.assert_allclose(loss.usual, np.full(CLASSES, np.log(4)), rtol=1e-6)
    loss(torch.tensor([[9.0, 0, 0, 0]]), target[:1])
    assert loss.usual[0] == pytest.approx(0.9 * np.log(4), abs=1e-3)
    assert loss.usual[1:].tolist() == pytest.approx([np.log(4)] * 3)


def test_faces_about_which_raters_disagree_are_not_wrong():
    """A face whose votes are evenly split and a network that knows it, beside one that is confidently wrong."""
    loss = small_loss.build(statistics(np.arange(20) % CLASSES), share=0.5, warmup=0.0)
    logits = torch.tensor([[0.0, 0, 0, 0], [1.0, 0, 0, 0]])
    target = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.0, 1, 0, 0]])
    assert loss(logits, target).item() == pytest.approx(np.log(4))
