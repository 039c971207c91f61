"""The recipes of the four works, compared with the tables and settings that the works print."""

import inspect

import pytest

from affectlens.core import catalog
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from affectlens.training.recipes import antoniadis, caciolai, dare, vats
from affectlens.training.tables import rows_of

WORKS = {"antoniadis": antoniadis, "caciolai": caciolai, "dare": dare, "vats": vats}
ROWS = {work: rows_of(module.TABLES) for work, module in WORKS.items()}
ON = object()
"""Any strength above 0."""

CE, WCE, FOCAL = "soft_cross_entropy", "weighted_cross_entropy", "focal"


def network(affect="none", fusion="classic", backbone="densenet121"):
    options = {"affect": affect, "fusion": fusion, "backbone": backbone}
    return {"model": "multi_task"} | {f"model_options.{key}": value for key, value in options.items()}


def metric(name, weight=0.1, /, **options):
    """L_CE + lambda L_m."""
    losses = {"losses": {WCE: 1, name: weight}}
    return network() | losses | {f"loss_options.{name}.{key}": value for key, value in options.items()}


def second_task(affect, loss, fusion, **options):
    return metric(loss, 1, **options) | network(affect, fusion)


def both(affect, loss, name, fusion, **options):
    """A second task and a metric loss."""
    return metric(name, **options) | network(affect, fusion) | {"losses": {WCE: 1, loss: 1, name: 0.1}}


def subclass(k):
    """With margin."""
    return {"subclasses": k, "margin": 0.5, "weight": ON}


def graph(layers=2, tau=0.1, p=0.7, **others):
    options = {"layers": layers, "tau": tau, "share": p, "category_edges": False, "backbone": "densenet121"} | others
    return {"model": "emotion_gcn"} | {f"model_options.{key}": value for key, value in options.items()}


def percent(figure, **concordance):
    return {"mean_class_accuracy": figure / 100} | concordance


def challenge(figure, **concordance):
    return {"challenge": figure / 100} | concordance


def ccc(valence, arousal):
    return {"valence_ccc": valence, "arousal_ccc": arousal}


PLAIN = {"flip": 0, "rotation_deg": 0, "light": 0, "contrast": 0, "saturation": 0, "hue": 0}
AUGMENTED = {"flip": ON, "rotation_deg": 30, "light": ON, "contrast": ON, "saturation": ON, "hue": ON}
RESNET = network(backbone="resnet50") | {"pretrained": False, "eye_distance": 0} | PLAIN
DENSENET = RESNET | network() | {"pretrained": True, "losses": {WCE: 1}}
BASELINE = DENSENET | AUGMENTED | {"eye_distance": ON}
EIGHT, SEVEN = {"data_options.classes": "8"}, {"data_options.classes": "7"}
SUBCLASS = "local_subclass"
MSE, CCC = ("regression", "va_mse"), ("regression", "va_ccc")
QUARTER, SECTORS, TWELVE = ("quarter", "va_divisions"), ("eight", "va_divisions"), ("twelve", "va_divisions")


def sectors(expression, other, sampler, **options):
    """A row of table 5.2: the loss of either task, and the sampler."""
    settings = second_task(*SECTORS, "concatenate", **options)
    return settings | {"losses": {expression: 1, other: 1}, "sampler": sampler}


BY_WCE, BY_CE = {"weighted": True, "gamma": 0}, {"weighted": False, "gamma": 0}

