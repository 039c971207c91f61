"""A recipe is one frozen, flat, complete value: everything that decides the outcome of a training run."""

import contextlib
import difflib
import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from affectlens.core import catalog
from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting, MissingExtra, UnknownName
from affectlens.core.expressions import name_fault
from affectlens.core.files import read_text
from affectlens.core.messages import one_line
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import InputSpec
from affectlens.data.samplers import SAMPLERS

TTA = ("one", "flip", "ten-crop")
CHOICES = {
    "channels": ("gray", "rgb"),
    "precision": ("auto", "bf16-mixed", "32-true"),
    "target": ("votes", "label", "drawn"),
    "sampler": tuple(SAMPLERS),
    "optimiser": ("sgd", "adam", "adamw"),
    "schedule": ("one-cycle", "plateau", "exponential", "steps", "constant"),
    "select": (
        "nll",
        "accuracy",
        "macro_recall",
        *(output.metric_name for output in OUTPUTS.values() if output.metric_name),
    ),
    "erase_with": ("zero", "noise"),
    "erase_shape": ("square", "rectangle"),
    "sam_norms": ("first", "both"),
    "tta": TTA,
    "teacher_tta": TTA,
    "weights": ("best", "last"),
    "classifier": ("network", "svm"),
}
"""Recipe keys that take one of a few names."""
_MAX_BYTES, _MAX_DEPTH = 1 << 20, 20
"""Of a YAML file, and of the values in it."""
_RENAMED = {"without_twins": "drop_near_duplicates", "views": "tta", "teacher_views": "teacher_tta"}
"""Former key, in files of earlier runs -> what it is called now."""
_PROBABILITIES = ("flip", "autocontrast", "erase", "mixup", "cutmix")
_AUGMENTATIONS = (
    *(*_PROBABILITIES, "rotation_deg", "shear_deg", "scale", "shift", "brightness", "exposure", "contrast"),
    *("saturation", "hue", "sharpness", "blur", "noise"),
)
_AT_LEAST_ZERO = (
    *("schedule_patience", "early_stop", "sam_radius", "gradient_clip", "seed", "rotation_deg", "shear_deg", "scale"),
    *("shift", "brightness", "exposure", "contrast", "saturation", "hue", "sharpness", "blur", "noise"),
    "logit_adjustment",
)


