from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.core.sample import Dropped, Sample
from affectlens.data import near_duplicates
from affectlens.data.inspection import NearDuplicate, entries, inspect
from affectlens.data.source import parse

LABELS = ("calm", "keen")
HAPPY = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
NO_FACE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)


def picture(seed, side=48):
    """A smooth random picture, gray; pictures of different seeds are no near-duplicates."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def face(name, pixels, **facts):
    return Sample(name, Path("table"), name.partition("/")[0], content=pixels, **facts)


def look(*found):
    """What inspection says of entries, each in the split that its id begins with."""
    return inspect(((entry.id.partition("/")[0], entry) for entry in found), LABELS)


def test_every_entry_of_a_split_is_counted_once():
    found = look(
        face("train/0", picture(0), expression="calm"),
        face("train/1", picture(1), expression="keen"),
        face("train/2", picture(2), expression="keen"),
        face("train/3", picture(3), valence=0.5, arousal=-0.5),
        Dropped("train/4", "no face"),
        Dropped("train/5", "no face", Path("table"), picture(5)),
        Dropped("train/6", "too many votes"),
        Sample("train/7", Path("nowhere.png"), "train", "calm"),
        face("valid/0", picture(8), expression="calm", valence=0.0, arousal=0.0),
    )
    train, valid = found.splits["train"], found.splits["valid"]
    assert list(found.splits) == ["train", "valid"]
    assert (train.files, train.labelled, train.unlabelled) == (8, 3, 1)
    assert train.classes == {"calm": 1, "keen": 2}
    assert train.dropped == Counter({"no face": 2, "too many votes": 1})
    assert [name for name, _ in train.bad] == ["train/7"]
    assert train.affect == 1
    assert train.files == train.labelled + train.unlabelled + train.dropped.total() + len(train.bad)
    assert (valid.files, valid.labelled, valid.affect) == (1, 1, 1)
    assert valid.classes == {"calm": 1, "keen": 0}


def test_valence_alone_is_not_valence_and_arousal():
    found = look(face("train/0", picture(0), valence=0.5), face("train/1", picture(1), arousal=0.5))
    assert found.splits["train"].affect == 0
    assert found.splits["train"].unlabelled == 2


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot read"), (b"", "cannot decode"), (b"Dear diary", "cannot decode")]
)
def test_a_bad_image_is_named_and_counts_for_no_class(tmp_path, content, said):
    file = tmp_path / "bad.png"
    if content is not None:
        file.write_bytes(content)
    facts = look(Sample("train/bad", file, "train", "calm")).splits["train"]
    ((name, what),) = facts.bad
    assert name == "train/bad"
    assert "bad.png" in what
    assert said in what
    assert (facts.files, facts.labelled, facts.classes["calm"], facts.sizes.total()) == (1, 0, 0, 0)


def test_a_face_box_outside_its_picture_is_a_bad_image():
    outside = np.array([100, 100, 120, 120], dtype=np.float32)
    facts = look(face("train/0", picture(0), expression="calm", box_xyxy=outside)).splits["train"]
    assert "is outside the image" in facts.bad[0][1]


def test_a_dropped_entry_whose_image_is_bad_is_counted_once(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"none")
    facts = look(Dropped("train/0", "no face", tmp_path / "bad.png")).splits["train"]
    assert (facts.files, facts.dropped.total(), len(facts.bad)) == (1, 0, 1)


def test_sizes_are_width_by_height_of_what_is_seen_of_the_picture():
    wide = np.zeros((20, 30), dtype=np.uint8)
    part = np.array([0, 0, 10, 16], dtype=np.float32)
    found = look(face("train/0", wide), face("train/1", wide), face("train/2", wide, box_xyxy=part))
    assert found.splits["train"].sizes == {(30, 20): 2, (10, 16): 1}


def test_a_picture_in_two_splits_is_bit_identical_whatever_its_file():
    _, png = cv2.imencode(".png", picture(1))
    found = look(
        face("train/0", picture(0)),
        face("train/1", picture(1)),
        Sample("test/0", Path("table"), "test", content=png.tobytes()),
    )
    assert found.near_duplicates == {("test", "train"): [NearDuplicate("test/0", "train/1", 0, identical=True)]}


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels[:, ::-1],
        lambda pixels: np.clip(pixels.astype(int) + 3, 0, 255).astype(np.uint8),
        lambda pixels: cv2.resize(pixels, (96, 96)),
        lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB),
    ],
    ids=["mirrored", "brighter", "enlarged", "in colour"],
)
def test_nearly_the_same_picture_is_a_near_duplicate_that_is_not_identical(change):
    pixels = np.ascontiguousarray(change(picture(1)))
    found = look(face("train/0", picture(0)), face("train/1", picture(1)), face("valid/0", pixels))
    (pair,) = found.near_duplicates["valid", "train"]
    assert (pair.id, pair.other, pair.identical) == ("valid/0", "train/1", False)
    assert 0 <= pair.bits <= near_duplicates.MAX_DIFFERING_BITS


def test_the_identical_picture_is_named_even_where_a_near_duplicate_comes_first():
    mirrored = np.ascontiguousarray(picture(1)[:, ::-1])
    found = look(face("train/0", mirrored), face("train/1", picture(1)), face("valid/0", picture(1)))
    assert found.near_duplicates["valid", "train"] == [NearDuplicate("valid/0", "train/1", 0, identical=True)]


def test_pictures_of_the_same_bytes_and_another_shape_are_not_identical():
    pixels = picture(0)
    found = look(face("train/0", pixels), face("valid/0", pixels.reshape(24, 96)))
    assert not any(pair.identical for pair in found.near_duplicates["valid", "train"])


def test_pictures_within_one_split_are_not_compared():
    found = look(face("train/0", picture(0)), face("train/1", picture(0)))
    assert found.near_duplicates == {}


def test_each_later_split_is_compared_with_each_earlier_one():
    found = look(*(face(f"{split}/0", picture(0)) for split in ("test", "train", "valid")))
    assert {(pair, len(same)) for pair, same in found.near_duplicates.items()} == {
        (("valid", "train"), 1),
        (("test", "train"), 1),
        (("test", "valid"), 1),
    }


def test_near_duplicates_are_also_found_among_entries_that_are_left_out():
    found = look(face("train/0", picture(0)), Dropped("valid/0", "no face", Path("table"), picture(0)))
    assert found.near_duplicates["valid", "train"] == [NearDuplicate("valid/0", "train/0", 0, identical=True)]


def test_a_split_without_any_readable_image_has_no_near_duplicates(tmp_path):
    found = look(face("train/0", picture(0)), Sample("valid/0", tmp_path / "none.png", "valid"))
    assert found.near_duplicates == {("valid", "train"): []}


def test_no_entries_at_all_are_bad_data():
    with pytest.raises(BadData, match="no entries"):
        look()


def test_entries_are_those_of_all_splits_in_their_order(ferplus):
    for split in ("test", "train", "valid"):
        folder = ferplus([HAPPY, NO_FACE], split)
    found = list(entries(parse(f"ferplus:{folder}")))
    assert [split for split, _ in found] == ["train", "train", "valid", "valid", "test", "test"]
    assert [type(entry) for _, entry in found] == [Sample, Dropped] * 3