ANTONIADIS = {
    "t3.1-resnet50": (percent(47.8), RESNET | EIGHT | {"losses": {CE: 1}}),
    "t3.1-resnet50-weighted": (percent(53.2), RESNET | EIGHT | {"losses": {WCE: 1}}),
    "t3.1-resnet50-pretrained": (percent(55.4), RESNET | EIGHT | {"losses": {WCE: 1}, "pretrained": True}),
    "t3.1-densenet121": (percent(57.3), DENSENET | EIGHT),
    "t3.1-aligned": (percent(59.5), DENSENET | EIGHT | {"eye_distance": ON}),
    "t3.1-augmented-8": (percent(61.4), BASELINE | EIGHT),
    "t3.1-baseline": (percent(64.37), BASELINE | SEVEN),
    **dict.fromkeys(("t3.2-baseline", "t4.1-baseline", "t5.1-baseline"), (percent(64.37), BASELINE)),
    "t3.2-soft": (percent(64.68), metric("va_soft", 0.1, bins=5)),
    "t3.2-logit": (percent(65.05), metric("va_logit", 1, bins=10)),
    "t4.1-center": (percent(64.37), metric("center")),
    "t4.1-center-local": (percent(64.77), metric("center_local")),
    "t4.1-island": (percent(65.11), metric("island")),
    "t4.1-island-euclidean-2": (percent(65.05), metric("island_euclidean", margin=2)),
    "t4.1-island-euclidean-5": (percent(65.06), metric("island_euclidean", margin=5)),
    "t4.1-subclass-margin-2": (percent(64.43), metric(SUBCLASS, **subclass(2))),
    "t4.1-subclass-margin-3": (percent(64.43), metric(SUBCLASS, **subclass(3))),
    "t4.1-subclass-margin-5": (percent(65.26), metric(SUBCLASS, **subclass(5))),
    "t4.1-subclass-margin-10": (percent(65.29), metric(SUBCLASS, **subclass(10))),
    "t4.1-va-center-valence": (percent(64.11), metric("va_center", dimensions="valence", centres="batch")),
    "t4.1-va-center-arousal": (percent(64.6), metric("va_center", dimensions="arousal", centres="batch")),
    "t4.1-va-center-both": (percent(64.91), metric("va_center", dimensions="both", centres="batch")),
    "t5.1-mse-classic": (percent(64.8), second_task(*MSE, "classic")),
    "t5.1-mse-concatenate": (percent(64.74), second_task(*MSE, "concatenate")),
    "t5.1-ccc-classic": (percent(65.63), second_task(*CCC, "classic")),
    "t5.1-ccc-concatenate": (percent(65.43), second_task(*CCC, "concatenate")),
    "t5.1-ccc-separate": (percent(65.2), second_task(*CCC, "separate")),
    "t5.1-half-mse-concatenate": (percent(64.89), second_task("signs", "va_signs", "concatenate", by="mse")),
    "t5.1-half-bce-concatenate": (percent(65.26), second_task("signs", "va_signs", "concatenate", by="bce")),
    "t5.1-quarter-classic": (percent(65.14), second_task(*QUARTER, "classic")),
    "t5.1-quarter-concatenate": (percent(65.63), second_task(*QUARTER, "concatenate")),
    "t5.1-eight-classic": (percent(65.86), second_task(*SECTORS, "classic")),
    "t5.1-eight-concatenate": (percent(65.97), second_task(*SECTORS, "concatenate")),
    "t5.1-eight-separate": (percent(65.43), second_task(*SECTORS, "separate")),
    "t5.1-twelve-concatenate": (percent(65.11), second_task(*TWELVE, "concatenate")),
    "t5.2-wce-wce-shuffle": (percent(65.97), sectors(WCE, "va_divisions", "shuffle", **BY_WCE)),
    "t5.2-wce-wce-expression": (percent(60.74), sectors(WCE, "va_divisions", "expression", **BY_WCE)),
    "t5.2-wce-wce-age": (percent(62.86), sectors(WCE, "va_divisions", "age", **BY_WCE)),
    "t5.2-ce-wce-expression": (percent(62.77), sectors(CE, "va_divisions", "expression", **BY_WCE)),
    "t5.2-ce-ce-expression": (percent(62.43), sectors(CE, "va_divisions", "expression", **BY_CE)),
    "t5.2-focal-wce-shuffle": (percent(64), sectors(FOCAL, "va_divisions", "shuffle", **BY_WCE)),
    "t5.2-focal-focal-shuffle": (percent(64.74), sectors(FOCAL, "va_divisions", "shuffle", gamma=ON)),
    "t5.3-ccc-island-classic": (percent(65.6), both(*CCC, "island", "classic")),
    "t5.3-ccc-island-concatenate": (percent(65.57), both(*CCC, "island", "concatenate")),
    "t5.3-ccc-subclass-3-concatenate": (percent(64.89), both(*CCC, SUBCLASS, "concatenate", **subclass(3))),
    "t5.3-ccc-subclass-5-classic": (percent(65.77), both(*CCC, SUBCLASS, "classic", **subclass(5))),
    "t5.3-ccc-subclass-5-concatenate": (percent(65.43), both(*CCC, SUBCLASS, "concatenate", **subclass(5))),
    "t5.3-ccc-subclass-5-separate": (percent(65.71), both(*CCC, SUBCLASS, "separate", **subclass(5))),
    "t5.3-eight-island-classic": (percent(65.25), both(*SECTORS, "island", "classic")),
    "t5.3-eight-island-concatenate": (percent(65.2), both(*SECTORS, "island", "concatenate")),
    "t5.3-eight-subclass-3-concatenate": (percent(64.86), both(*SECTORS, SUBCLASS, "concatenate", **subclass(3))),
    "t5.3-eight-subclass-5-classic": (percent(64.37), both(*SECTORS, SUBCLASS, "classic", **subclass(5))),
    "t5.3-eight-subclass-5-concatenate": (percent(65.69), both(*SECTORS, SUBCLASS, "concatenate", **subclass(5))),
    "t5.3-eight-subclass-5-separate": (percent(65.69), both(*SECTORS, SUBCLASS, "separate", **subclass(5))),
    "t5.4-eight-island-classic-svm": (percent(65.71), {"classifier": "svm"}),
    "t5.4-eight-subclass-5-concatenate-svm": (percent(65.63), {"classifier": "svm"}),
    "t5.4-ccc-island-classic-svm": (percent(65.69), {"classifier": "svm"}),
    "t5.4-ccc-subclass-5-classic-svm": (percent(65.8), {"classifier": "svm"}),
    "t6.1-single": (percent(64.37), BASELINE),
    "t6.1-mse": (percent(64.8, **ccc(0.752, 0.572)), second_task(*MSE, "classic")),
    "t6.1-ccc": (percent(65.69, **ccc(0.768, 0.651)), second_task(*CCC, "classic")),
    "t6.1-gcn": (percent(66.46, **ccc(0.767, 0.649)), graph()),
    "t6.3-single": (ccc(0.761, 0.628), network("regression") | {"losses": {"va_ccc": 1}}),
    "t6.1-single-affwild2": (challenge(45.06), network() | {"losses": {CE: 1}}),  # plain in the author's code
    "t6.1-mse-affwild2": (
        challenge(43.1, **ccc(0.435, 0.378)),
        second_task(*MSE, "classic") | {"losses": {CE: 1, MSE[1]: 1}},
    ),
    "t6.1-ccc-affwild2": (
        challenge(43.33, **ccc(0.408, 0.481)),
        second_task(*CCC, "classic") | {"losses": {CE: 1, CCC[1]: 1}},
    ),
    "t6.1-gcn-affwild2": (challenge(48.92, **ccc(0.457, 0.514)), graph()),
    "t6.3-single-affwild2": (ccc(0.416, 0.501), network("regression") | {"losses": {"va_ccc": 1}}),
    "s6.4-category-edges": (percent(66.23), graph(category_edges=True)),
    "t6.5-breg-next": (percent(60.49), network(backbone="breg_next") | {"losses": {WCE: 1}}),
    "t6.5-breg-next-ccc": (
        percent(61.14),
        second_task(*CCC, "classic") | network("regression", backbone="breg_next"),
    ),
    "t6.5-breg-next-gcn": (percent(61.94), graph(backbone="breg_next")),
}
T6_2 = {
    "tau": ((0, 0.05, 0.1, 0.15), {
        1: (53.09, 43.85, 53.71, 54.94),
        2: (65.29, 65.31, 66.46, 65.69),
        3: (65.77, 64.94, 64.74, 65.74),
    }),
    "p": ((0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), {
        1: (49.6, 50.94, 52.57, 52.66, 52.86, 53.71, 59.31),
        2: (65.71, 66.14, 65.29, 66.29, 66.09, 66.46, 65.06),
        3: (65.29, 65.54, 65.89, 66.09, 65.54, 64.74, 65.83),
    }),
}  # fmt: skip
T6_2_ROWS = {
    f"t6.2-layers-{layers}-{key}-{value}": (percent(figure), graph(layers, **{key: value}))
    for key, (values, lines) in T6_2.items()
    for layers, figures in lines.items()
    for value, figure in zip(values, figures, strict=True)
}
ANTONIADIS |= T6_2_ROWS


