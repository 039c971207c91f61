"""Conversion of a data set to Parquet shards, for any Arrow tool and the reader `table`.

Columns: id, split, image (original bytes of the file; PNG if it was an array of pixels or part of a picture),
expression, votes (shares in the order of `labels` in the schema's metadata), valence, arousal, landmarks (x, y, x, y,
... in pixels of the image), age_years, attributes (0 and 1), and one column group_NAME per group. The schema's metadata
also contain `licence` (terms for models trained on the data), `origin`, its reader and options, and `attributes`, their
names.
"""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import cv2
import numpy as np

from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.core.files import remove_own
from affectlens.core.sample import Dropped, Sample
from affectlens.data.images import Stored, pixels_of
from affectlens.data.readers.table import ATTRIBUTES_KEY, LABELS_KEY, LICENCE_KEY, OLD_UNFINISHED, UNFINISHED
from affectlens.data.source import SPLITS, DataSource
from affectlens.data.table import landmarks_in_box

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SHARD_ROWS = 5000
_SHARD = rf"({'|'.join(SPLITS)})-\d{{5,}}\.parquet"


def prepare(source: DataSource, out: Path, shard_rows: int = SHARD_ROWS) -> Iterator[tuple[str, str | None]]:
    """Write SPLIT-NNNNN.parquet files into the folder `out`; they appear when all are complete.

    Yields (split, None) for each sample written and (split, reason) for each that was left out.

    Raises:
        BadSetting: `out` holds Parquet files already or is being written by another process, or faces are to be found
            in the pictures. MissingExtra: pyarrow is not installed. BadData: as `samples` of the source.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("writing Parquet", "parquet") from error
    _check_free(out)
    out.mkdir(parents=True, exist_ok=True)
    groups = _group_names(source)
    schema = _schema(source, groups)
    with _alone_in(out), _temporary_folder(out) as folder:
        written: list[Path] = []
        for split in SPLITS:
            rows: list[dict[str, Any]] = []
            shards = (folder / f"{split}-{number:05d}.parquet" for number in itertools.count())
            for entry in source.samples(split):
                row = _row(entry, groups)
                if isinstance(row, str):
                    yield split, row
                    continue
                rows.append(row)
                if len(rows) == shard_rows:
                    written.append(next(shards))
                    pq.write_table(pa.Table.from_pylist(rows, schema=schema), written[-1])
                    rows = []
                yield split, None
            if rows:
                written.append(next(shards))
                pq.write_table(pa.Table.from_pylist(rows, schema=schema), written[-1])
        _check_free(out)
        _move(written, out)


def _check_free(out: Path) -> None:
    """Raises BadSetting: `out` holds shards already, or those of an earlier version that were not completed."""
    if any(out.glob("*.parquet")):
        raise BadSetting(f"'{out}' already contains Parquet files; choose another folder")
    if os.path.lexists(out / OLD_UNFINISHED):
        raise BadSetting(
            f"'{out / OLD_UNFINISHED}' may contain shards that an earlier version did not complete; remove it, or "
            "choose another folder"
        )


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Keep others from preparing a data set in the same folder, where the system and the disk can.

    Raises:
        BadSetting: another does.
    """
    with ExitStack() as held:
        if fcntl is not None:
            handle = os.open(out, os.O_RDONLY)
            held.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it ends with the process, however that ends
            except BlockingIOError as error:
                raise BadSetting(f"another process prepares a data set in '{out}'; wait until it has ended") from error
            except OSError:  # a disk that knows no locks; `_check_free` and `_move` notice another process too
                pass
        yield


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """A new folder for shards in `out`, emptied and removed at the end like those of processes that were killed."""
    folder = Path(mkdtemp(prefix=UNFINISHED, dir=out))
    for other in out.glob(f"{UNFINISHED}*"):
        if other != folder:
            _remove(other)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Delete the shards in a temporary folder, and the folder unless others put something there."""
    with suppress(OSError):
        if not folder.is_symlink():
            remove_own(folder, _SHARD)
            folder.rmdir()


def _move(shards: list[Path], out: Path) -> None:
    """Move all shards to `out`, or none.

    Raises:
        OSError: one cannot be moved, for example because another process has deleted it.
    """
    moved: list[Path] = []
    try:
        moved.extend(shard.rename(out / shard.name) for shard in shards)
    except OSError:
        for file in moved:
            file.unlink()
        raise


def _schema(source: DataSource, groups: list[str]) -> Any:
    """The columns and what the shards say about themselves."""
    import pyarrow as pa

    return pa.schema(
        [
            *[pa.field(name, pa.string()) for name in ("id", "split")],
            pa.field("image", pa.binary()),
            pa.field("expression", pa.string()),
            pa.field("votes", pa.list_(pa.float32())),
            *[pa.field(name, pa.float32()) for name in ("valence", "arousal", "age_years")],
            *[pa.field(name, pa.list_(pa.float32())) for name in ("landmarks", "attributes")],
            *[pa.field(f"group_{name}", pa.string()) for name in groups],
        ],
        metadata={
            LABELS_KEY: json.dumps(list(source.labels())).encode(),
            LICENCE_KEY: source.licence.encode(),
            ATTRIBUTES_KEY: json.dumps(list(source.attribute_names)).encode(),
            b"origin": source.name.encode(),
        },
    )


def _group_names(source: DataSource) -> list[str]:
    """Names of all groups of all samples, without opening an image."""
    names: Counter[str] = Counter()
    for split in SPLITS:
        for entry in source.samples(split):
            if isinstance(entry, Sample):
                names.update(entry.groups.keys())
    return sorted(names)


def _row(entry: Sample | Dropped, groups: list[str]) -> dict[str, Any] | str:
    """One line of a shard, or why there is none."""
    if isinstance(entry, Dropped):
        return entry.reason
    if entry.find_face:
        raise BadSetting(
            "shards contain pictures as they are; leave find_faces=yes out here, and set it where the shards are read "
            "(table:FOLDER?find_faces=yes)"
        )
    try:
        image = _image(entry)
    except BadData:
        return "image cannot be decoded"
    landmarks = landmarks_in_box(entry)
    return {
        "id": entry.id,
        "split": entry.split,
        "image": image,
        "expression": entry.expression,
        "votes": None if entry.votes is None else entry.votes.tolist(),
        "valence": entry.valence,
        "arousal": entry.arousal,
        "age_years": entry.age_years,
        "landmarks": None if landmarks is None else landmarks.reshape(-1).tolist(),
        "attributes": None if entry.attributes is None else entry.attributes.tolist(),
        **{f"group_{name}": entry.groups.get(name) for name in groups},
    }


def _image(sample: Sample) -> bytes:
    """The encoded image; checked to be one."""
    stored = Stored.of(sample)
    if stored is None:
        raise BadData(f"sample '{sample.id}' has no image")
    pixels = pixels_of(stored)
    if isinstance(stored, Stored) and stored.box_xyxy is None:
        return stored.encoded()
    bgr = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(bgr))
    return encoded.tobytes()
