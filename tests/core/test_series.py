import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.core.series import Event, Series


def series(frames=3, **changes):
    columns = {
        "source": "clip.mp4",
        "track": 0,
        "labels": ("neutral", "happiness"),
        "times_s": np.arange(frames) / 10,
        "probabilities": np.full((frames, 2), 0.5),
        "expressions": ("neutral",) * frames,
        "uncertain": np.zeros(frames, dtype=bool),
        "valence": np.zeros(frames),
        "arousal": np.zeros(frames),
    }
    return Series(**(columns | changes))


@pytest.mark.parametrize(
    "bad",
    [
        {"probabilities": np.zeros((3, 3))},
        {"expressions": ("neutral",)},
        {"valence": np.zeros(2)},
        {"uncertain": np.zeros(4, dtype=bool)},
    ],
)
def test_lengths_must_agree(bad):
    with pytest.raises(BadData, match="equal length"):
        series(**bad)


def test_times_must_rise():
    with pytest.raises(BadData, match="must increase"):
        series(times_s=np.array([0.0, 0.2, 0.1]))
    assert series().times_s[-1] == 0.2


def test_an_event_lasts_from_onset_to_offset():
    assert Event("fear", 1.0, 1.5, 3.0, 0.9, True).duration_s == 2.0
