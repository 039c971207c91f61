import numpy as np
import pytest

from affectlens.core import catalog
from affectlens.core.errors import BadSetting
from affectlens.core.expressions import FERPLUS
from affectlens.core.sample import Dropped, Sample
from affectlens.data import table
from affectlens.data.source import SPLITS, parse

READERS = catalog.available("data.readers")
CUSTOM_LABELS = {"celeba": {"smiling", "not_smiling"}}


def facts(sample):
    """Everything about a sample, or what was dropped, in a form that can be compared."""
    values = (getattr(sample, name) for name in sample.__dataclass_fields__)
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in values]


def test_every_reader_of_the_catalogue_is_tested_here(readers_with_a_data_set):
    missing = set(READERS) - readers_with_a_data_set
    assert not missing, f"add a row to LAYOUTS in tests/data/readers/conftest.py for {', '.join(sorted(missing))}"


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_exports_what_a_source_needs(reader):
    module = catalog.load("data.readers", reader)
    assert callable(module.read)
    assert callable(module.labels)
    assert "Weights:" in module.LICENCE
    for name, values in module.OPTIONS.items():
        assert name.isidentifier()
        assert name != "meta"
        assert isinstance(values, tuple)
        assert len(set(values)) == len(values)


def test_every_split_holds_faces(official, reader, layout, kept):
    place = official(reader, layout)
    assert all(kept(reader, place, split) for split in SPLITS)


def test_every_entry_is_a_sample_of_its_split_or_dropped_for_a_short_reason(official, reader, layout, read):
    place = official(reader, layout)
    for split in SPLITS:
        for entry in read(reader, place, split):
            assert entry.id.startswith(f"{split}/")
            assert entry.id != f"{split}/"
            if isinstance(entry, Dropped):
                assert 0 < len(entry.reason.split()) <= 10
            else:
                assert isinstance(entry, Sample)
                assert entry.split == split


def test_ids_are_unique_over_all_splits(official, reader, layout, read):
    place = official(reader, layout)
    ids = [entry.id for split in SPLITS for entry in read(reader, place, split)]
    assert len(set(ids)) == len(ids)


def test_labels_are_distinct_names_of_the_project(official, reader, layout):
    labels = parse(f"{reader}:{official(reader, layout)}").labels()
    assert isinstance(labels, tuple)
    assert len(set(labels)) == len(labels) > 0
    assert set(labels) <= set(FERPLUS) | CUSTOM_LABELS.get(reader, set())


def test_expressions_and_votes_are_over_the_labels(official, reader, layout, kept):
    place = official(reader, layout)
    labels = parse(f"{reader}:{place}").labels()
    samples = [sample for split in SPLITS for sample in kept(reader, place, split)]
    assert any(sample.expression is not None for sample in samples)
    for sample in samples:
        assert sample.expression in (None, *labels)
        assert sample.votes is None or sample.votes.shape == (len(labels),)


def test_no_face_stands_in_two_splits(official, reader, layout, kept):
    place = official(reader, layout)
    faces = [{image.tobytes() for image in parse(f"{reader}:{place}").load(split).images} for split in SPLITS]
    assert len(set.union(*faces)) == sum(map(len, faces))


def test_every_sample_decodes_into_a_table(official, reader, layout, read):
    place = official(reader, layout)
    source = parse(f"{reader}:{place}")
    for split in SPLITS:
        entries = read(reader, place, split)
        faces = table.load(entries, source.labels())
        assert len(faces) == sum(isinstance(entry, Sample) for entry in entries)
        assert sum(faces.dropped.values()) == len(entries) - len(faces)
        assert "image cannot be decoded" not in faces.dropped
        assert all(image.dtype == np.uint8 and image.size for image in faces.images)


def test_a_second_reading_gives_the_same(official, reader, layout, read):
    place = official(reader, layout)
    for split in SPLITS:
        assert [facts(one) for one in read(reader, place, split)] == [facts(one) for one in read(reader, place, split)]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("reader", READERS)
def test_an_empty_folder_is_refused_in_one_line_that_names_it(reader, split, tmp_path, refusal):
    assert str(tmp_path) in refusal(reader, tmp_path, split)


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_of_something_else_is_refused(reader, tmp_path, refusal):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.md").write_text("Nothing to see here.\n")
    (tmp_path / "readme.md").write_text("Nothing to see here.\n")
    assert str(tmp_path) in refusal(reader, tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_an_option_that_a_reader_does_not_have_is_refused(reader, tmp_path):
    with pytest.raises(BadSetting, match=f"unknown option 'sharpness' of '{reader}'"):
        parse(f"{reader}:{tmp_path}?sharpness=2")


@pytest.mark.parametrize("reader", READERS)
def test_a_value_that_an_option_does_not_have_is_refused(reader, tmp_path):
    for option, values in catalog.load("data.readers", reader).OPTIONS.items():
        if values:
            with pytest.raises(BadSetting, match=f"unknown value 'nonsense' of the option '{option}' of '{reader}'"):
                parse(f"{reader}:{tmp_path}?{option}=nonsense")


def test_an_image_file_that_cannot_be_decoded_costs_one_face_and_no_more(official, reader, layout, kept):
    place = official(reader, layout)
    samples = kept(reader, place)
    broken = next((sample for sample in samples if sample.content is None), None)
    if broken is not None:
        broken.path.write_bytes(b"no image")
    faces = parse(f"{reader}:{place}").load("train")
    assert faces.ids == tuple(sample.id for sample in samples if sample is not broken)
    assert faces.dropped.get("image cannot be decoded", 0) == (broken is not None)
