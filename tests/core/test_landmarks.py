import numpy as np

from affectlens.core.landmarks import EYES, MOUTH, as_68, eyes_of

FIVE = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_eyes_are_read_from_5_and_from_68_landmarks():
    np.testing.assert_array_equal(eyes_of(FIVE), FIVE[:2])
    many = np.zeros((68, 2), dtype=np.float32)
    many[36:42] = [[1, 2], [3, 2], [1, 2], [3, 2], [1, 2], [3, 2]]
    many[42:48] = [9, 4]
    np.testing.assert_array_equal(eyes_of(many), [[2, 2], [9, 4]])
    for unknown in (FIVE[:3], np.full((68, 2), np.nan, dtype=np.float32)):
        assert np.isnan(eyes_of(unknown)).all()


def test_five_landmarks_keep_their_places_among_68():
    many = as_68(FIVE)
    np.testing.assert_array_equal(eyes_of(many), FIVE[:2])
    np.testing.assert_array_equal(many[[30, 48, 54]], FIVE[2:])
    assert np.isnan(many[[*range(36), *range(55, 68)]]).sum() == 2 * (35 + 13)
    assert not np.isfinite(many[MOUTH]).all()
    assert [part.stop - part.start for part in (*EYES, MOUTH)] == [6, 6, 12]
