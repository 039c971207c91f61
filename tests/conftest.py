"""What several rooms need: the shipped portrait, sample media, image files of every format, and tiny models."""

import importlib
import io
import json
import os
import signal
import struct
import sys
import zlib
from dataclasses import replace
from fractions import Fraction
from functools import partial, wraps
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import onnx
import pillow_heif
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, TiffImagePlugin

from affectlens import Analyzer
from affectlens.core.affect import Face
from affectlens.core.detection import Detections
from affectlens.runtime.media import PORTRAIT, read_image

settings.register_profile("affectlens", deadline=None, derandomize=True)
settings.load_profile("affectlens")
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # as the engine has it; tests import Ray before it does


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Torch, where it is used at all, keeps to one thread, since more are many times slower on a busy machine, draws
    the same numbers whatever ran before, and exports without being traced.

    Before the fixtures of every test: UMAP's threads change the number of torch's.
    """
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        torch.onnx.export = untraced(torch.onnx.export)


def untraced(function):
    """`function` without the measurement of coverage, which can double the time of much Python that is not ours."""
    if hasattr(function, "__wrapped__"):
        return function

    @wraps(function)
    def call(*arguments, **options):
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return function(*arguments, **options)
        finally:
            sys.settrace(tracer)

    return call


@pytest.fixture(autouse=True)
def uncovered_processes(request, monkeypatch):
    """Processes of a test that is marked `no_cover` are not measured either."""
    if request.node.get_closest_marker("no_cover"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def deadline():
    """Ends a test that waits for what never comes, such as the other end of a pipe."""

    def end(*_):
        raise TimeoutError("the test waited for ten seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


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


SMALL_TIMM = {
    "densenet121": {"block_config": (1, 1, 1, 1), "growth_rate": 16},
    "resnet50": {"layers": (1, 1, 1, 1), "channels": (8, 16, 16, 16)},
    "swin_tiny_patch4_window7_224": {"embed_dim": 32, "depths": (1, 1), "num_heads": (1, 2)},
    "vit_base_patch14_dinov2": {"depth": 3, "num_heads": 2, "mlp_ratio": 1},  # "literal" is for its 768 channels
    "vit_small_patch14_dinov2": {"depth": 3, "num_heads": 2, "embed_dim": 32},
}
"""Name of a network of timm -> what leaves one narrow layer of each kind."""


@pytest.fixture
def small_networks(monkeypatch):
    """The large architectures with few and narrow layers, during a test."""
    import timm

    from affectlens.models import breg_next, poster, swin, swin_se, two_stream, vit
    from affectlens.models.layers import backbones, mobile_facenet
    from affectlens.models.layers.pyramid_fusion import TokenTransformer

    create, trunk, swin_transformer = timm.create_model, breg_next.trunk, swin.SwinTransformer
    residual = mobile_facenet._Residual

    def few_blocks(in_channels):
        layers = trunk(in_channels)
        return type(layers)(*(layers[at] for at in (0, 1, 8, 17, -2, -1)))

    def narrow(patch, width, depths, heads, window, **options):
        return swin_transformer(patch, 32, [1, 1], [1, 2], window, **options)

    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: create(name, **options, **SMALL_TIMM.get(name, {}))
    )
    for name, width in {"densenet121": 34, "resnet50": 64}.items():
        monkeypatch.setitem(backbones.BACKBONES, name, replace(backbones.BACKBONES[name], width=width))
    monkeypatch.setattr(breg_next, "trunk", few_blocks)
    monkeypatch.setattr(swin, "SwinTransformer", narrow)
    monkeypatch.setattr(swin_se, "_EMBEDDING", 32)
    monkeypatch.setattr(two_stream, "BLOCKS", (0, 1, 2))
    for module in (poster, two_stream):
        monkeypatch.setattr(module, "TokenTransformer", partial(TokenTransformer, depth=1))
    monkeypatch.setattr(mobile_facenet, "_Residual", lambda width, blocks, inside: residual(width, 0, inside))
    monkeypatch.setattr(vit, "SIZES", {"tiny": (1, 2, 32, 32), "base": (1, 2, 32, 64), "large": (2, 2, 32, 64)})


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
    """Writes a tiny FER+ folder: four 48x48 faces for each split, other ones unless `near_duplicates`."""

    def make(root, near_duplicates=False):
        for number, folder in enumerate(("FER2013Train", "FER2013Valid", "FER2013Test")):
            (root / folder).mkdir(parents=True)
            lines = []
            for index in range(4):
                left = 130 + 8 * index + (0 if near_duplicates else 40 * number)
                face = cv2.cvtColor(portrait[50 : 50 + 120, left : left + 120], cv2.COLOR_RGB2GRAY)
                cv2.imwrite(str(root / folder / f"fer{index}.png"), cv2.resize(face, (48, 48)))
                votes = ["10" if column == index % 2 else "0" for column in range(10)]
                lines.append(f'fer{index}.png,"(0, 0, 48, 48)",{",".join(votes)}\n')
            (root / folder / "label.csv").write_text("".join(lines))
        return root

    return make


@pytest.fixture(scope="session")
def untrained():
    """A maker of run folders of networks that were not trained: of a named recipe with other settings."""

    def make(out, labels, name, **settings):
        import torch

        from affectlens.training import run
        from affectlens.training.module import ExpressionModule
        from affectlens.training.recipe import find

        recipe = replace(find(name), **settings)
        run.open_run(recipe, labels, {}, out, resume=False)
        (out / "checkpoints").mkdir()
        torch.manual_seed(0)
        torch.save({"state_dict": ExpressionModule(recipe, len(labels)).state_dict()}, run.best_checkpoint(out))
        return out

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
    Column("gloss", Kind.REAL, "mean brightness of the face", (), "0 to 1", 3, averaged=True, since="9.9"),
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
def install(tmp_path, monkeypatch):
    """Installs a package "madeup" whose module is an entry of a kind: `install(kind, name, code)`; gives its folder."""
    installed = []

    def make(kind, name, code):
        folder, module = tmp_path / "site", f"madeup_{name}"
        facts = folder / "madeup-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[affectlens.{kind}]\n{name} = {module}\n")
        (folder / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))
        installed.append(module)
        return folder

    yield make
    for module in installed:
        sys.modules.pop(module, None)


@pytest.fixture
def contribute(tmp_path, monkeypatch):
    """Adds a file to a folder of the package, for imports only: `contribute(kind, name, code)`."""
    added = []

    def make(kind, name, code):
        folder = tmp_path / "contributed" / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(code)
        package = importlib.import_module(f"affectlens.{kind}")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        importlib.invalidate_caches()
        added.append((package, name))

    yield make
    for package, name in added:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


@pytest.fixture
def made_up_measure(install):
    """An installed package with a measure, as somebody else would write one; the names of its columns."""
    install("faces.measures", "gloss", _MADE_UP)
    return ("gloss", "glossy", "gloss_frames")


class Encoded(NamedTuple):
    """One image file: its format, its bytes, and what Pillow makes of them."""

    format: str
    data: bytes
    pixels: np.ndarray


FILES = {
    "jpeg": ("JPEG", {}),
    "progressive-jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gray-png": ("PNG", {"mode": "L"}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {}),
    "lossless-webp": ("WEBP", {"lossless": True}),
    "extended-webp": ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0"}),
    "tiff": ("TIFF", {}),
    "lzw-tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "big-endian-tiff": ("TIFF", {"big_endian": True}),
    "big-tiff": ("TIFF", {"big_tiff": True}),
    "avif": ("AVIF", {"quality": 95}),
    "heic": ("HEIF", {"quality": 95}),
}


NO_ROOM = ("webp", "lossless-webp", "avif", "heic", "big-tiff")
"""Whose header has no room for 50,000 pixels a side, or is not changed by `announce`."""


def encode(picture, format, mode=None, big_endian=False, **options):
    """The bytes of an image file."""
    stream = io.BytesIO()
    picture = picture.convert(mode) if mode else picture
    if big_endian:
        options["tiffinfo"] = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"MM")
        picture = Image.fromarray((np.asarray(picture.convert("L")).astype(">u2")) << 8)
    if format == "HEIF":
        pillow_heif.from_pillow(picture).save(stream, **options)  # its plug-in for Pillow is never registered
    else:
        picture.save(stream, format, **options)
    return stream.getvalue()


@pytest.fixture(scope="session", name="encode")
def encode_fixture():
    return encode


@pytest.fixture(scope="session")
def picture(portrait):
    """The portrait as a small PIL image, 64 wide and 48 high."""
    return Image.fromarray(portrait).resize((64, 48))


def encode_named(name, picture):
    """One of `FILES`."""
    kind, options = FILES[name]
    data = encode(picture, kind, **options)
    opened = pillow_heif.HeifImageFile(io.BytesIO(data)) if kind == "HEIF" else Image.open(io.BytesIO(data))
    deep = opened.mode.startswith("I;16")
    pixels = np.stack([np.asarray(opened) >> 8] * 3, axis=-1) if deep else np.asarray(opened.convert("RGB"))
    return Encoded(name, data, pixels)


@pytest.fixture(scope="session", params=FILES)
def encoded(request, picture):
    """A small file of each format in turn."""
    return encode_named(request.param, picture)


@pytest.fixture(scope="session", params=[name for name in FILES if name not in NO_ROOM])
def boastful(request, picture):
    """A small file of each format whose header has room for 50,000 x 50,000 pixels."""
    return encode_named(request.param, picture)


@pytest.fixture(scope="session")
def announce():
    """An image file with another width and height written into its header."""

    def patch(data, width, height):
        def put(at, layout, *values):
            new = struct.pack(layout, *values)
            return data[:at] + new + data[at + len(new) :]

        if data.startswith(b"\xff\xd8"):
            frame = max(data.find(b"\xff\xc0\0\x11"), data.find(b"\xff\xc2\0\x11"))
            return put(frame + 5, ">HH", height, width)
        if data.startswith(b"\x89PNG"):
            data = put(16, ">II", width, height)
            return put(29, ">I", zlib.crc32(data[12:29]))
        if data.startswith(b"GIF"):
            return put(6, "<HH", width, height)
        if data.startswith(b"BM"):
            return put(18, "<ii", width, height)
        if data.startswith(b"RIFF"):
            return put(24, "<HBHB", width - 1 & 0xFFFF, width - 1 >> 16, height - 1 & 0xFFFF, height - 1 >> 16)
        order = "<" if data.startswith(b"II") else ">"
        for tag, value in ((256, width), (257, height)):
            for kind in (3, 4):
                at = data.find(struct.pack(f"{order}HHI", tag, kind, 1))
                if at >= 0:
                    data = put(at, f"{order}HHII", tag, 4, 1, value)
        return data

    return patch
