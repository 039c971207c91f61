"""Antoniadis, Exploiting emotional dependencies for facial expression recognition: every row of tables 3.1 to 6.5.

Rows are named after their table. Stated in the thesis: DenseNet121 with ImageNet weights and global max pooling,
images of 227x227 aligned by the eyes, SGD with rate 1e-3 and momentum 0.9, batches of 35, 10 epochs, weighted
cross-entropy (n_min / n_i), flips, rotations of 30 degrees, mild jitter of brightness, contrast, hue and saturation;
AffectNet with 7 classes (8 in table 3.1 but for its last row), validation 500 per class, mean class accuracy. His code
adds weight decay 1e-3, and takes Aff-Wild2's frames as they are cropped, at 112x112, with plain cross-entropy. Metric
losses weigh 0.1.

Chosen here: 0.2 of brightness and contrast, 0.2 of saturation, 0.02 of hue for "mild"; eyes at 0.35 of the height, 0.4
of the side apart; mask, contrastive and local subclass losses weigh as the others of their kind, the margin's term of
the subclass loss (lambda_1) 0.5; gamma 2 of the focal loss, whose alpha is n_min / n_i; table 5.4 is about the rows of
table 5.3 with the same figure, "concatenate" where two have it (65.69). Table 6.1 gives 65.69 to the row that table
5.1 gives 65.63; both stand as printed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from affectlens.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from affectlens.training.recipe import Recipe

BASE = Recipe(
    work="antoniadis",
    row="t3.1-resnet50",
    data="affectnet",
    data_options={"classes": "8"},
    model="multi_task",
    model_options={"backbone": "resnet50"},
    pretrained=False,
    losses={"soft_cross_entropy": 1.0},
    target="label",
    drop_near_duplicates=False,
    size_px=227,
    channels="rgb",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    epochs=10,
    batch_size=35,
    optimiser="sgd",
    learning_rate=1e-3,
    momentum=0.9,
    nesterov=False,
    weight_decay=1e-3,
    decay_all=True,
    schedule="constant",
    select="macro_recall",
    ema=0.0,
    gradient_clip=0.0,
)
EXPRESSION = {"weighted_cross_entropy": 1.0}


def _with(recipe: Recipe, row: str, losses: Mapping[str, float], options: Mapping[str, Any], **model: Any) -> Recipe:
    """`recipe` with further losses, their options, and model options."""
    return replace(
        recipe,
        row=row,
        losses={**recipe.losses, **losses},
        loss_options={**recipe.loss_options, **{loss: some for loss, some in options.items() if some}},
        model_options={**recipe.model_options, **model},
    )


# Table 3.1: the baseline, a step at a time. The last row is what the other tables build on ("best baseline").
RESNET = BASE
RESNET_WEIGHTED = replace(BASE, row="t3.1-resnet50-weighted", losses=EXPRESSION)
RESNET_PRETRAINED = replace(RESNET_WEIGHTED, row="t3.1-resnet50-pretrained", pretrained=True)
DENSENET = replace(RESNET_PRETRAINED, row="t3.1-densenet121", model_options={"backbone": "densenet121"})
ALIGNED = replace(DENSENET, row="t3.1-aligned", eye_distance=0.4, eye_height=0.35)
AUGMENTED = replace(
    ALIGNED,
    row="t3.1-augmented-8",
    flip=0.5,
    rotation_deg=30.0,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.02,
)
BASELINE = replace(AUGMENTED, row="t3.1-baseline", data_options={"classes": "7"})

# Table 3.2: labels of the neighbourhood in the VA plane.
SOFT = _with(BASELINE, "t3.2-soft", {"va_soft": 0.1}, {"va_soft": {"bins": 5}})
LOGIT = _with(BASELINE, "t3.2-logit", {"va_logit": 1.0}, {"va_logit": {"bins": 10}})


def _subclass(recipe: Recipe, row: str, k: int) -> Recipe:
    """`recipe` with the local subclass loss with margin."""
    return _with(
        recipe, row, {"local_subclass": 0.1}, {"local_subclass": {"subclasses": k, "weight": 0.5, "margin": 0.5}}
    )


# Table 4.1: metric learning.
METRIC = [
    _with(BASELINE, "t4.1-center", {"center": 0.1}, {}),
    _with(BASELINE, "t4.1-center-local", {"center_local": 0.1}, {}),
    _with(BASELINE, "t4.1-island", {"island": 0.1}, {}),
    _with(BASELINE, "t4.1-island-euclidean-2", {"island_euclidean": 0.1}, {"island_euclidean": {"margin": 2.0}}),
    _with(BASELINE, "t4.1-island-euclidean-5", {"island_euclidean": 0.1}, {"island_euclidean": {"margin": 5.0}}),
    *(_subclass(BASELINE, f"t4.1-subclass-margin-{k}", k) for k in (2, 3, 5, 10)),
    *(
        _with(BASELINE, f"t4.1-va-center-{which}", {"va_center": 0.1}, {"va_center": {"dimensions": which}})
        for which in ("valence", "arousal", "both")
    ),
]
"""In the order of the table. Not in it: the plain local subclass loss and the contrastive losses of chapter 4."""
METRIC_MORE = [
    _with(BASELINE, "s4.3-subclass-5", {"local_subclass": 0.1}, {}),
    _with(BASELINE, "s4.4-contrastive-positive", {"contrastive": 0.1}, {"contrastive": {"negative": 0.0}}),
    _with(BASELINE, "s4.4-contrastive-negative", {"contrastive": 0.1}, {"contrastive": {"positive": 0.0}}),
]

# Table 5.1: a second task, in three configurations.
TASKS: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "mse": ("regression", "va_mse", {}),
    "ccc": ("regression", "va_ccc", {}),
    "half-mse": ("signs", "va_signs", {"by": "mse"}),
    "half-bce": ("signs", "va_signs", {"by": "bce"}),
    "quarter": ("quarter", "va_divisions", {}),
    "eight": ("eight", "va_divisions", {}),
    "twelve": ("twelve", "va_divisions", {}),
}
"""Name in the table -> the network's second answer, its loss, and that loss's options."""


def _task(task: str, fusion: str, table: str = "t5.1") -> Recipe:
    affect, loss, options = TASKS[task]
    return _with(BASELINE, f"{table}-{task}-{fusion}", {loss: 1.0}, {loss: options}, affect=affect, fusion=fusion)


MULTI = [
    _task(task, fusion)
    for task, fusions in {
        "mse": ("classic", "concatenate"),
        "ccc": ("classic", "concatenate", "separate"),
        "half-mse": ("concatenate",),
        "half-bce": ("concatenate",),
        "quarter": ("classic", "concatenate"),
        "eight": ("classic", "concatenate", "separate"),
        "twelve": ("concatenate",),
    }.items()
    for fusion in fusions
]
MASK = replace(
    BASELINE,
    row="s5.1-mask",
    model_options={**BASELINE.model_options, "mask": True},
    losses={**EXPRESSION, "mask_bce": 1.0},
)

# Table 5.2: losses and samplers of the best of table 5.1. "ce" is the plain cross-entropy, "wce" the weighted one.
_SINGLE: dict[str, tuple[str, Mapping[str, Any]]] = {
    "wce": ("weighted_cross_entropy", {}),
    "ce": ("soft_cross_entropy", {}),
    "focal": ("focal", {}),
}
_SECOND: dict[str, Mapping[str, Any]] = {"wce": {}, "ce": {"weighted": False}, "focal": {"gamma": 2.0}}


def _eight(expression: str, multi: str, sampler: str) -> Recipe:
    loss, options = _SINGLE[expression]
    return replace(
        _task("eight", "concatenate"),
        row=f"t5.2-{expression}-{multi}-{sampler}",
        losses={loss: 1.0, "va_divisions": 1.0},
        loss_options={name: some for name, some in ((loss, options), ("va_divisions", _SECOND[multi])) if some},
        sampler=sampler,
    )


SAMPLED = [
    _eight(*settings)
    for settings in (
        ("wce", "wce", "shuffle"),
        ("wce", "wce", "expression"),
        ("wce", "wce", "age"),
        ("ce", "wce", "expression"),
        ("ce", "ce", "expression"),
        ("focal", "wce", "shuffle"),
        ("focal", "focal", "shuffle"),
    )
]

# Table 5.3: a second task and a metric loss; table 5.4: a support vector machine on the features of four of them.
COMBINED = [
    _with(_task(task, fusion, "t5.3"), f"t5.3-{task}-island-{fusion}", {"island": 0.1}, {})
    if metric == "island"
    else _subclass(_task(task, fusion, "t5.3"), f"t5.3-{task}-subclass-{metric}-{fusion}", int(metric))
    for task, metric, fusions in (
        ("ccc", "island", ("classic", "concatenate")),
        ("ccc", "3", ("concatenate",)),
        ("ccc", "5", ("classic", "concatenate", "separate")),
        ("eight", "island", ("classic", "concatenate")),
        ("eight", "3", ("concatenate",)),
        ("eight", "5", ("classic", "concatenate", "separate")),
    )
    for fusion in fusions
]
SVM = [
    replace(recipe, row=recipe.row.replace("t5.3", "t5.4") + "-svm", classifier="svm")
    for recipe in COMBINED
    if recipe.row
    in {
        "t5.3-eight-island-classic",
        "t5.3-eight-subclass-5-concatenate",
        "t5.3-ccc-island-classic",
        "t5.3-ccc-subclass-5-classic",
    }
]

# Tables 6.1 and 6.3: one task, two, and the graph between them; on AffectNet and on Aff-Wild2.
SINGLE = replace(BASELINE, row="t6.1-single")
MULTI_MSE = replace(_task("mse", "classic"), row="t6.1-mse")
MULTI_CCC = replace(_task("ccc", "classic"), row="t6.1-ccc")
GCN = replace(
    MULTI_CCC,
    row="t6.1-gcn",
    model="emotion_gcn",
    model_options={"backbone": "densenet121", "layers": 2, "tau": 0.1, "share": 0.7},
)
AFFECT_ALONE = replace(
    MULTI_CCC,
    row="t6.3-single",
    losses={"va_ccc": 1.0},
    loss_options={},
    model_options={**MULTI_CCC.model_options, "expressions": False},
    select="ccc",
)
GRAPH = [SINGLE, MULTI_MSE, MULTI_CCC, GCN, AFFECT_ALONE]
PLAIN = {"weighted_cross_entropy": "soft_cross_entropy"}
VIDEO = [
    replace(
        recipe,
        row=f"{recipe.row}-affwild2",
        data="affwild2",
        data_options={"both": "yes"},
        losses={PLAIN.get(loss, loss): weight for loss, weight in recipe.losses.items()},
        eye_distance=0.0,
        size_px=112,
    )
    for recipe in GRAPH
]

# Table 6.2: depth, threshold and share of the neighbours; section 6.4.3: edges between expressions.
SHARES = ("0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8")
DEPTHS = [
    replace(
        GCN, row=f"t6.2-layers-{layers}-tau-{tau:g}", model_options={**GCN.model_options, "layers": layers, "tau": tau}
    )
    for layers in (1, 2, 3)
    for tau in (0.0, 0.05, 0.1, 0.15)
] + [
    replace(
        GCN,
        row=f"t6.2-layers-{layers}-p-{share}",
        model_options={**GCN.model_options, "layers": layers, "share": float(share)},
    )
    for layers in (1, 2, 3)
    for share in SHARES
]
EDGES = replace(GCN, row="s6.4-category-edges", model_options={**GCN.model_options, "category_edges": True})

# Table 6.5: the same with BReG-NeXt, from scratch, on 112x112.
SMALL: dict[str, Any] = {"pretrained": False, "size_px": 112}
BREG = [
    replace(SINGLE, row="t6.5-breg-next", model_options={"backbone": "breg_next"}, **SMALL),
    replace(
        MULTI_CCC, row="t6.5-breg-next-ccc", model_options={**MULTI_CCC.model_options, "backbone": "breg_next"}, **SMALL
    ),
    replace(GCN, row="t6.5-breg-next-gcn", model_options={**GCN.model_options, "backbone": "breg_next"}, **SMALL),
]
ROWS = {
    recipe.row: recipe
    for recipe in (
        *(RESNET, RESNET_WEIGHTED, RESNET_PRETRAINED, DENSENET, ALIGNED, AUGMENTED, BASELINE, SOFT, LOGIT),
        *(*METRIC, *METRIC_MORE, *MULTI, MASK, *SAMPLED, *COMBINED, *SVM, *GRAPH, *VIDEO, *DEPTHS, EDGES, *BREG),
    )
}


def _shares(prefix: str, figures: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Row -> accuracy as a fraction, from per cent."""
    return {f"{prefix}{row}": {"accuracy": figure / 100} for row, figure in figures.items()}