def accuracy(figure):
    return {"accuracy": figure}


def options(model, **options):
    return {"model": model} | {f"model_options.{key}": value for key, value in options.items()}


CACIOLAI = {
    "baseline": (accuracy(0.6061), options("deep_emotion", stn=False, msa=False, dropout=ON)),
    "stn": (accuracy(0.6605), options("deep_emotion", stn=True, msa=False, dropout=0)),
    "stn-msa": (accuracy(0.6786), options("deep_emotion", stn=True, msa=True, msa_form="separate", dropout=0)),
    "vgg-stn": (accuracy(0.8161), options("custom_vgg", stn=True, msa=False, dropout=0.5)),
    "vgg-stn-msa": (accuracy(0.8254), options("custom_vgg", stn=True, msa=True, msa_form="separate", dropout=0.5)),
}

VIT = {"patch_px": 16, "image_px": 224, "dropout": 0.4}
SWIN = {"patch_px": 4, "window": 7, "dropout": 0.4, "depth_drop": 0.1}
TWO_STREAM = {
    "layer_scale": 1,
    "backbone": "base",
    "mode": "principled",
    "landmarks": "mobile_facenet",
    "project_query": True,
}

DARE = {
    "vit-base-scratch": (accuracy(0.1575), options("vit", size="base", **VIT) | {"pretrained": False}),
    "vit-base": (accuracy(0.3853), options("vit", size="base", **VIT) | {"pretrained": True}),
    "vit-large": (accuracy(0.3865), options("vit", size="large", **VIT) | {"pretrained": True}),
    "swin-tiny": (accuracy(0.3416), options("swin", train="head", **SWIN) | {"pretrained": True}),
    "two-stream-no-landmarks": (
        accuracy(0.5501),
        options("two_stream", **TWO_STREAM | {"landmarks": "none"}) | {"pretrained": True},
    ),
    "two-stream": (accuracy(0.5739), options("two_stream", **TWO_STREAM) | {"pretrained": True}),
    "two-stream-celeba": (accuracy(0.5554), options("two_stream", **TWO_STREAM) | {"pretrained": True}),
    "poster": (accuracy(0.6377), options("poster", project_query=False, side_px=112, units=(3, 4, 14))),
}

