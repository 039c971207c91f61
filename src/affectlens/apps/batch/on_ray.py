"""The engine for several machines: Ray Data reads the sources in tasks, and its actors analyze them."""

import logging
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.local import MOST_DEATHS, Sources
from affectlens.apps.batch.reading import Reader
from affectlens.apps.batch.work import Part, Settings, Worker
from affectlens.core.errors import AffectLensError, MissingExtra, UnreadableMedia
from affectlens.core.reasons import Reason

if TYPE_CHECKING:
    import pyarrow

_LISTED_AT_ONCE = 20_000
"""Sources of one Ray data set, so that the list of all never stands in its memory."""
_READ_AT_ONCE, _ANALYZED_AT_ONCE = 64, 8


def analyze_on_ray(sources: Sources, settings: Settings, workers: int, address: str | None = None) -> Iterator[Part]:
    """Parts of all sources, as they come, from `workers` actors.

    Without an `address` Ray is started on this machine. Every machine needs affectlens and access to the sources. Ray
    starts an actor that died again, and what it was at elsewhere if its machine is gone.

    Raises:
        AffectLensError: what every source would meet, or Ray cannot be reached. MissingExtra: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it takes dying actors for errors of ours
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("the engine 'ray'", "batch") from error
    started = not ray.is_initialized()
    crumbs = f"affectlens-{uuid4().hex}"
    try:
        if started:
            ours: dict[str, Any] = {} if address else {"num_cpus": workers + 1, "include_dashboard": False}
            with _silence():
                ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **ours)
        while some := dict(islice(sources, _LISTED_AT_ONCE)):
            yield from _analyze(some, settings, workers, crumbs)
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise AffectLensError(f"Ray: {str(error).strip().splitlines()[-1]}") from error
    finally:
        if started:
            ray.shutdown()
        shutil.rmtree(_folder_of(crumbs), ignore_errors=True)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing on standard error, here and from processes that are started: Ray's say there how they log."""
    sys.stderr.flush()
    ours, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(ours, 2)
        os.close(ours)
        os.close(nothing)


def _analyze(waiting: dict[int, Item], settings: Settings, workers: int, crumbs: str) -> Iterator[Part]:
    """Parts of all that is waiting."""
    import pyarrow
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    items = list(waiting.values())
    rows = pyarrow.table(
        {
            "number": list(waiting),
            "name": [item.name for item in items],
            "url": [os.fsencode(item.url) for item in items],
            "rest": [item.to_json() for item in items],
        }
    )
    some = min(_READ_AT_ONCE, -(-len(rows) // workers))
    parts = [rows.slice(at, some) for at in range(0, len(rows), some)]
    analyzed = (
        ray.data.from_arrow(parts)
        .map_batches(_read, batch_format="pyarrow")
        .map_batches(
            _Actor,
            fn_constructor_args=(settings, crumbs),
            batch_size=_ANALYZED_AT_ONCE,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(parts))),
            num_cpus=1,
            num_gpus=settings.gpus or None,
        )
    )
    batch: pyarrow.Table
    for batch in analyzed.iter_batches(batch_size=None, batch_format="pyarrow"):
        for cell in batch.column("part"):
            part = pickle.loads(cell.as_py())
            if isinstance(part, Exception):
                raise part
            if part.number in waiting:  # Ray may do again what was lost with a machine
                yield part
                if part.end is not None:
                    del waiting[part.number]


def _read(rows: "pyarrow.Table") -> "Iterator[pyarrow.Table]":
    """The sources with the bytes of their photos, a few at a time; videos are read where they are analyzed."""
    import pyarrow

    reader = Reader()
    for at in range(0, len(rows), _ANALYZED_AT_ONCE):
        some = rows.slice(at, _ANALYZED_AT_ONCE)
        data: list[bytes | None] = []
        rest = []
        for _, item in _items(some):
            try:
                data.append(None if item.video or item.fault else reader.content(item))
            except UnreadableMedia as error:
                data.append(None)
                item = replace(item, fault=(Reason(error.reason), error.detail))
            rest.append(item.to_json())
        some = some.set_column(some.column_names.index("rest"), "rest", pyarrow.array(rest))
        yield some.append_column("data", pyarrow.array(data, pyarrow.large_binary()))


class _Actor:
    """Holds the model and analyzes what was read."""

    def __init__(self, settings: Settings, crumbs: str) -> None:
        self._crumbs = _folder_of(crumbs)
        self._crumbs.mkdir(exist_ok=True)
        self._worker: Worker | AffectLensError
        try:
            self._worker = Worker(settings)
        except AffectLensError as error:  # Ray would start the actor again and again
            self._worker = error

    def __call__(self, rows: "pyarrow.Table") -> "Iterator[pyarrow.Table]":
        import pyarrow

        for (number, item), data in zip(_items(rows), rows.column("data").to_pylist(), strict=True):
            for part in self._parts(number, item, data):
                yield pyarrow.table({"part": [pickle.dumps(part)]})

    def _parts(self, number: int, item: Item, data: bytes | None) -> Iterator[Part | AffectLensError]:
        """Parts of one source; what has killed actors before, as files that outlive them say, is given up."""
        if isinstance(self._worker, AffectLensError):
            yield self._worker
            return
        crumb = self._crumbs / str(number)
        with crumb.open("ab") as stream:
            stream.write(b".")
            deaths = stream.tell() - 1
        try:
            if deaths >= MOST_DEATHS:
                yield self._worker.failed(number, item, Reason.CRASHED, "the actor that read it died")
            else:
                yield from self._worker.parts(number, item, data)
        except AffectLensError as error:
            yield error
        crumb.unlink()


def _folder_of(crumbs: str) -> Path:
    """Where a machine keeps what its actors are at."""
    return Path(tempfile.gettempdir(), crumbs)


def _items(rows: "pyarrow.Table") -> Iterator[tuple[int, Item]]:
    columns = (rows.column(name).to_pylist() for name in ("number", "name", "url", "rest"))
    for number, name, url, rest in zip(*columns, strict=True):
        yield number, Item.from_json(name, os.fsdecode(url), rest)
