"""Engine for several machines: tasks of Ray Data read the sources, and its actors analyze them."""

import faulthandler
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit
from uuid import uuid4

import cv2

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.local import MAX_DEATHS, Parts, Sources, cores
from affectlens.apps.batch.reading import Reader
from affectlens.apps.batch.work import BatchSettings, ResultPart, Worker
from affectlens.core.errors import AffectLensError, BadModelFile, MissingExtra
from affectlens.core.messages import reason_of
from affectlens.core.reasons import Reason

if TYPE_CHECKING:
    import pyarrow

_LISTING_BATCH = 100_000
"""Sources of one Ray data set, so that the list of all never stands in its memory: the next begins when the last of one
are done, which costs a few seconds."""
_READING_BATCH = 32
_PING_TIMEOUT_S = 5.0
_CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Variable of Ray's: whether processes of other machines may join those that are started here."""
_DIED = "the actor that read it died"
_BEGUN, _TIMED_OUT = b"begun\n", b"Timeout ("
"""What an actor leaves in the file of a source when it begins with it, and when `faulthandler` ends it."""


def check_address(address: str) -> None:
    """Whether something listens at the address of a cluster: Ray itself would try for minutes.

    Raises:
        AffectLensError: nothing does.
    """
    try:
        found = urlsplit(address if "://" in address else f"ray://{address}")
        host, port = found.hostname, found.port
    except ValueError as error:
        raise AffectLensError(f"'{address}' is not a valid address of a Ray cluster: {error}") from error
    if host is None or port is None:  # "auto", or a name of Ray's own
        return
    try:
        socket.create_connection((host, port), _PING_TIMEOUT_S).close()
    except OSError as error:
        raise AffectLensError(f"no Ray cluster responds at '{address}' ({error.strerror or error})") from error


def analyze_on_ray(
    sources: Sources, settings: BatchSettings, workers: int | None = None, address: str | None = None
) -> Parts:
    """Parts of all sources, as they come, from `workers` actors; None: one for each core there is.

    Without an `address` Ray is started on this machine, and only this machine can reach it. Every machine needs
    affectlens and access to the sources. Ray starts an actor that died again, and what it was at elsewhere if its
    machine is gone. Variables of Ray's that the environment lacks are set in it.

    Raises:
        AffectLensError: the model cannot be opened, or Ray cannot be reached. MissingExtra: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it takes dying actors for errors of ours
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # or threads of Ray Data connect again after it
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("the engine 'ray'", "batch") from error
    started = not ray.is_initialized()
    crumbs = f"affectlens-{uuid4().hex}"
    try:
        if started:
            ours: dict[str, Any] = {} if address else {"num_cpus": workers or cores(), "include_dashboard": False}
            with _silence(), nullcontext() if address else _on_loopback():
                ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **ours)
        actors = max(1, workers or int(ray.cluster_resources().get("CPU", 1)))
        while some := list(islice(sources, _LISTING_BATCH)):
            yield from _analyze(some, settings, actors, crumbs)
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise AffectLensError(f"Ray: {str(error).strip().splitlines()[-1]}") from error
    finally:
        if started:
            ray.shutdown()
        for crumb in Path(tempfile.gettempdir()).glob(f"{crumbs}-*"):
            crumb.unlink(missing_ok=True)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Processes that Ray starts here listen on the loopback address only, as on macOS and Windows: whoever reaches
    their ports can run code.
    """
    before = os.environ.get(_CLUSTER)
    os.environ[_CLUSTER] = "0"  # for these processes
    constants: Any = sys.modules.get("ray._private.ray_constants")  # has read the variable for this one already
    enabled = getattr(constants, "ENABLE_RAY_CLUSTER", None)
    if enabled is not None:
        constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        if enabled is not None:
            constants.ENABLE_RAY_CLUSTER = enabled
        if before is None:
            del os.environ[_CLUSTER]
        else:
            os.environ[_CLUSTER] = before


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


