import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.data.source import DataSource, SourcePart, parse


def test_a_meta_file_adds_ages_and_groups_by_id_or_file_name(with_meta):
    source = with_meta("id,age_years,sex,country", "train/fer0000000.png,31.5,f,NL", "fer0000002.png,8,m,")
    faces = source.load("train")
    np.testing.assert_array_equal(faces.age_years, np.array([31.5, np.nan, 8], dtype=np.float32))
    assert faces.groups["sex"].tolist() == ["f", "", "m"]
    assert faces.groups["country"].tolist() == ["NL", "", ""]
    assert set(faces.groups) == {"sex", "country"}


def test_the_id_of_a_meta_file_goes_before_the_file_name(with_meta):
    source = with_meta("id,sex", "fer0000001.png,by name", "train/fer0000001.png,by id")
    assert source.load("train").groups["sex"].tolist() == ["", "by id", ""]


def test_a_meta_file_needs_no_ages(with_meta):
    faces = with_meta("id,sex", "fer0000000.png,f").load("train")
    assert np.isnan(faces.age_years).all()
    assert faces.groups["sex"].tolist() == ["f", "", ""]


def test_a_meta_file_may_begin_with_a_byte_order_mark(with_meta):
    assert with_meta("\ufeffid,sex", "fer0000000.png,f").load("train").groups["sex"][0] == "f"


def test_groups_of_a_meta_file_join_those_of_the_hybrid(with_meta, class_folders):
    source = with_meta("id,sex", "fer0000000.png,f")
    hybrid = DataSource((*source.parts, SourcePart("folder", class_folders("sad"))))
    faces = hybrid.load("train")
    assert faces.groups["sex"].tolist() == ["f", "", "", ""]
    assert faces.groups["dataset"].tolist() == ["ferplus"] * 3 + ["folder"]


def test_a_meta_file_that_names_no_sample_says_so(with_meta, caplog):
    source = with_meta("id,sex", "fer0000000.png,f", "ferr0000001.png,m")
    source.load("train")
    assert not caplog.text
    source.parts[0].meta.write_text("id,sex\nferr0000000.png,f\n")
    source.load("train")
    assert "meta.csv' has no row for any of the 3 samples" in caplog.text


def test_a_file_name_that_two_samples_have_needs_their_ids(class_folders, tmp_path):
    folder = class_folders("happy", "sad")
    for image in folder.rglob("*.png"):
        image.rename(image.with_name("1.png"))
    (tmp_path / "meta.csv").write_text("id,sex\n1.png,f\n")
    with pytest.raises(
        BadData, match=r"meta\.csv, line 2: the file name '1\.png' is ambiguous \('.*' and '.*'\); use their ids"
    ):
        parse(f"folder:{folder}?meta={tmp_path / 'meta.csv'}").load("train")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("name,sex", "fer0000000.png,f"), r"meta\.csv' lacks the column 'id'; found: name, sex"),
        ((), r"meta\.csv' lacks the column 'id'"),
        (("id,sex", "fer0000000.png"), r"meta\.csv, line 2: expected 2 cells, one per column"),
        (("id,sex", "fer0000000.png,f,NL"), r"meta\.csv, line 2: expected"),
        (("id,sex", "fer0000000.png,f", "fer0000000.png,m"), r"meta\.csv, line 3: duplicate id 'fer0000000\.png'"),
        (("id,age_years", "fer0000000.png,young"), r"meta\.csv, line 2: age_years must be a number, got 'young'"),
        (("id,age_years", "fer0000000.png,-3"), r"meta\.csv, line 2: age_years must be >= 0"),
        (("id,age_years", "fer0000000.png,nan"), r"meta\.csv, line 2: age_years must be >= 0"),
    ],
)
def test_a_meta_file_of_something_else_is_refused(with_meta, lines, message):
    with pytest.raises(BadData, match=message):
        with_meta(*lines).load("train")


def test_a_meta_file_that_is_not_text_is_refused(with_meta, tmp_path):
    source = with_meta("id,sex")
    (tmp_path / "meta.csv").write_bytes(b"id,sex\n\xff\xfe\x81,f\n")
    with pytest.raises(BadData, match=r"meta\.csv"):
        source.load("train")


def test_a_missing_meta_file_is_named(tmp_path):
    with pytest.raises(BadData, match=r"meta file '.*none\.csv' does not exist"):
        parse(f"ferplus:{tmp_path}?meta={tmp_path / 'none.csv'}")
