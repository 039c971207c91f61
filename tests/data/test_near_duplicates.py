import cv2
import numpy as np
import pytest

from affectlens.data import near_duplicates
from affectlens.data.images import Images
from affectlens.data.near_duplicates import (
    BITS,
    MAX_DIFFERING_BITS,
    difference_hash,
    has_near_duplicate,
    nearest_distance,
    nearest_hash,
)


def pictures(count, seed):
    """Smooth random pictures, (count, 48, 48) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    return np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_CUBIC) for image in coarse])


def with_noise(images, seed):
    noise = np.random.default_rng(seed).integers(-3, 4, images.shape)
    return np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def faces():
    return pictures(20, seed=0)


def test_the_same_picture_is_at_distance_zero(faces):
    assert (nearest_distance(faces, faces[::-1]) == 0).all()


def test_a_mirror_image_is_a_near_duplicate(faces):
    assert has_near_duplicate(faces[:, :, ::-1], faces).all()


def test_a_noisy_copy_is_a_near_duplicate_and_so_is_its_mirror_image(faces):
    copies = with_noise(faces, seed=1)
    assert has_near_duplicate(copies, faces).all()
    assert has_near_duplicate(copies[:, :, ::-1], faces).all()


def test_a_copy_in_another_tone_is_a_near_duplicate(faces):
    assert has_near_duplicate((faces * 0.6 + 40).astype(np.uint8), faces).all()


def test_different_pictures_are_no_near_duplicates(faces):
    assert not has_near_duplicate(pictures(20, seed=2), faces).any()
    assert nearest_distance(pictures(20, seed=2), faces).min() > MAX_DIFFERING_BITS


def test_hash_compares_each_cell_with_its_right_neighbour():
    image = np.random.default_rng(0).integers(0, 256, (16, 17), dtype=np.uint8)
    naive = [1 if image[y, x] < image[y, x + 1] else -1 for y in range(16) for x in range(16)]
    np.testing.assert_array_equal(difference_hash(image[None])[0], [naive])


def test_nearest_distance_matches_a_naive_hamming_loop():
    images, others = pictures(300, seed=3), pictures(5, seed=4)
    pool = difference_hash(others).reshape(-1, BITS)
    naive = [min(int((one != other).sum()) for other in pool) for one in difference_hash(images)[0]]
    distance = nearest_distance(images, others)
    assert distance.tolist() == naive
    assert distance.max() <= BITS


def test_nothing_has_a_near_duplicate_in_an_empty_pool(faces):
    assert (nearest_distance(faces, faces[:0]) == BITS).all()
    assert not has_near_duplicate(faces, faces[:0]).any()


def test_a_copy_in_another_size_is_a_near_duplicate(faces):
    copies = Images([cv2.resize(face, (96, 72), interpolation=cv2.INTER_CUBIC) for face in faces])
    assert has_near_duplicate(copies, faces).all()


def test_a_gray_face_is_a_near_duplicate_of_its_colour_copy(faces):
    colour = np.repeat(faces[..., None], 3, axis=3)
    assert (nearest_distance(colour, faces) == 0).all()


def test_images_of_mixed_size_and_colour_compare_like_gray_ones(faces):
    mixed = Images([face if number % 2 else np.dstack([face] * 3) for number, face in enumerate(faces)])
    np.testing.assert_array_equal(nearest_distance(mixed, faces[:3]), nearest_distance(faces, faces[:3]))
    np.testing.assert_array_equal(difference_hash(mixed), difference_hash(faces))


def test_the_hash_of_the_mirror_image_is_the_mirrored_hash(faces):
    np.testing.assert_array_equal(difference_hash(faces)[::-1], difference_hash(faces[:, :, ::-1]))


@pytest.mark.parametrize("rows", [1, 7, 20, 100])
def test_the_nearest_hash_is_told_with_its_row(faces, monkeypatch, rows):
    monkeypatch.setattr(near_duplicates, "_POOL_ROWS", rows)
    hashes = difference_hash(faces)[0]
    order = np.random.default_rng(0).permutation(len(faces))
    bits, rows = nearest_hash(hashes, hashes[order])
    assert bits.tolist() == [0] * len(faces)
    assert order[rows].tolist() == list(range(len(faces)))
