from pathlib import Path

import pytest

from affectlens.core import catalog
from affectlens.core.errors import AffectLensError, BadData, BadSetting, UnknownName
from affectlens.core.expressions import FERPLUS
from affectlens.core.sample import Dropped, Sample
from affectlens.data.source import SPLITS, DataSource, SourcePart, load_if_usable, parse

HAPPY = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
HAPPY_OR_SAD = (0, 5, 0, 5, 0, 0, 0, 0, 0, 0)
NO_FACE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)


def test_name_and_folder_are_separated_at_the_first_colon(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    assert parse(f"ferplus:{folder}") == DataSource((SourcePart("ferplus", folder),))


def test_a_tilde_stands_for_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "meta.csv").touch()
    (part,) = parse("ferplus:~?meta=~/meta.csv").parts
    assert (part.directory, part.meta) == (tmp_path, tmp_path / "meta.csv")


@pytest.mark.parametrize("spec", ["", "ferplus", "ferplus:", "/data/ferplus", "ferplus:?mode=votes"])
def test_a_spec_without_name_and_folder_is_refused(spec):
    with pytest.raises(
        BadData, match=r"(is neither a folder nor a CSV or Parquet file; .*|names no folder; .*) NAME:FOLDER"
    ) as error:
        parse(spec)
    assert str(error.value).startswith(f"'{spec}' ")


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
    assert "Weights:" in DataSource((SourcePart(reader, Path()),)).licence


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
    assert part.options == {"protocol": "standard", "mode": "votes", "va": "", "classes": "", "votes": ""}
    (part,) = parse(f"ferplus:{tmp_path}?protocol=caciolai").parts
    assert part.options == {"protocol": "caciolai", "mode": "votes", "va": "", "classes": "", "votes": ""}


def test_options_reach_the_reader(ferplus):
    folder = ferplus([HAPPY_OR_SAD])
    assert parse(f"ferplus:{folder}").load("train").targets.tolist() == [-1]
    faces = parse(f"ferplus:{folder}?protocol=caciolai&mode=votes").load("train")
    assert faces.targets.tolist() == [1]
    assert faces.labels == FERPLUS[:7]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("protocl=caciolai", "unknown option 'protocl' of 'ferplus'; did you mean 'protocol'"),
        (
            "protocol=caciolay",
            "unknown value 'caciolay' of the option 'protocol' of 'ferplus'; did you mean 'caciolai'",
        ),
        ("protocol", "options of a data set must have the form KEY=VALUE, got 'protocol'"),
    ],
)
def test_an_unknown_option_or_value_is_answered_with_the_nearest(tmp_path, query, message):
    with pytest.raises(BadSetting, match=message):
        parse(f"ferplus:{tmp_path}?{query}")


def test_a_default_of_a_recipe_gives_way_to_what_the_source_says(tmp_path):
    source = parse(f"ferplus:{tmp_path}").with_default("ferplus", "protocol", "caciolai")
    assert source.options["protocol"] == "caciolai"
    source = parse(f"ferplus:{tmp_path}?protocol=standard").with_default("ferplus", "protocol", "caciolai")
    assert source.options["protocol"] == "standard"


@pytest.mark.parametrize(("key", "value"), [("protocoll", "caciolai"), ("protocol", "caciolay")])
def test_a_default_that_no_reader_knows_is_refused(tmp_path, key, value):
    with pytest.raises(BadSetting, match="did you mean"):
        parse(f"ferplus:{tmp_path}").with_default("ferplus", key, value)


def test_a_default_is_for_the_parts_of_its_reader(tmp_path):
    source = parse(f"folder:{tmp_path}+ferplus:{tmp_path}").with_default("ferplus", "protocol", "caciolai")
    assert [part.given for part in source.parts] == [{}, {"protocol": "caciolai"}]


def test_the_name_has_readers_and_options_but_no_folders(tmp_path):
    source = parse(f"ferplus:{tmp_path}?protocol=caciolai+folder:{tmp_path}")
    assert source.name == "ferplus+folder&protocol=caciolai&mode=votes"


def test_a_split_that_is_not_there_or_of_which_all_is_dropped_is_none_to_use(ferplus):
    source = parse(f"ferplus:{ferplus([HAPPY])}")
    assert len(load_if_usable(source, "train")) == 1
    assert load_if_usable(source, "test") is None
    (source.parts[0].directory / "FER2013Train" / "fer0000000.png").unlink()
    assert load_if_usable(source, "train") is None


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


READER = """
from pathlib import Path
import numpy as np
from affectlens.core.sample import Sample

LICENCE = "Weights: any use."
OPTIONS = {{}}

def labels(directory, options):
    return {labels}

def read(directory, split, options):
    {read}
"""


