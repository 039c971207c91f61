import numpy as np
import pytest

from affectlens import Analyzer
from affectlens.core.quality import pose_deg
from affectlens.faces.measures import pose

ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")


def test_its_columns_are_three_angles():
    assert [(column.name, column.unit) for column in pose.build().columns] == [(name, "deg") for name in ANGLES]


def test_every_face_has_the_pose_of_its_landmarks(analyzer, portrait):
    analysis = analyzer.analyze(portrait)
    (face,), (row,) = analysis.faces, analysis.to_rows()
    angles = pose_deg(face.landmarks_xy)
    assert face.measures["pose"] == dict(zip(ANGLES, angles, strict=True))
    assert [row[name] for name in ANGLES] == [round(angle, 1) for angle in angles]


def test_without_landmarks_the_cells_are_empty(portrait):
    (row,) = Analyzer(detector="whole").analyze(np.ascontiguousarray(portrait[40:190, 170:280])).to_rows()
    assert [row[name] for name in ANGLES] == [None] * 3


def test_a_tilted_picture_rolls_and_the_sign_is_clockwise(analyzer, portrait):
    import cv2

    def roll(turned_deg):
        matrix = cv2.getRotationMatrix2D((222, 120), -turned_deg, 1)  # OpenCV counts against the clock
        (row,) = analyzer.analyze(cv2.warpAffine(portrait, matrix, (512, 512))).to_rows()
        return row["roll_deg"]

    assert roll(20) - roll(0) == pytest.approx(20, abs=4)
