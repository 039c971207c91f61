"""Files of weights and data come from anywhere: none of them is executed, whichever way it is opened."""

import os
import pickle
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import affectlens
from affectlens.core.errors import AffectLensError, BadModelFile
from affectlens.core.expressions import FERPLUS
from affectlens.core.session import open_session
from affectlens.core.statistics import DatasetStatistics
from affectlens.data.readers import affectnet
from affectlens.data.table import FaceTable
from affectlens.models import multi_task, poster, swin, swin_se, two_stream, vit
from affectlens.models.layers import published
from affectlens.models.layers.mobile_facenet import MobileFaceNet
from affectlens.training import run as runs
from affectlens.training.data import TrainingData
from affectlens.training.fit import fit
from affectlens.training.recipe import find
from affectlens.training.run import load_checkpoint, load_run, open_run
from affectlens.training.start import load_pretrained, open_teacher, start_from
from affectlens.training.temporal import load_head

SOURCES = Path(affectlens.__file__).parent
SWIN = "swin_t-704ceda3.pth"


class Evil:
    """What makes a folder when it is unpickled."""

    def __init__(self, made):
        self.made = made

    def __reduce__(self):
        return os.mkdir, (str(self.made),)


@pytest.fixture
def made(tmp_path):
    """The folder that is there once something was executed."""
    return tmp_path / "made"


@pytest.fixture
def plant(made):
    """Writes a file that would run code, as torch writes them now ("zip"), as it once did ("legacy"), or "pickle"."""

    def write(file, kind):
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {"state_dict": Evil(made)}
        if kind == "pickle":
            file.write_bytes(pickle.dumps(content, protocol=2))
        else:
            torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
        return file

    return write


@pytest.fixture
def recipe():
    """A recipe of a small network that trains for one epoch."""
    return replace(find("default"), model="deep_emotion", model_options={}, epochs=1, batch_size=4, precision="32-true")


KINDS = pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])


def refuse(call, made):
    """The call answers with one line, and nothing was executed."""
    with pytest.raises(AffectLensError) as error:
        call()
    assert not made.exists()
    assert len(str(error.value).splitlines()) == 1
    for advice in ("weights_only", "allow_pickle", "pickled"):  # torch's and NumPy's, to open it all the same
        assert advice not in str(error.value)


@KINDS
def test_the_planted_file_does_what_it_says_where_it_is_unpickled(plant, made, tmp_path, kind):
    file = plant(tmp_path / "weights.pth", kind)
    pickle.loads(file.read_bytes()) if kind == "pickle" else torch.load(file, weights_only=False)
    assert made.exists()


LOADERS = {
    "torchvision, ViT": lambda: vit.build(8, image_px=32).load_pretrained,
    "torchvision, Swin": lambda: swin.build(8).load_pretrained,
    "timm, DenseNet": lambda: multi_task.build(7, 3).load_pretrained,
    "timm, Swin": lambda: swin_se.build(8, image_px=32).load_pretrained,
    "timm, DINOv2": lambda: two_stream.build(8, backbone="small", image_px=28).load_pretrained,
    "IR-50": lambda: poster.build(8, side_px=32, units=(1, 1, 1)).load_pretrained,
    "MobileFaceNet": lambda: lambda file: MobileFaceNet().load_checkpoint(Path(file)),
    "exported model": lambda: lambda file: open_session(Path(file)),
    "temporal head": lambda: lambda file: load_head(Path(file)),
}


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
def test_a_file_that_the_user_names_is_not_executed(plant, made, tmp_path, loader):
    load = loader()
    for kind in ("zip", "legacy", "pickle"):
        for suffix in (".pth", ".bin", ".npz", ".safetensors"):
            file = str(plant(tmp_path / f"{kind}{suffix}", kind))
            refuse(partial(load, file), made)


@KINDS
def test_a_file_in_the_cache_of_the_hub_is_not_executed(plant, made, tmp_path, monkeypatch, kind):
    file = plant(tmp_path / "model.safetensors", kind)
    monkeypatch.setattr(published, "hf_hub_download", lambda *_, local_files_only: file)
    refuse(lambda: multi_task.build(7, 3).load_pretrained(), made)


