"""What several rooms need: the shipped portrait, sample media, and tiny models made on the spot."""

import json
import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from affectlens import Analyzer
from affectlens.core.affect import Face
from affectlens.core.detection import Detections
from affectlens.runtime.media import PORTRAIT, read_image

settings.register_profile("affectlens", deadline=None, derandomize=True)
settings.load_profile("affectlens")
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # as the engine has it; tests import Ray before it does


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Torch, where it is used at all, keeps to one thread: on a busy machine more are many times slower.

    Before the fixtures of every test, since UMAP's threads change the number of torch's.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def portrait():
    """(512, 512, 3) RGB with one face; not to be written to."""
    image = read_image(PORTRAIT)
    image.setflags(write=False)
    return image


@pytest.fixture(scope="session")
def analyzer():
    return Analyzer()


@pytest.fixture(scope="session")
def media():
    """Name -> path of a sample file; skips where the samples are not at hand."""
    default = Path(__file__).parents[2] / "shared" / "data" / "media"
    folder = Path(os.environ.get("AFFECTLENS_MEDIA", default))

    def find(name):
        if not (folder / name).is_file():
            pytest.skip(f"no '{name}' in {folder}; set AFFECTLENS_MEDIA to the folder of sample media")
        return folder / name

    return find


@pytest.fixture(scope="session")
def make_face():
    """A Face with given probabilities and anything else by name."""

    def make(probabilities=None, **changes):
        probabilities = probabilities or {"neutral": 0.25, "happiness": 0.75}
        facts = {
            "box_xyxy": np.array([10, 20, 50, 70], dtype=np.float32),
            "landmarks_xy": np.array([[20, 35], [40, 35], [30, 45], [22, 58], [38, 58]], dtype=np.float32),
            "score": 0.9,
            "probabilities": probabilities,
            "expression": max(probabilities, key=probabilities.get),
            "uncertain": False,
            "disagreement": 0.5,
            "valence": 0.57,
            "arousal": 0.36,
            "va_source": "projected",
        }
        return Face(**(facts | changes))

    return make


@pytest.fixture(scope="session")
def make_detector():
    """A detector that always answers these boxes."""

    def make(boxes, framed=False):
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        landmarks = np.full((len(boxes), 5, 2), np.nan, dtype=np.float32)
        scores = np.linspace(1, 0.5, len(boxes), dtype=np.float32)
        return lambda image: Detections(boxes, landmarks, scores, framed)

    return make


@pytest.fixture(scope="session")
def make_ferplus(portrait):
    """Writes a tiny FER+ folder: four 48x48 faces for each split, other ones unless `twins`."""

    def make(root, twins=False):
        for number, folder in enumerate(("FER2013Train", "FER2013Valid", "FER2013Test")):
            (root / folder).mkdir(parents=True)
            lines = []
            for index in range(4):
                left = 130 + 8 * index + (0 if twins else 40 * number)
                face = cv2.cvtColor(portrait[50 : 50 + 120, left : left + 120], cv2.COLOR_RGB2GRAY)
                cv2.imwrite(str(root / folder / f"fer{index}.png"), cv2.resize(face, (48, 48)))
                votes = ["10" if column == index % 2 else "0" for column in range(10)]
                lines.append(f'fer{index}.png,"(0, 0, 48, 48)",{",".join(votes)}\n')
            (root / folder / "label.csv").write_text("".join(lines))
        return root

    return make


