"""Antoniadis, Deep Facial Expression Recognition Exploiting Categorical and Continuous Emotional Dependencies: every
row of tables 3.1 to 6.5 but those of 6.4, which compares other works.

Rows are named after their table. Stated in the thesis: SGD with rate 1e-3 and momentum 0.9, batches of 35, 10 epochs,
validation 500 per class, mean class accuracy (section 3.5); images of 227x227 (6.3.1), aligned by the eyes, flips,
rotations, changes of brightness, contrast, hue and saturation (3.1); DenseNet121 (3.2) with pretrained weights (table
3.1) and global max pooling (5.5, 6.3.1); weighted cross-entropy (3.3, whose weights the text inverts; his code has
n_min / n_i); AffectNet with 7 classes, 8 in table 3.1 but for its last row (3.5); of Aff-Wild2 only frames with both
annotations (6.4.4). Metric losses weigh 0.1 (table 4.1).

From the author's code: every second face flipped, rotations of 30 degrees, weight decay 1e-3, Aff-Wild2's frames as
they are cropped, at 112x112, with plain cross-entropy (section 6.4.1 says weighted), and BReG-NeXt from scratch (the
text does not say) at 112x112 (section 6.4.4 says as DenseNet).

Unlike his code: the eyes set scale and crop, as in eq. 3.1.2, where it turns the photo and cuts out AffectNet's box; a
tenth of the training faces or videos selects the epoch, by mean class accuracy, where it selects by accuracy on the
faces that it reports (`?protocol=antoniadis` of both data sets, `--set select=accuracy`).

Chosen here: lambda 0.1 and m 0.5 of table 5.3, as in table 4.1; lambda_1 1 of both island losses and 0.5 of the
margin's term of the subclass loss; alpha 0.5 of learned centres; 0.2 of brightness (a factor, as in ColorJitter) and
contrast, 0.2 of saturation, 0.02 of hue, which his code leaves at 0; eyes at 0.35 of the height, 0.4 of the side apart;
mask, contrastive and local subclass losses weigh as the others of their kind; gamma 2 of the focal loss, whose alpha is
n_min / n_i; ages, which AffectNet does not have, come from `?meta=FILE`, so that `t5.2-wce-wce-age` cannot be run
without such a file; table 5.4 is about the rows of table 5.3 with the same figure, "concatenate" where two have it
(65.69). Table 6.1 gives 65.69 to the row that table 5.1 gives 65.63; both stand as printed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from affectlens.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from affectlens.training.recipe import Recipe
from affectlens.training.tables import Row, Table, recipes_of

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


def _row(recipe: Recipe, accuracy: float, **more: Any) -> Row:
    """A row with its mean class accuracy in per cent, as printed."""
    return Row(recipe, {"mean_class_accuracy": round(accuracy / 100, 4)}, **more)


def _again(row: str, recipe: Recipe, accuracy: float, **more: Any) -> Row:
    """A row that an earlier table has under another name."""
    return _row(replace(recipe, row=row), accuracy, same_as=recipe.row, **more)


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
    exposure=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.02,
)
BASELINE = replace(AUGMENTED, row="t3.1-baseline", data_options={"classes": "7"})
T3_1 = Table(
    "Table 3.1: the baseline, a step at a time",
    (
        _row(RESNET, 47.8),
        _row(RESNET_WEIGHTED, 53.2),
        _row(RESNET_PRETRAINED, 55.4),
        _row(DENSENET, 57.3),
        _row(ALIGNED, 59.5),
        _row(AUGMENTED, 61.4),
        _row(BASELINE, 64.37),
    ),
)

# Table 3.2: labels of the neighbourhood in the VA plane.
T3_2 = Table(
    "Table 3.2: labels of the neighbourhood in the valence-arousal plane",
    (
        _again("t3.2-baseline", BASELINE, 64.37),
        _row(_with(BASELINE, "t3.2-soft", {"va_soft": 0.1}, {"va_soft": {"bins": 5}}), 64.68),
        _row(_with(BASELINE, "t3.2-logit", {"va_logit": 1.0}, {"va_logit": {"bins": 10}}), 65.05),
    ),
    baseline=BASELINE.row,
)


def _subclass(recipe: Recipe, row: str, k: int) -> Recipe:
    """`recipe` with the local subclass loss with margin."""
    return _with(
        recipe, row, {"local_subclass": 0.1}, {"local_subclass": {"subclasses": k, "weight": 0.5, "margin": 0.5}}
    )


def _island(margin: float) -> Recipe:
    """The baseline with the Euclidean island loss."""
    name = f"t4.1-island-euclidean-{margin:g}"
    return _with(BASELINE, name, {"island_euclidean": 0.1}, {"island_euclidean": {"margin": margin}})


def _va_center(which: str) -> Recipe:
    """The baseline with the centre loss weighted by distances in the valence-arousal plane."""
    return _with(BASELINE, f"t4.1-va-center-{which}", {"va_center": 0.1}, {"va_center": {"dimensions": which}})


T4_1 = Table(
    "Table 4.1: metric learning",
    (
        _again("t4.1-baseline", BASELINE, 64.37),
        _row(_with(BASELINE, "t4.1-center", {"center": 0.1}, {}), 64.37),
        _row(_with(BASELINE, "t4.1-center-local", {"center_local": 0.1}, {}), 64.77),
        _row(_with(BASELINE, "t4.1-island", {"island": 0.1}, {}), 65.11),
        _row(_island(2.0), 65.05),
        _row(_island(5.0), 65.06),
        _row(_subclass(BASELINE, "t4.1-subclass-margin-2", 2), 64.43),
        _row(_subclass(BASELINE, "t4.1-subclass-margin-3", 3), 64.43),
        _row(_subclass(BASELINE, "t4.1-subclass-margin-5", 5), 65.26),
        _row(_subclass(BASELINE, "t4.1-subclass-margin-10", 10), 65.29),
        _row(_va_center("valence"), 64.11),
        _row(_va_center("arousal"), 64.6),
        _row(_va_center("both"), 64.91),
    ),
    baseline=BASELINE.row,
)
S4 = Table(
    "Sections 4.3 and 4.4: losses without a figure",
    (
        Row(_with(BASELINE, "s4.3-subclass-5", {"local_subclass": 0.1}, {})),
        Row(_with(BASELINE, "s4.4-contrastive-positive", {"contrastive": 0.1}, {"contrastive": {"negative": 0.0}})),
        Row(_with(BASELINE, "s4.4-contrastive-negative", {"contrastive": 0.1}, {"contrastive": {"positive": 0.0}})),
    ),
    baseline=BASELINE.row,
)

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


T5_1 = Table(
    "Table 5.1: a second task, in three configurations",
    (
        _again("t5.1-baseline", BASELINE, 64.37),
        _row(_task("mse", "classic"), 64.8),
        _row(_task("mse", "concatenate"), 64.74),
        _row(_task("ccc", "classic"), 65.63),
        _row(_task("ccc", "concatenate"), 65.43),
        _row(_task("ccc", "separate"), 65.2),
        _row(_task("half-mse", "concatenate"), 64.89),
        _row(_task("half-bce", "concatenate"), 65.26),
        _row(_task("quarter", "classic"), 65.14),
        _row(_task("quarter", "concatenate"), 65.63),
        _row(_task("eight", "classic"), 65.86),
        _row(_task("eight", "concatenate"), 65.97),
        _row(_task("eight", "separate"), 65.43),
        _row(_task("twelve", "concatenate"), 65.11),
    ),
    baseline=BASELINE.row,
)
_MASK = replace(
    BASELINE,
    row="s5.1-mask",
    model_options={**BASELINE.model_options, "mask": True},
    losses={**EXPRESSION, "mask_bce": 1.0},
)
S5_1 = Table("Section 5.1.2: masks of eyes and mouth", (Row(_MASK),), baseline=BASELINE.row)

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


T5_2 = Table(
    "Table 5.2: losses of the two tasks, and samplers",
    (
        _again("t5.2-wce-wce-shuffle", _task("eight", "concatenate"), 65.97),
        _row(_eight("wce", "wce", "expression"), 60.74),
        _row(_eight("wce", "wce", "age"), 62.86),
        _row(_eight("ce", "wce", "expression"), 62.77),
        _row(_eight("ce", "ce", "expression"), 62.43),
        _row(_eight("focal", "wce", "shuffle"), 64.0),
        _row(_eight("focal", "focal", "shuffle"), 64.74),
    ),
    baseline="t5.1-eight-concatenate",
)


# Table 5.3: a second task and a metric loss; table 5.4: a support vector machine on the features of four of them.
def _combined(task: str, metric: str, fusion: str) -> Recipe:
    """Both tasks with the island loss, or with the local subclass loss of so many subclasses."""
    recipe = _task(task, fusion, "t5.3")
    if metric == "island":
        return _with(recipe, f"t5.3-{task}-island-{fusion}", {"island": 0.1}, {})
    return _subclass(recipe, f"t5.3-{task}-subclass-{metric}-{fusion}", int(metric))


def _svm(recipe: Recipe, accuracy: float) -> Row:
    """A support vector machine on the features of a row of table 5.3."""
    name = recipe.row.replace("t5.3", "t5.4") + "-svm"
    return _row(replace(recipe, row=name, classifier="svm"), accuracy, after=recipe.row)


T5_3 = Table(
    "Table 5.3: a second task and a metric loss",
    (
        _row(_combined("ccc", "island", "classic"), 65.6),
        _row(_combined("ccc", "island", "concatenate"), 65.57),
        _row(_combined("ccc", "3", "concatenate"), 64.89),
        _row(_combined("ccc", "5", "classic"), 65.77),
        _row(_combined("ccc", "5", "concatenate"), 65.43),
        _row(_combined("ccc", "5", "separate"), 65.71),
        _row(_combined("eight", "island", "classic"), 65.25),
        _row(_combined("eight", "island", "concatenate"), 65.2),
        _row(_combined("eight", "3", "concatenate"), 64.86),
        _row(_combined("eight", "5", "classic"), 64.37),
        _row(_combined("eight", "5", "concatenate"), 65.69),
        _row(_combined("eight", "5", "separate"), 65.69),
    ),
    baseline=BASELINE.row,
)
T5_4 = Table(
    "Table 5.4: a support vector machine in the place of the softmax layer",
    (
        _svm(_combined("eight", "island", "classic"), 65.71),
        _svm(_combined("eight", "5", "concatenate"), 65.63),
        _svm(_combined("ccc", "island", "classic"), 65.69),
        _svm(_combined("ccc", "5", "classic"), 65.8),
    ),
)

# Tables 6.1 and 6.3: one task, two, and the graph between them; on AffectNet and on Aff-Wild2.
MULTI_MSE = _task("mse", "classic")
MULTI_CCC = _task("ccc", "classic")
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
PLAIN = {"weighted_cross_entropy": "soft_cross_entropy"}


def _video(recipe: Recipe, row: str, **paper: float) -> Row:
    """A row on Aff-Wild2."""
    changed = replace(
        recipe,
        row=row,
        data="affwild2",
        data_options={"both": "yes"},
        losses={PLAIN.get(loss, loss): weight for loss, weight in recipe.losses.items()},
        eye_distance=0.0,
        size_px=112,
    )
    return Row(changed, paper)


def _affect(row: Row, valence: float, arousal: float) -> Row:
    """A row of table 6.1 with the CCC of table 6.3."""
    return replace(row, paper={"valence_ccc": valence, "arousal_ccc": arousal})


T6_1 = Table(
    "Table 6.1: one task, two, and the graph between them",
    (
        _again("t6.1-single", BASELINE, 64.37),
        _again("t6.1-mse", MULTI_MSE, 64.8),
        _again("t6.1-ccc", MULTI_CCC, 65.69),
        _row(GCN, 66.46),
    ),
    baseline=BASELINE.row,
)
T6_1_VIDEO = Table(
    "Tables 6.1 and 6.3 on Aff-Wild2",
    (
        _video(BASELINE, "t6.1-single-affwild2", challenge=0.4506),
        _video(AFFECT_ALONE, "t6.3-single-affwild2", valence_ccc=0.416, arousal_ccc=0.501),
        _video(MULTI_MSE, "t6.1-mse-affwild2", challenge=0.431, valence_ccc=0.435, arousal_ccc=0.378),
        _video(MULTI_CCC, "t6.1-ccc-affwild2", challenge=0.4333, valence_ccc=0.408, arousal_ccc=0.481),
        _video(GCN, "t6.1-gcn-affwild2", challenge=0.4892, valence_ccc=0.457, arousal_ccc=0.514),
    ),
    baseline="t6.1-single-affwild2",
)
T6_3 = Table(
    "Table 6.3: valence and arousal",
    (
        Row(AFFECT_ALONE, {"valence_ccc": 0.761, "arousal_ccc": 0.628}),
        *(
            _affect(row, *figures)
            for row, figures in zip(T6_1.rows[1:], ((0.752, 0.572), (0.768, 0.651), (0.767, 0.649)), strict=True)
        ),
    ),
)


# Table 6.2: depth, threshold and share of the neighbours; section 6.4.3: edges between expressions.
def _depth(layers: int, setting: str, value: float, accuracy: float) -> Row:
    """A cell: depth of the graph network by "tau" or by "p", the share of the neighbours."""
    option = {"tau": "tau", "p": "share"}[setting]
    recipe = replace(
        GCN,
        row=f"t6.2-layers-{layers}-{setting}-{value:g}",
        model_options={**GCN.model_options, "layers": layers, option: value},
    )
    cell = (setting, f"{layers} layer{'s' if layers > 1 else ''}", f"{value:g}")
    if recipe.model_options == GCN.model_options:
        return _again(recipe.row, GCN, accuracy, cell=cell)
    if setting == "p" and value == GCN.model_options["share"]:
        return _row(recipe, accuracy, same_as=f"t6.2-layers-{layers}-tau-{GCN.model_options['tau']:g}", cell=cell)
    return _row(recipe, accuracy, cell=cell)


TAUS = (0.0, 0.05, 0.1, 0.15)
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
T6_2 = Table(
    "Table 6.2: layers of the graph network by threshold (tau) and by share of the neighbours (p)",
    tuple(
        _depth(layers, setting, value, accuracy)
        for setting, values, lines in (
            (
                "tau",
                TAUS,
                ((53.09, 43.85, 53.71, 54.94), (65.29, 65.31, 66.46, 65.69), (65.77, 64.94, 64.74, 65.74)),
            ),
            (
                "p",
                SHARES,
                (
                    (49.6, 50.94, 52.57, 52.66, 52.86, 53.71, 59.31),
                    (65.71, 66.14, 65.29, 66.29, 66.09, 66.46, 65.06),
                    (65.29, 65.54, 65.89, 66.09, 65.54, 64.74, 65.83),
                ),
            ),
        )
        for layers, line in enumerate(lines, start=1)
        for value, accuracy in zip(values, line, strict=True)
    ),
    baseline=GCN.row,
)
S6_4 = Table(
    "Section 6.4.3: edges between expressions",
    (
        _row(
            replace(GCN, row="s6.4-category-edges", model_options={**GCN.model_options, "category_edges": True}), 66.23
        ),
    ),
    baseline=GCN.row,
)

# Table 6.5: the same with BReG-NeXt, from scratch, on 112x112.
SMALL: dict[str, Any] = {"pretrained": False, "size_px": 112}
BREG_NEXT = replace(BASELINE, row="t6.5-breg-next", model_options={"backbone": "breg_next"}, **SMALL)
T6_5 = Table(
    "Table 6.5: BReG-NeXt, from scratch, on 112x112",
    (
        _row(BREG_NEXT, 60.49),
        _row(
            replace(
                MULTI_CCC,
                row="t6.5-breg-next-ccc",
                model_options={**MULTI_CCC.model_options, "backbone": "breg_next"},
                **SMALL,
            ),
            61.14,
        ),
        _row(
            replace(
                GCN, row="t6.5-breg-next-gcn", model_options={**GCN.model_options, "backbone": "breg_next"}, **SMALL
            ),
            61.94,
        ),
    ),
    baseline=BREG_NEXT.row,
)

TABLES = {
    "t3.1": T3_1,
    "t3.2": T3_2,
    "t4.1": T4_1,
    "s4": S4,
    "t5.1": T5_1,
    "s5.1": S5_1,
    "t5.2": T5_2,
    "t5.3": T5_3,
    "t5.4": T5_4,
    "t6.1": T6_1,
    "t6.1-affwild2": T6_1_VIDEO,
    "t6.2": T6_2,
    "t6.3": T6_3,
    "s6.4": S6_4,
    "t6.5": T6_5,
}
METRIC = "mean_class_accuracy"
ROWS = recipes_of(TABLES)
