"""Start from, or learn from, trained weights in a run folder or an exported file such as the bundled one."""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting
from affectlens.core.session import model_file, open_session, read_spec
from affectlens.core.statistics import DatasetStatistics
from affectlens.models.layers.network import Network
from affectlens.models.layers.published import copy_into
from affectlens.training.distillation import Exported, Teacher
from affectlens.training.module import ExpressionModule
from affectlens.training.objective import adjustment
from affectlens.training.recipe import Recipe, from_dict
from affectlens.training.run import load_labels, load_run
from affectlens.training.storage import stored_weights


def begin(network: Network, recipe: Recipe, labels: tuple[str, ...], fresh: bool) -> str:
    """The first weights of `network`, unless a run goes on (`fresh` is off), and what of it is frozen.

    Returns:
        What learns although the recipe would freeze it, for lack of trained weights; "" where nothing does.

    Raises:
        BadSetting, BadModelFile: as `start_from` and `load_pretrained`.
    """
    if fresh and recipe.start_from:
        start_from(network, recipe, labels)
    if fresh and recipe.pretrained:
        load_pretrained(network, recipe)
    if fresh:
        network.load_frozen()
    return network.settle(recipe.pretrained or bool(recipe.start_from))


def start_error(recipe: Recipe, labels: tuple[str, ...]) -> AffectLensError | None:
    """Why the network of a fresh run for `labels` cannot be built, or cannot begin with the weights that the recipe
    names; None where it can. It is built once for that, so that no data need to be read.
    """
    try:
        begin(ExpressionModule(recipe, len(labels)).network, recipe, labels, fresh=True)
    except AffectLensError as error:
        return error
    return None


def start_from(network: nn.Module, recipe: Recipe, labels: tuple[str, ...]) -> None:
    """Copy the weights that `recipe.start_from` names ("bundled", an ONNX file or a run folder) into `network`.

    The output layer keeps the rows of the labels that both know; rows of new labels stay as they were initialised.

    Raises:
        BadSetting: the weights are of another architecture. BadModelFile: there is no such file or run.
    """
    where = Path(recipe.start_from).expanduser()
    if recipe.start_from != "bundled" and where.is_dir():
        known = load_labels(where)
        weights = load_run(where).network.state_dict()
    else:
        file = model_file(recipe.start_from)
        known = read_spec(open_session(file), str(file)).labels
        weights = _unfold(network, file, recipe)
    ours = network.state_dict()
    outer = _outer(network)
    if outer and len(ours[outer[0]]) != len(labels):  # a layer for something else than the labels
        outer = ()
    unfit = [
        key
        for key in {**ours, **weights}
        if key not in ours or key not in weights or (key not in outer and ours[key].shape != weights[key].shape)
    ]
    if unfit or (outer and ours[outer[0]].shape[1] != weights[outer[0]].shape[1]):
        raise BadSetting(
            f"'{recipe.start_from}' has a different architecture from '{recipe.model}' with these options: "
            f"{(unfit or outer)[0]} does not match"
        )
    if not outer and known != labels:
        raise BadSetting(
            f"'{recipe.model}' has no classification layer that could be replaced, so the labels must be "
            f"{', '.join(known)}"
        )
    for key in outer:
        rows = ours[key].clone()
        for row, label in enumerate(labels):
            if label in known:
                rows[row] = weights[key][known.index(label)]
        weights[key] = rows
    network.load_state_dict(weights)


def _outer(network: nn.Module) -> tuple[str, ...]:
    """Names of the weights that have a row for each label: those of `classifier` or, without one, of the last linear
    layer.
    """
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    last = "classifier" if "classifier" in linear else linear[-1] if linear else ""
    return (f"{last}.weight", f"{last}.bias") if last else ()


def open_teacher(name: str, student: Recipe, statistics: DatasetStatistics) -> Teacher:
    """The teacher that `name` means: "bundled", an ONNX file or a run folder.

    A `logit_adjustment` that it was trained with is put back with the frequencies of the classes in `statistics`.

    Raises:
        BadSetting: it has other labels than `statistics`, or does not take the student's input. BadModelFile: there is
            no such file or run.
    """
    where = Path(name).expanduser()
    if name != "bundled" and where.is_dir():
        run = load_run(where)
        known, share = load_labels(where), run.recipe.logit_adjustment
        network: nn.Module = run.network
        spec = run.recipe.input_spec()
    else:
        session = open_session(model_file(name), torch.get_num_threads(), in_training=True)
        described = read_spec(session, name)
        known, share = described.labels, described.settings.get("logit_adjustment", 0.0)
        network, spec = Exported(session), described.input
    if known != statistics.labels:
        raise BadSetting(
            f"the labels of the teacher '{name}' are {', '.join(known)}, but those of the data are "
            f"{', '.join(statistics.labels)}"
        )
    teacher = Teacher(network, spec, adjustment(share, statistics))
    teacher.check(student)
    return teacher


