import os

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


DAMAGED = {
    "cell.csv": b'source\n"' + b"x" * 300_000 + b'"\n',
    "header.csv": b"x" * 2_000_000,
    "bytes.csv": b"\xff\xfe\n",
    "deep.jsonl": b"[" * 100_000,
    "digits.jsonl": b'{"a": ' + b"1" * 10_000 + b"}",
    "line.jsonl": b'{"a": "' + b"x" * 2_000_000 + b'"}',
    "nul.parquet": bytes(1000),
    "footer.parquet": b"PAR1" + bytes(100) + (96).to_bytes(4, "little") + b"PAR1",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_is_one_line_of_bad_data(tmp_path, name):
    (tmp_path / name).write_bytes(DAMAGED[name])
    with pytest.raises(BadData) as error:
        read_series(tmp_path / name)
    assert len(str(error.value).splitlines()) == 1


def test_parquet_with_a_byte_changed_is_read_or_bad_data(analyses, tmp_path):
    file = write(tmp_path / "a.parquet", analyses)
    before, refused = file.read_bytes(), []
    for at in range(0, len(before), 37):
        file.write_bytes(before[:at] + bytes([before[at] ^ 0x41]) + before[at + 1 :])
        try:
            read_series(file)
        except BadData as error:
            refused.append(str(error))
    assert {len(said.splitlines()) for said in refused} == {1}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_pipe_and_a_device_are_no_tables(tmp_path, deadline, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"endless{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(OSError, match="not a regular file"):
            read_series(tmp_path / f"{name}{suffix}")


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