@pytest.fixture
def torch_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.mark.slow
@KINDS
def test_a_file_in_the_cache_of_torchvision_is_neither_executed_nor_taken_for_the_published_one(
    plant, made, torch_cache, monkeypatch, kind
):
    plant(torch_cache / SWIN, kind)
    with pytest.raises(
        BadModelFile, match=rf"{SWIN}' is not the file that torchvision publishes .*; delete it and try again$"
    ):
        swin.build(8).load_pretrained()
    assert not made.exists()
    monkeypatch.setattr(published, "sha256_of", lambda file: "704ceda3" + 56 * "0")  # as if it had the digest
    refuse(lambda: swin.build(8).load_pretrained(), made)


def test_other_weights_in_the_cache_of_torchvision_are_refused_by_their_digest(torch_cache):
    torch_cache.mkdir(parents=True)
    torch.save(swin.build(8).backbone.state_dict(), torch_cache / SWIN)
    with pytest.raises(BadModelFile, match="its SHA-256 differs"):
        swin.build(8).load_pretrained()


def test_weights_in_the_cache_of_torchvision_with_the_right_digest_are_loaded(torch_cache):
    torch_cache.mkdir(parents=True)
    source = swin.build(8).backbone
    torch.save(source.state_dict(), torch_cache / SWIN)
    digest = published.sha256_of(torch_cache / SWIN)
    weights = swin.Swin_T_Weights.IMAGENET1K_V1
    (torch_cache / SWIN).rename(torch_cache / f"swin_t-{digest[:8]}.pth")
    moved = replace(weights.value, url=f"https://nowhere.invalid/swin_t-{digest[:8]}.pth")
    state = published.torchvision_state(moved)
    assert state.keys() == source.state_dict().keys()


def test_a_download_from_torchvision_is_compared_with_its_digest(torch_cache, monkeypatch):
    asked = []

    def download(url, target, hash_prefix, progress):
        asked.append((url, hash_prefix))
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(BadModelFile, match=r"from torchvision's server .*pretrained_file=FILE"):
        swin.build(8).load_pretrained()
    assert asked == [(f"https://download.pytorch.org/models/{SWIN}", "704ceda3")]


def test_weights_in_the_form_of_safetensors_can_be_named(tmp_path):
    source = multi_task.build(7, 3)
    torch.manual_seed(2)
    network = timm.create_model("densenet121")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    source.load_pretrained(str(tmp_path / "weights.safetensors"))
    key = "features.conv0.weight"
    torch.testing.assert_close(source.backbone.state_dict()[key], network.state_dict()[key])


# Runs


@pytest.fixture
def planted_run(recipe, plant, tmp_path):
    """A run folder whose best and last checkpoints would run code."""

    def make(kind):
        open_run(recipe, FERPLUS, {}, tmp_path / "run", resume=False)
        plant(runs.best_checkpoint(tmp_path / "run"), kind)
        plant(runs.last_checkpoint(tmp_path / "run"), kind)
        return tmp_path / "run"

    return make


@pytest.fixture
def facts():
    return DatasetStatistics(FERPLUS, np.arange(8), np.full((8, 2), np.nan, np.float32))


@KINDS
def test_a_run_folder_is_not_executed_whatever_it_is_used_for(recipe, planted_run, made, facts, kind):
    folder = planted_run(kind)
    network = multi_task.build(8, 1, backbone="breg_next")
    refuse(lambda: load_run(folder), made)
    refuse(lambda: load_checkpoint(recipe, 8, runs.best_checkpoint(folder)), made)
    refuse(lambda: open_teacher(str(folder), recipe, facts), made)
    refuse(lambda: start_from(network, replace(recipe, start_from=str(folder)), FERPLUS), made)
    refuse(lambda: load_pretrained(network, replace(recipe, pretrained_file=str(folder))), made)


