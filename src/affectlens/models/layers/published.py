"""Published weights of timm's networks: from a file that the user names, from the cache on this machine, or the hub."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import get_session, hf_hub_download, hf_hub_url
from torch import Tensor, nn

from affectlens.core.errors import BadModelFile

_HUB_FILE = "model.safetensors"
_PATIENCE_S = 20.0


def timm_state(name: str, file: str = "", **options: Any) -> dict[str, Tensor]:
    """The published weights of timm's network `name` with its published head, made to fit `options` of
    `timm.create_model` (other channels or another size of the image).

    `file` has them in timm's own or their authors' names; without one they come from the cache of the Hugging Face hub
    or, if they are not there, from the hub.

    Raises:
        BadModelFile: the hub cannot be reached, or the file does not fit.
    """
    path = str(Path(file).expanduser()) if file else _from_hub(name)
    try:
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": path}, **options)
    except Exception as error:  # readers of weights raise many types for a file that is not theirs
        raise BadModelFile(f"'{path}' does not hold the weights of '{name}': {_last_line(error)}") from error
    return dict(network.state_dict())


def copy_into(network: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """All weights of `network` from `state`, which may hold more.  Raises BadModelFile."""
    missing = [key for key in network.state_dict() if key not in state]
    if missing:
        raise BadModelFile(f"the weights of '{name}' lack '{missing[0]}'")
    try:
        network.load_state_dict({key: state[key] for key in network.state_dict()})
    except RuntimeError as error:
        raise BadModelFile(f"the weights of '{name}' do not fit: {_last_line(error)}") from error


def _from_hub(name: str) -> str:
    """The file with the weights.

    The cache is asked first and then the hub once, because its client would try for a minute when offline.
    """
    repository = str(getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None))
    try:
        return str(hf_hub_download(repository, _HUB_FILE, local_files_only=True))
    except Exception:  # not there
        pass
    try:
        with _quiet("huggingface_hub"):
            get_session().head(hf_hub_url(repository, _HUB_FILE), timeout=_PATIENCE_S)
            return str(hf_hub_download(repository, _HUB_FILE))
    except Exception as error:  # the hub raises many types when it is out of reach
        raise BadModelFile(
            f"the weights of '{name}' cannot be fetched from the Hugging Face hub ({type(error).__name__}); name a "
            f"local file with --set pretrained_file=FILE ('{_HUB_FILE}' of '{repository}'), or train from scratch with "
            "--set pretrained=false"
        ) from error


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Only errors are logged."""
    which = logging.getLogger(logger)
    level = which.level
    which.setLevel(logging.ERROR)
    try:
        yield
    finally:
        which.setLevel(level)


def _last_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[-1].strip()
