"""What every measure in the catalogue must do."""

import numpy as np
import pytest

from affectlens import Analyzer
from affectlens.core import catalog
from affectlens.core.headers import make_measure
from affectlens.core.measures import View
from affectlens.core.outputs import OUTPUTS
from affectlens.core.quality import Quality

QUALITY = Quality(8, 1, 1, 0.5, 0.2, 0, np.nan, np.nan, np.nan)
MEASURES = pytest.mark.parametrize("name", catalog.available("faces.measures"))


@MEASURES
def test_it_needs_what_there_is_and_has_the_name_of_its_file(name):
    measure = make_measure(name)
    assert measure.name == name
    assert set(measure.outputs()) <= set(OUTPUTS)


@MEASURES
def test_the_cells_of_the_portrait_are_of_the_kinds_of_their_columns_and_are_drawn(name, portrait, caplog):
    measure = make_measure(name)
    if measure.outputs():
        pytest.skip("the bundled model has no such output")
    analysis = Analyzer(measures=[name]).analyze(portrait)
    (face,) = analysis.faces
    assert face.measures[name].keys() == {column.name for column in measure.columns}
    assert any(value is not None for value in face.measures[name].values())
    canvas = portrait.copy()
    measure.draw_on(canvas, face, face.measures[name])
    assert canvas.shape == portrait.shape
    assert caplog.messages == []


@MEASURES
def test_without_landmarks_its_cells_are_empty_or_of_their_kinds(name, caplog):
    measure = make_measure(name)
    box, unknown = np.array([0, 0, 8, 8], dtype=np.float32), np.full((5, 2), np.nan, dtype=np.float32)
    outputs = {need: np.zeros(8, dtype=np.float32) for need in measure.outputs()}
    view = View(np.zeros((8, 8), dtype=np.uint8), box, unknown, (8, 8), QUALITY, outputs)
    assert measure.of_face(view).keys() == {column.name for column in measure.columns}
    assert caplog.messages == []
