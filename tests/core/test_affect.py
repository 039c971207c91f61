from dataclasses import replace

import numpy as np
import pytest

from affectlens.core.affect import Face


@pytest.fixture
def face():
    return Face(
        box_xyxy=np.array([0, 0, 10, 10], dtype=np.float32),
        landmarks_xy=np.zeros((5, 2), dtype=np.float32),
        score=0.9,
        probabilities={"fear": 0.6, "anger": 0.4},
        expression="fear",
        uncertain=False,
        disagreement=0.97,
        valence=-0.5,
        arousal=0.6,
        va_source="projected",
    )


def test_a_certain_face_answers_with_its_expression(face):
    assert face.answer == "fear"


def test_an_uncertain_face_answers_uncertain_and_keeps_its_top_expression(face):
    unsure = replace(face, uncertain=True)
    assert unsure.answer == "uncertain"
    assert unsure.expression == "fear"
