"""Tiny data sets in the official layouts, and the ways in which tests of all readers read them."""

import csv
import itertools
import zlib
from collections import Counter

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affectlens.core.errors import BadData
from affectlens.core.sample import Dropped, Sample
from affectlens.data.source import parse

CELEBA_ATTRIBUTES = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
Wearing_Necktie Young
"""
POINTS_68 = np.array([(0.25 * i, 0.125 * i) for i in range(68)], dtype=np.float32)
HAPPY = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)

_numbers = itertools.count()


def noise(side=16, colour=True):
    """An image that no other call returns."""
    shape = (side, side, 3) if colour else (side, side)
    return np.random.default_rng(next(_numbers)).integers(0, 256, shape, dtype=np.uint8)


def put_picture(file, **kind):
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), noise(**kind))


def put_lines(file, lines):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def put_csv(file, header, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


@pytest.fixture
def read():
    """Everything that a reader yields of a split, options by name."""

    def samples(reader, place, split="train", **options):
        query = "&".join(f"{key}={value}" for key, value in options.items())
        return list(parse(f"{reader}:{place}?{query}").samples(split))

    return samples


@pytest.fixture
def kept(read):
    """The samples of a split without what was dropped."""
    return lambda *place, **options: [one for one in read(*place, **options) if isinstance(one, Sample)]


@pytest.fixture
def dropped(read):
    """Reason -> how many entries of a split were dropped for it."""
    return lambda *place, **options: Counter(one.reason for one in read(*place, **options) if isinstance(one, Dropped))


@pytest.fixture
def refusal(read):
    """The one line with which a reader refuses a data set."""

    def message(*place, **options):
        with pytest.raises(BadData) as error:
            read(*place, **options)
        assert len(str(error.value).splitlines()) == 1
        return str(error.value)

    return message


@pytest.fixture
def names():
    """The first `count` names of a pattern whose hash (CRC-32 modulo 100) is in [low, high)."""

    def find(pattern, low, high, count=1):
        every = (pattern.format(number) for number in itertools.count(1))
        fitting = (name for name in every if low <= zlib.crc32(name.encode()) % 100 < high)
        return list(itertools.islice(fitting, count))

    return find


@pytest.fixture
def fer2013(tmp_path):
    """A writer of fer2013.csv; a row is (emotion, usage) or (emotion, pixels, usage)."""

    def write(rows, header=("emotion", "pixels", "Usage")):
        pixels = (" ".join(map(str, noise(48, colour=False).ravel())) for _ in itertools.count())
        full = [row if len(row) == 3 else (row[0], next(pixels), row[1]) for row in rows]
        put_csv(tmp_path / "fer2013.csv", header, full)
        return tmp_path

    return write


@pytest.fixture
def ferplus_tables(tmp_path, fer2013):
    """A writer of fer2013.csv and fer2013new.csv side by side; a row is (usage, image name, ten votes)."""

    def write(rows):
        fer2013([(0, usage) for usage, _, _ in rows])
        votes = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
        lines = [(usage, name, *counts) for usage, name, counts in rows]
        put_csv(tmp_path / "fer2013new.csv", ("Usage", "Image name", *votes), lines)
        return tmp_path

    return write


@pytest.fixture
def affectnet_tables(tmp_path):
    """A writer of training.csv or validation.csv with its images; a row names what differs from the usual face."""

    def write(table, rows, images="Manually_Annotated_Images", header=None, missing=()):
        usual = {
            "face_x": 2,
            "face_y": 3,
            "face_width": 10,
            "face_height": 12,
            "facial_landmarks": ";".join(f"{value:.4f}" for value in POINTS_68.ravel()),
            "expression": 1,
            "valence": 0.5,
            "arousal": -0.25,
        }
        full = [usual | row for row in rows]
        for row in full:
            if row["subDirectory_filePath"] not in missing:
                put_picture(tmp_path / images / row["subDirectory_filePath"])
        header = header or ["subDirectory_filePath", *usual]
        put_csv(tmp_path / f"{table}.csv", header, [[row[key] for key in header] for row in full])
        return tmp_path

    return write


@pytest.fixture
def affectnet_arrays(tmp_path):
    """A writer of train_set or val_set; stem of an image -> (expression, valence, arousal) as the release has them."""

    def write(part, faces, landmarks=True):
        for stem, values in faces.items():
            put_picture(tmp_path / part / "images" / f"{stem}.jpg")
            (tmp_path / part / "annotations").mkdir(exist_ok=True)
            for name, value in zip(("exp", "val", "aro"), values, strict=True):
                np.save(tmp_path / part / "annotations" / f"{stem}_{name}.npy", value)
            if landmarks:
                np.save(tmp_path / part / "annotations" / f"{stem}_lnd.npy", POINTS_68.ravel().astype(np.float64))
        return tmp_path

    return write


@pytest.fixture
def rafdb(tmp_path):
    """A writer of RAF-DB's basic set; name in the label file -> number, or a whole line."""

    def write(faces, inside="", missing=()):
        base = tmp_path / inside
        for name in faces.keys() - set(missing):
            put_picture(base / "Image" / "aligned" / name.replace(".jpg", "_aligned.jpg"))
        put_lines(base / "EmoLabel" / "list_patition_label.txt", [f"{name} {label}" for name, label in faces.items()])
        return tmp_path

    return write


