import csv
import errno
import json
import os
import re
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from affectlens.core.expressions import FERPLUS
from affectlens.data.source import SPLITS, parse

SHARED = Path(__file__).parents[4] / "shared" / "data" / "ferplus"
FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}

NEUTRAL, HAPPY = (10, 0, 0, 0, 0, 0, 0, 0, 0, 0), (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
SCATTERED = (0, 5, 0, 5, 0, 0, 0, 0, 0, 0)
NO_FACE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)
NO_IMAGE = "not a JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or HEIC file"
DROPPED = "top vote is unknown or not a face"


def picture(seed):
    """A smooth random picture; pictures of different seeds are no near-duplicates."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return cv2.resize(coarse, (48, 48), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def ferplus(tmp_path):
    """FER+ folders with one of everything: faces without majority, near-duplicates, a bad image, a missing one."""
    faces = {
        "train": [
            *((picture(0), NEUTRAL), (picture(1), HAPPY), (picture(2), HAPPY), (picture(3), SCATTERED)),
            *((picture(4), NO_FACE), (None, HAPPY), (b"no picture", HAPPY)),
        ],
        "valid": [(picture(1), HAPPY), (picture(2)[:, ::-1], NEUTRAL), (picture(10), HAPPY)],
        "test": [(picture(4), HAPPY), (picture(10), NO_FACE)],
    }
    for split, rows in faces.items():
        folder = tmp_path / "ferplus" / FOLDERS[split]
        folder.mkdir(parents=True)
        lines = []
        for number, (content, votes) in enumerate(rows):
            name = f"fer{number}.png"
            lines.append(f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}\n')
            if isinstance(content, bytes):
                (folder / name).write_bytes(content)
            elif content is not None:
                cv2.imwrite(str(folder / name), np.ascontiguousarray(content))
        (folder / "label.csv").write_text("".join(lines))
    return tmp_path / "ferplus"


def numbers(text, row):
    """The cells of a row of the printed table."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(row)]
    return line.strip().removeprefix(row).split()


# inspect


