"""`affectlens plot`: a figure of a data set or a trained network."""

from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import TERMINAL, say
from affectlens.apps.cli.options import Split
from affectlens.apps.cli.train import Settings
from affectlens.core.errors import BadSetting
from affectlens.core.files import atomic_write
from affectlens.evaluation import plots, report
from affectlens.workflows.figure_options import VERSIONS, FigureName
from affectlens.workflows.figures import plot as workflow
from affectlens.workflows.figures import timeline_page


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(plot)


def plot(
    name: Annotated[
        FigureName,
        typer.Argument(
            metavar="FIGURE",
            help="Name of the figure, from the list above.",
        ),
    ],
    table: Annotated[
        Path | None, typer.Argument(metavar="TABLE", help="For timeline: .parquet, .csv or .jsonl file of a video.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Data set; not used for adjacency, similarity and focal-loss.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Run folder; for samples, heatmaps and emotion-space also 'bundled' or an ONNX file; for landmarks "
            "the weights file of MobileFaceNet. Repeatable for landscape and similarity; samples takes up to two."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="WORK/ROW", help="For training-faces and batches: a recipe, instead of the run's."),
    ] = None,
    settings: Settings = None,
    split: Annotated[
        Split | None,
        typer.Option(
            help="Split of the data set to use.  [default: test; train for training-faces and batches, which always "
            "use it]"
        ),
    ] = None,
    divisions: Annotated[int, typer.Option(help="Number of sectors drawn in va-plane: 0, 4, 8 or 12.")] = 8,
    faces: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number of faces.  [default: 24 for samples, heatmaps and landmarks; 8 for training-faces; "
            "6 for samples of two models; 4 for emotion-space; 256 for landscape; 5000 for features and distances]",
        ),
    ] = None,
    points: Annotated[
        int, typer.Option(min=3, max=51, help="Number of points along each direction of landscape (odd).")
    ] = 11,
    versions: Annotated[
        int, typer.Option(min=1, max=12, help="Number of augmented versions of each face in training-faces.")
    ] = VERSIONS,
    file: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="PNG file; for timeline PNG or HTML.  [default: NAME.png; timeline: both]"
        ),
    ] = None,
) -> None:
    """Draw a figure and write it to a PNG file (timeline: also to an HTML page).

    Figures of a data set:

    - **va-plane**: valence and arousal of each class
    - **ages**: share of each class by age group
    - **training-faces**: faces as the training of a recipe or run sees them: as stored, aligned, and augmented
    - **batches**: share of each class in the batches of an epoch, without and with a recipe's sampler

    Figures of what a model predicts:

    - **samples**: faces with predictions and ground truth; with two models, faces that only one of them recognises,
      side by side
    - **heatmaps**: samples with heat maps of where the model looked
    - **landmarks**: the 68 landmarks of MobileFaceNet
    - **emotion-space**: scores of single faces for each class, in parallel coordinates
    - **timeline**: the faces of a video, from a table of `affectlens analyze`

    Figures of a trained network:

    - **features**: UMAP of its features, with the centres that its loss has learned, or with class means
    - **distances**: within and between classes, before and after its squeeze-and-excitation gate
    - **adjacency**: what each node of Emotion-GCN's graph takes from the others
    - **similarity**: cosines between classifiers and regressors, of one or several runs; a run for expressions alone
      and, after it, a run for valence and arousal alone count as one
    - **landscape**: the loss around the weights of one or several runs, along two random directions with the norm of
      the weights, filter by filter

    Figures of a loss:

    - **focal-loss**: the focal loss for several values of gamma
    """
    if (name is FigureName.TIMELINE) != (table is not None):
        raise BadSetting(
            f"the figure '{name}' {'needs a' if name is FigureName.TIMELINE else 'takes no'} TABLE argument"
        )
    if table is not None:
        _timeline(table, file)
        return
    file = file or Path(f"{name}.png")
    if file.suffix.lower() != ".png" or file.is_dir():
        raise BadSetting(f"figures are written as PNG; --out must end in .png, got '{file}'")
    drawn = workflow(
        name,
        data,
        model or (),
        split=split,
        divisions=divisions,
        faces=faces,
        points=points,
        recipe=recipe,
        settings=settings or (),
        versions=versions,
        progress=TERMINAL,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    plots.save(drawn, file)
    say(f"figure: {file}")


def _timeline(table: Path, file: Path | None) -> None:
    """Write the figure, the report, or both."""
    files = [file] if file else [Path("timeline.png"), Path("timeline.html")]
    if any(one.suffix.lower() not in (".png", ".html") or one.is_dir() for one in files):
        raise BadSetting(f"timelines are written as PNG or HTML; --out must end in .png or .html, got '{file}'")
    if any(one.suffix.lower() == ".html" for one in files):
        report.require()
    for one in files:
        one.parent.mkdir(parents=True, exist_ok=True)
        if one.suffix.lower() == ".html":
            atomic_write(one, timeline_page(table))
        else:
            plots.save(workflow(FigureName.TIMELINE, table=table), one)
        say(f"{'report' if one.suffix.lower() == '.html' else 'figure'}: {one}")
