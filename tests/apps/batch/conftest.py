"""Photos for batches, and what a batch has written."""

import cv2
import pytest
from pyarrow import parquet

from affectlens.apps.batch.manifest import Manifest


@pytest.fixture(scope="session")
def jpeg(portrait):
    """The bytes of a small photo with one face."""
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small[..., ::-1])[1].tobytes()


@pytest.fixture
def photos(tmp_path, jpeg):
    """A folder of twelve photos, two of which cannot be read."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number in range(10):
        (folder / ("more" if number % 2 else "") / f"{number}.jpg").write_bytes(jpeg)
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no photo")
    (folder / "0.faces.jpg").write_bytes(jpeg)
    return folder


@pytest.fixture
def read_back():
    """(rows of all shards, source -> (state, reason)) of a batch."""

    def read(folder):
        rows = [row for file in sorted(folder.glob("part-*.parquet")) for row in parquet.read_table(file).to_pylist()]
        with Manifest(folder) as manifest:
            found = manifest._base.execute("select source, state, reason from sources").fetchall()
        return rows, {source: (state, reason) for source, state, reason in found}

    return read
