"""Run a batch from the start, or from where it stopped, to the end."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from affectlens import __version__
from affectlens.apps.batch.item import Item
from affectlens.apps.batch.listing import absolute, is_url, list_items
from affectlens.apps.batch.local import analyze_here, analyze_in_processes, cores
from affectlens.apps.batch.manifest import Manifest
from affectlens.apps.batch.on_ray import analyze_on_ray, check_address
from affectlens.apps.batch.shards import Shards
from affectlens.apps.batch.work import COPIES, BatchSettings, ResultPart
from affectlens.core.errors import BadSetting
from affectlens.core.files import sha256_of
from affectlens.core.session import model_file
from affectlens.runtime.batch_folder import DONE, FAILED, NAME, WAITING, files_like_shards

Progress = Callable[[Iterator[ResultPart], int], Iterator[ResultPart]]
Listing = Callable[[Iterator[Item]], Iterator[Item]]


class Engine(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    """Processes of this machine."""
    RAY = "ray"
    """Ray Data, on this machine or on a cluster."""


@dataclass(frozen=True)
class Outcome:
    """What a batch holds: its sources by state, shards and rows."""

    done: int
    failed: int
    waiting: int
    shards: int
    rows: int
    reasons: dict[str, int]
    """Of the failed sources, by reason code (`core.reasons.Reason`); the most frequent first."""


def run(
    source: str,
    folder: Path,
    settings: BatchSettings,
    workers: int | None,
    max_rows: int,
    resume: bool = False,
    engine: Engine = Engine.LOCAL,
    address: str | None = None,
    listing: Listing = lambda items: items,
    progress: Progress = lambda parts, _: parts,
    warn: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Analyze what `source` names and write shards and manifest into `folder`.

    Args:
        source: as `list_items` takes it.
        folder: is made if there is none.
        settings: how it is analyzed.
        workers: processes, or actors of Ray; 0 does all in this process; None: one for each core of the machine or
            cluster.
        max_rows: of a shard.
        resume: go on with the batch in `folder`, if there is one.
        engine: where it is done.
        address: of a Ray cluster; Ray is started here if there is none.
        listing: shown the sources as they are found.
        progress: shown the parts as they come, with the number of sources that are waiting.
        warn: told what went wrong beside a source, an annotated copy for example.

    Raises:
        BadSetting: the folder holds a batch already and `resume` is not set, a batch of other settings, shards of
            something else, or a damaged manifest. BadData: a shard of the batch is missing or damaged. AffectLensError:
            what every source would meet.
    """
    begun = (folder / NAME).exists()
    if begun and not resume:
        raise BadSetting(f"'{folder}' already contains a batch; continue it with --resume, or choose another folder")
    if not begun and (found := files_like_shards(folder)):
        raise BadSetting(f"'{folder}' contains shards ({found[0].name}) but no manifest; choose another folder")
    if is_url(url := folder.as_posix().replace(":/", "://", 1)):
        raise BadSetting(f"'{url}' is a URL; --out must be a folder on this machine")
    model = model_file(settings.model)
    settings = settings.everywhere()
    here = settings if engine is Engine.LOCAL else replace(settings, gpus=0)  # a cluster's GPUs are elsewhere
    schema = here.analyzer().schema
    if address:
        check_address(address)
    items = None if begun else list_items(source)  # nothing is made where there is nothing to do
    with Manifest(folder) as manifest:
        manifest.begin(_facts(source, settings, model))
        if not manifest.listed:
            manifest.add(listing(items or list_items(source)))
        manifest.keep_room()
        if settings.annotate_in:
            (folder / COPIES).mkdir(exist_ok=True)
        shards = Shards(folder, manifest, schema, max_rows)
        sources = manifest.waiting()
        if engine is Engine.RAY:
            parts = analyze_on_ray(sources, settings, workers, address)
        elif workers == 0:
            parts = analyze_here(sources, settings)
        else:
            parts = analyze_in_processes(sources, settings, workers or cores())
        try:
            for part in progress(parts, manifest.counts()[WAITING]):
                shards.add(part)
                if part.end and part.end.warning:
                    warn(part.end.warning)
        finally:
            parts.close()
            shards.close()
        counts, written, reasons = manifest.counts(), manifest.shards(), manifest.reasons()
    rows = sum(shard.rows for shard in written)
    return Outcome(counts[DONE], counts[FAILED], counts[WAITING], len(written), rows, reasons)


def _facts(source: str, settings: BatchSettings, model: Path) -> dict[str, Any]:
    """What must not change while a batch goes on."""
    facts = asdict(settings) | {"source": absolute(source), "annotate": settings.annotate_in is not None}
    facts["affectlens"] = __version__
    facts["model"] = sha256_of(model)
    return {key: value for key, value in facts.items() if key not in ("annotate_in", "gpus", "timeout_s")}
