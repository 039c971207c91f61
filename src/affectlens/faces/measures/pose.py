"""Head pose, estimated from five landmarks by `core.quality`; accurate only to about ten degrees."""

from affectlens.core.columns import Column, Kind
from affectlens.core.measures import LANDMARKS, QUALITY, Measure, Values, View

_COLUMNS = tuple(
    Column(name, Kind.REAL, meaning, (), "deg", 1)
    for name, meaning in {
        "yaw_deg": "rotation of the head about its vertical axis, positive when turned to the right of the picture",
        "pitch_deg": "rotation of the head about the axis through the ears, positive when looking down",
        "roll_deg": "rotation of the head in the plane of the picture, positive when turned clockwise",
    }.items()
)


def build() -> Measure:
    """Yaw, pitch and roll (`core.quality.pose_deg`); empty where the detector gives no landmarks."""
    return Measure("pose", _COLUMNS, _measure, needs=(LANDMARKS, QUALITY), time_constant_s=0.2)


def _measure(face: View) -> Values:
    return {column.name: getattr(face.quality, column.name) for column in _COLUMNS}
