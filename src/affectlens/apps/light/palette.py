"""Mapping from expression, valence and arousal to the colour and brightness of a lamp."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from affectlens.core.affect import Face
from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting
from affectlens.core.files import read_bytes

Floats = NDArray[np.float64]
Rgb = tuple[int, int, int]


def _with_light(rgb: Rgb) -> Rgb:
    if not any(rgb):
        raise ValueError("must not be black; to turn a lamp off, set the brightness to 0")
    return rgb


Channel = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[tuple[Channel, Channel, Channel], AfterValidator(_with_light)]
Share = Annotated[float, Field(ge=0, le=1)]

COLOURS: dict[str, Rgb] = {
    "neutral": (255, 200, 140),
    "happiness": (255, 190, 0),
    "surprise": (255, 80, 0),
    "sadness": (0, 60, 255),
    "anger": (255, 0, 20),
    "disgust": (60, 255, 0),
    "fear": (140, 0, 255),
    "contempt": (0, 255, 190),
}
"""sRGB of each expression: the hues of pictures and figures as saturated as a lamp shows them, neutral a warm white."""

_WARMER = np.array([1.0, 0.0, -1.0])
"""What a warmer light has more and less of: red, green, blue."""


@dataclass(frozen=True)
class Light:
    """What a lamp is to show.

    Attributes:
        rgb: sRGB at full brightness, 0 to 255; the largest is 255.
        brightness: in [0, 1]; 0 is off.
    """

    rgb: Rgb
    brightness: float

    @property
    def on_screen(self) -> Rgb:
        """The sRGB, 0 to 255, in which a screen shows this light at its brightness."""
        return encoded(linear(self.rgb) * self.brightness)


class Palette(BaseModel):
    """How faces become light.

    A face's colour is the mean of the colours of its labels, weighted by their probabilities (smoothed, in videos), in
    linear light, as lamps beside each other would mix. Of each colour only hue and saturation count: brightness comes
    from arousal, evenly from `dim` at -1 to `bright` at 1. Several faces are weighted by the areas of their boxes.

    Attributes:
        colours: sRGB of each label; those that are not given are as in `COLOURS`, and a label that has none there
            either (a user's own) has neutral's.
        nobody, nobody_brightness: the light when nobody is there; a brightness of 0 turns the lamp off.
        nobody_after_s: how long after the last face that begins.
        dim, bright: brightness at the lowest and at the highest arousal, in [0, 1]; halfway where it is not known.
        doubt: how far an uncertain face is pulled towards neutral, in [0, 1].
        warmth: how much more red and less blue a valence of 1 gives, as a share of each; a valence of -1 takes as much
            red and gives as much blue. It shows in whites and mixtures, hardly in pure colours.
        time_constant_s: of transitions; after it 63 % of the way is gone, after three times as long 95 %.

    Raises:
        ValidationError: a value outside its range, or `dim` above `bright`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    colours: dict[str, Colour] = COLOURS
    nobody: Colour = (255, 170, 90)
    nobody_brightness: Share = 0.2
    nobody_after_s: float = Field(default=3.0, ge=0, le=3600)
    dim: Share = 0.25
    bright: Share = 1.0
    doubt: Share = 0.5
    warmth: float = Field(default=0.25, ge=0, le=0.9)
    time_constant_s: float = Field(default=1.0, ge=0, le=3600)

    @field_validator("colours")
    @classmethod
    def _complete(cls, colours: dict[str, Rgb]) -> dict[str, Rgb]:
        return COLOURS | colours

    @model_validator(mode="after")
    def _in_order(self) -> "Palette":
        if self.dim > self.bright:
            raise ValueError(f"dim must be <= bright, got {self.dim} and {self.bright}")
        return self

    @classmethod
    def read(cls, path: Path) -> "Palette":
        """The palette of a JSON file; missing keys keep their defaults.

        Raises:
            BadSetting: the file does not exist, is not JSON, or has a key or value that a palette does not have.
            OSError: it cannot be read.
        """
        if not path.exists():
            raise BadSetting(f"the palette file '{path}' does not exist")
        try:
            return cls.model_validate_json(read_bytes(path))
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "extra_forbidden":
                key = unknown("key", str(first["loc"][-1]), list(cls.model_fields))
                raise BadSetting(f"palette '{path}': {key}") from error
            where = [f"palette '{path}'", ".".join(map(str, first["loc"]))]
            raise BadSetting(": ".join([*filter(None, where), first["msg"].removeprefix("Value error, ")])) from error

    def light(self, faces: Sequence[Face]) -> Light:
        """The light of these faces, of nobody where there are none."""
        if not faces:
            return Light(encoded(_full(linear(self.nobody))), self.nobody_brightness)
        areas = np.array([_area(face) for face in faces])
        shares = areas / areas.sum()
        colour = shares @ np.array([self._colour(face) for face in faces])
        brightness = shares @ np.array([self._brightness(face) for face in faces])
        return Light(encoded(_full(colour)), float(np.clip(brightness, self.dim, self.bright)))

    def _colour(self, face: Face) -> Floats:
        """(3,) linear light of one face."""
        shown = face.smoothed or face
        neutral = self.colours["neutral"]
        hues = _full(linear([neutral, *(self.colours.get(label, neutral) for label in shown.probabilities)]))
        colour: Floats = np.array(list(shown.probabilities.values())) @ hues[1:]
        if face.uncertain:
            colour = colour + self.doubt * (hues[0] - colour)
        return colour * (1 + self.warmth * (shown.valence or 0.0) * _WARMER)

    def _brightness(self, face: Face) -> float:
        arousal = (face.smoothed or face).arousal or 0.0
        return self.dim + (self.bright - self.dim) * (1 + arousal) / 2


def linear(rgb: Rgb | Sequence[Rgb]) -> Floats:
    """(..., 3) sRGB, 0 to 255 -> linear light in [0, 1] (IEC 61966-2-1)."""
    coded = np.asarray(rgb, dtype=np.float64) / 255
    light: Floats = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return light


def encoded(light: Floats) -> Rgb:
    """(3,) linear light in [0, 1] -> sRGB, 0 to 255."""
    coded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(coded * 255).astype(int).tolist()
    return red, green, blue


def _full(light: Floats) -> Floats:
    """(..., 3) linear light at full brightness: the largest channel is 1."""
    full: Floats = light / light.max(axis=-1, keepdims=True)
    return full


def _area(face: Face) -> float:
    x1, y1, x2, y2 = map(float, face.box_xyxy)
    return max((x2 - x1) * (y2 - y1), 1.0)
