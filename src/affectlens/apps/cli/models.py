"""`affectlens models`: metadata of a model file."""

import json
from typing import Annotated, Any

import typer

from affectlens.core.files import sha256_of
from affectlens.core.messages import visible_json
from affectlens.core.session import model_file, open_session, read_spec

models = typer.Typer(help="Show expression models and their provenance.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(models, name="models")


@models.callback()
def _group() -> None:
    pass


@models.command()
def show(
    model: Annotated[
        str, typer.Argument(help="Model: 'bundled', a run folder, or an ONNX file exported by affectlens.")
    ],
) -> None:
    """Print labels, input, calibration, provenance, licence and SHA-256 of a model as JSON."""
    file = model_file(model)
    spec = read_spec(open_session(file, threads=1), str(file))
    facts = {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256_of(file)}
    typer.echo(visible_json(_laid_out(facts | spec.model_dump(mode="json"))))


def _laid_out(value: Any, depth: int = 2) -> str:
    """JSON with a line for each fact, at two depths; what lies deeper, such as a whole recipe, stays on its line."""
    if not (depth and isinstance(value, dict) and value):
        return json.dumps(value, ensure_ascii=False)
    lines = (f"\n{json.dumps(key, ensure_ascii=False)}: {_laid_out(part, depth - 1)}" for key, part in value.items())
    return "{" + ",".join(lines).replace("\n", "\n  ") + "\n}"
