"""What every detector in the catalogue must do; one that needs a model file adds a row to `FILES`."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from affectlens.core import catalog
from affectlens.core.detection import Detections

FILES = {"yunet": "yunet_file"}
"""Detector -> the fixture that gives its model file."""
DETECTORS = pytest.mark.parametrize("name", catalog.available("faces.detectors"))


@pytest.fixture
def make(request):
    """A detector by name, with its defaults and the model file that it may need."""

    def build(name):
        file = request.getfixturevalue(FILES[name]) if name in FILES else None
        return catalog.build("faces.detectors", name, options={"model": file} if file else {})

    return build


@pytest.fixture
def image():
    """(64, 64, 3) uint8 noise, which no detector may change."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image.setflags(write=False)
    return image


@DETECTORS
def test_it_answers_detections_best_first(name, make, image, portrait):
    for picture in (image, np.zeros((64, 64, 3), dtype=np.uint8), portrait[:64, :64]):
        found = make(name)(picture)
        assert isinstance(found, Detections)
        assert (np.diff(found.scores) <= 0).all()


@DETECTORS
def test_several_threads_get_what_one_gets(name, make, image):
    detect = make(name)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detect, [image] * 8))
    for one in found:
        np.testing.assert_array_equal(one.boxes_xyxy, detect(image).boxes_xyxy)


@DETECTORS
def test_the_command_line_may_set_the_smallest_face(name):
    assert catalog.options("faces.detectors", name)["min_face_px"] is int