def load_pretrained(network: Network, recipe: Recipe) -> None:
    """The model's published weights into `network`; from a run folder, an exported file or "bundled", those of the
    backbone that was trained there.

    Raises:
        BadSetting: there are none for this model. BadModelFile: they cannot be had, or do not fit.
    """
    where = Path(recipe.pretrained_file).expanduser()
    if recipe.pretrained_file and where.is_dir():
        _copy_backbone(network, load_run(where).network, recipe)
        return
    if recipe.pretrained_file == "bundled" or where.suffix == ".onnx":
        _copy_backbone(network, _exported_network(recipe.pretrained_file), recipe)
        return
    network.load_pretrained(recipe.pretrained_file)


def _copy_backbone(network: nn.Module, trained: nn.Module, recipe: Recipe) -> None:
    """The `backbone` of the network that `recipe.pretrained_file` names, whatever its outputs are, into that of
    `network`.
    """
    ours, theirs = (getattr(one, "backbone", None) for one in (network, trained))
    if not isinstance(ours, nn.Module) or not isinstance(theirs, nn.Module):
        which = f"the model '{recipe.model}'" if ours is None else f"the network in '{recipe.pretrained_file}'"
        raise BadSetting(f"{which} has no separate backbone; use start_from instead of pretrained_file")
    copy_into(ours, theirs.state_dict(), recipe.pretrained_file)


def _exported_network(name: str) -> Network:
    """The network of an exported file, or of "bundled", in evaluation mode.

    Raises:
        BadModelFile: the file does not exist, does not describe its network, or is from an earlier version.
    """
    file = model_file(name)
    spec = read_spec(open_session(file), str(file))
    try:
        recipe = from_dict(spec.provenance["settings"])
    except (KeyError, BadSetting) as error:
        raise BadModelFile(f"'{file}' does not say how its network is built; use a run folder instead") from error
    network = ExpressionModule(recipe, len(spec.labels)).network.eval()
    network.load_state_dict(_unfold(network, file, recipe))
    return network


def _unfold(network: nn.Module, file: Path, recipe: Recipe) -> dict[str, Tensor]:
    """The state of `network` that computes what the exported file does.

    Export folds a batch norm into the convolution before it; here the norm is set to do nothing but add the bias that
    came of it. That holds in evaluation mode only: train with `freeze_norms`.
    """
    stored = stored_weights(onnx.load(file))
    weights = {name.removeprefix("network."): torch.tensor(value).float() for name, value in stored.items()}
    state: dict[str, Tensor] = {}
    for conv, norm in _norms_behind(network, recipe).items():
        if f"{conv}.weight" not in weights:
            raise BadSetting(
                f"'{recipe.start_from or file}' has a different architecture from '{recipe.model}' with these options: "
                f"{conv} does not match"
            )
        bias = weights.pop(f"{conv}.weight_bias", None)
        module = network.get_submodule(norm)
        if bias is None or not isinstance(module, nn.BatchNorm2d) or module.running_var is None:
            raise BadModelFile(f"'{file}' has no folded bias for '{conv}'; export it again with this version")
        state |= {
            f"{norm}.weight": torch.full_like(bias, (1 + module.eps) ** 0.5),
            f"{norm}.bias": bias,
            f"{norm}.running_mean": torch.zeros_like(bias),
            f"{norm}.running_var": torch.ones_like(bias),
            f"{norm}.num_batches_tracked": torch.tensor(0),
        }
    return state | {key: weights[key] for key in network.state_dict() if key in weights and key not in state}


def _norms_behind(network: nn.Module, recipe: Recipe) -> dict[str, str]:
    """Name of each convolution -> name of the batch norm that its output goes into."""
    names = {module: name for name, module in network.named_modules()}
    source: dict[int, str] = {}
    pairs: dict[str, str] = {}
    alive: list[Tensor] = []

    def after(module: nn.Module, _: object, output: Tensor) -> None:
        alive.append(output)  # so that no id is given out twice
        source[id(output)] = names[module]

    def before(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if id(arguments[0]) in source:
            pairs[source[id(arguments[0])]] = names[module]

    hooks = [m.register_forward_hook(after) for m in network.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(before) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    spec = recipe.input_spec()
    training = network.training
    network.eval()
    with torch.inference_mode():
        network(torch.zeros(1, spec.channel_count, spec.size_px, spec.size_px))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return pairs
