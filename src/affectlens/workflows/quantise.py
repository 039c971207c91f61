"""8-bit quantisation of a model, if it is faster and costs hardly any accuracy."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.core.progress import SILENT, Progress
from affectlens.core.session import model_file, open_session, read_spec
from affectlens.data.source import DataSource
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training

if TYPE_CHECKING:
    from affectlens.training.quantise import QuantisationEffect


def quantise(
    model: str | Path, data: str | Path | DataSource, out: str | Path, progress: Progress = SILENT
) -> "QuantisationEffect":
    """Store a model in eight bits, with the data that it was trained on, and measure what that changes (extra `train`).

    Args:
        model: a run folder or an ONNX file.
        data: "NAME:FOLDER[?key=value&...]".
        out: the file to write, which ends in .onnx.
        progress: told how far it is.

    Returns:
        Accuracy on validation and time of a face, before and after.

    Raises:
        BadModelFile: the file does not say how it was trained, or eight bits are no faster on this machine or cost more
            than 0.3 points of validation accuracy: then nothing is written. BadSetting, BadData, MissingExtra.
    """
    require_training("quantising a model")
    from affectlens.training import quantise as quantising
    from affectlens.training.data import load_data
    from affectlens.training.recipe import from_dict

    file, out = model_file(str(model)), Path(out).expanduser()
    if out.suffix != ".onnx":
        raise BadSetting(f"the quantised model's file name must end in .onnx, got '{out}'")
    spec = read_spec(open_session(file), str(file))
    if not spec.settings:
        raise BadModelFile(
            f"'{file}' does not contain the settings it was trained with, which define how faces are cropped"
        )
    recipe = replace(from_dict(spec.settings), drop_near_duplicates=False)
    source = source_of(data)
    return quantising.quantise(file, load_data(recipe, source, progress), out)
