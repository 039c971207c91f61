"""Recipes of the bundled model: a compact network on FER+ with the raters' votes as target.

The name of the work alone stands for the first row. Averaging its predictions with those for the mirror image gains
most of a percentage point; `distilled` continues for some epochs with its own mirror-averaged predictions as part of
the target, which brings that gain in likelihood, and a fifth of that in accuracy, into a single pass. `wide` is a
teacher with three times the arithmetic. `taught`, of intermediate size, learns from both; `shipped` continues from
there with itself among the teachers.
"""

from dataclasses import replace

from affectlens.training.recipe import Recipe

FERPLUS = Recipe(
    work="default",
    row="ferplus",
    data="ferplus",
    model="compact_resnet",
    losses={"soft_cross_entropy": 1.0},
    margin=0.9,  # this and rotate: benchmarks/crop_geometry.py
    rotate=True,
    epochs=60,
    batch_size=128,
    learning_rate=0.08,
    warmup=0.2,
    weight_decay=5e-4,
    ema=0.998,
    flip=0.5,
    rotation_deg=15.0,
    scale=0.15,
    shift=0.08,
    brightness=0.4,
    contrast=0.3,
    sharpness=0.6,
    erase=0.3,
)
DISTILLED = replace(
    FERPLUS,
    row="distilled",
    teacher="runs/default-ferplus",
    teacher_weight=0.7,
    start_from="runs/default-ferplus",
    relight=True,
    epochs=20,
    learning_rate=0.03,
    warmup=0.1,
)
WIDE = replace(
    FERPLUS,
    row="wide",
    model_options={"widths": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
    optimiser="adamw",
    learning_rate=0.002,
    weight_decay=0.05,
    warmup=0.05,
    epochs=56,
    mixup=0.25,
    cutmix=0.25,
)
TAUGHT = replace(
    FERPLUS,
    row="taught",
    model_options={"widths": [48, 96, 192, 384], "depths": [2, 2, 2, 2]},
    teacher="runs/default-wide,runs/default-distilled",
    teacher_weight=0.7,
    teacher_tta="one",
    relight=True,
    logit_adjustment=0.2,
    optimiser="adamw",
    learning_rate=0.002,
    weight_decay=0.05,
    warmup=0.05,
    epochs=50,
    blur=1.0,
    noise=0.2,
)
SHIPPED = replace(
    TAUGHT,
    row="shipped",
    teacher="runs/default-taught,runs/default-wide,runs/default-distilled",
    teacher_weight=0.8,
    start_from="runs/default-taught",
    learning_rate=0.001,
    weight_decay=0.1,
    warmup=0.1,
    epochs=20,
)
ROWS = {row.row: row for row in (FERPLUS, DISTILLED, WIDE, TAUGHT, SHIPPED)}
