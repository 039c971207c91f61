from pathlib import Path

import cv2
import numpy as np
import pytest

from affectlens.core import catalog
from affectlens.core.errors import AffectLensError, BadData, BadSetting, UnknownName
from affectlens.core.expressions import FERPLUS
from affectlens.core.sample import Dropped
from affectlens.data.source import SPLITS, DataSource, Part, parse

HAPPY = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
HAPPY_OR_SAD = (0, 5, 0, 5, 0, 0, 0, 0, 0, 0)
NO_FACE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)


@pytest.fixture
def class_folders(tmp_path):
    """A writer of a training folder with one image per class, named after the class."""

    def write(*classes, name="folders"):
        for label in classes:
            folder = tmp_path / name / "train" / label
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / f"{label}.png"), np.full((48, 48), 9, dtype=np.uint8))
        return tmp_path / name

    return write


@pytest.fixture
def with_meta(ferplus, tmp_path):
    """Three happy faces and a meta file of these lines."""

    def write(*lines):
        (tmp_path / "meta.csv").write_text("".join(f"{line}\n" for line in lines))
        return parse(f"ferplus:{ferplus([HAPPY] * 3)}?meta={tmp_path / 'meta.csv'}")

    return write


def test_name_and_folder_are_separated_at_the_first_colon(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    assert parse(f"ferplus:{folder}") == DataSource((Part("ferplus", folder),))


def test_a_tilde_stands_for_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "meta.csv").touch()
    (part,) = parse("ferplus:~?meta=~/meta.csv").parts
    assert (part.directory, part.meta) == (tmp_path, tmp_path / "meta.csv")


@pytest.mark.parametrize("spec", ["", "ferplus", "ferplus:", "/data/ferplus", "ferplus:?mode=votes"])
def test_a_spec_without_name_and_folder_is_refused(spec):
    with pytest.raises(BadSetting, match="a data set is named NAME:FOLDER") as error:
        parse(spec)
    assert str(error.value).endswith(f"got '{spec}'")


def test_an_unknown_reader_is_answered_with_the_nearest_name(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'ferplus'"):
        parse(f"ferpluss:{tmp_path}")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BadData, match=r"data folder '.*none' does not exist"):
        parse(f"ferplus:{tmp_path / 'none'}")


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(BadSetting, match="split must be one of train, valid, test, got 'dev'"):
        parse(f"ferplus:{tmp_path}").load("dev")


@pytest.mark.parametrize("reader", catalog.available("data.readers"))
def test_every_data_set_says_what_models_trained_on_it_may_be_used_for(reader):
    assert "Weights:" in DataSource((Part(reader, Path()),)).licence


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_loads_through_its_reader(ferplus, split):
    folder = ferplus([HAPPY, HAPPY_OR_SAD, NO_FACE], split)
    faces = parse(f"ferplus:{folder}").load(split)
    assert [image.shape for image in faces.images] == [(48, 48), (48, 48)]
    assert faces.targets.tolist() == [1, -1]
    assert faces.labels == FERPLUS
    assert faces.dropped == {"top vote is unknown or not a face": 1}


def test_options_not_given_are_at_their_defaults(tmp_path):
    (part,) = parse(f"ferplus:{tmp_path}").parts
    assert part.options == {"protocol": "standard", "mode": "votes"}
    (part,) = parse(f"ferplus:{tmp_path}?protocol=caciolai").parts
    assert part.options == {"protocol": "caciolai", "mode": "votes"}


def test_options_reach_the_reader(ferplus):
    folder = ferplus([HAPPY_OR_SAD])
    assert parse(f"ferplus:{folder}").load("train").targets.tolist() == [-1]
    faces = parse(f"ferplus:{folder}?protocol=caciolai&mode=votes").load("train")
    assert faces.targets.tolist() == [1]
    assert faces.labels == FERPLUS[:7]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("protocl=caciolai", "unknown option of 'ferplus' 'protocl'; did you mean 'protocol'"),
        ("protocol=caciolay", "unknown value of 'ferplus' option 'protocol' 'caciolay'; did you mean 'caciolai'"),
        ("protocol", "an option of a data set is KEY=VALUE, got 'protocol'"),
    ],
)
def test_an_unknown_option_or_value_is_answered_with_the_nearest(tmp_path, query, message):
    with pytest.raises(BadSetting, match=message):
        parse(f"ferplus:{tmp_path}?{query}")


def test_a_default_of_a_recipe_gives_way_to_what_the_source_says(tmp_path):
    source = parse(f"ferplus:{tmp_path}").with_default("protocol", "caciolai")
    assert source.options["protocol"] == "caciolai"
    source = parse(f"ferplus:{tmp_path}?protocol=standard").with_default("protocol", "caciolai")
    assert source.options["protocol"] == "standard"


@pytest.mark.parametrize(("key", "value"), [("protocoll", "caciolai"), ("protocol", "caciolay")])
def test_a_default_that_no_reader_knows_is_refused(tmp_path, key, value):
    with pytest.raises(BadSetting, match="did you mean"):
        parse(f"ferplus:{tmp_path}").with_default(key, value)


def test_a_hybrid_has_the_labels_of_all_parts_in_one_order(ferplus, class_folders):
    folders = class_folders("zeal", "sad", "calm")
    source = parse(f"folder:{folders}+ferplus:{ferplus([HAPPY])}")
    assert source.reader == "folder+ferplus"
    assert source.labels() == (*FERPLUS, "calm", "zeal")


