import numpy as np
import pytest

from affectlens.core.expressions import FERPLUS
from affectlens.core.series import Event, Series
from affectlens.evaluation.plots import colours_of
from affectlens.evaluation.timeline import timeline, timeline_report


def series(frames, track=0, source="clip.mp4", labels=FERPLUS, fps=30, start_s=0.0):
    probabilities = np.full((frames, len(labels)), 0.1 / (len(labels) - 1))
    probabilities[:, 1] = 0.9
    return Series(
        source,
        track,
        labels,
        start_s + np.arange(frames) / fps,
        probabilities,
        (labels[1],) * frames,
        np.zeros(frames, dtype=bool),
        np.full(frames, 0.5),
        np.full(frames, -0.5),
    )


EVENT = Event("happiness", 0.5, 0.8, 1.5, 0.95, False)


def test_each_person_has_areas_events_and_valence_and_arousal(texts):
    figure = timeline([series(90), series(60, 1)], [[EVENT], []])
    first, _, second, below = figure.axes
    assert len(first.collections) == 8 + 1
    assert len(second.collections) == 8
    assert len(below.lines) == 3
    assert {"person 0", "person 1", "seconds", "valence", "happiness"} <= set(texts(figure))
    strip = first.collections[-1].get_paths()[0].get_extents()
    assert (strip.x0, strip.x1) == (pytest.approx(0.5), pytest.approx(1.5))


def test_those_seen_most_are_drawn_and_none_of_a_few_frames(texts):
    faces = [series(2, 0), *(series(10 + i, i) for i in range(1, 9))]
    shown = [text for text in texts(timeline(faces, [[]] * 9)) if text.startswith("person")]
    assert shown == [f"person {i}" for i in range(3, 9)]
    assert "person 0" in texts(timeline(faces[:1], [[]]))


def test_faces_of_several_videos_name_them(texts):
    figure = timeline([series(9, source="x/a.mp4"), series(9, source="b.mp4")], [[], []])
    assert {"person 0 of a.mp4", "person 0 of b.mp4"} <= set(texts(figure))


def test_a_long_video_is_thinned_and_gaps_stay_open():
    long = series(20_000)
    assert len(timeline([long], [[]]).axes[1].lines[1].get_xdata()) == 1500
    away = series(60)
    times = away.times_s.copy()
    times[30:] += 5
    parts = Series(*[times if name == "times_s" else getattr(away, name) for name in Series.__dataclass_fields__])
    valence = timeline([parts], [[]]).axes[1].lines[1].get_ydata()
    assert np.isnan(valence).sum() == 1
    assert np.isnan(valence[30])


def test_labels_of_the_users_own_have_colours_too():
    colours = colours_of(("calm", "tense", "happiness", *map(str, range(20))))
    assert colours["happiness"] == "#f5b400"
    assert len({colours["calm"], colours["tense"]}) == 2


def test_the_report_holds_persons_and_events():
    page = timeline_report("a <b>.parquet", [series(90), series(3, 7)], [[EVENT], []])
    assert "a &lt;b&gt;.parquet" in page
    for text in ("happiness", "100%", "+0.50", "-0.50", "0.80", "no", "image/svg+xml"):
        assert text in page
    assert "1 of 2 faces that are seen most" in page
    assert "http" not in page.replace("http://www.w3.org", "")
