"""Facial action units (Ekman and Friesen's FACS) of each expression, from Da Re's table 2.1 and figure 2.4.

They describe what a face typically does for an expression; they are not measured on a face. Where the thesis
contradicts itself the table is followed: section 2.3.1 and figure 2.5 have 1+2+5+7+20 for fear and 9+10 for disgust.
"""

NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    26: "jaw drop",
}
"""Number -> name, of the units in `TYPICAL`."""

TYPICAL: dict[str, tuple[str, ...]] = {
    "happiness": ("6", "12"),
    "sadness": ("1", "4", "15"),
    "surprise": ("1", "2", "5B", "26"),
    "fear": ("1", "2", "4", "5", "7", "20", "26"),
    "anger": ("4", "5", "7", "23"),
    "disgust": ("9", "15", "17"),
    "contempt": ("R12A", "R14A"),
}
"""Expression -> units; a letter behind is the intensity (A: trace, B: slight), an R before it the right side alone."""


def described(expression: str) -> str:
    """The units of an expression in words, "6 cheek raiser + 12 lip corner puller"; "" where it has none."""
    units = TYPICAL.get(expression, ())
    return " + ".join(f"{unit} {NAMES[int(unit.strip('RAB'))]}" for unit in units)