@dataclass(frozen=True)
class Recipe:
    """All settings of one training run.

    Attributes:
        work, row: parts of the recipe's name, `work/row`.
        data: reader that the recipe is meant for. data_options: options for data of that reader, unless the data
            specification sets them.
        drop_near_duplicates: leave out training faces that have a near-duplicate in the validation or test split.
        model, model_options: catalog name, and keyword arguments of its `build`.
        losses, loss_options: name -> weight; name -> keyword arguments of its `build`. A name is one in the catalog, or
            that of an output in `core.outputs`, which stands for the output's usual loss.
        target: target of the losses: "votes" (the distribution), "label" (its majority label) or "drawn" (one label
            drawn from the distribution, again in each epoch). logit_adjustment: share of the log class frequencies that
            losses add to the logits, so that the outputs do not contain it: the higher, the more often rare classes are
            predicted (tau in Menon et al. 2021, arXiv:2007.07314, equation 10; 1 treats all classes as equally
            frequent).
        train_share: fraction of each class's training faces to use, selected by the seed. max_per_class: most training
            faces of a class, likewise; 0 for all. balanced: use the same number of faces of each class in validation
            and test, namely that of the smallest class, likewise.
        find_faces: search larger pictures for the largest face and crop it as the runtime does.
        size_px, channels, mean, std, relight: input of the network, as in `core.preprocessing.InputSpec`.
        margin, shift_y, rotate: crop for inference on photos, likewise. eye_distance, eye_height: likewise, and also
            applied in training to faces with landmarks.
        epochs, batch_size: number of passes over the data; faces per step.
        sampler: selection of the faces of an epoch, a name in `data.samplers.SAMPLERS`.
        optimiser: "sgd", "adam" or "adamw". momentum, nesterov: for SGD. weight_decay: for all; norms and biases are
            excluded unless `decay_all`.
        sam_radius: rho of sharpness-aware minimisation (`training.sam`) on top of the optimiser; 0: off. sam_norms: the
            statistics of batch norms follow its "first" pass, or "both".
        learning_rate, schedule: "one-cycle" (the rate is the peak, reached after the fraction `warmup` of all steps),
            "plateau" (multiplied by `schedule_factor` after more than `schedule_patience` epochs without a better
            `select`), "exponential" (multiplied by `schedule_factor` after each epoch), "steps" (the same every
            `schedule_patience` epochs) or "constant".
        select: metric that selects the best epoch: "nll", "accuracy", "macro_recall", or the metric of an output in
            `core.outputs`: "ccc" (mean of valence and arousal), "attribute_accuracy" (mean over attributes),
            "division_accuracy" (of signs or sectors), on validation.
        weights: the weights that the run ends with, those of the "best" epoch or of the "last"; with "last", `select`
            affects only the schedule and early stopping.
        early_stop: number of epochs without improvement after which training ends; 0: never.
        gradient_clip: maximum norm of the gradient of all weights; 0: no clipping.
        ema: decay per step of the moving average of the weights, which is then evaluated and exported; 0: no averaging.
        precision: "bf16-mixed", "32-true", or "auto": the first where processor or device have bfloat16.
        compile: compile the network with torch.compile, which takes up to a minute at the beginning of a run and needs
            a C++ compiler on a CPU: there, a step of the default network takes 0.84 to 0.95 of the time, one of
            Deep-Emotion no less (experiments/training.py --compile). It has no effect on a head that is trained on
            features computed once (`training.features`).
        seed: seed of initialisation, order, augmentation and dropout.
        flip, autocontrast, erase: probabilities. rotation_deg, shear_deg, scale, shift (fraction of the side),
            brightness (normalised units), exposure (factor of the light), contrast, saturation, hue (fraction of the
            circle), sharpness: maximum change in either direction. 0 turns a step off. erase_with: "zero" or "noise".
            erase_shape: "square" or "rectangle". erase_area: smallest and largest share of the image that a rectangle
            covers. blur (standard deviation in pixels), noise (standard deviation in
            normalised units): maximum, each applied to half of the faces; teachers see the picture before these two.
            mixup, cutmix: probabilities of mixing a face with another (`training.mix`), for losses that learn
            distributions.
        tta: test-time augmentation that evaluation averages over: "one" (none), "flip" (also the mirror image) or
            "ten-crop" (centre and corners of 7/8 of the side, and their mirror images).
        teacher: run folder or exported file of a teacher network, or "bundled", or several separated by commas ("" for
            none): the target is the mean of the votes and, with `teacher_weight` in [0, 1], the teachers' mean
            prediction for the same augmented face (Beyer et al. 2022, arXiv:2106.05237: a patient and consistent
            teacher), averaged over `teacher_tta` ("one" takes half the time of "flip").
        start_from: initial weights: a run folder, an exported file or "bundled", of the same architecture; "" for
            random initialisation. freeze_norms: batch norms keep their statistics, which is required when starting from
            an exported file.
        pretrained: start from the model's published weights, if it has any, from `pretrained_file` or, if that is "",
            from the hub named in the model's file. If `pretrained_file` is a run folder, an exported file (.onnx) or
            "bundled", the backbone trained there is used, whatever its outputs were.
        classifier: "network", or "svm": after training, a linear support vector machine on the features replaces the
            network's last layer (`training.svm`).
    """

    work: str
    row: str
    data: str
    model: str
    losses: Mapping[str, float]
    epochs: int
    batch_size: int
    learning_rate: float
    data_options: Mapping[str, str] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    loss_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target: str = "votes"
    logit_adjustment: float = 0.0
    sampler: str = "shuffle"
    optimiser: str = "sgd"
    schedule: str = "one-cycle"
    schedule_factor: float = 0.5
    schedule_patience: int = 2
    select: str = "nll"
    weights: str = "best"
    early_stop: int = 0
    sam_radius: float = 0.0
    sam_norms: str = "first"
    decay_all: bool = False
    drop_near_duplicates: bool = True
    train_share: float = 1.0
    max_per_class: int = 0
    balanced: bool = False
    find_faces: bool = False
    size_px: int = 48
    channels: str = "gray"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    relight: bool = False
    margin: float = 1.0
    shift_y: float = 0.0
    rotate: bool = False
    eye_distance: float = 0.0
    eye_height: float = 0.4
    warmup: float = 0.2
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    gradient_clip: float = 5.0
    ema: float = 0.998
    precision: str = "auto"
    compile: bool = False
    seed: int = 0
    flip: float = 0.0
    rotation_deg: float = 0.0
    shear_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    exposure: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    sharpness: float = 0.0
    autocontrast: float = 0.0
    erase: float = 0.0
    erase_with: str = "zero"
    erase_shape: str = "square"
    erase_area: tuple[float, ...] = (0.02, 0.33)
    blur: float = 0.0
    noise: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    tta: str = "one"
    teacher: str = ""
    teacher_weight: float = 0.0
    teacher_tta: str = "flip"
    start_from: str = ""
    freeze_norms: bool = False
    pretrained: bool = False
    pretrained_file: str = ""
    classifier: str = "network"

    @property
    def name(self) -> str:
        """`work/row`."""
        return f"{self.work}/{self.row}"

    @property
    def augments(self) -> bool:
        """Whether training sees a face differently from epoch to epoch."""
        return any(getattr(self, key) for key in _AUGMENTATIONS)

    @property
    def teachers(self) -> tuple[str, ...]:
        """Run folders or files of the teachers, or "bundled"."""
        return tuple(name for name in self.teacher.split(",") if name)

    @property
    def folder_name(self) -> str:
        """Default name of its run folder."""
        return f"{self.work}-{self.row}"

    def __post_init__(self) -> None:
        for key, value in self.as_dict().items():
            if isinstance(value, float) and not math.isfinite(value):
                raise BadSetting(f"recipe {self.name}: {key} must be a finite number, got {value}")
        if fault := name_fault(self.folder_name):  # it becomes the name of the model
            raise BadSetting(f"recipe key 'row': {fault}")
        if self.seed > 2**31:
            raise BadSetting(f"recipe {self.name}: seed must be <= 2^31, got {self.seed}")
        if self.schedule == "plateau" and self.schedule_factor >= 1:
            raise BadSetting(f"recipe {self.name}: schedule_factor must be < 1, got {self.schedule_factor}")
        if self.train_share > 1:
            raise BadSetting(f"recipe {self.name}: train_share must be <= 1, got {self.train_share}")
        if self.max_per_class < 0:
            raise BadSetting(f"recipe {self.name}: max_per_class must be >= 0, got {self.max_per_class}")
        for key in ("epochs", "batch_size", "learning_rate", "size_px", "margin", "schedule_factor", "train_share"):
            if not getattr(self, key) > 0:
                raise BadSetting(f"recipe {self.name}: {key} must be > 0, got {getattr(self, key)}")
        for key in _AT_LEAST_ZERO:
            if getattr(self, key) < 0:
                raise BadSetting(f"recipe {self.name}: {key} must be >= 0, got {getattr(self, key)}")
        if self.pretrained and self.start_from:
            raise BadSetting(
                f"recipe {self.name}: pretrained and start_from both set the initial weights; use only one"
            )
        if self.pretrained_file and not self.pretrained:
            raise BadSetting(f"recipe {self.name}: pretrained_file needs pretrained=true")
        if not self.teacher and self.teacher_weight:
            raise BadSetting(f"recipe {self.name}: teacher_weight needs a teacher")
        for key in (*_PROBABILITIES, "warmup", "ema", "momentum", "weight_decay", "teacher_weight"):
            if not 0 <= getattr(self, key) <= 1:
                raise BadSetting(f"recipe {self.name}: {key} must be in [0, 1], got {getattr(self, key)}")
        if len(self.erase_area) != 2 or not 0 < self.erase_area[0] <= self.erase_area[1] <= 1:
            raise BadSetting(
                f"recipe {self.name}: erase_area must be two rising shares in (0, 1], got {self.erase_area}"
            )
        if self.mixup + self.cutmix > 1:
            raise BadSetting(f"recipe {self.name}: mixup and cutmix must not sum to more than 1")
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise BadSetting(f"recipe {self.name}: {key} must be {' or '.join(allowed)}, got {getattr(self, key)}")
        if self.nesterov and self.optimiser == "sgd" and not self.momentum:
            raise BadSetting(f"recipe {self.name}: nesterov needs a momentum > 0")
        if not self.losses or not all(math.isfinite(weight) and weight >= 0 for weight in self.losses.values()):
            raise BadSetting(
                f"recipe {self.name}: losses must contain at least one loss, with weights >= 0, got {self.losses}"
            )
        if stray := [name for name in self.loss_options if name not in self.losses]:
            raise BadSetting(f"recipe {self.name}: loss_options for '{stray[0]}', which is not one of the losses")
        self.input_spec()

    def input_spec(self) -> InputSpec:
        """Input specification, as the runtime will read it from the exported file.

        Raises:
            BadSetting: the input settings are inconsistent.
        """
        try:
            return InputSpec.model_validate({name: getattr(self, name) for name in InputSpec.model_fields})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "input"
            said = first["msg"].removeprefix("Value error, ")
            raise BadSetting(f"recipe {self.name}: {where}: {said}") from error

    def as_dict(self) -> dict[str, Any]:
        """All settings, JSON-serialisable."""
        return asdict(self)


