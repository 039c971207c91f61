"""The Python of docs/python.md runs from top to bottom."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from affectlens import Analyzer
from affectlens.runtime.media import PORTRAIT

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


TRAINING = "Train, evaluate, compare"


def blocks():
    """Heading and Python of each block of the page."""
    for section in PAGE.read_text(encoding="utf-8").split("\n## "):
        heading = section.partition("\n")[0]
        yield from ((heading, block) for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL))


def test_the_blocks_of_the_page_run_in_order(make_video, portrait, tmp_path, monkeypatch, capsys):
    small = cv2.resize(portrait, (240, 240), interpolation=cv2.INTER_AREA)
    make_video(tmp_path / "clip.mp4", [np.roll(small, i, axis=1) for i in range(20)])
    shutil.copy(PORTRAIT, tmp_path / "photo.jpg")
    cv2.imwrite(str(tmp_path / "landscape.jpg"), np.full((120, 160, 3), 90, dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    names = {}
    for heading, block in blocks():
        if heading != TRAINING:
            exec(compile(block, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert said.count("[(0, 'happiness')]") == 40
    happened = re.findall(r"person 0 (\w+) (\w*)\n", said)
    assert (happened[0], happened[-1]) == (("appeared", ""), ("left", ""))
    assert len(names["analysis"].faces) == 1
    assert names["table"]["reason"].tolist()[1:] == ["no_face"]
    assert "light_side" in said
    assert "photo.jpg False [1]\nclip.mp4 True [1, 1, 1, 1]\n" in said
    _push_to_the_node(names, small)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")  # no widgets here
def test_training_from_python(portrait, make_ferplus, tmp_path, monkeypatch, capsys):
    make_ferplus(tmp_path / "ferplus")
    lines = ["path,expression"]
    for number in range(30):
        face = cv2.cvtColor(portrait[30 + number : 170 + number, 110 + number : 250 + number], cv2.COLOR_RGB2GRAY)
        for label, pixels in (("happy", face), ("neutral", 255 - face)):
            cv2.imwrite(str(tmp_path / f"{label}{number}.png"), cv2.resize(pixels, (48, 48)))
            lines.append(f"{label}{number}.png,{label}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    cv2.imwrite(str(tmp_path / "photo.jpg"), portrait[..., ::-1])
    monkeypatch.chdir(tmp_path)
    names = {"Analyzer": Analyzer}
    for heading, block in blocks():
        if heading == TRAINING:
            assert len([line for line in block.splitlines() if line.strip()]) <= 10
            exec(compile(block, str(PAGE), "exec"), names)
    assert names["run"].model == Path("runs/mine/model.onnx")
    assert names["mine"].spec.labels == ("neutral", "happiness")
    assert names["report"].metrics["split"] == "test"
    assert {file.name for file in Path("report").iterdir()} == {"report.html", "report.json"}
    assert len(names["both"].metrics["models"]) == 2
    assert len(names["faces"]) == 4
    assert names["table"] == Path("mine/caciolai/README.md")
    assert cv2.imread("explained.png").shape == (240, 748, 3)
    assert sum(bool(axes.images) for axes in names["figure"].axes) == 4
    said = capsys.readouterr()
    assert "| baseline | 60.61 |" in said.out
    assert "epoch 3 of 3: " in said.out


def _push_to_the_node(names, image):
    """Images as a driver of ROS sends them: rows may be padded."""
    gray, alpha = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.full((240, 240, 1), 7, np.uint8)
    encoded = {
        "mono8": gray,
        "rgb8": image,
        "bgr8": image[..., ::-1],
        "rgba8": np.dstack([image, alpha]),
        "bgra8": np.dstack([image[..., ::-1], alpha]),
    }
    for encoding, pixels in encoded.items():
        events = []
        analysis = names["FaceNode"](names["analyzer"], events.append).on_image(_message(encoding, pixels))
        assert (analysis.source, analysis.time_s) == ("head camera", 1_700_000_000.5)
        np.testing.assert_array_equal(analysis.image, np.dstack([gray] * 3) if encoding == "mono8" else image)
        assert analysis.faces[0].expression == "happiness"
        assert [(event.kind, event.time_s) for event in events] == [("appeared", 1_700_000_000.5)]
    node = names["FaceNode"](names["analyzer"], events.append)
    with pytest.raises(ValueError, match=r"expected an encoding of mono8, .*, got 'bayer_rggb8'"):
        node.on_image(_message("bayer_rggb8", gray))


def _message(encoding, pixels):
    padded = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, 8)))
    stamp = SimpleNamespace(sec=1_700_000_000, nanosec=500_000_000)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp),
        height=pixels.shape[0],
        width=pixels.shape[1],
        step=padded.shape[1],
        encoding=encoding,
        data=padded.tobytes(),
    )
