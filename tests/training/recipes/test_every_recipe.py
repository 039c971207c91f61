"""What every row of every file in training/recipes must do."""

import functools
import hashlib
import itertools
import math
import re
import warnings
from collections import defaultdict
from dataclasses import dataclass, fields, replace

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from affectlens.core import catalog
from affectlens.data.crops import cut
from affectlens.training import svm
from affectlens.training.distillation import Teacher
from affectlens.training.loaders import train_loader, valid_loader
from affectlens.training.module import ExpressionModule
from affectlens.training.objective import dataset_statistics
from affectlens.training.precision import resolved
from affectlens.training.recipe import Recipe, find
from affectlens.training.start import start_from
from affectlens.training.tables import rows_of

WORKS = catalog.available("training.recipes")
ROWS = [(work, row, recipe) for work in WORKS for row, recipe in catalog.load("training.recipes", work).ROWS.items()]
PARTS = [(recipe.work, recipe.model, frozenset(recipe.losses), recipe.classifier) for *_, recipe in ROWS]
"""What a row puts together; one like a row before it is not needed in the quick run."""
AGAIN = [pytest.mark.slow, pytest.mark.no_cover]
ROWS = [
    pytest.param(*row, id=f"{row[0]}/{row[1]}", marks=AGAIN if parts in PARTS[:place] else [])
    for place, (row, parts) in enumerate(zip(ROWS, PARTS, strict=True))
]
RECIPES = pytest.mark.parametrize(("work", "row", "recipe"), ROWS)
pytestmark = pytest.mark.usefixtures("small_networks")


@RECIPES
def test_its_name_is_its_file_and_row(work, row, recipe):
    assert recipe.name == f"{work}/{row}"
    assert re.fullmatch(r"[a-z0-9_-]+/[a-z0-9_.-]+", recipe.name)
    assert find(recipe.name) is recipe


@RECIPES
def test_what_it_names_is_in_the_catalogue(work, row, recipe):
    assert recipe.model in catalog.available("models")
    assert set(recipe.losses) <= set(catalog.available("losses"))
    assert set(recipe.data.split("+")) <= set(catalog.available("data.readers"))


@RECIPES
def test_its_input_fits_the_runtime(work, row, recipe):
    spec = recipe.input_spec()
    assert len(spec.mean) == len(spec.std) == spec.channel_count


@RECIPES
def test_its_protocol_is_one_of_its_reader(work, row, recipe):
    for key, value in recipe.data_options.items():
        options = catalog.load("data.readers", recipe.data).OPTIONS
        assert value in options[key] or not options[key]


@pytest.mark.parametrize("work", WORKS)
def test_published_figures_are_about_rows_that_there_are(work):
    module = catalog.load("training.recipes", work)
    for row in tables_of(module).values():
        assert all(0 < value < 1 for value in row.paper.values())
        assert row.same_as in ("", *module.ROWS)
        assert row.after in ("", *module.ROWS)
    baselines = {table.baseline for table in getattr(module, "TABLES", {}).values()}
    assert baselines <= {"", *module.ROWS}


def tables_of(module):
    """Name -> row of all tables of a work; none where it is no published one."""
    return rows_of(getattr(module, "TABLES", {}))


@dataclass(frozen=True)
class Trace:
    """What training does with a recipe in its first epoch of two batches, and the data that it is for."""

    shapes: tuple
    batches: tuple
    losses: tuple
    gradients: tuple
    weights: float
    steps: int
    silent: bool
    data: tuple


class Recorder(L.Callback):
    """Keeps what the network sees, and loss and gradient of each step."""

    def __init__(self):
        self.batches, self.losses, self.gradients = [], [], []

    def on_fit_start(self, trainer, module):
        module.network.register_forward_pre_hook(
            lambda network, images: self.batches.append(digest(images[0])) if network.training else None
        )

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        self.losses.append(outputs["loss"].item())

    def on_before_optimizer_step(self, trainer, module, optimizer):
        weights = [weight.grad.norm() for weight in module.parameters() if weight.grad is not None]
        self.gradients.append(torch.stack(weights).norm().item())


def digest(tensor):
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()


