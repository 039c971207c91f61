"""Sheets of heat maps that show where a model looked."""

from pathlib import Path

from affectlens.core.errors import AffectLensError
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.media import check_picture


def explain(
    photo: str | Path,
    out: str | Path,
    *,
    model: str | Path = "bundled",
    detector: str = "mtcnn",
    min_face_px: int | None = None,
) -> Analysis:
    """Draw each face of a photo next to a heat map of where the model looked, one row per face.

    Args:
        photo: path of an image file.
        out: picture file to write; its suffix determines the format (.png, .jpg, ...).
        model: as for `Analyzer`.
        detector: as for `Analyzer`.
        min_face_px: as for `Analyzer`.

    Returns:
        The analysis of the photo; `Face.explanation` has the heat maps.

    Raises:
        BadSetting: the format is unknown. AffectLensError: the photo cannot be read or has no face; nothing is written
            then.
    """
    out = Path(out).expanduser()
    check_picture(out)
    analysis = Analyzer(model, detector, min_face_px, explain=True).analyze(Path(photo).expanduser())
    if not analysis.faces:
        raise AffectLensError(f"cannot explain '{photo}': {analysis.detail} ({analysis.reason})")
    out.parent.mkdir(parents=True, exist_ok=True)
    analysis.save_explanations(out)
    return analysis