def from_dict(settings: Mapping[str, Any]) -> Recipe:
    """The recipe behind a run folder's recipe.json or a YAML file; keys left out have their defaults.

    Raises:
        BadSetting: a key is missing or unknown, or a value is not of its type.
    """
    known = [f.name for f in fields(Recipe)]
    settings = {_RENAMED.get(key, key): value for key, value in settings.items()}
    for key in settings:
        if key not in known:
            raise BadSetting(unknown("recipe key", str(key), known))
    try:
        return TypeAdapter(Recipe).validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        got = "" if first["type"] == "missing" else f", got {first['input']!r:.100}"
        raise BadSetting(f"recipe key '{key}': {first['msg']}{got}") from error


def from_yaml(file: Path) -> Recipe:
    """The recipe in a YAML file, as `affectlens recipes show NAME --yaml` writes it.

    Raises:
        BadSetting: the file is no YAML mapping, or as `from_dict`. MissingExtra: there is no YAML reader.
    """
    yaml = _yaml()
    try:
        settings = _plain_yaml(read_text(file, _MAX_BYTES))
    except OSError:
        raise
    except Exception as error:  # of the parser, and many types of what makes values of its texts
        said = str(error) if isinstance(error, yaml.YAMLError) else one_line(error)
        raise BadSetting(f"'{file}' is not valid YAML: {' '.join(said.split())}") from error
    if not isinstance(settings, dict):
        raise BadSetting(f"'{file}' must contain recipe keys and their values, got {type(settings).__name__}")
    try:
        return from_dict(settings)
    except BadSetting as error:
        raise BadSetting(f"'{file}': {error}") from error