@pytest.fixture
def ckplus(tmp_path):
    """A writer of sequences: "S005/001" -> (number of frames, text of the label file or None)."""

    def write(sequences):
        for place, (frames, label) in sequences.items():
            stem = place.replace("/", "_")
            for number in range(1, frames + 1):
                file = tmp_path / "cohn-kanade-images" / place / f"{stem}_{number:08d}.png"
                put_picture(file, colour=False)
            if label is not None:
                put_lines(tmp_path / "Emotion" / place / f"{stem}_{frames:08d}_emotion.txt", [label])
        return tmp_path

    return write


@pytest.fixture
def class_folders(tmp_path):
    """A writer of folders of images: folder -> names of its files."""

    def write(files, place=tmp_path):
        for folder, entries in files.items():
            for name in entries:
                put_picture(place / folder / name, side=48, colour=False)
        return place

    return write


@pytest.fixture
def affwild2(tmp_path):
    """A writer of annotations, "EXPR_Set/Train_Set/video" -> lines below the header, and of frames per video."""
    headers = {
        "EXPR_Set": "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise",
        "VA_Set": "valence,arousal",
    }

    def write(annotations, frames, crops="cropped_aligned"):
        for place, lines in annotations.items():
            put_lines(tmp_path / f"{place}.txt", [headers[place.partition("/")[0]], *lines])
        for video, numbers in frames.items():
            for number in numbers:
                put_picture(tmp_path / crops / video / f"{number:05d}.jpg")
        return tmp_path

    return write


@pytest.fixture
def celeba(tmp_path):
    """A writer of CelebA: name -> (number of the partition, attributes that are present)."""

    def write(faces, missing=(), columns=CELEBA_ATTRIBUTES):
        columns = columns.split()
        lines = [str(len(faces)), " ".join(columns)]
        for name, (_, present) in faces.items():
            lines.append(f"{name} " + " ".join(" 1" if column in present else "-1" for column in columns))
            if name not in missing:
                put_picture(tmp_path / "img_align_celeba" / name)
        put_lines(tmp_path / "list_attr_celeba.txt", lines)
        put_lines(tmp_path / "list_eval_partition.txt", [f"{name} {part}" for name, (part, _) in faces.items()])
        return tmp_path

    return write


@pytest.fixture
def csv_table(tmp_path):
    """A writer of data.csv whose images lie beside it; a row is its values by column, all rows have the same."""

    def write(rows, file="data.csv", missing=()):
        for row in rows:
            if "path" in row and row["path"] not in missing:
                put_picture(tmp_path / row["path"])
        put_csv(tmp_path / file, rows[0].keys(), [row.values() for row in rows])
        return tmp_path / file

    return write


@pytest.fixture
def parquet_table(tmp_path):
    """A writer of a Parquet file; a row without `path` gets the encoded image itself."""

    def write(rows, file="faces.parquet"):
        full = []
        for row in rows:
            if "path" in row:
                put_picture(tmp_path / row["path"])
                full.append(row)
            else:
                full.append({"image": cv2.imencode(".png", noise())[1].tobytes(), **row})
        pq.write_table(pa.Table.from_pylist(full), tmp_path / file)
        return tmp_path / file

    return write


@pytest.fixture
def official(request, tmp_path, names):
    """Writes the tiny data set `layout` of `reader`, with faces in all three splits, and returns its place."""

    def write(reader, layout):
        return LAYOUTS[reader][layout](request.getfixturevalue, names)

    return write


def _fer2013(get, names):
    usages = ("Training", "PublicTest", "PrivateTest", "Training")
    return get("fer2013")(list(zip((3, 0, 6, 4), usages, strict=True)))


def _ferplus_folders(get, names):
    write = get("ferplus")
    for split in ("train", "valid"):
        write([HAPPY, (0, 0, 0, 0, 0, 0, 0, 0, 0, 10), HAPPY], split)
    return write([HAPPY], "test")


