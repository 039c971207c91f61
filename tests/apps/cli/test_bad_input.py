"""What people get wrong: every command answers with one line that names it, and leaves nothing behind."""

import cv2
import numpy as np
import pytest

COMMANDS = {
    "inspect": lambda spec: ("data", "inspect", spec),
    "prepare": lambda spec: ("data", "prepare", spec, "--out", "out"),
    "preview": lambda spec: ("data", "preview", spec, "--out", "out"),
    "train": lambda spec: ("train", "default", "--data", spec, "--out", "out"),
    "finetune": lambda spec: ("finetune", spec, "--out", "out"),
    "evaluate": lambda spec: ("evaluate", "bundled", "--data", spec, "--report", "out", "--split", "train"),
    "compare": lambda spec: ("compare", "bundled", "bundled", "--data", spec, "--report", "out", "--split", "train"),
}
FILES = {
    "columns.csv": "file,expression\nface.png,anger\n",
    "image.csv": "image,expression\nface.png,anger\n",
    "empty.csv": "",
    "header.csv": "path,expression\n",
    "short.csv": "path,expression\nface.png\n",
    "numbers.csv": "path,valence,arousal\nface.png,much,0\n",
    "votes.csv": "path,votes,expression\nface.png,1 2 3,anger\n",
    "split.csv": "path,expression,split\nface.png,anger,dev\n",
    "twice.csv": "path,expression,split\nface.png,anger,train\nface.png,anger,train\n",
    "unlabelled.csv": "path,expression,split\nface.png,,train\n",
    "outside.csv": "path,valence,arousal,split\nface.png,3,0,train\n",
    "gone.csv": "path,expression,split\nnowhere.png,anger,train\n",
    "bad.csv": "path,expression,split\nbad.png,anger,train\n",
    "good.csv": "path,expression,split\nface.png,anger,train\nother.png,anger,valid\n",
    "meta.csv": "name,sex\nface.png,f\n",
    "ages.csv": "id,age_years\nface.png,young\n",
    "bad.png": "no picture",
    "bad.parquet": "no parquet",
    "label/fer2013.csv": f"emotion,pixels,Usage\n9,{'0 ' * 2303}0,Training\n",
    "pixels/fer2013.csv": "emotion,pixels,Usage\n3,1 2 3,Training\n",
    "raf/EmoLabel/list_patition_label.txt": "train_00001.jpg 9\n",
    "plus/FER2013Train/label.csv": 'fer1.png,"(0, 0, 48, 48)",1,2,3\n',
    "word/FER2013Train/label.csv": 'fer1.png,"(0, 0, 48, 48)",a,0,0,0,0,0,0,0,0,0\n',
}
SPECS = {
    "ferplus": "NAME:FOLDER",
    "ferplus:": "NAME:FOLDER",
    "ferplus:nowhere": "data folder 'nowhere' does not exist",
    "ferpluss:.": "unknown reader 'ferpluss'; did you mean 'ferplus'?",
    "ferplus:.?protocl=caciolai": "unknown option 'protocl' of 'ferplus'; did you mean 'protocol'?",
    "ferplus:.?protocol=caciolay": "unknown value 'caciolay' of the option 'protocol' of 'ferplus'; did you mean "
    "'caciolai'?",
    "ferplus:.?protocol": "options of a data set must have the form KEY=VALUE, got 'protocol'",
    "ferplus:.?meta=nowhere.csv": "meta file 'nowhere.csv' does not exist",
    "ferplus:plus": "line 1: expected name, box and ten votes, got 5 columns",
    "ferplus:word": "line 1: votes must be integers",
    "fer2013:.": "fer2013.csv",
    "fer2013:pixels": "line 2",
    "rafdb:.": "list_patition_label.txt",
    "affectnet:.": "'.'",
    "ckplus:.": "'.'",
    "folder:.": "has no pictures in class folders",
    "folder:good.csv": "'good.csv' is not a folder",
    "table:raf": "'raf' is not a table",
    "table:face.png": "'face.png' is not a table",
    "table:columns.csv": "'columns.csv' lacks the column 'path'; found: file, expression",
    "table:image.csv": "lacks the column 'path'",
    "table:empty.csv": "lacks the column 'path'; found: nothing",
    "table:short.csv": "short.csv, line 2: expected",
    "table:numbers.csv": "numbers.csv, line 2: valence must be a number, got 'much'",
    "table:votes.csv": "votes.csv, line 2: got 3 votes for 1 classes",
    "table:split.csv": "split.csv, line 2: split must be one of",
    "table:twice.csv": "duplicate id 'face.png'",
    "table:bad.parquet": "cannot read 'bad.parquet' as Parquet",
    "table:good.csv?meta=meta.csv": "'meta.csv' lacks the column 'id'",
    "table:good.csv?meta=ages.csv": "ages.csv, line 2: age_years must be a number, got 'young'",
    "table:good.csv?lables=a": "did you mean 'labels'?",
    "table:good.csv+ferpluss:.": "unknown reader 'ferpluss'",
    "table:good.csv+table:nowhere": "data folder 'nowhere' does not exist",
}
NOTHING_TO_USE = {
    "fer2013:label": "label outside 0 to 6",
    "rafdb:raf": "label outside 1 to 7",
    "table:unlabelled.csv": "neither expression, votes nor valence",
    "table:outside.csv": "valence or arousal outside -1 to 1",
    "table:gone.csv": "image file is missing",
    "table:bad.csv": "image cannot be decoded",
    "table:good.csv?labels=joy": "class outside the option labels",
}
"""Counted by inspect and prepare, and no data for the others."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with all kinds of data that cannot be used."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    for number, name in enumerate(("face.png", "other.png")):
        image = np.random.default_rng(number).integers(0, 256, (48, 48), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / name), image)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(result, named, place):
    """Exit code 1, one line that names the trouble, no trace, and nothing written."""
    assert (result.code, len(result.errors)) == (1, 1)
    assert result.err.startswith("error: ")
    assert named in result.err
    assert "should not happen" not in result.err
    assert "Traceback" not in result.err
    assert not any(file.is_file() for file in (place / "out").rglob("*"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("spec", "named"), SPECS.items(), ids=SPECS)
def test_data_that_cannot_be_read_are_one_line_that_names_the_trouble(cli, place, command, spec, named):
    if command == "finetune" and ":" not in spec:
        named = "'ferplus' is neither a folder nor a CSV or Parquet file"
    check(cli(*COMMANDS[command](spec)), named, place)


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"inspect", "prepare"}))
@pytest.mark.parametrize(("spec", "named"), NOTHING_TO_USE.items(), ids=NOTHING_TO_USE)
def test_data_of_which_nothing_can_be_used_are_one_line_with_the_reason(cli, place, command, spec, named):
    check(cli(*COMMANDS[command](spec)), named, place)


@pytest.mark.parametrize(("spec", "named"), NOTHING_TO_USE.items(), ids=NOTHING_TO_USE)
def test_inspect_and_prepare_count_what_cannot_be_used(cli, place, spec, named):
    result = cli(*COMMANDS["inspect"](spec))
    assert (result.code, result.err) == (0, "")
    assert ("bad: train/bad.png" if "decoded" in named else f"left out: {named}") in result.out
    result = cli(*COMMANDS["prepare"](spec))
    check(result, f"no sample of '{spec}' could be written: 1 train ({named})", place)
    assert "written" not in result.out


@pytest.mark.parametrize("command", ["inspect", "prepare", "preview", "train", "evaluate"])
def test_a_valence_that_is_not_known_is_no_mistake(cli, place, command, monkeypatch):
    monkeypatch.setattr("affectlens.training.fit.fit", lambda *_, **__: None)
    header = "path,expression,valence,arousal,split"
    rows = ("face.png,anger,nan,NaN,train", "other.png,anger,,0.5,valid", "other.png,fear,-0.5,0.5,test")
    (place / "unknown.csv").write_text("\n".join((header, *rows)))
    result = cli(*COMMANDS[command]("table:unknown.csv"))
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "defalt"), "unknown recipe 'defalt'; did you mean 'default'?"),
        (("train", "default/ferpluss"), "unknown row 'ferpluss' of 'default'; did you mean 'ferplus'?"),
        (("train", "default", "--set", "epoch=1"), "unknown recipe key 'epoch'; did you mean 'epochs'?"),
        (("train", "default", "--set", "epochs=many"), "recipe key 'epochs' expects int, got 'many'"),
        (("train", "default", "--set", "epochs"), "a setting must have the form key=value, got 'epochs'"),
        (("train", "default", "--set", "=1"), "must have the form key=value, got '=1'"),
        (("train", "default", "--set", "epochs.a=1"), "recipe key 'epochs' has no entries"),
        (("train", "default", "--set", "losses.soft_cross_entropy=a"), "losses"),
        (("train", "default", "--set", "model_options.=1"), "unknown option '' of model 'compact_resnet'"),
        (("train", "default", "--set", "loss_options.soft_cross_entropy=1"), "loss_options"),
        (("train", "default", "--set", "teacher=nowhere"), "nowhere"),
        (("train", "default", "--set", "start_from=nowhere"), "nowhere"),
        (("train", "default", "--set", "start_from=nowhere.onnx"), "nowhere.onnx"),
        (("train", "antoniadis/t6.1-single", "--set", "pretrained_file=nowhere"), "pretrained_file='nowhere'"),
        (
            ("train", "antoniadis/t6.1-gcn", "--set", "model_options.words=circumplx", "--set", "pretrained=false"),
            "needs model_options.words='circumplx', which does not exist; set model_options.words to a text file of "
            "GloVe vectors (glove.6B.300d.txt of nlp.stanford.edu/projects/glove), to 'circumplex', which needs no "
            "file, or to nothing to do without",
        ),
        (("train", "default", "--set", "size_px=4"), "size_px"),
        (("data", "preview", "table:good.csv", "--recipe", "defalt"), "did you mean 'default'?"),
        (("data", "preview", "table:good.csv", "--set", "epoch=1"), "did you mean 'epochs'?"),
        (("data", "inspect", "table:good.csv", "--model", "nowhere.onnx"), "'nowhere.onnx' does not exist"),
        (("evaluate", "nowhere.onnx", "--split", "train"), "'nowhere.onnx' does not exist"),
        (("compare", "bundled", "nowhere.onnx", "--split", "train"), "'nowhere.onnx' does not exist"),
        (("reproduce", "caciolay"), "did you mean 'caciolai'?"),
        (("reproduce", "caciolai", "--row", "stm"), "did you mean 'stn'?"),
        (("recipes", "show", "caciolai/stm"), "did you mean 'stn'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_name_or_setting_that_does_not_exist_is_one_line(cli, place, arguments, named):
    with_data = arguments[0] in ("train", "evaluate", "compare", "reproduce")
    out = ("--out", "out") if arguments[0] == "train" else ()
    check(cli(*arguments, *(("--data", "table:good.csv") if with_data else ()), *out), named, place)