VATS = {
    "swin": (
        accuracy(0.4921) | {"weighted_precision": 0.5090, "weighted_recall": 0.5000, "weighted_f1": 0.4943},
        options("swin_se", se="none") | {"sam_radius": 0},
    ),
    "swin-se": (
        accuracy(0.5104) | {"weighted_precision": 0.5470, "weighted_recall": 0.5225, "weighted_f1": 0.5169},
        options("swin_se", se="pooled", reduction=16) | {"sam_radius": 0},
    ),
    "swin-se-sam": (
        accuracy(0.5310) | {"weighted_precision": 0.5485, "weighted_recall": 0.5410, "weighted_f1": 0.5420},
        options("swin_se", se="pooled", reduction=16) | {"sam_radius": 0.05, "sam_norms": "first"},
    ),
}
PRINTED = {"antoniadis": ANTONIADIS, "caciolai": CACIOLAI, "dare": DARE, "vats": VATS}

RGB = {"channels": "rgb", "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
UNNAMED = (
    "gradient_clip", "ema", "logit_adjustment", "mixup", "cutmix", "scale", "shift", "sharpness", "blur", "noise",
)  # fmt: skip
"""Steps that no work has."""
SGD = {"optimiser": "sgd"} | dict.fromkeys(UNNAMED, 0)
SHARED = {
    "antoniadis": SGD | {
        "learning_rate": 1e-3, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-3, "schedule": "constant",
        "batch_size": 35, "epochs": 10, "early_stop": 0, "sam_radius": 0, "channels": "rgb",
    },
    "caciolai": SGD | {
        "data": "ferplus", "data_options.protocol": "caciolai", "balanced": False, "sampler": "expression",
        "size_px": 48, "channels": "gray", "mean": (0,), "std": (1,), "losses": {CE: 1}, "pretrained": False,
        "learning_rate": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4, "sam_radius": 0,
        "schedule": "plateau", "schedule_factor": 0.5, "schedule_patience": 2, "weights": "last",
        "select": "macro_recall",  # accuracy on validation faces that are drawn balanced, without the draw
        "batch_size": 128, "epochs": 300, "early_stop": 30,
        "flip": 0.5, "rotation_deg": 0, "shear_deg": 0,  # the code's rotation moves no pixel
    },
    "dare": SGD | RGB | {
        "data": "affectnet", "data_options.classes": "8", "sampler": "expression", "size_px": 224, "losses": {CE: 1},
        "learning_rate": 1e-4, "weight_decay": 1e-4, "schedule": "constant", "sam_radius": 0,
        "batch_size": 32, "epochs": 50, "early_stop": 12, "select": "accuracy", "weights": "best",
        "exposure": 0.3, "brightness": 0, "contrast": 0.3, "saturation": ON, "hue": ON, "flip": 0.5, "rotation_deg": 0,
        "erase": 0.2, "erase_with": "noise", "erase_shape": "rectangle", "erase_area": (0.02, 0.33),
    },
    "vats": SGD | {
        "data": "fer2013+ckplus+affectnet", "data_options.classes": "8", "sampler": "augment", "size_px": 224,
        "channels": "rgb", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "losses": {CE: 1}, "pretrained": True,
        "momentum": 0.9, "nesterov": False, "schedule": "steps", "schedule_factor": 0.1, "schedule_patience": 10,
        "epochs": 25, "early_stop": 0, "select": "accuracy", "weights": "best",
        "rotation_deg": 10, "autocontrast": 0.5, "flip": 0,
    },
}  # fmt: skip
"""What all rows with a figure have in common."""

CELEBA = {
    "data": "celeba", "model": "attributes", "losses": {"attribute_bce": 1}, "epochs": 50,
    "select": "attribute_accuracy",
}  # fmt: skip
POSTER = {
    "optimiser": "adam", "sam_radius": 0.05, "sam_norms": "both", "learning_rate": 1e-6,
    "schedule": "exponential", "schedule_factor": 0.98, "batch_size": 144, "epochs": 200,
    "size_px": 224, "losses": {CE: 1}, "data_options.classes": "8", "early_stop": 0,
    "weight_decay": 0, "sampler": "expression", "select": "accuracy", "weights": "best",
    "flip": 0.5, "rotation_deg": 0, "exposure": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0,
    "erase": 1, "erase_shape": "rectangle", "erase_area": (0.05, 0.05), "erase_with": "zero",
}  # fmt: skip
"""main_8.py of github.com/Talented-Q/POSTER_V2."""

SAME = {
    "t3.2-baseline": "t3.1-baseline",
    "t4.1-baseline": "t3.1-baseline",
    "t5.1-baseline": "t3.1-baseline",
    "t5.2-wce-wce-shuffle": "t5.1-eight-concatenate",
    "t6.1-single": "t3.1-baseline",
    "t6.1-mse": "t5.1-mse-classic",
    "t6.1-ccc": "t5.1-ccc-classic",
    "t6.2-layers-2-tau-0.1": "t6.1-gcn",
    "t6.2-layers-1-p-0.7": "t6.2-layers-1-tau-0.1",
    "t6.2-layers-2-p-0.7": "t6.1-gcn",
    "t6.2-layers-3-p-0.7": "t6.2-layers-3-tau-0.1",
}
SOFTMAX = {
    "t5.4-eight-island-classic-svm": ("t5.3-eight-island-classic", 65.25),
    "t5.4-eight-subclass-5-concatenate-svm": ("t5.3-eight-subclass-5-concatenate", 65.69),
    "t5.4-ccc-island-classic-svm": ("t5.3-ccc-island-classic", 65.6),
    "t5.4-ccc-subclass-5-classic-svm": ("t5.3-ccc-subclass-5-classic", 65.77),
}
"""Row of table 5.4 -> row of table 5.3, and what table 5.4 prints for its softmax."""


def loss_of(name):
    return OUTPUTS[name].loss if name in OUTPUTS else name


def defaults(kind, name):
    return {key: value.default for key, value in inspect.signature(catalog.load(kind, name).build).parameters.items()}


def reader_defaults(data):
    readers = [catalog.load("data.readers", name) for name in data.split("+")]
    return {name: next(iter(allowed), "") for reader in readers for name, allowed in reader.OPTIONS.items()}


def setting(recipe, path):
    """The recipe's setting, or the default of the model, loss or reader that it leaves out."""
    key, _, entry = path.partition(".")
    if path == "light":
        return max(recipe.brightness, recipe.exposure)
    if path == "losses":
        return {loss_of(name): weight for name, weight in recipe.losses.items()}
    if key == "model_options":
        return (defaults("models", recipe.model) | recipe.model_options)[entry]
    if key == "loss_options":
        loss, _, option = entry.partition(".")
        given = {loss_of(name): values for name, values in recipe.loss_options.items()}
        return (defaults("losses", loss) | given.get(loss, {}))[option]
    if key == "data_options":
        return (reader_defaults(recipe.data) | recipe.data_options)[entry]
    return getattr(recipe, key)


def differences(recipe, settings):
    """Path -> (printed, recipe's) of the settings that differ."""
    found = {path: (printed, setting(recipe, path)) for path, printed in settings.items()}
    return {path: pair for path, pair in found.items() if not agree(*pair)}


def agree(printed, value):
    return value > 0 if printed is ON else value == pytest.approx(printed)


def printed_rows():
    return [pytest.param(work, name, id=f"{work}/{name}") for work in PRINTED for name in PRINTED[work]]


@pytest.mark.parametrize("work", PRINTED)
def test_every_printed_row_is_in_the_tables_and_no_other_has_a_figure(work):
    with_figures = {name for name, row in ROWS[work].items() if row.paper}
    assert with_figures == set(PRINTED[work])


@pytest.mark.parametrize(("work", "name"), printed_rows())
def test_figures(work, name):
    assert dict(ROWS[work][name].paper) == pytest.approx(PRINTED[work][name][0])


@pytest.mark.parametrize(("work", "name"), printed_rows())
def test_settings_of_the_row(work, name):
    assert not differences(ROWS[work][name].recipe, PRINTED[work][name][1])


@pytest.mark.parametrize(("work", "name"), printed_rows())
def test_settings_of_the_work(work, name):
    settings = POSTER if name == "poster" else SHARED[work]
    assert not differences(ROWS[work][name].recipe, settings)


@pytest.mark.parametrize("name", [name for name in ANTONIADIS if not name.startswith("t3.1")])
def test_antoniadis_pictures(name):
    recipe = ROWS["antoniadis"][name].recipe
    size = 112 if "breg-next" in name else 227
    settings = AUGMENTED | {"eye_distance": ON, "size_px": size, "pretrained": "breg-next" not in name}
    if name.endswith("affwild2"):  # as the author's code takes them: cropped, not aligned
        cropped = {"data": "affwild2", "data_options.both": "yes", "eye_distance": 0, "size_px": 112}
        assert not differences(recipe, settings | cropped)
    else:
        assert not differences(recipe, settings | SEVEN | {"data": "affectnet"})


def test_table_6_2_is_a_complete_grid():
    rows = {row.name: row for row in antoniadis.TABLES["t6.2"].rows}
    assert set(rows) == set(T6_2_ROWS)
    assert len(rows) == 3 * 4 + 3 * 7
    assert {row.cell for row in rows.values()} == {
        (key, f"{layers} layer{'s' * (layers > 1)}", str(value))
        for key, (values, lines) in T6_2.items()
        for layers in lines
        for value in values
    }


@pytest.mark.parametrize(("name", "other"), SAME.items())
def test_a_row_of_two_tables_is_trained_once(name, other):
    rows = ROWS["antoniadis"]

    def trained(name):
        return trained(rows[name].same_as) if rows[name].same_as else name

    assert trained(name) == trained(other)
    assert rows[name].recipe.as_dict() | {"row": other} == rows[other].recipe.as_dict()


@pytest.mark.parametrize(("name", "softmax"), SOFTMAX.items())
def test_a_support_vector_machine_starts_from_its_row_of_table_5_3(name, softmax):
    rows, (other, figure) = ROWS["antoniadis"], softmax
    assert rows[name].after == other
    assert dict(rows[other].paper) == pytest.approx(percent(figure))
    own = rows[name].recipe.as_dict() | {"row": other, "classifier": "network"}
    assert own == rows[other].recipe.as_dict()


def test_pretraining_on_celeba_comes_first():
    assert ROWS["dare"]["two-stream-celeba"].after == "celeba"
    assert not differences(ROWS["dare"]["celeba"].recipe, CELEBA)


@pytest.mark.parametrize(
    ("work", "name", "settings"),
    [
        ("dare", "vit-base-head", {"model": "vit", "model_options.train": "head"}),
        ("dare", "swin-tiny-full", {"model": "swin", "model_options.train": "full"}),
        ("dare", "swin-tiny-scratch-2", options("swin", patch_px=2, window=2) | {"pretrained": False}),
        ("dare", "two-stream-literal", options("two_stream", mode="literal")),
        ("vats", "swin-se-patches", options("swin_se", se="patches")),
    ],
)
def test_other_readings_of_the_text(work, name, settings):
    assert not ROWS[work][name].paper
    assert not differences(ROWS[work][name].recipe, settings)