def _analyze(
    sources: list[tuple[int, Item]], settings: BatchSettings, actors: int, crumbs: str
) -> Iterator[ResultPart]:
    """Parts of these sources."""
    import pyarrow
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    tables = list(_tables(sources, min(_READING_BATCH, -(-len(sources) // actors))))
    actors = min(actors, len(tables))
    waiting = {number for number, _ in sources}
    analyzed = (
        ray.data.from_arrow(tables)
        .map_batches(  # of no core, so that the actors may have all: reading waits more than it computes
            _read, batch_size=None, batch_format="pyarrow", num_cpus=0, compute=ray.data.TaskPoolStrategy(size=actors)
        )
        .map_batches(
            _Actor,
            fn_constructor_args=(settings, crumbs),
            batch_size=1,  # of more Ray would gather as many, and one actor get all videos
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            num_gpus=settings.gpus or None,
        )
    )
    batch: pyarrow.Table
    with closing(iter(analyzed.iter_batches(batch_size=None, batch_format="pyarrow"))) as batches:
        for batch in batches:
            for cell, fault in zip(batch.column("part"), batch.column("fault"), strict=True):
                if fault.is_valid:
                    raise BadModelFile(fault.as_py())
                part = ResultPart.from_json(cell.as_py())
                if part.number in waiting:  # Ray may do again what was lost with a machine
                    yield part
                    if part.end is not None:
                        waiting.remove(part.number)
    lost = [(number, item) for number, item in sources if number in waiting]
    if lost:  # Ray took "given up" for a part of a video that it had already
        worker = Worker(replace(settings, gpus=0))
        for number, item in lost:
            yield worker.failed(number, item, Reason.CRASHED, _DIED)


def _tables(sources: list[tuple[int, Item]], photos: int) -> "Iterator[pyarrow.Table]":
    """Sources that are read together: so many photos, or one video, which takes as long as many of them."""
    import pyarrow

    for video, some in groupby(sources, lambda source: source[1].video):
        while together := list(islice(some, 1 if video else photos)):
            items = [item for _, item in together]
            yield pyarrow.table(
                {
                    "number": [number for number, _ in together],
                    "name": [item.name for item in items],
                    "url": [os.fsencode(item.url) for item in items],
                    "where": [item.where for item in items],
                    "fault": pyarrow.array([item.fault_json for item in items], pyarrow.string()),
                }
            )


def _read(rows: "pyarrow.Table") -> "pyarrow.Table":
    """The sources with the bytes of their photos; videos are read where they are analyzed."""
    import pyarrow

    reader = Reader()
    data: list[bytes | None] = []
    faults = []
    for _, item in _items(rows):
        try:
            data.append(None if item.video or item.fault else reader.content(item))
        except Exception as error:  # whatever goes wrong, goes wrong with this source
            data.append(None)
            item = replace(item, fault=reason_of(error))
        faults.append(item.fault_json)
    reader.close()
    rows = rows.set_column(rows.column_names.index("fault"), "fault", pyarrow.array(faults, pyarrow.string()))
    return rows.append_column("data", pyarrow.array(data, pyarrow.large_binary()))


class _Actor:
    """Holds the model and analyzes what was read."""

    def __init__(self, settings: BatchSettings, crumbs: str) -> None:
        cv2.setNumThreads(1)
        self._crumbs, self._timeout_s = crumbs, settings.timeout_s
        self._worker: Worker | str
        try:
            self._worker = Worker(settings)
        except AffectLensError as error:  # Ray would start the actor again and again
            self._worker = str(error)

    def __call__(self, rows: "pyarrow.Table") -> "Iterator[pyarrow.Table]":
        import pyarrow

        if isinstance(self._worker, str):
            yield pyarrow.table({"part": pyarrow.nulls(1, pyarrow.string()), "fault": [self._worker]})
            return
        for (number, item), data in zip(_items(rows), rows.column("data").to_pylist(), strict=True):
            try:
                for part in self._parts(self._worker, number, item, data):
                    yield pyarrow.table({"part": [part.to_json()], "fault": pyarrow.nulls(1, pyarrow.string())})
            except AffectLensError as error:  # every source would fail alike
                yield pyarrow.table({"part": pyarrow.nulls(1, pyarrow.string()), "fault": [str(error)]})

    def _parts(self, worker: Worker, number: int, item: Item, data: bytes | None) -> Iterator[ResultPart]:
        """Parts of one source; what has killed actors before, as files that outlive them say, is given up."""
        crumb = Path(tempfile.gettempdir(), f"{self._crumbs}-{number}")
        before = crumb.read_bytes() if crumb.exists() else b""
        if _TIMED_OUT in before:
            yield worker.too_slow(number, item)
        elif before.count(_BEGUN) >= MAX_DEATHS:
            yield worker.failed(number, item, Reason.CRASHED, _DIED)
        else:
            with crumb.open("ab", buffering=0) as stream:
                stream.write(_BEGUN)
                yield from self._watched(worker.parts(number, item, data), stream)
        crumb.unlink()

    def _watched(self, parts: Iterator[ResultPart], crumb: BinaryIO) -> Iterator[ResultPart]:
        """The parts; one that takes too long ends this process, whatever it does, and `crumb` says so."""
        while True:
            faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=crumb)
            try:
                part = next(parts, None)
            finally:
                faulthandler.cancel_dump_traceback_later()
            if part is None:
                return
            yield part


def _items(rows: "pyarrow.Table") -> Iterator[tuple[int, Item]]:
    columns = (rows.column(name).to_pylist() for name in ("number", "name", "url", "where", "fault"))
    for number, name, url, where, fault in zip(*columns, strict=True):
        yield number, Item.of(name, os.fsdecode(url), where, fault)
