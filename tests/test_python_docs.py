"""The Python of docs/python.md runs from top to bottom."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from affectlens.runtime.media import PORTRAIT

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_the_blocks_of_the_page_run_in_order(make_video, portrait, tmp_path, monkeypatch, capsys):
    small = cv2.resize(portrait, (240, 240), interpolation=cv2.INTER_AREA)
    make_video(tmp_path / "clip.mp4", [np.roll(small, i, axis=1) for i in range(20)])
    shutil.copy(PORTRAIT, tmp_path / "photo.jpg")
    cv2.imwrite(str(tmp_path / "landscape.jpg"), np.full((120, 160, 3), 90, dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
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
