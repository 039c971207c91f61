"""What every model in the catalogue must do; a new model adds its parameter count here."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from timm.layers import DropPath
from torch import nn
from torchvision.ops import StochasticDepth

from affectlens.core import catalog
from affectlens.core.expressions import FERPLUS
from affectlens.core.session import ModelSpec, open_session, run_model
from affectlens.data.table import FaceTable
from affectlens.models.emotion_gcn import GraphConvolution
from affectlens.models.layers.outputs import as_outputs
from affectlens.training import export
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find
from affectlens.training.storage import describe, save, store_in_half
from affectlens.training.tta import Averaged

PARAMETERS = {
    "attributes": 85_755_688,
    "breg_next": 3_072_120,
    "compact_resnet": 3_165_928,
    "custom_vgg": 40_380_616,
    "deep_emotion": 43_788,
    "emotion_gcn": 7_625_472,
    "multi_task": 6_955_784,
    "poster": 43_754_710,
    "swin": 27_525_506,
    "swin_se": 27_600_050,
    "two_stream": 111_524_054,
    "vit": 85_804_808,
}
"""With default options, 8 classes (`attributes`: 2) and one channel."""

SMALL = {
    "attributes": {"backbone": "small", "image_px": 56},
    "compact_resnet": {"widths": (8, 16, 16, 32), "depths": (1, 1, 1, 1)},
    "poster": {"side_px": 48, "units": (1, 1, 1)},
    "swin_se": {"image_px": 48},
    "two_stream": {"backbone": "small", "image_px": 56},
    "vit": {"size": "tiny", "image_px": 48},
}
"""Options that take the place of the default ones, where these are too large for tests; see `small_networks` too."""

OPTIONS = {
    "custom_vgg": [{"stn": True, "msa": True}],
    "deep_emotion": [{"stn": True, "msa": True}, {"stn": True, "msa": True, "msa_form": "joint"}],
    "emotion_gcn": [{"backbone": "breg_next", "layers": 3}, {"backbone": "breg_next", "pool": "max"}],
    "multi_task": [
        {"backbone": "breg_next", "affect": "regression", "fusion": "concatenate"},
        {"backbone": "breg_next", "affect": "eight", "fusion": "separate"},
        {"backbone": "breg_next", "affect": "signs", "mask": True},
    ],
    "poster": [{"side_px": 48, "units": (1, 1, 1), "project_query": True, "landmark_input": "bgr"}],
    "swin": [{"patch_px": 2, "window": 2}],
    "swin_se": [{"image_px": 48, "se": "patches"}],
    "two_stream": [
        {"backbone": "small", "image_px": 56, "landmarks": "none"},
        {"mode": "literal", "image_px": 56},
        {"mode": "literal", "image_px": 56, "landmarks": "none"},
        {"mode": "native", "image_px": 56},
    ],
}
"""Options that make another network of a model, beside its default ones."""

SIDES = {"attributes": 56, "two_stream": 56}
"""Side of the faces in pixels, where it is not 48."""

CLASSES = {"attributes": 2}
"""Classes of a model that is for just so many."""

STEPS = 300
"""In which eight faces are learnt by heart."""

DISCARDED = {"joint": "branch."}
"""Form of attention -> what it computes and throws away, like the code that it follows."""

MODELS = pytest.mark.parametrize("name", catalog.available("models"))
DEEP = ("swin",)
"""Models that are exported in full depth too; `export.check_parity` guards every other one when it is exported."""


def networks(leaving=()):
    """Name and options of all networks, but for those `leaving` that have these; one of each model is quick."""
    return pytest.mark.parametrize(
        ("name", "options"),
        [
            pytest.param(
                name,
                options,
                id="-".join([name, *(str(value) for value in options.values())]),
                marks=[pytest.mark.slow] if place else [],
            )
            for name in catalog.available("models")
            for place, options in enumerate([SMALL.get(name, {}), *OPTIONS.get(name, [])])
            if not any(options.items() >= some.items() for some in leaving)
        ],
    )


NETWORKS = networks()
DISTINCT = networks(
    leaving=[
        {"stn": True, "msa": True, "msa_form": "joint"},
        {"se": "patches"},
        {"landmark_input": "bgr"},
        {"landmarks": "none", "backbone": "small"},
        {"mode": "literal", "image_px": 56, "landmarks": "none"},
        {"mode": "native", "image_px": 56},
    ]
)
"""All but those whose operations are those of others."""


def blotches(count, seed=0):
    """(count, 48, 48) uint8 with light and shade, so that networks see differences between them."""
    tiles = np.random.default_rng(seed).integers(0, 256, (count, 4, 4), dtype=np.uint8)
    return np.stack([cv2.resize(tile, (48, 48), interpolation=cv2.INTER_CUBIC) for tile in tiles])


def images(count, seed=0, side=48):
    """(count, 1, side, side) in [-2, 2], as the default recipe normalises."""
    faces = np.stack([cv2.resize(face, (side, side)) for face in blotches(count, seed)])
    return torch.from_numpy(faces).unsqueeze(1) / 255 * 4 - 2


def fresh(name, options, classes=8, channels=1):
    """A network, and the side of the faces that it is for."""
    return catalog.load("models", name).build(CLASSES.get(name, classes), channels, **options), SIDES.get(name, 48)


def answers(network, faces):
    """What a network says about faces, by name, without the features behind it."""
    given = as_outputs(network(faces))
    seen = {} if given.explanation is None else {"explanation": given.explanation}
    return {"logits": given.logits, **given.others, **seen}


def stirred(network, side=48):
    """`network` as after training: nothing is silent because it starts at 0, and logits differ by up to about 1."""
    torch.manual_seed(0)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.momentum = 1.0
    for weight in network.parameters():
        if weight.abs().max() < 1e-3:  # zeros, and scales of branches that begin almost closed
            nn.init.normal_(weight, std=0.1)
    head = getattr(network, "classifier", None)
    if not isinstance(head, nn.Linear):
        head = [module for module in network.modules() if isinstance(module, nn.Linear | GraphConvolution)][-1]
    with torch.no_grad():
        network.train()(images(8, side=side))
        found = answers(network.eval(), images(8, side=side))
        read = [found[name] for name in ("logits", "attributes") if name in found]  # by the head
        head.weight.div_(torch.cat(read, dim=1).std(dim=0).max())
    for norm in norms:
        norm.momentum = 0.1
    return network.train()


@NETWORKS
def test_faces_become_one_row_of_logits_each(name, options, small_networks):
    network, side = fresh(name, options)
    with torch.inference_mode():
        found = answers(network.eval(), torch.randn(3, 1, side, side))
    assert found["logits"].shape == (3, CLASSES.get(name, 8))
    assert all(len(answer) == 3 and answer.isfinite().all() for answer in found.values())


@NETWORKS
def test_classes_and_channels_are_free(name, options, small_networks):
    network, side = fresh(name, options, classes=5, channels=3)
    with torch.inference_mode():
        assert answers(network.eval(), torch.randn(2, 3, side, side))["logits"].shape == (2, CLASSES.get(name, 5))


@NETWORKS
def test_every_parameter_gets_a_gradient(name, options, small_networks):
    network, side = fresh(name, options)
    network = stirred(network, side)
    sum(answer.square().sum() for answer in answers(network, images(4, side=side)).values()).backward()
    silent = {key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()}
    unused = DISCARDED.get(options.get("msa_form"))
    assert silent == {key for key, _ in network.named_parameters() if unused and unused in key}


@NETWORKS
def test_a_face_is_judged_by_itself(name, options, small_networks):
    network, side = fresh(name, options)
    network, faces = stirred(network, side).eval(), images(3, side=side)
    with torch.inference_mode():
        together, alone = answers(network, faces), [answers(network, face.unsqueeze(0)) for face in faces]
    for answer, expected in together.items():
        found = torch.cat([one[answer] for one in alone])
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert (together["logits"][0] - together["logits"][1]).abs().max() > 0.1


@MODELS
def test_number_of_parameters_is_the_published_one(name):
    assert name in PARAMETERS, f"add a row to PARAMETERS in {Path(__file__).name} for '{name}'"
    with torch.device("meta"):
        network, _ = fresh(name, {})
    assert sum(weight.numel() for weight in network.parameters()) == PARAMETERS[name]


def multiply_adds(network, image):
    """Of all convolutions and linear layers of one forward pass."""
    total = 0

    def count(module, _, output):
        nonlocal total
        total += module.weight[0].numel() * output[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(image)
    return total


def test_the_bundled_architecture_needs_at_most_120_million_multiply_adds():
    network = catalog.load("models", "compact_resnet").build(8).eval()
    assert 95e6 < multiply_adds(network, torch.zeros(1, 1, 48, 48)) < 120e6


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    return FaceTable(
        tuple(str(i) for i in range(10)),
        blotches(10, seed=1),
        rng.dirichlet(np.ones(8), 10).astype(np.float32),
        rng.integers(0, 8, 10),
        FERPLUS,
    )


@pytest.mark.slow
@pytest.mark.no_cover
@DISTINCT
def test_eight_faces_are_learnt_by_heart(name, options, small_networks):
    network, side = fresh(name, options)
    for layer in network.train().modules():
        if isinstance(layer, nn.Dropout | StochasticDepth | DropPath):
            layer.eval()
    faces, target = images(8, side=side), torch.arange(8) % CLASSES.get(name, 8)
    optimiser = torch.optim.Adam(network.parameters(), 5e-4)
    for _ in range(STEPS):
        logits = answers(network, faces)["logits"]
        if (logits.argmax(dim=1) == target).all():
            return
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, target).backward()
        optimiser.step()
    pytest.fail(f"after {STEPS} steps {int((logits.argmax(dim=1) == target).sum())} of 8 are known")


@pytest.mark.slow
@pytest.mark.no_cover
@DISTINCT
def test_the_exported_file_gives_the_logits_of_torch(name, options, faces, tmp_path, monkeypatch, small_networks):
    check_exported(name, options, faces, tmp_path / "model.onnx", monkeypatch)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("name", DEEP)
def test_the_exported_file_of_a_deep_network_gives_the_logits_of_torch(name, faces, tmp_path, monkeypatch):
    check_exported(name, {}, faces, tmp_path / "model.onnx", monkeypatch)


def check_exported(name, options, faces, file, monkeypatch):
    side, labels = SIDES.get(name, 48), FERPLUS[: CLASSES.get(name, 8)]
    recipe = replace(find("default"), model=name, model_options=options, size_px=side)
    module = ExpressionModule(recipe, len(labels))
    stirred(module.network, side)
    spec = ModelSpec(
        name=name,
        labels=labels,
        input=recipe.input_spec(),
        temperature=1,
        uncertain_below=0.5,
        recipe=recipe.name,
        provenance={},
        licence="none",
    )
    export.write(Averaged(module.network, "one"), spec, file, half=False)
    assert export.check_parity(module, file, faces) < 1e-3
    model = onnx.load(file)
    store_in_half(model.graph)
    describe(model, spec)  # without the checksum of the model before
    save(model, file)
    monkeypatch.setattr(export, "TOLERANCE", 0.1)  # a tenth of the spread of the logits
    assert export.check_parity(module, file, faces) < 0.1
    for batch in (1, 5):
        found = run_model(open_session(file), np.zeros((batch, 1, side, side), dtype=np.float32))
        assert found.logits.shape == (batch, len(labels))
        assert ("divisions" in found.others) == (options.get("affect") not in (None, "none", "regression"))
        assert ("attributes" in found.others) == (name == "attributes")
        regresses = options.get("affect") == "regression" or name == "emotion_gcn"
        assert (found.affect is not None) == regresses
        assert not regresses or found.affect.shape == (batch, 2)
