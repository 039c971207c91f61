"""Where a model looked, as a sheet of heat maps."""

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
    """Draw each face of a photo beside a heat map of where the model looked, one row per face.

    Args:
        photo: path of an image file.
        out: the picture to write; its suffix decides the format (.png, .jpg, ...).
        model: as for `Analyzer`.
        detector: as for `Analyzer`.
        min_face_px: as for `Analyzer`.

    Returns:
        What the photo shows; `Face.explanation` holds the heat maps.

    Raises:
        BadSetting: no such format. AffectLensError: the photo cannot be read or has no face; then nothing is written.
    """
    out = Path(out)
    check_picture(out)
    analysis = Analyzer(model, detector, min_face_px, explain=True).analyze(photo)
    if not analysis.faces:
        raise AffectLensError(f"cannot explain '{photo}': {analysis.detail} ({analysis.reason})")
    out.parent.mkdir(parents=True, exist_ok=True)
    analysis.save_explanations(out)
    return analysis