def test_inspect_as_json_counts_every_file_once(cli, ferplus):
    result = cli("data", "inspect", f"ferplus:{ferplus}", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert (found["data"], found["options"]) == ("ferplus", {"protocol": "standard", "mode": "votes"})
    assert found["suspects"] == []
    nothing = dict.fromkeys(FERPLUS, 0)
    assert found["splits"] == {
        "train": {
            "files": 7,
            "labelled": 3,
            "unlabelled": 1,
            "classes": nothing | {"neutral": 1, "happiness": 2},
            "with_valence_and_arousal": 0,
            "left_out": {DROPPED: 1, "image file is missing": 1},
            "bad": [
                {
                    "id": "train/fer6.png",
                    "what": f"cannot decode '{ferplus / 'FER2013Train' / 'fer6.png'}' as an image: {NO_IMAGE}",
                }
            ],
            "sizes": {"48x48": 5},
        },
        "valid": {
            "files": 3,
            "labelled": 3,
            "unlabelled": 0,
            "classes": nothing | {"neutral": 1, "happiness": 2},
            "with_valence_and_arousal": 0,
            "left_out": {},
            "bad": [],
            "sizes": {"48x48": 3},
        },
        "test": {
            "files": 2,
            "labelled": 1,
            "unlabelled": 0,
            "classes": nothing | {"happiness": 1},
            "with_valence_and_arousal": 0,
            "left_out": {DROPPED: 1},
            "bad": [],
            "sizes": {"48x48": 2},
        },
    }


def test_inspect_as_json_names_every_face_that_stands_in_two_splits(cli, ferplus):
    found = json.loads(cli("data", "inspect", f"ferplus:{ferplus}", "--json").out)["near_duplicates"]
    pairs = {(pair["split"], pair["of"], pair["id"], pair["other"]): pair for pair in found}
    assert {names: pair["identical"] for names, pair in pairs.items()} == {
        ("valid", "train", "valid/fer0.png", "train/fer1.png"): True,
        ("valid", "train", "valid/fer1.png", "train/fer2.png"): False,
        ("test", "train", "test/fer0.png", "train/fer4.png"): True,
        ("test", "valid", "test/fer1.png", "valid/fer2.png"): True,
    }
    assert all(pair["bits"] == 0 if pair["identical"] else pair["bits"] <= 28 for pair in found)


def test_inspect_for_people_is_a_table_and_a_line_for_each_trouble(cli, ferplus):
    result = cli("data", "inspect", f"ferplus:{ferplus}")
    assert (result.code, result.err) == (0, "")
    assert result.out.split("\n")[0].split() == list(SPLITS)
    assert numbers(result.out, "files") == ["7", "3", "2"]
    assert numbers(result.out, "faces with one label") == ["3", "3", "1"]
    assert numbers(result.out, "happiness") == ["2", "2", "1"]
    assert numbers(result.out, "faces without a label") == ["1", "0", "0"]
    assert numbers(result.out, f"left out: {DROPPED}") == ["1", "0", "1"]
    assert numbers(result.out, "left out: image file is missing") == ["1", "0", "0"]
    assert numbers(result.out, "unreadable images") == ["1", "0", "0"]
    assert numbers(result.out, "sizes") == ["48x48"] * 3
    assert "1 images of valid are bit-identical to one of train; 1 more are its near-duplicates" in result.out
    assert "1 images of test are bit-identical to one of train; 0 more are its near-duplicates" in result.out
    bad = [line for line in result.out.splitlines() if line.startswith("bad:")]
    assert len(bad) == 1
    assert "train/fer6.png" in bad[0]


def test_inspect_says_what_sizes_there_are_and_how_many_have_valence(cli, tmp_path):
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((10, 30), dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((200, 20), dtype=np.uint8))
    lines = ["path,valence,arousal,split", "small.png,0.5,-0.5,train", "large.png,nan,0.5,train"]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    result = cli("data", "inspect", f"table:{tmp_path}")
    assert (result.code, result.err) == (0, "")
    assert numbers(result.out, "sizes") == ["20x10", "to", "30x200"]
    assert numbers(result.out, "with valence and arousal") == ["1"]


def test_inspect_with_a_model_lists_the_most_doubtful_labels_first(cli, ferplus, write_model, tmp_path):
    bias = [4.0, 3.0] + [0.0] * 6
    model = write_model(tmp_path / "tiny.onnx", FERPLUS, bias=bias, slope=[0.0] * 8)
    result = cli("data", "inspect", f"ferplus:{ferplus}", "--model", model, "--json")
    suspects = json.loads(result.out)["suspects"]
    assert (result.code, result.err) == (0, "")
    assert {suspect["id"] for suspect in suspects[:5]} == {
        *("train/fer1.png", "train/fer2.png", "valid/fer0.png", "valid/fer2.png", "test/fer0.png")
    }
    assert [suspect["label"] for suspect in suspects] == ["happiness"] * 5 + ["neutral"] * 2
    assert {suspect["model"] for suspect in suspects} == {"neutral"}
    p = [suspect["p"] for suspect in suspects]
    assert p == sorted(p)
    assert p[0] == pytest.approx(np.exp(3) / np.exp(bias).sum(), abs=1e-5)


def test_inspect_with_the_bundled_model_prints_as_many_suspects_as_asked(cli, make_ferplus, tmp_path):
    result = cli("data", "inspect", f"ferplus:{make_ferplus(tmp_path / 'f')}", "--model", "bundled", "--suspects", 3)
    assert (result.code, result.err) == (0, "")
    lines = [line for line in result.out.splitlines() if line.startswith("suspect: ")]
    assert len(lines) == 3
    pattern = r"suspect: (train|valid|test)/fer\d\.png: (neutral|happiness) \(p = 0\.\d{3}\), the model predicts \w+"
    assert all(re.fullmatch(pattern, line) for line in lines)


def test_inspect_with_a_model_passes_over_a_split_of_which_all_is_left_out(cli, ferplus, write_model, tmp_path):
    table = ferplus / "FER2013Test" / "label.csv"
    table.write_text(table.read_text().replace("0,10,0,0,0,0,0,0,0,0", "0,0,0,0,0,0,0,0,0,10"))
    model = write_model(tmp_path / "tiny.onnx", FERPLUS, bias=[0.0] * 8, slope=[0.0] * 8)
    result = cli("data", "inspect", f"ferplus:{ferplus}", "--model", model, "--json")
    assert (result.code, result.err) == (0, "")
    assert len(json.loads(result.out)["suspects"]) == 6


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The FER+ folders: unpacked, or out of the archives."""
    if "AFFECTLENS_FERPLUS" in os.environ:
        return Path(os.environ["AFFECTLENS_FERPLUS"])
    archives = sorted(SHARED.glob("FER2013*.tar.gz"))
    if len(archives) < len(SPLITS):
        pytest.skip(f"FER+ not found: AFFECTLENS_FERPLUS is not set and {SHARED} holds no FER2013*.tar.gz")
    folder = tmp_path_factory.mktemp("official")
    for archive in archives:
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
    return folder


@pytest.mark.slow
@pytest.mark.no_cover
def test_inspect_gives_the_known_numbers_of_the_official_faces(cli, official):
    result = cli("data", "inspect", f"ferplus:{official}", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    facts = [found["splits"][split] for split in SPLITS]
    assert [part["files"] for part in facts] == [28_558, 3_579, 3_573]
    assert [part["labelled"] for part in facts] == [25_045, 3_191, 3_137]
    assert [part["bad"] for part in facts] == [[], [], []]
    for part in facts:
        assert part["files"] == part["labelled"] + part["unlabelled"] + sum(part["left_out"].values())
        assert sum(part["classes"].values()) == part["labelled"]
        assert part["sizes"] == {"48x48": part["files"]}
    same = [(pair["split"], pair["of"]) for pair in found["near_duplicates"] if pair["identical"]]
    assert same.count(("valid", "train")) == 279
    assert same.count(("test", "train")) == 288


def test_inspect_controls_no_terminal_with_names_and_labels_of_others(cli, tmp_path):
    cv2.imwrite(str(tmp_path / "face.png"), picture(0))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with (tmp_path / "data.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("path", "id", "expression", "split"))
        table.writerow(("face.png", "a", "b", "train"))
        table.writerow(("bad.png", "\x9b2J\u202e", "b", "train"))
    result = cli("data", "inspect", f"table:{tmp_path / 'data.csv'}")
    assert (result.code, result.err) == (0, "")
    assert r"bad: train/\x9b2J\u202e: " in result.out
    assert not any(one in result.out for one in "\x1b\x07\x9b\u202e")
    with (tmp_path / "data.csv").open("a", newline="") as stream:
        csv.writer(stream).writerow(("face.png", "c", "la\r\nbel\x1b]0;pwn\x07", "train"))
    result = cli("data", "inspect", f"table:{tmp_path / 'data.csv'}")
    assert (result.code, len(result.errors)) == (1, 1)
    assert r"a name must not contain control characters, got 'la\r\nbel\x1b]0;pwn\x07'" in result.err


# prepare


def test_prepare_writes_shards_that_read_back_as_they_were(cli, ferplus, tmp_path):
    result = cli("data", "prepare", f"ferplus:{ferplus}", "--out", tmp_path / "shards", "--shard-rows", 2)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "train: 4 written",
        f"train: 1 left out: {DROPPED}",
        "train: 1 left out: image file is missing",
        "train: 1 left out: image cannot be decoded",
        "valid: 3 written",
        "test: 1 written",
        f"test: 1 left out: {DROPPED}",
        f"shards: {tmp_path / 'shards'}",
    ]
    for split in SPLITS:
        before, after = (parse(spec).load(split) for spec in (f"ferplus:{ferplus}", f"table:{tmp_path / 'shards'}"))
        assert after.ids == before.ids
        assert after.labels == before.labels == FERPLUS
        np.testing.assert_array_equal(after.targets, before.targets)
        np.testing.assert_array_equal(after.votes, before.votes)
        np.testing.assert_array_equal(np.stack(list(after.images)), np.stack(list(before.images)))


def test_prepare_keeps_valence_landmarks_ages_and_groups(cli, tmp_path):
    rows = [
        ("a.png", "keen", "0.25", "-0.5", "1 2 3 4.5", "31", "f", "train"),
        ("b.png", "calm", "nan", "", "", "", "", "train"),
        ("c.png", "", "1", "-1", "0 0 5 5", "8.5", "m", "train"),
    ]
    columns = ("path", "expression", "valence", "arousal", "landmarks", "age_years", "group_sex", "split")
    with (tmp_path / "data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    for name, *_ in rows:
        cv2.imwrite(str(tmp_path / name), picture(ord(name[0])))
    assert cli("data", "prepare", f"table:{tmp_path}", "--out", tmp_path / "shards").code == 0
    before, after = (parse(f"table:{place}").load("train") for place in (tmp_path / "data.csv", tmp_path / "shards"))
    assert after.ids == before.ids
    assert after.labels == before.labels == ("calm", "keen")
    for column in ("targets", "votes", "valence", "arousal", "landmarks_xy", "age_years"):
        np.testing.assert_array_equal(getattr(after, column), getattr(before, column), err_msg=column)
    assert after.groups["sex"].tolist() == before.groups["sex"].tolist() == ["f", "", "m"]


def test_a_full_disk_is_one_line_and_leaves_no_part_of_a_shard(cli, ferplus, tmp_path, monkeypatch):
    def full(table, file):
        Path(file).write_bytes(b"PAR1 and a part of it")
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr(pq, "write_table", full)
    result = cli("data", "prepare", f"ferplus:{ferplus}", "--out", tmp_path / "shards")
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert result.err.startswith("error: No space left on device")
    assert list((tmp_path / "shards").iterdir()) == []


def test_prepare_twice_into_one_folder_is_one_line(cli, ferplus, tmp_path):
    cli("data", "prepare", f"ferplus:{ferplus}", "--out", tmp_path / "shards")
    result = cli("data", "prepare", f"ferplus:{ferplus}", "--out", tmp_path / "shards")
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "choose another folder" in result.err


# preview


def size_px(file):
    """Width and height of a PNG."""
    height, width = cv2.imread(str(file)).shape[:2]
    return width, height


def test_preview_draws_the_faces_and_the_classes(cli, ferplus, tmp_path):
    result = cli("data", "preview", f"ferplus:{ferplus}", "--out", tmp_path / "look", "--faces", 4)
    assert (result.code, result.err) == (0, "")
    assert "4 training faces" in result.out
    assert {file.name for file in (tmp_path / "look").iterdir()} == {"faces.png", "classes.png"}
    for name in ("faces.png", "classes.png"):
        assert str(tmp_path / "look" / name) in result.out
    width, height = size_px(tmp_path / "look" / "faces.png")
    assert 800 <= width <= 1400
    assert 600 <= height <= 1200
    width, height = size_px(tmp_path / "look" / "classes.png")
    assert 800 <= width <= 2000
    assert 300 <= height <= 2000
    assert len(np.unique(cv2.imread(str(tmp_path / "look" / "faces.png")))) > 100


def test_preview_of_more_faces_is_a_taller_picture_of_the_same_width(cli, ferplus, tmp_path):
    for faces in (2, 4):
        cli("data", "preview", f"ferplus:{ferplus}", "--out", tmp_path / str(faces), "--faces", faces)
    (narrow, low), (wide, high) = (size_px(tmp_path / name / "faces.png") for name in ("2", "4"))
    assert narrow == wide
    assert low < high


def test_preview_takes_the_protocol_and_the_settings_of_the_recipe(cli, ferplus, tmp_path):
    out = tmp_path / "look"
    result = cli("data", "preview", f"ferplus:{ferplus}", "--recipe", "caciolai", "--out", out, "--set", "flip=0")
    assert (result.code, result.err) == (0, "")
    assert "4 training faces" in result.out  # with the plurality of the scattered one
    assert (out / "classes.png").is_file()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (("--recipe", "defalt"), "did you mean 'default'?"),
        (("--recipe", "default/ferpluss"), "did you mean 'ferplus'?"),
        (("--set", "samplr=age"), "did you mean 'sampler'?"),
        (("--set", "sampler=age"), "needs a column age_years"),
    ],
)
def test_a_preview_that_cannot_be_drawn_is_one_line_and_leaves_no_folder(cli, ferplus, tmp_path, settings, named):
    result = cli("data", "preview", f"ferplus:{ferplus}", "--out", tmp_path / "look", *settings)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert named in result.err
    assert not (tmp_path / "look").exists()