def _ferplus_tables(get, names):
    usages = ("Training", "PublicTest", "PrivateTest")
    rows = [(usage, f"fer{number:07d}.png", HAPPY) for number, usage in enumerate(usages)]
    return get("ferplus_tables")([*rows, ("Training", "", (0, 0, 0, 0, 0, 0, 0, 0, 0, 10))])


def _affectnet_tables(get, names):
    paths = [*names("1/{}.jpg", 0, 10, 3), *names("2/{}.jpg", 10, 100, 3)]
    get("affectnet_tables")("training", [{"subDirectory_filePath": path} for path in paths])
    rows = [{"subDirectory_filePath": "3/a.jpg"}, {"subDirectory_filePath": "3/b.jpg", "expression": 9}]
    return get("affectnet_tables")("validation", rows)


def _affectnet_arrays(get, names):
    get("affectnet_arrays")("train_set", dict.fromkeys(map(str, range(60)), ("3", "0.25", "-0.5")))
    return get("affectnet_arrays")("val_set", {"61": ("7", "-0.25", "0.5")})


def _rafdb(get, names):
    train = [*names("train_{:05d}.jpg", 0, 10, 3), *names("train_{:05d}.jpg", 10, 100, 3)]
    return get("rafdb")(dict.fromkeys([*train, "test_0001.jpg"], 4))


def _ckplus(get, names):
    subjects = [*names("S{:03d}", 0, 10), *names("S{:03d}", 10, 20), *names("S{:03d}", 20, 100)]
    return get("ckplus")({f"{subject}/001": (5, "   3.0000000e+00") for subject in subjects})


def _ck48(get, names):
    subjects = [*names("S{:03d}", 0, 10), *names("S{:03d}", 10, 20), *names("S{:03d}", 20, 100, 2)]
    return get("class_folders")({"happy": [f"{subject}_004_00000017.png" for subject in subjects]})


def _affwild2(get, names):
    (valid,), (train,) = names("video{}", 0, 10), names("video{}", 10, 100)
    annotations = {f"EXPR_Set/Train_Set/{video}": ["0", "4", "-1"] for video in (valid, train)}
    annotations |= {f"VA_Set/Train_Set/{video}": ["0.5,0.25", "-5,-5", "-5,-5"] for video in (valid, train)}
    annotations |= {f"{kind}_Set/Validation_Set/seen": [line] for kind, line in (("EXPR", "6"), ("VA", "0.1,0.2"))}
    return get("affwild2")(annotations, dict.fromkeys((valid, train, "seen"), (1, 2, 3)))


def _celeba(get, names):
    return get("celeba")({f"{number:06d}.jpg": (number % 3, {"Smiling", "Young"}) for number in range(1, 7)})


def _folder_with_splits(get, names):
    return get("class_folders")(
        {f"{split}/Happy": [f"{split}1.png", f"{split}2.png"] for split in ("train", "valid", "test")}
    )


def _folder(get, names):
    files = [*names("a{}.png", 0, 10), *names("a{}.png", 10, 20), *names("a{}.png", 20, 100)]
    return get("class_folders")({"happy": files, "Sad": [f"b{number}.png" for number in range(60)]})


def _csv_table(get, names):
    splits = ("train", "valid", "test", "train")
    rows = [{"path": f"{n}.png", "expression": "happiness", "split": split} for n, split in enumerate(splits)]
    return get("csv_table")(rows)


def _parquet_table(get, names):
    splits = ("train", "valid", "test")
    return get("parquet_table")([{"id": split, "expression": "anger", "split": split} for split in splits])


LAYOUTS = {
    "affectnet": {"tables": _affectnet_tables, "arrays": _affectnet_arrays},
    "affwild2": {"videos": _affwild2},
    "celeba": {"lists": _celeba},
    "ckplus": {"sequences": _ckplus, "classes": _ck48},
    "fer2013": {"table": _fer2013},
    "ferplus": {"folders": _ferplus_folders, "tables": _ferplus_tables},
    "folder": {"splits": _folder_with_splits, "hashed": _folder},
    "rafdb": {"aligned": _rafdb},
    "table": {"csv": _csv_table, "parquet": _parquet_table},
}


def pytest_generate_tests(metafunc):
    if "layout" in metafunc.fixturenames:
        metafunc.parametrize(("reader", "layout"), [(reader, name) for reader in LAYOUTS for name in LAYOUTS[reader]])


@pytest.fixture
def readers_with_a_data_set():
    return set(LAYOUTS)
