from dataclasses import replace

import pytest
import torch

from affectlens.core.errors import BadModelFile
from affectlens.training.fit import fit
from affectlens.training.resumable import check_resumable
from affectlens.training.run import last_checkpoint


@pytest.fixture(scope="module")
def trained(recipe, data, tmp_path_factory):
    """A recipe, and the folder of its run after its first epoch of two."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    short = replace(recipe, model="deep_emotion", model_options={}, epochs=1, schedule="constant")
    fit(short, data, folder)
    return replace(short, epochs=2), folder


def group(checkpoint):
    return checkpoint["optimizer_states"][0]["param_groups"][0]


CHANGES = {
    "epoch, a text": lambda found: found.update(epoch="x"),
    "epoch, -5": lambda found: found.update(epoch=-5),
    "epoch, 10**30": lambda found: found.update(epoch=10**30),
    "global step": lambda found: found.update(global_step=None),
    "no version": lambda found: found.pop("pytorch-lightning_version"),
    "version": lambda found: found.update({"pytorch-lightning_version": "x"}),
    "no loops": lambda found: found.pop("loops"),
    "loops, a list": lambda found: found.update(loops=[]),
    "loops, epochs": lambda found: found["loops"]["fit_loop"]["epoch_progress"]["current"].update(completed=-1),
    "no optimiser": lambda found: found.pop("optimizer_states"),
    "optimiser, none": lambda found: found.update(optimizer_states=[]),
    "optimiser, nothing": lambda found: found.update(optimizer_states=[None]),
    "rate, infinite": lambda found: group(found).update(lr=float("inf")),
    "rate, a text": lambda found: group(found).update(lr="x"),
    "callbacks": lambda found: found.update(callbacks="x"),
    "schedules": lambda found: found.update(lr_schedulers="x"),
}
LATER = {
    "parameters of the optimiser": lambda found: group(found).update(params=[0]),
    "averages": lambda found: found.pop("averaging_state", None) or found.update(averaging_state=7),
    "progress of the batches": lambda found: found["loops"]["fit_loop"].update({"epoch_loop.batch_progress": "x"}),
}


def test_a_checkpoint_of_a_run_is_resumable(trained):
    check_resumable(last_checkpoint(trained[1]))


@pytest.mark.parametrize("change", [*CHANGES.values(), *LATER.values()], ids=[*CHANGES, *LATER])
def test_a_checkpoint_with_evil_values_is_one_line_that_says_what_to_do(trained, data, tmp_path, change, request):
    recipe, folder = trained
    file = last_checkpoint(folder)
    before = file.read_bytes()
    found = torch.load(file, weights_only=True)
    change(found)
    torch.save(found, file)
    versions = (folder / "versions.json").read_text()
    try:
        with pytest.raises(BadModelFile, match=r"; delete it to restart the run$") as error:
            fit(recipe, data, folder, resume=True)
        assert len(str(error.value).splitlines()) == 1
        if request.node.callspec.id in CHANGES:
            assert (folder / "versions.json").read_text() == versions, "the run was changed"
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("content", [b"", bytes(1000), b"PK", b"\x80\x02."])
def test_what_is_no_checkpoint_is_one_line_without_advice_to_unpickle(tmp_path, content):
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(BadModelFile, match=r"is not a checkpoint: .*; delete it to restart the run$") as error:
        check_resumable(tmp_path / "last.ckpt")
    assert "weights_only" not in str(error.value)
