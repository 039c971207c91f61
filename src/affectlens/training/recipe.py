"""A recipe is one frozen, flat, complete value: everything that decides the outcome of a training run."""

import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pydantic import ValidationError

from affectlens.core import catalog
from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting, UnknownName
from affectlens.core.preprocessing import InputSpec


@dataclass(frozen=True)
class Recipe:
    """All settings of one training run.

    Attributes:
        work, row: the recipe's name is `work/row`.
        data: reader that the recipe is for.
        without_twins: leave out training faces that have a twin in the validation or test split.
        model, model_options, loss, loss_options: catalogue names and the keyword arguments of their `build`.
        size_px, channels, mean, std: input of the network, as in `core.preprocessing.InputSpec`.
        margin, shift_y, rotate: crop at inference on photos, likewise.
        epochs, batch_size: whole passes; faces per step.
        learning_rate: peak of the one-cycle schedule, reached after the fraction `warmup` of all steps.
        momentum, nesterov, weight_decay: of SGD; norms and biases are not decayed.
        gradient_clip: largest norm of the gradient of all weights.
        ema: decay per step of the averaged weights, which are what is evaluated and exported.
        precision: "bf16-mixed" or "32-true".
        seed: of initialisation, order, augmentation and dropout.
        flip, erase: probabilities. rotation_deg, scale, shift (fraction of the side), brightness (normalised units),
            contrast, sharpness: largest deviation to either side. 0 switches a step off.
        teacher: run folder of a network that teaches ("" for none): the target is the mean of the votes and, with
            `teacher_weight` in [0, 1], the teacher's distribution on the same augmented face, averaged with its mirror
            image (Beyer et al. 2022, arXiv:2106.05237: a patient and consistent teacher).
        start_from_teacher: begin with the teacher's weights; both must have the same architecture.
    """

    work: str
    row: str
    data: str
    model: str
    loss: str
    epochs: int
    batch_size: int
    learning_rate: float
    model_options: Mapping[str, Any] = field(default_factory=dict)
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    without_twins: bool = True
    size_px: int = 48
    channels: str = "gray"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    margin: float = 1.0
    shift_y: float = 0.0
    rotate: bool = False
    warmup: float = 0.2
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    gradient_clip: float = 5.0
    ema: float = 0.998
    precision: str = "bf16-mixed"
    seed: int = 0
    flip: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0
    erase: float = 0.0
    teacher: str = ""
    teacher_weight: float = 0.0
    start_from_teacher: bool = False

    @property
    def name(self) -> str:
        """`work/row`."""
        return f"{self.work}/{self.row}"

    def __post_init__(self) -> None:
        for key, value in self.as_dict().items():
            if isinstance(value, float) and not math.isfinite(value):
                raise BadSetting(f"recipe {self.name}: {key} must be a finite number, got {value}")
        for key in ("epochs", "batch_size", "learning_rate", "size_px", "margin", "gradient_clip"):
            if not getattr(self, key) > 0:
                raise BadSetting(f"recipe {self.name}: {key} must be > 0, got {getattr(self, key)}")
        for key in ("rotation_deg", "scale", "shift", "brightness", "contrast", "sharpness"):
            if getattr(self, key) < 0:
                raise BadSetting(f"recipe {self.name}: {key} must be >= 0, got {getattr(self, key)}")
        if not self.teacher and (self.teacher_weight or self.start_from_teacher):
            raise BadSetting(f"recipe {self.name}: teacher_weight and start_from_teacher need a teacher")
        for key in ("flip", "erase", "warmup", "ema", "momentum", "weight_decay", "teacher_weight"):
            if not 0 <= getattr(self, key) <= 1:
                raise BadSetting(f"recipe {self.name}: {key} must be in [0, 1], got {getattr(self, key)}")
        for key, allowed in (("channels", ("gray", "rgb")), ("precision", ("bf16-mixed", "32-true"))):
            if getattr(self, key) not in allowed:
                raise BadSetting(f"recipe {self.name}: {key} must be {' or '.join(allowed)}, got {getattr(self, key)}")
        if self.seed < 0:
            raise BadSetting(f"recipe {self.name}: seed must be >= 0, got {self.seed}")
        self.input_spec()

    def input_spec(self) -> InputSpec:
        """The recipe's input as the runtime will read it from the exported file.

        Raises:
            BadSetting: the settings of the input do not fit together.
        """
        try:
            return InputSpec.model_validate({name: getattr(self, name) for name in InputSpec.model_fields})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "input"
            raise BadSetting(f"recipe {self.name}: {where}: {first['msg']}") from error

    def as_dict(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return asdict(self)


def from_dict(settings: Mapping[str, Any]) -> Recipe:
    """The recipe behind a run folder's recipe.json.

    Raises:
        BadSetting: a key is missing or unknown.
    """
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    try:
        return Recipe(**values)
    except TypeError as error:
        raise BadSetting(f"not the settings of a recipe: {error}") from error


def find(name: str) -> Recipe:
    """The recipe `work/row`, or the one that a work offers under its own name.

    Raises:
        UnknownName: no such work or row; the message carries the nearest name.
    """
    work, _, row = name.partition("/")
    rows: Mapping[str, Recipe] = catalog.load("training.recipes", work).ROWS
    row = row or next(iter(rows))
    if row not in rows:
        raise UnknownName(unknown(f"row of '{work}'", row, list(rows)))
    return rows[row]


def with_settings(recipe: Recipe, settings: list[str]) -> Recipe:
    """`recipe` with `key=value` settings applied.

    Raises:
        BadSetting: no "=", an unknown key, or a value that is not of the key's type.
    """
    hints = typing.get_type_hints(Recipe)
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise BadSetting(f"--set expects key=value, got '{setting}'")
        if key in ("work", "row"):
            raise BadSetting(f"'{key}' names the recipe and cannot be set")
        if key not in hints:
            raise BadSetting(unknown("recipe key", key, [f.name for f in fields(Recipe)]))
        changes[key] = _parse(key, text, hints[key])
    return replace(recipe, **changes)


def _parse(key: str, text: str, kind: Any) -> Any:
    """`text` as a value of `kind`, which is one of the types that `Recipe` uses."""
    origin = typing.get_origin(kind)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if origin is tuple:
            return tuple(float(part) for part in text.split(","))
        if kind in (int, float, str):
            return kind(text)
    except (KeyError, ValueError) as error:
        expected = "true or false" if kind is bool else "numbers joined by commas" if origin else kind.__name__
        raise BadSetting(f"recipe key '{key}' expects {expected}, got '{text}'") from error
    raise BadSetting(f"recipe key '{key}' cannot be set from the command line; write a recipe row")
