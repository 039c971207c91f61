from affectlens.data.source import SPLITS, parse


def test_folders_of_splits_are_read_as_they_are(class_folders, kept):
    folder = class_folders(
        {"train/happy": ["a.png", "b.jpg"], "train/sad": ["c.png"], "valid/sad": ["a.png"], "test/happy": ["a.png"]}
    )
    found = [[(sample.id, sample.expression) for sample in kept("folder", folder, split)] for split in SPLITS]
    assert found == [
        [("train/happy/a.png", "happiness"), ("train/happy/b.jpg", "happiness"), ("train/sad/c.png", "sadness")],
        [("valid/sad/a.png", "sadness")],
        [("test/happy/a.png", "happiness")],
    ]


def test_a_face_carries_its_path_and_a_label(class_folders, kept):
    folder = class_folders({"train/Angry": ["a.png"], "valid/Angry": ["b.png"], "test/Angry": ["c.png"]})
    (sample,) = kept("folder", folder)
    assert sample.path == folder / "train" / "Angry" / "a.png"
    assert sample.split == "train"
    assert sample.votes is sample.valence is sample.content is None


def test_without_folders_of_splits_the_hash_of_the_file_name_decides(class_folders, kept, names):
    parts = {
        "test": names("{}.png", 0, 10, 3),
        "valid": names("{}.png", 10, 20, 3),
        "train": names("{}.png", 20, 100, 4),
    }
    folder = class_folders({"fear": [name for part in parts.values() for name in part], "joy": parts["train"]})
    for split, joys in zip(SPLITS, (2, 1, 1), strict=True):  # no hash of its names is low: each split has one of joy
        samples = [sample for sample in kept("folder", folder, split) if sample.expression == "fear"]
        assert sorted(sample.path.name for sample in samples) == sorted(parts[split])
        assert [sample.expression for sample in kept("folder", folder, split)].count("happiness") == joys


def test_labels_are_those_of_ferplus_in_its_order_and_then_the_others(class_folders):
    folder = class_folders({name: ["a.png"] for name in ("Zest", "Fear", "anger", "Calm", "neutral")})
    assert parse(f"folder:{folder}").labels() == ("neutral", "anger", "fear", "Calm", "Zest")


def test_labels_are_those_of_all_splits(class_folders):
    folder = class_folders({"train/sad": ["a.png"], "valid/happy": ["a.png"], "test/calm": ["a.png"]})
    assert parse(f"folder:{folder}").labels() == ("happiness", "sadness", "calm")


def test_two_spellings_of_a_class_are_one_label_with_ids_of_their_own(class_folders, kept, names):
    (name,) = names("{}.png", 20, 100)
    folder = class_folders({"happy": [name], "joy": [name]})
    samples = kept("folder", folder)
    assert parse(f"folder:{folder}").labels() == ("happiness",)
    assert {sample.expression for sample in samples} == {"happiness"}
    assert {sample.id for sample in samples} == {f"train/happy/{name}", f"train/joy/{name}"}


def test_folders_of_one_label_are_split_as_one_class(class_folders, kept, names):
    two, one = names("{}.png", 20, 100, 2), names("other{}.png", 20, 100, 1)
    folder = class_folders({"happy": two, "joy": one})
    assert [[sample.expression for sample in kept("folder", folder, split)] for split in SPLITS] == [["happiness"]] * 3


def test_the_option_labels_sets_their_order(class_folders, kept):
    folder = class_folders({f"{split}/{name}": ["a.png"] for split in SPLITS for name in ("happy", "calm", "sad")})
    assert parse(f"folder:{folder}?labels=calm,sadness,happiness").labels() == ("calm", "sadness", "happiness")
    assert parse(f"folder:{folder}?labels=calm,sad,happy").labels() == ("calm", "sadness", "happiness")
    found = {sample.expression for sample in kept("folder", folder, labels="calm,sadness,happiness")}
    assert found == {"calm", "sadness", "happiness"}


def test_the_option_labels_may_name_a_class_without_a_face(class_folders):
    folder = class_folders({f"{split}/sad": ["a.png"] for split in SPLITS})
    assert parse(f"folder:{folder}?labels=fear,sadness").labels() == ("fear", "sadness")


def test_a_class_that_the_option_labels_does_not_name_is_dropped(class_folders, kept, dropped):
    folder = class_folders({f"{split}/{name}": ["a.png"] for split in SPLITS for name in ("happy", "calm", "sad")})
    assert dropped("folder", folder, labels="happiness,calm") == {"class outside the option labels": 1}
    assert [sample.expression for sample in kept("folder", folder, labels="happiness,calm")] == ["calm", "happiness"]


def test_files_that_are_no_images_are_passed_over(class_folders, read):
    folder = class_folders({f"{split}/sad": ["a.png", "b.JPG", "c.jpeg"] for split in SPLITS})
    (folder / "train" / "sad" / "notes.txt").write_text("none")
    (folder / "train" / "sad" / ".DS_Store").write_bytes(b"\x00")
    (folder / "train" / ".DS_Store").write_bytes(b"\x00")
    (folder / "readme.md").write_text("none")
    assert [one.id for one in read("folder", folder)] == ["train/sad/a.png", "train/sad/b.JPG", "train/sad/c.jpeg"]


def test_class_folders_without_an_image_are_refused(class_folders, refusal, tmp_path):
    (tmp_path / "happy").mkdir()
    (tmp_path / "sad").mkdir()
    assert str(tmp_path) in refusal("folder", tmp_path)


def test_images_without_class_folders_are_refused(class_folders, refusal, tmp_path):
    assert str(tmp_path) in refusal("folder", class_folders({".": ["a.png"]}))