class Leaning(nn.Module):
    """Stands for a teacher whose run is elsewhere: the left of the face decides."""

    def forward(self, images):
        left = images[..., : images.shape[3] // 2].mean(dim=(1, 2, 3))
        return left[:, None] * torch.arange(8.0)


@functools.cache
def traced(recipe, table, make_trainer):
    """`Trace` of a recipe by name; one of the catalogue is trained once."""
    return trace(find(recipe), table, make_trainer)


def lighter(recipe):
    """`recipe` with smaller faces and, where its network is a large one, a smaller network."""
    options = dict(recipe.model_options)
    if recipe.model in ("attributes", "two_stream") and options.get("mode") not in ("literal", "native"):
        options["backbone"] = "small"
    if recipe.model == "poster":
        options |= {"side_px": 48, "units": (1, 1, 1)}
    side = min(recipe.size_px, 56 if recipe.model in ("attributes", "two_stream") else 64)
    return replace(recipe, model_options=options, size_px=side)


def trace(recipe, table, make_trainer):
    """`Trace` of a recipe; what it starts from and who teaches is left out if it is a run."""
    short = replace(lighter(recipe), epochs=1, batch_size=len(table) // 2, pretrained=False, pretrained_file="")
    if recipe.data == "celeba":
        table = smiling(table)
    table = cut(table, short.input_spec(), search=False)
    torch.manual_seed(short.seed)
    statistics = dataset_statistics(table)
    teachers = (Teacher(Leaning(), short.input_spec()),) if recipe.teacher else ()
    module = ExpressionModule(short, len(table.labels), statistics, teachers)
    if recipe.start_from == "bundled":
        start_from(module.network, short, table.labels)
    if recipe.pretrained:  # weights of another kind than fresh ones, as far as this test goes
        torch.manual_seed(2 if recipe.pretrained_file else 1)
        module.network.load_state_dict(ExpressionModule(short, len(table.labels)).network.state_dict())
    module.network.settle(recipe.pretrained)
    module.network.prepare(statistics)
    before = sum(weight.detach().double().sum().item() for weight in module.parameters())
    recorder = Recorder()
    trainer = make_trainer(
        max_epochs=1,
        precision=resolved(short.precision),
        callbacks=[recorder],
        gradient_clip_val=short.gradient_clip or None,
        limit_val_batches=1,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")  # frozen parts
        trainer.fit(module, train_loader(table, short, needs=module.network.needs), valid_loader(table, short))
    if recipe.classifier == "svm":
        svm.refit(module, table, table)
    after = sum(weight.detach().double().sum().item() for weight in module.parameters())
    return Trace(
        tuple(weight.shape for weight in module.parameters()),
        tuple(recorder.batches),
        tuple(recorder.losses),
        tuple(recorder.gradients),
        after,
        trainer.global_step,
        after == before,
        (recipe.data, tuple(recipe.data_options.items())),
    )


def smiling(table):
    """The faces of `table` with 40 attributes, and the labels that CelebA makes of one."""
    attributes = np.random.default_rng(1).integers(0, 2, (len(table), 40)).astype(np.float32)
    targets = attributes[:, 31].astype(np.int64)
    labels = ("not_smiling", "smiling")
    return replace(table, attributes=attributes, labels=labels, targets=targets, votes=np.eye(2, dtype="f4")[targets])


@pytest.fixture(scope="module")
def table(faces):
    return faces(8, seed=0)


@pytest.fixture(scope="module")
def tables(table, faces):
    """Faces for the recipes of a work; Antoniadis's and those on frozen features need all that AffectNet has."""
    rng = np.random.default_rng(0)
    affect = rng.uniform(-1, 1, (16, 2)).round(2).astype(np.float32)
    points = rng.uniform(10, 38, (16, 68, 2)).astype(np.float32)
    points[:, 36:42, 0] -= 8  # the left eye
    points[:, 42:48, 0] += 8
    ages = np.array([4, *[25] * 9, *[45] * 4, 70, 70], dtype=np.float32)
    plain = faces(16, seed=0)
    votes = (0.75 * plain.votes + 0.25 * np.roll(plain.votes, 1, axis=1)).astype(np.float32)  # some say the next label
    columns = {"landmarks_xy": points, "age_years": ages, "votes": votes}
    rich = replace(plain, valence=affect[:, 0], arousal=affect[:, 1], **columns)
    return defaultdict(lambda: table, antoniadis=rich, frozen=rich)


@pytest.mark.parametrize(("work", "row", "recipe"), [row for row in ROWS if row.values[0] != "frozen"])
def test_it_takes_training_steps(work, row, recipe, tables, make_trainer):
    seen = traced(recipe.name, tables[work], make_trainer)
    assert seen.steps == len(seen.losses) == 2
    assert all(math.isfinite(value) for value in (*seen.losses, *seen.gradients, seen.weights))
    assert min(seen.gradients) > 0
    assert not seen.silent


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("work", WORKS)
def test_no_two_rows_of_a_work_train_alike_but_for_those_that_are_the_same(work, tables, make_trainer):
    module = catalog.load("training.recipes", work)
    same = {name: row.same_as for name, row in tables_of(module).items() if row.same_as}
    alike, known = defaultdict(list), defaultdict(list)
    for row in module.ROWS:
        alike[traced(f"{work}/{row}", tables[work], make_trainer)].append(row)
        known[same.get(row, row)].append(row)
    assert sorted(alike.values()) == sorted(known.values())


@pytest.mark.parametrize("work", WORKS)
def test_rows_that_two_tables_share_are_the_same_recipe(work):
    module = catalog.load("training.recipes", work)
    for name, row in tables_of(module).items():
        if row.same_as:
            assert replace(row.recipe, row=row.same_as) == module.ROWS[row.same_as]
            assert tables_of(module)[row.same_as].same_as == ""
        assert module.ROWS[name] == row.recipe


@pytest.mark.parametrize("name", ["default/ferplus", "caciolai/stn-msa"])
def test_the_same_settings_train_alike_whatever_their_name(name, table, make_trainer):
    renamed = replace(find(name), work="another", row="name", select="accuracy")
    assert trace(renamed, table, make_trainer) == traced(name, table, make_trainer)


TAUGHT = {"teacher": "elsewhere", "teacher_weight": 0.5}
SETTINGS = [
    {"model_options": {"stn": True, "msa": True}},
    {"model_options": {}},
    {"sampler": "augment"},
    {"sampler": "shuffle"},
    {"losses": {"soft_cross_entropy": 0.5}},
    {"losses": {"multi_target": 1.0}, "target": "votes"},
    {"loss_options": {"soft_cross_entropy": {"temperature": 2.0}}},
    {"target": "votes"},
    {"target": "drawn"},
    {"optimiser": "adam"},
    {"optimiser": "adamw"},
    {"momentum": 0.5},
    {"nesterov": False},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decay_all": False},
    {"sam_radius": 0.05},
    {"learning_rate": 0.02},
    {"schedule": "one-cycle"},
    {"gradient_clip": 0.1},
    {"precision": "32-true"},
    {"seed": 1},
    {"flip": 0.0},
    {"rotation_deg": 5.0},
    {"shear_deg": 10.0},
    {"scale": 0.1},
    {"shift": 0.1},
    {"brightness": 0.1},
    {"exposure": 0.1},
    {"contrast": 0.1},
    {"sharpness": 0.1},
    {"erase": 1.0},
    {"erase": 1.0, "erase_with": "noise"},
    {"mean": (0.5,)},
    {"std": (0.5,)},
    TAUGHT,
    {"freeze_norms": True},
    {"autocontrast": 1.0},
    {"mixup": 0.5},
    {"cutmix": 0.5},
    {"noise": 1.0},
]
"""Changes of a row that must change its training."""

MSA = {"stn": True, "msa": True}
RGB = {"channels": "rgb", "mean": (0.0,) * 3, "std": (1.0,) * 3}
HOLES = {"erase": 1.0, "erase_shape": "rectangle"}
PAIRS = [
    ({"seed": 1, "blur": 2.0}, {"seed": 1}),  # seed 0 draws no blur to speak of for eight faces
    ({}, RGB),
    ({"model_options": MSA}, {"model_options": MSA | {"msa_form": "joint"}}),
    (RGB, RGB | {"saturation": 0.5}),
    (RGB, RGB | {"hue": 0.3}),
    ({"weight_decay": 0.1}, {"weight_decay": 0.1, "decay_all": False}),
    ({"erase": 1.0}, {"erase": 1.0, "erase_with": "noise"}),
    ({"erase": 1.0}, {"erase": 1.0, "erase_shape": "rectangle"}),
    (HOLES, HOLES | {"erase_area": (0.05, 0.05)}),
    (TAUGHT, TAUGHT | {"teacher_tta": "one"}),
]
"""Changes that must make another training than other changes do."""

ELSEWHERE = (
    {
        "work",
        "row",
        "model",
        "data",
        "data_options",
        "drop_near_duplicates",
        "find_faces",
        "start_from",
        "balanced",
    }  # of what
    | {
        "train_share",
        "max_per_class",
        "pretrained",
        "pretrained_file",
        "classifier",
        "eye_distance",
        "eye_height",
        "logit_adjustment",
        "compile",
        "sam_norms",
        "relight",
    }
    | {
        "epochs",
        "batch_size",
        "schedule_factor",
        "schedule_patience",
        "early_stop",
        "select",
        "weights",
        "ema",
        "warmup",
    }  # longer
    | {"size_px", "margin", "shift_y", "rotate", "tta"}  # of the input, and of evaluation
)
"""Keys whose effect the tests of fit, module, preprocessing, schedules, crops, start, views and align show."""


def shown(changes):
    return "-".join(f"{key}={value}" for key, value in changes.items())


def test_the_effect_of_every_key_is_tested():
    tested = {key for changes in (*SETTINGS, *itertools.chain(*PAIRS)) for key in changes}
    assert tested.isdisjoint(ELSEWHERE)
    assert tested | ELSEWHERE == {field.name for field in fields(Recipe)}


@pytest.mark.parametrize("changes", SETTINGS, ids=shown)
def test_every_setting_of_training_makes_a_difference(changes, table, make_trainer):
    assert trace(replace(find("caciolai/stn"), **changes), table, make_trainer) != traced(
        "caciolai/stn", table, make_trainer
    )


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=shown)
def test_settings_that_need_others_make_a_difference(one, other, table, make_trainer):
    first, second = (trace(replace(find("caciolai/stn"), **c), table, make_trainer) for c in (one, other))
    assert first != second
