"""Published weights of timm's and torchvision's networks: from a file that the user names, or from where the libraries
keep them.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import get_session, hf_hub_download, hf_hub_url
from torch import Tensor, nn
from torchvision.models import WeightsEnum

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


def torchvision_state(weights: WeightsEnum, file: str = "") -> dict[str, Tensor]:
    """The published `weights` of a network of torchvision's, from `file` or, without one, from its cache or server.

    Raises:
        BadModelFile: the server cannot be reached, or the file holds no weights.
    """
    if file:
        return state_in(Path(file).expanduser())
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except Exception as error:  # OSError, or RuntimeError where the file is not what it should be
        raise BadModelFile(
            f"the weights '{weights}' cannot be fetched from torchvision's server ({type(error).__name__}); name a "
            f"local file with --set pretrained_file=FILE ('{Path(str(weights.url)).name}'), or train from scratch with "
            "--set pretrained=false"
        ) from error


def state_in(file: Path) -> dict[str, Tensor]:
    """The weights in a file of torch's, which may stand under "state_dict" and, from several processes, in "module.".

    Raises:
        BadModelFile: it holds none.
    """
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
        found = found.get("state_dict", found)
        return {key.removeprefix("module."): value for key, value in found.items() if isinstance(value, Tensor)}
    except Exception as error:  # torch raises many types for a file that is not its own
        raise BadModelFile(f"'{file}' cannot be read as weights: {_last_line(error)}") from error


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
        with quiet("huggingface_hub"):
            get_session().head(hf_hub_url(repository, _HUB_FILE), timeout=_PATIENCE_S)
            return str(hf_hub_download(repository, _HUB_FILE))
    except Exception as error:  # the hub raises many types when it is out of reach
        raise BadModelFile(
            f"the weights of '{name}' cannot be fetched from the Hugging Face hub ({type(error).__name__}); name a "
            f"local file with --set pretrained_file=FILE ('{_HUB_FILE}' of '{repository}'), or train from scratch with "
            "--set pretrained=false"
        ) from error


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Only errors are logged; "" is the root logger."""
    which = logging.getLogger(logger)
    level = which.level
    which.setLevel(logging.ERROR)
    try:
        yield
    finally:
        which.setLevel(level)


def _last_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[-1].strip()