@KINDS
def test_a_run_that_goes_on_does_not_execute_its_checkpoint(recipe, planted_run, made, kind):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 48, 48), dtype=np.uint8)
    labels = np.arange(16) % 8
    table = FaceTable(tuple(map(str, range(16))), images, np.eye(8, dtype=np.float32)[labels], labels, FERPLUS)
    data = TrainingData(table, table, near_duplicates_left_out=0, licence="", reader="ferplus", options={})
    folder = planted_run(kind)
    refuse(lambda: fit(recipe, data, folder, resume=True), made)


# Data


def test_an_array_of_objects_in_affectnet_is_not_executed(tmp_path, made):
    for folder in ("annotations", "images"):
        (tmp_path / "train_set" / folder).mkdir(parents=True)
        (tmp_path / "val_set" / folder).mkdir(parents=True)
    (tmp_path / "train_set" / "images" / "0.jpg").touch()
    np.save(tmp_path / "train_set" / "annotations" / "0_exp.npy", np.array([Evil(made)]), allow_pickle=True)
    options = {"release": "auto", "classes": "8", "protocol": ""}
    refuse(lambda: [face for split in ("train", "valid") for face in affectnet.read(tmp_path, split, options)], made)


@pytest.mark.parametrize("content", [b"", bytes(1000), b"\x80\x02.", b"PK\x03\x04", b"not weights"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_weights_is_refused_without_advice(tmp_path, made, content, suffix):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    refuse(lambda: published.state_in(file), made)
    refuse(lambda: published.timm_state("resnet18", str(file)), made)
    refuse(lambda: load_head(file), made)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_pipe_and_a_device_are_no_weights(tmp_path, made, deadline, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"endless{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        refuse(lambda name=name: published.state_in(tmp_path / f"{name}{suffix}"), made)


# Our own code

UNPICKLING = {
    "torch.load without weights_only=True": r"torch\.load\((?!.*weights_only=True)",
    "pickle and its relatives": r"\b(?:cloudpickle|dill|joblib|marshal|shelve)\b|\bpickle\.(?:loads?|Unpickler)\b|"
    r"\bread_pickle\b",
    "arrays of objects": r"allow_pickle=True",
    "torchvision's own loader": r"\bget_state_dict\b|load_state_dict_from_url(?!.*weights_only=True)|"
    r"hub\.load\b",
    "Lightning's own loader": r"load_from_checkpoint\((?!.*weights_only=True)",
    "resuming without weights_only=True": r"ckpt_path=(?!.*weights_only=True)",
    "timm's own loader": r"checkpoint_path=|overlay=\{\"file\"",
    "YAML that makes objects": r"yaml\.(?:unsafe_load|full_load|load\()",
}


@pytest.mark.parametrize("pattern", UNPICKLING.values(), ids=UNPICKLING)
def test_nothing_in_the_package_unpickles(pattern):
    found = [
        f"{file.relative_to(SOURCES)}: {line.strip()}"
        for file in sorted(SOURCES.rglob("*.py"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(pattern, line)
    ]
    assert found == []


def test_pictures_are_decoded_by_pillow_and_nothing_else():
    decoders = re.compile(r"\b(?:imread|imdecode|imreadmulti|imdecodemulti)\(|VideoCapture\(|Image\.open\(")
    found = {
        file.relative_to(SOURCES).as_posix()
        for file in SOURCES.rglob("*.py")
        if decoders.search(file.read_text(encoding="utf-8"))
    }
    ours = {
        "evaluation/corruptions.py",  # what it has encoded itself
        "runtime/video.py",  # cameras
    }
    assert found == ours


def test_what_is_looked_for_would_be_found():
    bad = (
        "x = torch.load(file)",
        "pickle.loads(data)",
        "np.load(file, allow_pickle=True)",
        "weights.get_state_dict()",
        "Module.load_from_checkpoint(file)",
        "trainer.fit(module, ckpt_path=file)",
        'timm.create_model(name, pretrained_cfg_overlay={"file": path})',
        "yaml.load(text)",
    )
    for line, pattern in zip(bad, UNPICKLING.values(), strict=True):
        assert re.search(pattern, line), line
    assert not re.search(UNPICKLING["torch.load without weights_only=True"], "torch.load(file, weights_only=True)")
