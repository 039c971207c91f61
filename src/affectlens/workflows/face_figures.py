"""Figures of faces and of what models say about them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting
from affectlens.data.images import decoded
from affectlens.data.samplers import in_turns
from affectlens.data.table import FaceTable
from affectlens.evaluation import affect_plots
from affectlens.runtime.draw import draw_heat
from affectlens.runtime.explain import explanations
from affectlens.runtime.recognizer import Recognizer
from affectlens.workflows.compare import names_of, shared
from affectlens.workflows.evaluate import open_all
from affectlens.workflows.extras import require_training
from affectlens.workflows.figure_options import FigureOptions
from affectlens.workflows.scoring import Scored, open_model, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FACES_ON_A_SHEET = 24
_FACES_OF_TWO_MODELS = 6
_FACES_IN_EMOTION_SPACE = 4


def samples(options: FigureOptions) -> "Figure":
    """Faces with a model's predictions and the truth (Antoniadis, section 6.4); of two models, side by side."""
    if len(options.models) > 2:
        raise BadSetting(f"the figure '{options.name}' takes one or two models, got {len(options.models)}")
    if len(options.models) == 2:
        return _side_by_side(options)
    model, data = options.model(), options.source()
    scored = score(open_model(model), _some(options, _FACES_ON_A_SHEET), progress=options.progress)
    return affect_plots.captioned_faces(_faces(scored.table), *_captions(scored, data.options.get("va")))


def _side_by_side(options: FigureOptions) -> "Figure":
    """Truth and predictions of two models for faces that one of them recognises and the other does not (Antoniadis,
    figure 6.4.2): two thirds are the second model's.
    """
    opened, source, table = open_all(options.models, options.source(), options.split, options.progress)
    names = names_of([model.name for model in opened], options.models)
    search = any(model.find_faces for model in opened)
    table = table.keep(table.labelled)
    both = [score(model, table, search, progress=options.progress) for model in opened]
    first, second = shared(dict(zip(names, both, strict=True))).values()
    rows = contrasting(first, second, options.faces or _FACES_OF_TWO_MODELS)
    if not len(rows):
        raise BadData(f"both models recognise the same faces of the split '{options.split}'")
    faces = _faces(first.table.keep(np.isin(np.arange(len(first.table)), rows)))
    in_order = [faces[place] for place in np.argsort(np.argsort(rows))]
    truths = ["\n".join(_truth(first, row, source.options.get("va"))) for row in rows]
    answers = {
        name: [("\n".join(_answer(scored, row)), _is_right(scored, row)) for row in rows]
        for name, scored in zip(names, (first, second), strict=True)
    }
    return affect_plots.answers_side_by_side(in_order, truths, answers)


