"""Inspect a data set before training on it."""

from pathlib import Path

from affectlens.core.progress import SILENT, Progress, track
from affectlens.data import inspection
from affectlens.data.inspection import Inspection
from affectlens.data.source import DataSource
from affectlens.workflows.data import source_of
from affectlens.workflows.scoring import open_model
from affectlens.workflows.suspects import Suspect, find_suspects


def inspect(
    data: str | Path | DataSource,
    model: str | Path | None = None,
    *,
    suspects: int = 20,
    progress: Progress = SILENT,
) -> tuple[Inspection, list[Suspect]]:
    """Count faces per split and class; find unreadable files, faces that occur in two splits, and doubtful labels.

    Args:
        data: as in `load_data`.
        model: model that judges the labels; without one there are no suspects.
        suspects: the largest number of them.
        progress: receives the progress.

    Returns:
        The data set in numbers, and the faces whose label the model finds least likely, least likely first.

    Raises:
        BadData: the data cannot be read, have no entries, or have classes that the model does not know. BadSetting: the
            reader has no such option. UnknownName: no such reader. BadModelFile: the model cannot be read.
            MissingExtra: the model is a run folder, and the extra `train` is not installed.
    """
    source = source_of(data)
    opened = None if model is None else open_model(model)
    labels = source.labels()
    if opened:
        opened.check(labels)
    found = inspection.inspect(track(inspection.entries(source), progress, "inspecting"), labels)
    return found, find_suspects(source, opened, suspects, progress) if opened else []
