"""What a checkpoint must hold for training to go on from it, checked before anything is changed."""

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from affectlens.core.errors import BadModelFile
from affectlens.training.run import cause_of

_Count = Annotated[int, Field(ge=0, lt=10**9, strict=True)]
_ADVICE = "delete it to restart the run"


class _Group(BaseModel):
    """A group of parameters of an optimiser."""

    lr: Annotated[FiniteFloat, Field(ge=0)]
    params: list[_Count]


class _Optimiser(BaseModel):
    """State of an optimiser, by the number of a parameter."""

    state: dict[_Count, dict[str, Any]]
    param_groups: Annotated[list[_Group], Field(min_length=1)]


class _Progress(BaseModel):
    """How often something began and ended."""

    ready: _Count
    completed: _Count


class _Epochs(BaseModel):
    """Progress of the epochs."""

    total: _Progress
    current: _Progress


class _FitLoop(BaseModel):
    """Progress of training; Lightning checks the rest."""

    epoch_progress: _Epochs


class _Loops(BaseModel):
    """Progress of all loops."""

    fit_loop: _FitLoop


class _Checkpoint(BaseModel):
    """What Lightning writes."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    epoch: _Count
    global_step: _Count
    version: Annotated[str, Field(alias="pytorch-lightning_version", pattern=r"^\d+\.\d+")]
    state_dict: dict[str, torch.Tensor]
    loops: _Loops
    callbacks: dict[str, dict[str, Any]]
    optimizer_states: Annotated[list[_Optimiser], Field(min_length=1)]
    lr_schedulers: list[dict[str, Any]]


def check_resumable(checkpoint: Path) -> None:
    """Raises BadModelFile where a file is no checkpoint of an interrupted run, or has values that none has."""
    try:
        _Checkpoint.model_validate(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadModelFile(f"'{checkpoint}' is damaged: {key}: {first['msg']}; {_ADVICE}") from error
    except Exception as error:  # torch raises many types for a file that is not its own
        raise BadModelFile(f"'{checkpoint}' is not a checkpoint: {cause_of(error)}; {_ADVICE}") from error


def not_resumable(checkpoint: Path, error: Exception) -> BadModelFile:
    """What to say where Lightning cannot go on from a checkpoint that has all parts."""
    return BadModelFile(f"cannot resume from '{checkpoint}': {cause_of(error)}; {_ADVICE}")
