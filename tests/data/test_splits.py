import zlib
from collections import Counter

import pytest

from affectlens.data.splits import by_hash, by_hash_within, held_out, train_or_valid

KEYS = [f"key{number}" for number in range(2000)]


@pytest.mark.parametrize("percent", [0, 1, 10, 50, 99, 100])
def test_held_out_is_the_checksum_of_the_key_below_the_percentage(percent):
    for key in KEYS:
        assert held_out(key, percent) == (zlib.crc32(key.encode()) % 100 < percent)


def test_no_key_or_every_key_is_held_out_at_the_ends():
    assert not any(held_out(key, 0) for key in KEYS)
    assert all(held_out(key, 100) for key in KEYS)


def test_a_key_outside_ascii_has_a_place_too():
    assert held_out("Gesicht-ä", 100)


def test_a_tenth_of_training_data_is_for_validation():
    shares = Counter(map(train_or_valid, KEYS))
    assert set(shares) == {"train", "valid"}
    assert shares["valid"] == pytest.approx(200, abs=60)


def test_data_without_splits_give_a_tenth_to_test_and_another_to_validation():
    shares = Counter(map(by_hash, KEYS))
    assert set(shares) == {"train", "valid", "test"}
    assert shares["test"] == pytest.approx(200, abs=60)
    assert shares["valid"] == pytest.approx(200, abs=60)
    for key in KEYS:
        assert (by_hash(key) == "test") == held_out(key, 10)
        assert (by_hash(key) == "train") == (not held_out(key, 20))


def test_a_class_of_many_keys_is_split_by_their_hashes_alone():
    assert by_hash_within(KEYS, ("test", "valid")) == [by_hash(key) for key in KEYS]
    assert by_hash_within(KEYS, ("valid",)) == [train_or_valid(key) for key in KEYS]


@pytest.mark.parametrize("held", [("valid",), ("test", "valid")], ids=len)
@pytest.mark.parametrize("count", range(9))
def test_a_class_of_a_few_keys_has_one_in_every_split(held, count):
    for start in range(0, 200, 9):
        keys = KEYS[start : start + count]
        splits = by_hash_within(keys, held)
        if count > len(held):
            assert set(splits) == {"train", *held}
        else:
            assert splits == [train_or_valid(key) if held == ("valid",) else by_hash(key) for key in keys]
        again = dict(zip(keys[::-1], by_hash_within(keys[::-1], held), strict=True))
        assert [again[key] for key in keys] == splits


def test_what_a_split_lacks_comes_from_the_largest():
    test = [key for key in KEYS if by_hash(key) == "test"][:4]
    train = [key for key in KEYS if by_hash(key) == "train"][:16]
    splits = by_hash_within([*test, *train], ("test", "valid"))
    assert splits[:4] == ["test"] * 4
    (moved,) = [key for key, split in zip(train, splits[4:], strict=True) if split == "valid"]
    assert moved == min(train, key=lambda key: (zlib.crc32(key.encode()) % 100, key))


def test_a_class_of_very_many_keys_takes_no_time_at_all():
    keys = [f"{number}.jpg" for number in range(200_000)]
    assert Counter(by_hash_within(keys, ("test", "valid"))) == Counter(map(by_hash, keys))
