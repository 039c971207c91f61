"""A batch from its beginning, or from where it was, to its end."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from affectlens.apps.batch.listing import list_items
from affectlens.apps.batch.local import analyze_here, analyze_in_processes
from affectlens.apps.batch.manifest import DONE, FAILED, NAME, WAITING, Manifest
from affectlens.apps.batch.on_ray import analyze_on_ray
from affectlens.apps.batch.shards import Shards
from affectlens.apps.batch.work import COPIES, Part, Settings
from affectlens.core.errors import BadSetting
from affectlens.core.session import model_file
from affectlens.runtime.analysis import columns

Progress = Callable[[Iterator[Part], int], Iterator[Part]]


class Engine(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    """Processes of this machine."""
    RAY = "ray"
    """Ray Data, on this machine or on a cluster."""


@dataclass(frozen=True)
class Outcome:
    """What a batch holds: its sources by state, shards and rows; and what went wrong beside the sources."""

    done: int
    failed: int
    waiting: int
    shards: int
    rows: int


def run(
    source: str,
    folder: Path,
    settings: Settings,
    workers: int,
    most_rows: int,
    resume: bool = False,
    engine: Engine = Engine.LOCAL,
    address: str | None = None,
    progress: Progress = lambda parts, _: parts,
    warn: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Analyze what `source` names and write shards and manifest into `folder`.

    Args:
        source: as `list_items` takes it.
        folder: is made if there is none.
        settings: how it is analyzed.
        workers: processes, or actors of Ray; 0 does all in this process.
        most_rows: of a shard.
        resume: go on with the batch in `folder`, if there is one.
        engine: where it is done.
        address: of a Ray cluster; Ray is started here if there is none.
        progress: shown the parts as they come, with the number of sources that are waiting.
        warn: told what went wrong beside a source, an annotated copy for example.

    Raises:
        BadSetting: the folder holds a batch already and `resume` is not set, or a batch of other settings.
        AffectLensError: what every source would meet.
    """
    if (folder / NAME).exists() and not resume:
        raise BadSetting(f"'{folder}' holds a batch already; go on with --resume, or name another folder")
    analyzer = settings.analyzer()
    items = None if (folder / NAME).exists() else list_items(source)  # nothing is made where there is nothing to do
    with Manifest(folder) as manifest:
        manifest.begin(_facts(source, settings))
        if not manifest.listed:
            manifest.add(items or list_items(source))
        if settings.annotate_in:
            (folder / COPIES).mkdir(exist_ok=True)
        shards = Shards(folder, manifest, columns(analyzer.spec.labels), most_rows)
        sources = manifest.waiting()
        if engine is Engine.RAY:
            parts = analyze_on_ray(sources, settings, max(workers, 1), address)
        else:
            parts = analyze_in_processes(sources, settings, workers) if workers else analyze_here(sources, settings)
        try:
            for part in progress(parts, manifest.counts()[WAITING]):
                shards.add(part)
                if part.end and part.end.warning:
                    warn(part.end.warning)
        finally:
            shards.close()
        counts, written = manifest.counts(), manifest.shards()
    return Outcome(counts[DONE], counts[FAILED], counts[WAITING], len(written), sum(shard.rows for shard in written))


def _facts(source: str, settings: Settings) -> dict[str, Any]:
    """What must not change while a batch goes on."""
    facts = asdict(settings) | {"source": source, "model": _fingerprint(model_file(settings.model))}
    return {key: value for key, value in facts.items() if key not in ("annotate_in", "gpus")}


def _fingerprint(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