def to_yaml(recipe: Recipe) -> str:
    """All settings as a YAML mapping that `from_yaml` reads back."""
    text: str = _yaml().safe_dump(json.loads(json.dumps(recipe.as_dict())), sort_keys=False)
    return text


def _plain_yaml(text: str) -> Any:
    """The value in a YAML document without aliases, by which a small file could grow, and of limited depth."""
    yaml = _yaml()

    class PlainLoader(yaml.SafeLoader):  # type: ignore[name-defined]
        """Makes nothing but plain values, as `safe_load` does."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            """The next value, with those inside it."""
            if self.check_event(yaml.events.AliasEvent):
                raise yaml.YAMLError("aliases are not supported; write the value out")
            if self.depth == _MAX_DEPTH:
                raise yaml.YAMLError(f"values are nested more than {_MAX_DEPTH} deep")
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    loader = PlainLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("reading and writing recipes as YAML", "train") from error
    return yaml


def find(name: str) -> Recipe:
    """The recipe `work/row`, the first one of a work under its own name, or the one in a YAML file.

    Raises:
        UnknownName: no such work or row; the message carries the nearest name. BadSetting: as `from_yaml`.
    """
    if name.endswith((".yaml", ".yml")):
        file = Path(name).expanduser()
        if not file.is_file():
            raise BadSetting(f"recipe file '{name}' does not exist")
        return from_yaml(file)
    work, slash, row = name.partition("/")
    if not slash:
        _refuse_row_alone(name)
    rows: Mapping[str, Recipe] = catalog.load("training.recipes", work).ROWS
    row = row or next(iter(rows))
    if row not in rows:
        raise UnknownName(unknown("row", row, list(rows), f"of '{work}'"))
    return rows[row]


def _refuse_row_alone(name: str) -> None:
    """Raises UnknownName where `name` is no work but, or nearly, a row of one."""
    works = catalog.available("training.recipes")
    rows = {work: catalog.load("training.recipes", work).ROWS for work in works}
    known = [row for of_work in rows.values() for row in of_work]
    if name not in works and (near := difflib.get_close_matches(name, known, n=1, cutoff=0.8)):
        meant = " or ".join(f"'{work}/{near[0]}'" for work in works if near[0] in rows[work])
        raise UnknownName(f"unknown recipe '{name}'; did you mean {meant}?")


def with_settings(recipe: Recipe, settings: Mapping[str, Any] | Sequence[str]) -> Recipe:
    """`recipe` with settings applied: texts "key=value", or a mapping; "model_options.stn" is one entry of a mapping.

    Raises:
        BadSetting: no "=", an unknown key, or a value that is not of the key's type.
    """
    hints = typing.get_type_hints(Recipe)
    changes: dict[str, Any] = {}
    typed = isinstance(settings, Mapping)
    for path, value in settings.items() if isinstance(settings, Mapping) else map(_split, settings):
        key, dot, entry = path.partition(".")
        if key in ("work", "row"):
            raise BadSetting(f"'{key}' is the name of the recipe and cannot be set")
        if key not in hints:
            raise BadSetting(unknown("recipe key", key, [f.name for f in fields(Recipe)]))
        has_entries = typing.get_origin(hints[key]) is Mapping
        if dot and not has_entries:
            raise BadSetting(f"recipe key '{key}' has no entries, got '{path}={value}'")
        if dot:
            known = changes.get(key, getattr(recipe, key))
            changes[key] = _with_entry(known, entry, value if typed else _scalar(value))
        elif has_entries and not typed:
            raise BadSetting(f"recipe key '{key}' must be set entry by entry: {key}.NAME=VALUE")
        else:
            changes[key] = value if typed else _parse(path, value, hints[key])
    return from_dict({f.name: getattr(recipe, f.name) for f in fields(Recipe)} | changes)


def _split(setting: str) -> tuple[str, str]:
    """Key and value of "key=value"."""
    path, equals, text = setting.partition("=")
    if not equals or not path:
        raise BadSetting(f"a setting must have the form key=value, got '{setting}'")
    return path, text


def _with_entry(mapping: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `mapping` with the entry at the dotted path set."""
    key, dot, rest = path.partition(".")
    if dot and not isinstance(mapping.get(key, {}), Mapping):
        raise BadSetting(f"cannot set '{path}', because '{key}' is a single value")
    return {**mapping, key: _with_entry(mapping.get(key, {}), rest, value) if dot else value}


def _scalar(text: str) -> Any:
    """true, false, a number, numbers separated by commas, or the text itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "," in text:
        return tuple(_scalar(part) for part in text.split(","))
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _parse(key: str, text: str, kind: Any) -> Any:
    """`text` as a value of `kind`, which is one of the types that `Recipe` uses."""
    origin = typing.get_origin(kind)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if origin is tuple:
            return tuple(float(part) for part in text.split(","))
        return kind(text)
    except (KeyError, ValueError) as error:
        expected = "true or false" if kind is bool else "numbers separated by commas" if origin else kind.__name__
        raise BadSetting(f"recipe key '{key}' expects {expected}, got '{text}'") from error
