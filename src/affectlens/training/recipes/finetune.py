"""Fine-tuning for other faces and labels: starts from the bundled weights and keeps their batch-norm statistics.

Chosen for a few hundred to a few thousand pictures: classes occur equally often, a tenth of the usual learning rate,
half of the geometric augmentation. Pictures larger than faces are searched for the largest face (`find_faces`).
"""

from dataclasses import replace

from affectlens.training.recipes.default import SHIPPED

BUNDLED = replace(
    SHIPPED,
    work="finetune",
    row="bundled",
    data="folder",
    start_from="bundled",
    teacher="",
    teacher_weight=0.0,
    logit_adjustment=0.0,
    optimiser="sgd",
    freeze_norms=True,
    find_faces=True,
    sampler="expression",
    epochs=20,
    batch_size=32,
    learning_rate=0.005,
    warmup=0.2,
    weight_decay=5e-4,
    ema=0.98,
    scale=0.1,
    shift=0.05,
)
ROWS = {"bundled": BUNDLED}
"""The first row is what the name of the work alone stands for."""
