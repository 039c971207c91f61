"""Vats and Chadha, facial expression recognition with Swin, squeeze and excitation and sharpness-aware minimisation:
the three rows of the paper's table, on FER2013 + CK+ + AffectNet as one data set.

Stated in the paper: Swin-T with patches of 4 on 224x224, mean and deviation 0.5; SGD with momentum 0.9, or SAM over
it; the rate times 0.1 every 10 epochs; 25 epochs, the best by validation accuracy; rotations of 10 degrees and random
autocontrast; training classes made equally large by augmentation, validation and test with equally many faces of each
class. The table has 7 classes: contempt and its logit are left out of the network's 8 (`affectlens evaluate RUN --data
"affectnet:DIR?classes=7"`).

Chosen here: rate 0.01, batches of 64, no weight decay; pretrained weights of ImageNet-1K; faces of FER2013, which are
gray, are shown to all three channels. The gate stands before the head (`models.swin_se`); `swin-se-patches` has it
behind the patch embedding.
"""

from dataclasses import replace

from affectlens.training.recipe import Recipe

SWIN = Recipe(
    work="vats",
    row="swin",
    data="fer2013+ckplus+affectnet",
    model="swin_se",
    model_options={"se": "none"},
    pretrained=True,
    losses={"soft_cross_entropy": 1.0},
    target="label",
    drop_near_duplicates=False,
    balanced=True,
    size_px=224,
    channels="rgb",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    epochs=25,
    batch_size=64,
    sampler="augment",
    optimiser="sgd",
    learning_rate=0.01,
    momentum=0.9,
    nesterov=False,
    weight_decay=0.0,
    schedule="steps",
    schedule_factor=0.1,
    schedule_patience=10,
    select="accuracy",
    gradient_clip=0.0,
    ema=0.0,
    rotation_deg=10.0,
    autocontrast=0.5,
)
SE = replace(SWIN, row="swin-se", model_options={"se": "pooled"})
SAM = replace(SE, row="swin-se-sam", sam_radius=0.05)

ROWS = {
    recipe.row: recipe
    for recipe in (SWIN, SE, SAM, replace(SE, row="swin-se-patches", model_options={"se": "patches"}))
}
PAPER = {
    "swin": {"accuracy": 0.4921, "weighted_precision": 0.5090, "weighted_recall": 0.5000, "weighted_f1": 0.4943},
    "swin-se": {"accuracy": 0.5104, "weighted_precision": 0.5470, "weighted_recall": 0.5225, "weighted_f1": 0.5169},
    "swin-se-sam": {"accuracy": 0.5310, "weighted_precision": 0.5485, "weighted_recall": 0.5410, "weighted_f1": 0.5420},
}
PAPER_DATA = "affectnet"
"""On 7 classes of its test faces: `affectlens reproduce vats --data SPEC --test "affectnet:DIR?classes=7"`. The text
also says F1 0.5452; the table counts."""