def test_a_hybrid_without_ferplus_keeps_its_order_too(class_folders):
    first, second = class_folders("zeal", "sad"), class_folders("happy", "calm", name="more")
    assert parse(f"folder:{first}+folder:{second}").labels() == ("happiness", "sadness", "zeal", "calm")


def test_votes_of_a_hybrid_stand_in_the_columns_of_all_labels(ferplus, class_folders):
    folders = class_folders("calm", "sad")
    faces = parse(f"folder:{folders}+ferplus:{ferplus([HAPPY_OR_SAD])}").load("train")
    by_label = [dict(zip(faces.labels, row, strict=True)) for row in faces.votes.tolist()]
    nothing = dict.fromkeys([*FERPLUS, "calm"], 0.0)
    assert by_label == [
        nothing | {"calm": 1},
        nothing | {"sadness": 1},
        nothing | {"happiness": 0.5, "sadness": 0.5},
    ]
    assert [None if target < 0 else faces.labels[target] for target in faces.targets] == ["calm", "sadness", None]


def test_faces_of_a_hybrid_carry_their_data_set_in_id_and_group(ferplus, class_folders):
    folders = class_folders("sad")
    faces = parse(f"ferplus:{ferplus([HAPPY])}+folder:{folders}").load("train")
    assert faces.ids == ("train/1.ferplus/fer0000000.png", "train/2.folder/sad/sad.png")
    assert faces.groups["dataset"].tolist() == ["ferplus", "folder"]


def test_the_same_folder_twice_gives_different_ids(ferplus):
    folder = ferplus([HAPPY, NO_FACE])
    entries = list(parse(f"ferplus:{folder}+ferplus:{folder}").samples("train"))
    assert len({entry.id for entry in entries}) == 4
    assert [isinstance(entry, Dropped) for entry in entries] == [False, True, False, True]


def test_one_data_set_alone_has_no_group_of_data_sets(ferplus):
    (sample,) = parse(f"ferplus:{ferplus([HAPPY])}").samples("train")
    assert sample.groups == {}
    assert sample.id == "train/fer0000000.png"


def test_what_parts_of_a_hybrid_drop_is_counted_together(ferplus, class_folders):
    folder = ferplus([HAPPY, NO_FACE])
    source = parse(f"ferplus:{folder}+folder:{class_folders('sad')}+ferplus:{folder}")
    assert source.load("train").dropped == {"top vote is unknown or not a face": 2}


def test_a_folder_with_a_plus_in_its_name_is_one_data_set(tmp_path):
    folder = tmp_path / "ck+48+more"
    folder.mkdir()
    (part,) = parse(f"folder:{folder}").parts
    assert part.directory == folder


def test_every_part_of_a_hybrid_has_its_own_options(ferplus, class_folders):
    folder = ferplus([HAPPY_OR_SAD])
    source = parse(f"ferplus:{folder}?protocol=caciolai+ferplus:{folder}+folder:{class_folders('sad')}")
    assert source.options["protocol"] == "caciolai+standard"
    assert source.load("train").targets.tolist() == [1, -1, 3]


def test_the_licence_of_a_hybrid_holds_that_of_each_part_once(tmp_path):
    ferplus, folder = (catalog.load("data.readers", name).LICENCE for name in ("ferplus", "folder"))
    source = parse(f"ferplus:{tmp_path}+folder:{tmp_path}+ferplus:{tmp_path}")
    assert source.licence == f"{ferplus} {folder}"


@pytest.mark.parametrize("second", ["ferpluss:{}", "ferplus:{}/none", "ferplus:{}?mode=none", "ferplus:"])
def test_a_mistake_in_the_second_part_is_refused_too(tmp_path, second):
    with pytest.raises(AffectLensError):
        parse(f"ferplus:{tmp_path}+{second.format(tmp_path)}")


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
    hybrid = DataSource((*source.parts, Part("folder", class_folders("sad"))))
    faces = hybrid.load("train")
    assert faces.groups["sex"].tolist() == ["f", "", "", ""]
    assert faces.groups["dataset"].tolist() == ["ferplus"] * 3 + ["folder"]


def test_a_meta_file_that_names_no_sample_says_so(with_meta, caplog):
    source = with_meta("id,sex", "fer0000000.png,f", "ferr0000001.png,m")
    source.load("train")
    assert not caplog.text
    source.parts[0].meta.write_text("id,sex\nferr0000000.png,f\n")
    source.load("train")
    assert "meta.csv' has no row for any of 3 samples" in caplog.text


def test_a_file_name_that_two_samples_have_needs_their_ids(class_folders, tmp_path):
    folder = class_folders("happy", "sad")
    for image in folder.rglob("*.png"):
        image.rename(image.with_name("1.png"))
    (tmp_path / "meta.csv").write_text("id,sex\n1.png,f\n")
    with pytest.raises(BadData, match=r"meta\.csv, line 2: '1\.png' is the file of '.*' and of '.*'; give their ids"):
        parse(f"folder:{folder}?meta={tmp_path / 'meta.csv'}").load("train")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("name,sex", "fer0000000.png,f"), r"meta\.csv' lacks the column 'id'; found: name, sex"),
        ((), r"meta\.csv' lacks the column 'id'"),
        (("id,sex", "fer0000000.png"), r"meta\.csv, line 2: the number of cells is not that of the 2 columns"),
        (("id,sex", "fer0000000.png,f,NL"), r"meta\.csv, line 2: the number of cells"),
        (("id,sex", "fer0000000.png,f", "fer0000000.png,m"), r"meta\.csv, line 3: 'fer0000000\.png' comes twice"),
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
