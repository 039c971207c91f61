"""Fine-tuning of the bundled model on the user's own labels."""

from pathlib import Path

from affectlens.core.progress import SILENT, Progress
from affectlens.data.source import DataSource
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.recipes import Overrides, find_recipe
from affectlens.workflows.train import Run, run_recipe


def finetune(
    data: str | Path | DataSource,
    out: str | Path = "runs/finetune",
    *,
    settings: Overrides = (),
    resume: bool = False,
    progress: Progress = SILENT,
) -> Run | None:
    """Fine-tune the bundled model on your own pictures and labels (extra `train`).

    Args:
        data: a folder with one folder of pictures per label, a CSV or Parquet file with the columns `path` and
            `expression`, or "NAME:FOLDER". Labels that name a known expression get its standard name ("happy" and "joy"
            become "happiness"); others are kept. Without splits, a tenth of the pictures is held out for validation and
            another tenth for test.
        out: run folder, as for `train`.
        settings: changes to the recipe "finetune".
        resume: continue after the last complete epoch in the run folder, if there is one.
        progress: receives progress updates.

    Returns:
        As `train`.

    Raises:
        As `train`.
    """
    require_training("finetuning")
    return run_recipe(
        find_recipe("finetune", settings),
        source_of(data),
        Path(out).expanduser(),
        resume,
        progress=progress,
    )
