"""Published weights of timm's and torchvision's networks: from a file given by the user, or from the libraries' own
sources.

No file is executed: torch files are opened with `weights_only`, and files from torchvision's cache or server must have
the SHA-256 in their name.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from huggingface_hub import get_session, hf_hub_download, hf_hub_url
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from affectlens.core.checksums import check_archive
from affectlens.core.errors import BadModelFile
from affectlens.core.files import sha256_of
from affectlens.core.messages import shortened, without_advice

_HUB_FILE = "model.safetensors"
_HUB_TIMEOUT_S = 20.0


def timm_state(name: str, file: str = "", **options: Any) -> dict[str, Tensor]:
    """The published weights of timm's network `name` with its published head, made to fit `options` of
    `timm.create_model` (other channels or another size of the image).

    `file` has them in timm's own or their authors' names; without one they come from the cache of the Hugging Face hub
    or, if they are not there, from the hub.

    Raises:
        BadModelFile: the hub cannot be reached, or the file does not fit.
    """
    path = Path(file).expanduser() if file else _from_hub(name)
    try:
        found = {"state_dict": _opened(path)}  # opened here: older versions of timm unpickle what a file holds
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=found, **options)
    except Exception as error:  # readers of weights raise many types for a file that is not theirs
        raise BadModelFile(f"'{path}' does not contain the weights of '{name}': {_last_line(error)}") from error
    return dict(network.state_dict())


def torchvision_state(weights: WeightsEnum, file: str = "") -> dict[str, Tensor]:
    """The published `weights` of a network of torchvision's, from `file` or, without one, from its cache or server.

    Raises:
        BadModelFile: the server cannot be reached, the file in the cache is not the published one, or `file` holds no
            weights.
    """
    if file:
        return state_in(Path(file).expanduser())
    name = Path(str(weights.url)).name
    cached = Path(torch.hub.get_dir(), "checkpoints", name)
    digits = name.removesuffix(".pth").rpartition("-")[2]
    if not cached.is_file():
        _download(str(weights.url), cached, digits)
    if not re.fullmatch("[0-9a-f]{8,64}", digits) or not sha256_of(cached).startswith(digits):
        raise BadModelFile(
            f"'{cached}' is not the file that torchvision publishes (its SHA-256 differs); delete it and try again"
        )
    return state_in(cached)


def _download(url: str, target: Path, digits: str) -> None:
    """Fetch a file whose SHA-256 begins with `digits`; nothing is written where it does not.  Raises BadModelFile."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), hash_prefix=digits, progress=False)
    except Exception as error:  # OSError, or RuntimeError where the file is not what it should be
        raise BadModelFile(
            f"cannot download the weights '{target.name}' from torchvision's server ({type(error).__name__}); "
            f"set pretrained_file=FILE to a local copy ('{target.name}'), or pretrained=false to train from scratch"
        ) from error


def state_in(file: Path) -> dict[str, Tensor]:
    """The weights in a file of torch's or safetensors', which may stand under "state_dict" or "model" and, from several
    processes, in "module.".

    Raises:
        BadModelFile: it holds none, or is damaged.
    """
    try:
        return _opened(file)
    except BadModelFile:
        raise
    except Exception as error:  # torch raises many types for a file that is not its own
        raise BadModelFile(f"cannot read '{file}' as weights: {_last_line(error)}") from error


def _opened(file: Path) -> dict[str, Tensor]:
    """As `state_in`; raises whatever torch and safetensors do."""
    check_archive(file)
    if file.suffix == ".safetensors":
        return dict(load_file(file))
    found = torch.load(file, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        found = found.get(key, found)
    return {key.removeprefix("module."): value for key, value in found.items() if isinstance(value, Tensor)}


def copy_into(network: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """All weights of `network` from `state`, which may hold more.  Raises BadModelFile."""
    missing = [key for key in network.state_dict() if key not in state]
    if missing:
        raise BadModelFile(f"the weights of '{name}' do not contain '{missing[0]}'")
    try:
        network.load_state_dict({key: state[key] for key in network.state_dict()})
    except RuntimeError as error:
        raise BadModelFile(f"the weights of '{name}' do not fit: {_last_line(error)}") from error


def _from_hub(name: str) -> Path:
    """The file with the weights.

    The cache is asked first and then the hub once, because its client would try for a minute when offline.
    """
    repository = str(getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None))
    try:
        return Path(hf_hub_download(repository, _HUB_FILE, local_files_only=True))
    except Exception:  # not there
        pass
    try:
        with quiet("huggingface_hub"):
            get_session().head(hf_hub_url(repository, _HUB_FILE), timeout=_HUB_TIMEOUT_S)
            return Path(hf_hub_download(repository, _HUB_FILE))
    except Exception as error:  # the hub raises many types when it is out of reach
        raise BadModelFile(
            f"cannot download the weights of '{name}' from the Hugging Face hub ({type(error).__name__}); set "
            f"pretrained_file=FILE to a local copy ('{_HUB_FILE}' of '{repository}'), or pretrained=false to train "
            "from scratch"
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
    if isinstance(error, UnpicklingError):  # torch's own words advise to open it all the same
        return "the file is damaged, or contains more than weights, which is refused for security"
    return without_advice(shortened((str(error).splitlines() or [type(error).__name__])[-1]))
