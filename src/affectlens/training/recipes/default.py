"""Recipes of the bundled model: a compact network on FER+ with the raters' votes as target.

The first row is what the name of the work alone stands for.
"""

from affectlens.training.recipe import Recipe

FERPLUS = Recipe(
    work="default",
    row="ferplus",
    data="ferplus",
    model="compact_resnet",
    loss="soft_cross_entropy",
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
ROWS = {"ferplus": FERPLUS}