@pytest.mark.parametrize(
    ("labels", "read", "message"),
    [
        ("('a', 'b')", "return None", "read() of the reader 'new' must return an iterable of samples, got NoneType"),
        ("('a', 'b')", "yield 5", "the reader 'new' must yield Sample or Dropped objects, got 5"),
        (
            "None",
            "yield Sample('1', Path('a'), split)",
            "labels() of the reader 'new' must return a tuple of strings, got None",
        ),
        (
            "('a', 'b')",
            "yield Sample('1', Path('a'), split, 'c')",
            "reader 'new', sample '1': the expression 'c' is not among the reader's labels: a, b",
        ),
        (
            "('a', 'b')",
            "yield Sample('1', 'a.png', split, 'a')",
            "reader 'new', sample '1': path must be a Path, got 'a.png'",
        ),
        (
            "('a', 'b')",
            "yield Sample('1', Path('a'), split, votes=np.ones(1))",
            "reader 'new', sample '1': votes must have the shape (2,), got (1,)",
        ),
    ],
)
def test_what_a_reader_must_not_yield_is_one_line_that_names_it(contribute, tmp_path, labels, read, message):
    contribute("data.readers", "new", READER.format(labels=labels, read=read))
    with pytest.raises(BadData) as caught:
        list(parse(f"new:{tmp_path}").samples("train"))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("OverflowError('too large')", "OverflowError: too large"),
        ("SystemError('x' * 5000 + ' end')", "xxx.* end"),
        ("OSError(36, 'File name too long', 'a' * 300)", "File name too long"),
        ("RecursionError()", "RecursionError"),
    ],
)
def test_whatever_a_reader_raises_for_a_damaged_file_is_one_line_of_bad_data(contribute, tmp_path, failure, said):
    code = READER.format(labels="('a',)", read=f"raise {failure}\n    yield")
    contribute("data.readers", "mine", code)
    with pytest.raises(BadData, match=rf"^cannot read '.*' as mine: .*{said}") as error:
        list(parse(f"mine:{tmp_path}").samples("train"))
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1000


def test_max_takes_so_many_training_samples_of_a_part_whatever_their_order(ferplus, class_folders):
    folder = ferplus([(10, 0, 0, 0, 0, 0, 0, 0, 0, 0)] * 9)
    few = parse(f"ferplus:{folder}?max=4+folder:{class_folders('sad')}")
    entries = [list(part.samples("train")) for part in few.parts]
    kept = [entry.id for entry in entries[0] if isinstance(entry, Sample)]
    assert len(kept) == 4
    assert kept != [entry.id for entry in entries[0][:4]]
    assert {entry.reason for entry in entries[0] if isinstance(entry, Dropped)} == {"more than max"}
    assert len(entries[1]) == 1
    assert few.options["max"] == "4"
    assert few.name == "ferplus+folder&protocol=standard&mode=votes&max=4"
    more = parse(f"ferplus:{folder}?max=6").samples("train")
    assert {entry.id.rpartition("/")[2] for entry in more if isinstance(entry, Sample)} > {
        name.rpartition("/")[2] for name in kept
    }


@pytest.mark.parametrize("most", ["many", "-1", "1.5", "", "0"])
def test_max_is_a_whole_number(tmp_path, most):
    with pytest.raises(BadSetting, match=f"max must be a whole number of training samples, at least 1, got '{most}'"):
        parse(f"ferplus:{tmp_path}?max={most}")


def test_max_may_come_from_a_recipe_or_a_model_and_what_is_given_wins(tmp_path):
    source = parse(f"ferplus:{tmp_path}").with_default("ferplus", "max", "9")
    assert source.options["max"] == "9"
    assert parse(f"ferplus:{tmp_path}?max=4").with_default("ferplus", "max", "9").options["max"] == "4"
    with pytest.raises(BadSetting, match="max must be a whole number"):
        parse(f"ferplus:{tmp_path}").with_default("ferplus", "max", "few")


def test_faces_are_to_be_found_in_the_parts_that_say_so(ferplus, class_folders):
    folder = ferplus([HAPPY, NO_FACE])
    source = parse(
        f"ferplus:{folder}+folder:{class_folders('sad', 'calm')}?find_faces=yes+ferplus:{folder}?find_faces=no"
    )
    assert source.load("train").find_face.tolist() == [False, True, True, False]
    assert [part.options.get("find_faces") for part in source.parts] == [None, "yes", None]
    assert source.options["find_faces"] == "yes"
    assert source.name.endswith("&find_faces=yes")
    assert "find_faces" not in parse(f"ferplus:{folder}?find_faces=no").name


def test_find_faces_may_come_from_a_model_and_what_is_given_wins(tmp_path):
    source = parse(f"ferplus:{tmp_path}").with_default("ferplus", "find_faces", "yes")
    assert source.parts[0].finds_faces
    source = parse(f"ferplus:{tmp_path}?find_faces=no").with_default("ferplus", "find_faces", "yes")
    assert not source.parts[0].finds_faces


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("find_faces=true", "unknown value 'true' of the option 'find_faces' of 'ferplus'"),
        ("find_face=yes", "unknown option 'find_face' of 'ferplus'; did you mean 'find_faces'"),
    ],
)
def test_find_faces_is_yes_or_no(tmp_path, query, message):
    with pytest.raises(BadSetting, match=message):
        parse(f"ferplus:{tmp_path}?{query}")


def test_labels_that_no_model_could_have_are_refused_before_training(tmp_path):
    (tmp_path / "calm").mkdir()
    (tmp_path / "calm" / "a.png").touch()
    source = parse(f"folder:{tmp_path}?labels=Calm,calm")
    with pytest.raises(BadData, match="the labels of folder: labels must differ, got 'Calm' and 'calm'"):
        source.labels()
    with pytest.raises(BadData, match="labels must differ"):
        source.load("train")