@pytest.fixture(scope="session")
def write_model():
    """Writes an ONNX model whose logits are `bias` plus the face's mean brightness (0 to 1) times `slope`; what it says
    in further `outputs` is the same of every face.
    """

    def write(file, labels=("calm", "excited"), bias=(0.0, 0.0), slope=(-4.0, 4.0), metadata=None, outputs=None):
        outputs = {name: np.array(numbers, dtype=np.float32) for name, numbers in (outputs or {}).items()}
        spec = {
            "name": "tiny",
            "labels": list(labels),
            "input": {
                "size_px": 8,
                "channels": "gray",
                "mean": [0.0],
                "std": [1.0],
                "rotate": True,
                "margin": 1.0,
                "shift_y": 0.0,
            },
            "temperature": 1.0,
            "uncertain_below": 0.0,
            "recipe": "none",
            "provenance": {},
            "licence": "none",
        }
        nodes = [
            helper.make_node("GlobalAveragePool", ["face"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["mean"]),
            helper.make_node("Gemm", ["mean", "slope", "bias"], ["logits"]),
            *(helper.make_node("Gemm", ["mean", f"{name}_slope", f"{name}_bias"], [name]) for name in outputs),
        ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("face", TensorProto.FLOAT, ("n", 1, 8, 8))],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", width))
                for name, width in {"logits": len(labels), **{name: len(of) for name, of in outputs.items()}}.items()
            ],
            [
                *(numpy_helper.from_array(numbers, f"{name}_bias") for name, numbers in outputs.items()),
                *(numpy_helper.from_array(numbers[None] * 0, f"{name}_slope") for name, numbers in outputs.items()),
                numpy_helper.from_array(np.array([slope], dtype=np.float32), "slope"),
                numpy_helper.from_array(np.array(bias, dtype=np.float32), "bias"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        helper.set_model_props(model, {"affectlens": json.dumps(spec | (metadata or {}))})
        onnx.save(model, file)
        return file

    return write


@pytest.fixture
def without_privileges():
    """Run the test as a user whom file permissions bind, also where the suite runs as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


_GOOD = {"libx264": {"crf": "18", "preset": "ultrafast"}, "mpeg4": {"q": "2"}, "mpeg2video": {"q": "2"}}


@pytest.fixture(scope="session")
def make_video():
    """Writes RGB frames to a video file, at `times_s` or evenly, with a tone in the codec `sound` if one is given."""

    def make(file, frames, times_s=None, fps=30, sound=None, rotation=0, codec="libx264"):
        ticks = 90_000 if codec == "libx264" else fps
        times_s = [i / fps for i in range(len(frames))] if times_s is None else times_s
        with av.open(str(file), "w") as container:
            if codec:
                height, width = frames[0].shape[:2] if len(frames) else (48, 64)
                video = container.add_stream(codec, rate=fps, options=_GOOD.get(codec, {}))
                video.width, video.height, video.pix_fmt = width, height, "yuv420p"
                video.codec_context.time_base = Fraction(1, ticks)
                if rotation:
                    video.set_display_rotation(rotation)
            audio = container.add_stream(sound, rate=48_000) if sound else None
            for frame, time_s in zip(frames, times_s, strict=True):
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                picture.pts, picture.time_base = round(time_s * ticks), Fraction(1, ticks)
                container.mux(video.encode(picture))
            if audio:
                container.mux(list(_tone(audio, max([*times_s, 1.0]))))
            if codec:
                container.mux(video.encode(None))
        return Path(file)

    return make


def _tone(stream, seconds):
    """Packets of a sine of 440 Hz."""
    at = np.arange(round(seconds * 48_000)) / 48_000
    wave = (0.3 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)
    for start in range(0, len(wave), 1024):
        block = np.tile(wave[start : start + 1024], (1, 1))
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        yield from stream.encode(frame)
    yield from stream.encode(None)


_MADE_UP = '''
"""The mean brightness of a face, how it compares with the start of its track, and a dot on the picture."""

from affectlens.core.columns import Column, Kind
from affectlens.core.measures import Measure

COLUMNS = (
    Column("gloss", Kind.REAL, "mean brightness of the face", (), "0 to 1", 3, since="9.9"),
    Column("glossy", Kind.BOOLEAN, "whether that is more than a half", ()),
    Column("gloss_frames", Kind.INTEGER, "frames of the track until now", ()),
)


def measure(face):
    gloss = float(face.crop.mean()) / 255
    return {"gloss": gloss, "glossy": gloss > 0.5, "gloss_frames": None}


def follow():
    frames = 0

    def count(values, time_s):
        nonlocal frames
        frames += 1
        return {**values, "gloss_frames": frames}

    return count


def draw(canvas, face, values):
    x, y = face.box_xyxy[:2].astype(int)
    canvas[y + 8 : y + 16, x + 8 : x + 16] = (round(255 * values["gloss"]), 0, 255)


def build():
    return Measure("gloss", COLUMNS, measure, needs=("crop",), time_constant_s=0.5, follow=follow, draw=draw)
'''


@pytest.fixture
def made_up_measure(tmp_path, monkeypatch):
    """An installed package with a measure, as somebody else would write one; its columns."""
    folder = tmp_path / "site"
    (folder / "madeup-1.0.dist-info").mkdir(parents=True)
    (folder / "madeup_gloss.py").write_text(_MADE_UP)
    (folder / "madeup-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n")
    entry = "[affectlens.faces.measures]\ngloss = madeup_gloss\n"
    (folder / "madeup-1.0.dist-info" / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(folder))
    yield ("gloss", "glossy", "gloss_frames")
    sys.modules.pop("madeup_gloss", None)
