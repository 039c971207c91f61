"""Vats and Chadha, facial expression recognition with Swin, squeeze and excitation and sharpness-aware minimisation:
the three rows of the paper's table, on FER2013 + CK+ + AffectNet as one data set.

Stated in the paper: Swin-T with patches of 4 on 224x224, mean and deviation 0.5; SGD with momentum 0.9, or SAM over
it; the rate times 0.1 every 10 epochs; 25 epochs, the best by validation accuracy; rotations of 10 degrees and random
autocontrast; training classes made equally large by augmentation, validation and test with equally many faces of each
class. The table has 7 classes: contempt and its logit are left out of the network's 8 (`affectlens evaluate RUN --data
"affectnet:DIR?classes=7"`).

Their data are some 40,000 faces of FER2013, 1,000 of CK+ and 60,000 of AffectNet, of which the conclusion says that
"only a subset" served training and validation, tested on 4,000 faces of AffectNet, the published validation set here.
A detector cuts the faces out of full frames, which among these only CK+'s are (the 981 pictures of CK+48, which the
paper may mean by its thousand, are faces already, and stay as they are). In one line, with the parts in this order,
which is the recipes':

    affectlens reproduce vats --data "fer2013:FER+ckplus:CK?find_faces=yes+affectnet:AN?max=60000"
        --test "affectnet:AN?classes=7"

This trains on the training splits of FER2013 and CK+ and on 60,000 faces of AffectNet; the test splits of FER2013 and
CK+ stay unused.

Chosen here: rate 0.01, batches of 64, no weight decay; rho 0.05 for SAM, which the paper does not give; pretrained
weights of ImageNet-1K. FER2013's 35,887 gray faces (the paper speaks of some 40,000 in RGB) are shown to all
three channels, and their labels go by name, since the paper numbers them otherwise than the data set. Faces are found
by MTCNN, where the paper says no more than "Single-Step Detector". The gate stands before the head (`models.swin_se`);
`swin-se-patches` has it behind the patch embedding. Classes become equally large by repeating faces up to the largest
class; the paper (section 3.3) augments up to a number that it does not give, then eliminates the surplus, and
`max_per_class=N` sets that number. Originals are augmented too, not only their repetitions. Rotations are bilinear and
fill the corners with mid-gray, where torchvision's RandomRotation samples the nearest neighbour and fills with black by
default.

Weighted recall is accuracy by definition; the paper's table has .5000 beside .4921, .5225 beside .5104 and .5410 beside
.5310. Its accuracies on training and validation faces, .832 and .5784 (section 3.7), are not compared here.
"""

from dataclasses import replace

from affectlens.training.recipe import Recipe
from affectlens.training.tables import Row, Table, recipes_of

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


def _row(recipe: Recipe, accuracy: float, precision: float, recall: float, f1: float) -> Row:
    paper = {"weighted_precision": precision, "weighted_recall": recall, "weighted_f1": f1}
    return Row(recipe, {"accuracy": accuracy, **paper})


TABLES = {
    "results": Table(
        "Accuracy, and precision, recall and F1 weighted by the faces of each class, on 7 classes",
        (
            _row(SWIN, 0.4921, 0.5090, 0.5000, 0.4943),
            _row(SE, 0.5104, 0.5470, 0.5225, 0.5169),
            _row(SAM, 0.5310, 0.5485, 0.5410, 0.5420),
        ),
        baseline="swin",
    ),
    "more": Table("The gate elsewhere", (Row(replace(SE, row="swin-se-patches", model_options={"se": "patches"})),)),
}
METRIC = "accuracy"
ROWS = recipes_of(TABLES)
PAPER_DATA = "affectnet"
"""On 7 classes of its test faces. The text also says F1 0.5452; the table counts."""
