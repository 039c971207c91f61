from pathlib import Path

import pytest

from affectlens.core import catalog
from affectlens.core.errors import BadData, BadSetting, UnknownName
from affectlens.data.source import SPLITS, DataSource, parse


def test_name_and_folder_are_separated_at_the_first_colon(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    assert parse(f"ferplus:{folder}") == DataSource("ferplus", folder)


def test_a_tilde_stands_for_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("ferplus:~").directory == tmp_path


@pytest.mark.parametrize("spec", ["", "ferplus", "ferplus:", "/data/ferplus"])
def test_a_spec_without_name_and_folder_is_refused(spec):
    with pytest.raises(BadSetting, match=rf"a data set is named NAME:FOLDER .*, got '{spec}'"):
        parse(spec)


def test_an_unknown_reader_is_answered_with_the_nearest_name(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'ferplus'"):
        parse(f"ferpluss:{tmp_path}")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BadData, match=r"data folder '.*none' does not exist"):
        parse(f"ferplus:{tmp_path / 'none'}")


def test_an_unknown_split_is_refused():
    with pytest.raises(BadSetting, match="split must be one of train, valid, test, got 'dev'"):
        DataSource("ferplus", Path()).load("dev")


@pytest.mark.parametrize("reader", catalog.available("data.readers"))
def test_every_data_set_says_what_models_trained_on_it_may_be_used_for(reader):
    assert "Weights:" in DataSource(reader, Path()).licence


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_loads_through_its_reader(ferplus, split):
    folder = ferplus([(0, 10, 0, 0, 0, 0, 0, 0, 0, 0), (5, 0, 0, 5, 0, 0, 0, 0, 0, 0)], split)
    faces = parse(f"ferplus:{folder}").load(split)
    assert faces.images.shape == (2, 48, 48)
    assert faces.targets.tolist() == [1, -1]
    assert faces.labels[1] == "happiness"