SAME = {
    "t5.2-wce-wce-shuffle": "t5.1-eight-concatenate",
    "t6.1-single": "t3.1-baseline",
    "t6.1-mse": "t5.1-mse-classic",
    "t6.1-ccc": "t5.1-ccc-classic",
    "t6.2-layers-2-tau-0.1": "t6.1-gcn",
    "t6.2-layers-2-p-0.7": "t6.1-gcn",
    "t6.2-layers-1-p-0.7": "t6.2-layers-1-tau-0.1",
    "t6.2-layers-3-p-0.7": "t6.2-layers-3-tau-0.1",
}
"""Rows that stand in two tables; training one is training the other."""
PAPER: dict[str, dict[str, float]] = {
    **_shares("t3.1-", {"resnet50": 47.8, "resnet50-weighted": 53.2, "resnet50-pretrained": 55.4, "densenet121": 57.3}),
    **_shares("t3.1-", {"aligned": 59.5, "augmented-8": 61.4, "baseline": 64.37}),
    **_shares("t3.2-", {"soft": 64.68, "logit": 65.05}),
    **_shares("t4.1-", {"center": 64.37, "center-local": 64.77, "island": 65.11}),
    **_shares("t4.1-island-euclidean-", {"2": 65.05, "5": 65.06}),
    **_shares("t4.1-subclass-margin-", {"2": 64.43, "3": 64.43, "5": 65.26, "10": 65.29}),
    **_shares("t4.1-va-center-", {"valence": 64.11, "arousal": 64.6, "both": 64.91}),
    **_shares("t5.1-mse-", {"classic": 64.8, "concatenate": 64.74}),
    **_shares("t5.1-ccc-", {"classic": 65.63, "concatenate": 65.43, "separate": 65.2}),
    **_shares("t5.1-half-", {"mse-concatenate": 64.89, "bce-concatenate": 65.26}),
    **_shares("t5.1-quarter-", {"classic": 65.14, "concatenate": 65.63}),
    **_shares("t5.1-eight-", {"classic": 65.86, "concatenate": 65.97, "separate": 65.43}),
    **_shares("t5.1-twelve-", {"concatenate": 65.11}),
    **_shares("t5.2-wce-wce-", {"shuffle": 65.97, "expression": 60.74, "age": 62.86}),
    **_shares("t5.2-ce-", {"wce-expression": 62.77, "ce-expression": 62.43}),
    **_shares("t5.2-focal-", {"wce-shuffle": 64.0, "focal-shuffle": 64.74}),
    **_shares("t5.3-ccc-island-", {"classic": 65.6, "concatenate": 65.57}),
    **_shares("t5.3-ccc-subclass-", {"3-concatenate": 64.89}),
    **_shares("t5.3-ccc-subclass-5-", {"classic": 65.77, "concatenate": 65.43, "separate": 65.71}),
    **_shares("t5.3-eight-island-", {"classic": 65.25, "concatenate": 65.2}),
    **_shares("t5.3-eight-subclass-", {"3-concatenate": 64.86}),
    **_shares("t5.3-eight-subclass-5-", {"classic": 64.37, "concatenate": 65.69, "separate": 65.69}),
    **_shares("t5.4-ccc-", {"island-classic-svm": 65.69, "subclass-5-classic-svm": 65.8}),
    **_shares("t5.4-eight-", {"island-classic-svm": 65.71, "subclass-5-concatenate-svm": 65.63}),
    **_shares("t6.1-", {"single": 64.37, "mse": 64.8, "ccc": 65.69, "gcn": 66.46}),
    **_shares("t6.2-layers-1-tau-", {"0": 53.09, "0.05": 43.85, "0.1": 53.71, "0.15": 54.94}),
    **_shares("t6.2-layers-2-tau-", {"0": 65.29, "0.05": 65.31, "0.1": 66.46, "0.15": 65.69}),
    **_shares("t6.2-layers-3-tau-", {"0": 65.77, "0.05": 64.94, "0.1": 64.74, "0.15": 65.74}),
    **_shares("t6.2-layers-1-p-", dict(zip(SHARES, (49.6, 50.94, 52.57, 52.66, 52.86, 53.71, 59.31), strict=True))),
    **_shares("t6.2-layers-2-p-", dict(zip(SHARES, (65.71, 66.14, 65.29, 66.29, 66.09, 66.46, 65.06), strict=True))),
    **_shares("t6.2-layers-3-p-", dict(zip(SHARES, (65.29, 65.54, 65.89, 66.09, 65.54, 64.74, 65.83), strict=True))),
    **_shares("s6.4-", {"category-edges": 66.23}),
    **_shares("t6.5-breg-next", {"": 60.49, "-ccc": 61.14, "-gcn": 61.94}),
}
for _row, _summary in (  # table 6.1 on Aff-Wild2, by 0.67 F1 + 0.33 accuracy, the summary of its challenge
    *(("t6.1-single-affwild2", 0.4506), ("t6.1-mse-affwild2", 0.431)),
    *(("t6.1-ccc-affwild2", 0.4333), ("t6.1-gcn-affwild2", 0.4892)),
):
    PAPER[_row] = {"challenge": _summary}
for _row, _valence, _arousal in (  # table 6.3
    *(
        ("t6.3-single", 0.761, 0.628),
        ("t6.1-mse", 0.752, 0.572),
        ("t6.1-ccc", 0.768, 0.651),
        ("t6.1-gcn", 0.767, 0.649),
    ),
    *(("t6.3-single-affwild2", 0.416, 0.501), ("t6.1-mse-affwild2", 0.435, 0.378)),
    *(("t6.1-ccc-affwild2", 0.408, 0.481), ("t6.1-gcn-affwild2", 0.457, 0.514)),
):
    PAPER[_row] = {**PAPER.get(_row, {}), "valence_ccc": _valence, "arousal_ccc": _arousal}
