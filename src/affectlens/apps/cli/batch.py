"""`affectlens batch`: from millions of photos and videos to Parquet shards."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.run import Engine, run
from affectlens.apps.batch.work import BatchSettings, ResultPart
from affectlens.apps.cli.console import TERMINAL, err, note, say, warn
from affectlens.apps.cli.options import (
    Baseline,
    DetectorOption,
    Every,
    Fps,
    MinFace,
    ModelOption,
    PriorOption,
    Smooth,
    video_settings,
)
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.progress import track
from affectlens.core.reasons import Reason
from affectlens.runtime.batch_folder import DONE, FAILED, states_in
from affectlens.runtime.batch_folder import NAME as MANIFEST
from affectlens.runtime.recognizer import Prior

_LINE_EVERY_S = 30.0


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(batch)


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, a glob, a list (.txt, one source per line), a Parquet file with images or paths, or tar "
            "shards; local or at a URL (s3://, gs://, hf://, ...).",
        ),
    ],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the shards and the manifest.")],
    engine: Annotated[
        Engine, typer.Option(help="local: processes on this machine. ray: Ray Data, on this machine or a cluster.")
    ] = Engine.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Number of processes, or of Ray actors; 0 does everything in one process.  [default: one per core "
            "of the machine or cluster]",
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster; without it, Ray is started on this machine.")
    ] = None,
    gpus: Annotated[
        float,
        typer.Option(metavar="F", min=0, help="Share of a GPU for each worker's network (needs onnxruntime-gpu)."),
    ] = 0,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Maximum time for a photo, or until the next rows of a video; what takes longer fails with the "
            "reason too_slow. Not with --workers 0.",
        ),
    ] = BatchSettings.timeout_s,
    shard_rows: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of rows per shard.")] = 10_000,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the batch in DIR.")] = False,
    annotate: Annotated[
        bool,
        typer.Option("--annotate", help="Also write an annotated copy of each photo and video into DIR/annotated."),
    ] = False,
    model: ModelOption = "bundled",
    detector: DetectorOption = "mtcnn",
    min_face: MinFace = None,
    prior: PriorOption = Prior.NATURAL,
    every: Every = 1,
    fps: Fps = None,
    smooth: Smooth = True,
    baseline: Baseline = False,
) -> None:
    """Analyze any number of photos and videos on all cores; resumable at any point.

    Writes part-*.parquet, with the columns of 'affectlens analyze' and every source exactly once, and manifest.sqlite,
    which lists for each source whether it is done, failed (and why) or not yet analyzed. Exits with 1 if nothing could
    be read, or rows could not be written.
    """
    in_time = video_settings(every, fps, smooth, baseline)
    settings = BatchSettings(model, detector, min_face, prior, in_time, folder if annotate else None, gpus, timeout)
    if address and engine is not Engine.RAY:
        raise BadSetting("--address requires --engine ray")
    if workers == 0 and engine is Engine.RAY:
        raise BadSetting("--workers 0 requires --engine local")
    started = time.monotonic()
    try:
        outcome = run(source, folder, settings, workers, shard_rows, resume, engine, address, _listed, _shown, warn)
    except KeyboardInterrupt:
        if so_far := states_in(folder):
            warn(
                f"stopped, {so_far[DONE] + so_far[FAILED]} of {sum(so_far.values())} sources are written; continue "
                "with --resume"
            )
        raise
    sources = outcome.done + outcome.failed + outcome.waiting
    rows = f"rows: {outcome.rows}, shards in {folder}: {outcome.shards}"
    say(f"{outcome.done} of {sources} done, {outcome.failed} failed; {rows}")
    note(f"{time.monotonic() - started:.1f} s")
    if outcome.waiting:
        raise AffectLensError(f"{outcome.waiting} of {sources} sources are not analyzed yet; continue with --resume")
    if unwritten := outcome.reasons.get(Reason.NOT_WRITTEN):
        raise AffectLensError(
            f"{unwritten} of {sources} sources could not be written (is the disk full?); continue with --resume"
        )
    why = ", ".join(f"{reason} {number}" for reason, number in outcome.reasons.items())
    if not outcome.done:
        raise AffectLensError(f"no source could be read ({why}); '{folder / MANIFEST}' lists them")
    if outcome.failed:
        warn(f"{outcome.failed} of {sources} sources could not be read ({why}); '{folder / MANIFEST}' lists them")


def _listed(items: Iterator[Item]) -> Iterator[Item]:
    """The sources, under a bar that counts them."""
    return track(items, TERMINAL, "sources found")


def _shown(parts: Iterator[ResultPart], waiting: int) -> Iterator[ResultPart]:
    """The parts, under a bar; in a log, which is no terminal, with a line now and then."""
    ended = 0
    started = said = time.monotonic()
    with TERMINAL.task("sources", waiting) as advance:
        for part in parts:
            yield part
            if part.end is not None:
                ended += 1
                advance()
            now = time.monotonic()
            if now - said >= _LINE_EVERY_S and not err.is_terminal:
                said = now
                rate = ended / (now - started)
                left = f"{(waiting - ended) / rate / 60:.1f} min left" if rate else "time left unknown"
                say(f"{ended} of {waiting} sources, {rate:.3g}/s, {left}", err)