def contrasting(first: Scored, second: Scored, faces: int) -> NDArray[np.int64]:
    """Rows of at most so many labelled faces that one of two models recognises and the other does not: first those of
    the second model, two thirds of all, then those of the first one.

    Of each kind those whose valence and arousal the models predict most alike, as the thesis selects them, so that the
    expression alone makes the difference; where a model regresses none, classes in turns.
    """
    order, models = in_turns(first.table), (first, second)
    one, other = (_affect(scored) if scored.scores.va_source == "regressed" else None for scored in models)
    if one is not None and other is not None:
        order = np.argsort(np.linalg.norm(one - other, axis=1), kind="stable")
    right = [scored.scores.predicted == scored.scores.targets for scored in models]
    theirs, ours = order[(right[1] & ~right[0])[order]], order[(right[0] & ~right[1])[order]]
    few = min(len(ours), faces // 3)
    many = min(len(theirs), faces - few)
    return np.concatenate([theirs[:many], ours[: faces - many]])


def _affect(scored: Scored) -> NDArray[np.floating] | None:
    """(N, 2) predicted valence and arousal."""
    valence, arousal = scored.scores.valence_predicted, scored.scores.arousal_predicted
    return None if valence is None or arousal is None else np.stack([valence, arousal], axis=1)


def emotion_space(options: FigureOptions) -> "Figure":
    """Scores of single faces on the axes of a model's expressions, in parallel coordinates (Da Re, figures 4.10, 4.11).

    A score is the calibrated logit minus the mean logit of the face; a softmax gives the probabilities.
    """
    scored = score(open_model(options.model()), _some(options, _FACES_IN_EMOTION_SPACE), progress=options.progress)
    log_p = np.log(np.maximum(scored.scores.probabilities, 1e-12))
    captions = [f"{_answer(scored, row)[0]}\ntrue: {_truth(scored, row, None)[0]}" for row in range(len(log_p))]
    return affect_plots.emotion_space(
        _faces(scored.table), log_p - log_p.mean(axis=1, keepdims=True), captions, scored.scores.labels
    )


def heatmaps(options: FigureOptions) -> "Figure":
    """The faces of `samples` beside heat maps of where the model looked (as Da Re, figure 3.4)."""
    model, data = options.model(), options.source()
    scored = score(open_model(model), _some(options, _FACES_ON_A_SHEET), progress=options.progress)
    recognizer = Recognizer(model, threads=0, explain=True)
    crops = [face if face.ndim == 3 else np.stack([face] * 3, axis=-1) for face in _faces(scored.table)]
    seen = explanations(crops, recognizer.outputs(crops), recognizer.outputs, recognizer.spec.first_place)
    pairs = [draw_heat(one) for one in seen]
    return affect_plots.captioned_faces(pairs, *_captions(scored, data.options.get("va")), columns=3)


def landmarks(options: FigureOptions) -> "Figure":
    """The 68 landmarks that guide the streams of Da Re's network."""
    model, table = options.model(), _some(options, _FACES_ON_A_SHEET)
    require_training(f"the figure '{options.name}'")
    from affectlens.training import insights

    faces, rows = decoded(table.images, range(len(table)))
    points = insights.landmarks(Path(model).expanduser(), faces)
    drawn = [affect_plots.dotted(*pair) for pair in zip(faces, points, strict=True)]
    return affect_plots.captioned_faces(drawn, [table.labels[table.targets[row]] for row in rows], [True] * len(drawn))


def _some(options: FigureOptions, usual: int) -> FaceTable:
    """A few labelled faces, of all classes in turns."""
    table = options.labelled()
    return table.keep(np.isin(np.arange(len(table)), in_turns(table)[: options.faces or usual]))


def _faces(table: FaceTable) -> list[NDArray[np.uint8]]:
    """The pictures of a table, all of which can be decoded."""
    return decoded(table.images, range(len(table)))[0]


def _captions(scored: Scored, source: str | None) -> tuple[list[str], list[bool]]:
    """What stands below each face, and whether its expression is right; `source` is where true valence and arousal come
    from.
    """
    captions, rows = [], range(len(scored.table))
    for row in rows:
        answer, truth = _answer(scored, row), _truth(scored, row, source)
        affect = [*answer[1:], *(f"true{line.removeprefix('VA')}" for line in truth[1:])] if answer[1:] else []
        captions.append("\n".join([answer[0], f"true: {truth[0]}", *affect]))
    return captions, [_is_right(scored, row) for row in rows]


def _answer(scored: Scored, row: int) -> list[str]:
    """Expression and its probability, a question mark where the answer is uncertain; valence and arousal if there are
    any.
    """
    answers = scored.scores
    predicted = int(answers.predicted[row])
    p, label = float(answers.probabilities[row, predicted]), answers.labels[predicted]
    affect = _affect(scored)
    return [
        f"{label if p >= answers.uncertain_below else f'{label}?'} {int(100 * p)} %",
        *([] if affect is None else [f"VA {affect[row, 0]:+.2f} {affect[row, 1]:+.2f}"]),
    ]


def _truth(scored: Scored, row: int, source: str | None) -> list[str]:
    """Expression; valence and arousal if they are known."""
    table, lines = scored.table, [scored.scores.labels[int(scored.scores.targets[row])]]
    if np.isfinite([table.valence[row], table.arousal[row]]).all():
        lines.append(f"VA{f' ({source})' if source else ''} {table.valence[row]:+.2f} {table.arousal[row]:+.2f}")
    return lines


def _is_right(scored: Scored, row: int) -> bool:
    return bool(scored.scores.predicted[row] == scored.scores.targets[row])
