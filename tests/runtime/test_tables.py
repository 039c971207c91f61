import numpy as np
import pytest

from affectlens import Analysis, Reason
from affectlens.core import catalog
from affectlens.core.columns import Schema
from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.runtime.tables import read_series

LABELS = ("neutral", "happiness")


def write(file, analyses):
    with catalog.load("runtime.writers", file.suffix[1:]).build(file, Schema(LABELS)) as writer:
        for analysis in analyses:
            writer(analysis)
    return file


@pytest.fixture
def analyses(make_face):
    """A photo; a video with two persons, one of whom comes late, and a frame without any; another video."""
    found = [Analysis("photo.jpg", "m", LABELS, (make_face(),))]
    for i in range(6):
        faces = [make_face({"neutral": 0.1 * i, "happiness": 1 - 0.1 * i}, track=0, uncertain=i == 2)]
        if i >= 4:
            faces.append(make_face(track=1, valence=None, arousal=None, va_source=None))
        found.append(Analysis("a,b 😀.mp4", "m", LABELS, tuple(faces), frame=i, time_s=i / 10))
    found.append(Analysis("a,b 😀.mp4", "m", LABELS, reason=Reason.NO_FACE, frame=6, time_s=0.6))
    found.append(Analysis("12", "m", LABELS, (make_face(track=0),), frame=0, time_s=0.0))
    return found


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_faces_come_back_as_they_were(analyses, tmp_path, suffix):
    first, second, other = read_series(write(tmp_path / f"a{suffix}", analyses))
    assert [(face.source, face.track) for face in (first, second, other)] == [
        ("a,b 😀.mp4", 0), ("a,b 😀.mp4", 1), ("12", 0),
    ]  # fmt: skip
    np.testing.assert_allclose(first.times_s, np.arange(6) / 10)
    np.testing.assert_allclose(first.probabilities[:, 0], 0.1 * np.arange(6))
    assert first.labels == LABELS
    assert first.uncertain.tolist() == [False, False, True, False, False, False]
    assert first.expressions[:2] == ("happiness", "happiness")
    np.testing.assert_allclose(first.valence, 0.57)
    assert np.isnan(second.valence).all()


def test_other_files_are_refused_in_one_line(analyses, tmp_path, monkeypatch):
    with pytest.raises(BadSetting, match=r"\.parquet, \.csv or \.jsonl"):
        read_series(tmp_path / "a.txt")
    with pytest.raises(BadData, match="does not exist"):
        read_series(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadData, match="it lacks source, time_s"):
        read_series(tmp_path / "b.csv")
    (tmp_path / "c.parquet").write_bytes(b"Dear diary")
    with pytest.raises(BadData, match=r"cannot read .* as a table"):
        read_series(tmp_path / "c.parquet")
    good = write(tmp_path / "e.csv", analyses).read_text()
    for old, new, message in (
        (",0.3,", ",,", "without a time"),
        (",true,", ",maybe,", "maybe"),
        (",true,", ",,", "true nor false"),
    ):
        assert old in good
        (tmp_path / "f.csv").write_text(good.replace(old, new, 1))
        with pytest.raises(BadData, match=message):
            read_series(tmp_path / "f.csv")
    with pytest.raises(BadData, match="no face from a video"):
        read_series(write(tmp_path / "d.csv", analyses[:1]))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"affectlens\[parquet\]"):
        read_series(tmp_path / "b.csv")
