import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image

from affectlens import Analysis, Analyzer, Reason
from affectlens.core import catalog
from affectlens.core.errors import BadModelFile, BadSetting, UnknownName, UnreadableMedia
from affectlens.core.expressions import FERPLUS
from affectlens.runtime.media import PORTRAIT


@pytest.fixture(scope="module")
def tiny(write_model, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def same(a, b):
    """Two analyses found exactly the same."""
    return [row | {"source": ""} for row in a.to_rows()] == [row | {"source": ""} for row in b.to_rows()]


# The portrait


def test_the_portrait_has_one_smiling_face(analyzer):
    analysis = analyzer.analyze(PORTRAIT)
    assert isinstance(analysis, Analysis)
    assert analysis.reason is None
    (face,) = analysis.faces
    assert face.expression == "happiness"
    assert face.valence > 0
    assert face.va_source == "projected"


def test_a_face_says_everything_within_its_range(analyzer):
    (face,) = analyzer.analyze(PORTRAIT).faces
    assert tuple(face.probabilities) == FERPLUS == analyzer.spec.labels
    assert sum(face.probabilities.values()) == pytest.approx(1)
    assert face.expression == max(face.probabilities, key=face.probabilities.get)
    assert face.uncertain == (max(face.probabilities.values()) < analyzer.spec.uncertain_below)
    assert 0 <= face.disagreement <= 1
    assert 0 < face.score <= 1
    assert -1 <= face.arousal <= 1


def test_the_analysis_keeps_source_model_and_image(analyzer, portrait):
    analysis = analyzer.analyze(PORTRAIT)
    assert analysis.source == str(PORTRAIT)
    assert analysis.model == analyzer.spec.name
    assert analysis.labels == analyzer.spec.labels
    np.testing.assert_array_equal(analysis.image, portrait)


# What may be analyzed


@pytest.mark.parametrize("convert", [str, Path, lambda path: Image.open(path).copy()])
def test_a_path_a_string_and_a_pil_image_are_the_same_as_the_array(analyzer, portrait, convert):
    assert same(analyzer.analyze(convert(PORTRAIT)), analyzer.analyze(portrait))


class AnyPath:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_anything_with_a_path_is_the_same_as_its_path(analyzer):
    assert analyzer.analyze(AnyPath(PORTRAIT)).to_rows() == analyzer.analyze(PORTRAIT).to_rows()


@pytest.mark.parametrize("kind", [str, Path, AnyPath])
def test_a_tilde_stands_for_the_home_folder(analyzer, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photo.jpg").write_bytes(PORTRAIT.read_bytes())
    analysis = analyzer.analyze(kind("~/photo.jpg"))
    assert (len(analysis.faces), analysis.source) == (1, str(tmp_path / "photo.jpg"))


def test_the_bytes_of_a_file_are_read_like_the_file(analyzer):
    content = PORTRAIT.read_bytes()
    named = analyzer.analyze(content, "portrait")
    assert named.to_rows() == [row | {"source": "portrait"} for row in analyzer.analyze(PORTRAIT).to_rows()]
    assert analyzer.analyze(content).source == ""
    assert analyzer.analyze(content[:500], "cut").reason is Reason.TRUNCATED


def test_an_array_has_no_source(analyzer, portrait):
    assert analyzer.analyze(portrait).source == ""


def test_a_gray_array_is_the_same_as_its_three_equal_channels(analyzer, portrait):
    gray = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    assert same(analyzer.analyze(gray), analyzer.analyze(np.dstack([gray] * 3)))
    assert len(analyzer.analyze(gray).faces) == 1


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[..., ::-1][..., ::-1],
        np.asfortranarray,
        lambda image: np.dstack([image, image[..., :1]])[..., :3],
        lambda image: image.repeat(2, axis=0)[::2],
    ],
)
def test_arrays_that_are_not_contiguous_are_the_same_as_their_copy(analyzer, portrait, view):
    assert same(analyzer.analyze(view(portrait)), analyzer.analyze(portrait))


def test_channels_in_the_order_of_opencv_are_an_option_of_arrays(analyzer, portrait):
    bgr = cv2.imread(str(PORTRAIT))
    assert same(analyzer.analyze(bgr, colour="bgr"), analyzer.analyze(portrait))
    assert not same(analyzer.analyze(bgr), analyzer.analyze(portrait))
    gray = portrait[..., 1]
    assert same(analyzer.analyze(gray, colour="bgr"), analyzer.analyze(gray))
    for source in (PORTRAIT, PORTRAIT.read_bytes(), Image.fromarray(portrait)):
        with pytest.raises(BadSetting, match="colour applies only to arrays"):
            analyzer.analyze(source, colour="bgr")
    with pytest.raises(BadSetting, match="rgb or bgr, got 'rbg'"):
        analyzer.analyze(bgr, colour="rbg")


def test_channels_in_the_order_of_opencv_can_be_turned_in_place(analyzer):
    assert len(analyzer.analyze(cv2.imread(str(PORTRAIT))[..., ::-1]).faces) == 1


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_a_pil_image_of_any_mode_is_converted(analyzer, portrait, mode):
    assert len(analyzer.analyze(Image.fromarray(portrait).convert(mode)).faces) == 1


def test_a_pil_image_of_sixteen_bits_is_the_same_as_its_file(analyzer, portrait, tmp_path):
    deep = Image.fromarray(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    assert same(analyzer.analyze(deep), analyzer.analyze(tmp_path / "deep.png"))


def test_a_pil_image_of_32_bits_is_taken_for_16(analyzer, portrait):
    gray = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    deep = Image.fromarray(gray.astype(np.int32) * 257)
    assert deep.mode == "I"
    assert same(analyzer.analyze(deep), analyzer.analyze(gray))


def test_integers_beyond_16_bits_are_cut_off(analyzer):
    image = analyzer.analyze(Image.fromarray(np.array([[-5, 0, 65_535, 10**6]] * 4, dtype=np.int32))).image
    assert image[0, :, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("format", ["png", "jpg"])
@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_a_pil_image_is_turned_upright_as_its_file_is(analyzer, portrait, tmp_path, format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"turned.{format}"
    stored = {
        3: Image.Transpose.ROTATE_180,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    Image.fromarray(portrait).transpose(stored[orientation]).save(file, exif=exif)
    from_file, from_pil = analyzer.analyze(file), analyzer.analyze(Image.open(file))
    np.testing.assert_array_equal(from_pil.image, from_file.image)
    assert same(from_pil, from_file)
    assert np.abs(from_pil.image.astype(int) - portrait).mean() < 3


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_a_truncated_pil_image_has_its_reason(analyzer, portrait, format):
    stream = io.BytesIO()
    Image.fromarray(portrait).save(stream, format)
    image = Image.open(io.BytesIO(stream.getvalue()[: len(stream.getvalue()) // 2]))
    analysis = analyzer.analyze(image)
    assert (analysis.reason, analysis.source, analysis.image) == (Reason.TRUNCATED, "", None)


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (np.zeros((9, 9, 3), dtype=np.float32), "float32"),
        (np.zeros((9, 9, 3), dtype=np.uint16), "uint16"),
        (np.zeros((9, 9, 3), dtype=bool), "bool"),
        (np.zeros((9, 9, 4), dtype=np.uint8), r"\(9, 9, 4\)"),
        (np.zeros((3, 9, 9), dtype=np.uint8), r"\(3, 9, 9\)"),
        (np.zeros((2, 9, 9, 3), dtype=np.uint8), r"\(2, 9, 9, 3\)"),
        (np.zeros(9, dtype=np.uint8), r"\(9,\)"),
        (np.zeros((0, 9, 3), dtype=np.uint8), r"\(0, 9, 3\)"),
        (bytearray(b"bytes of a file"), "bytearray"),
        (None, "NoneType"),
        ([[1, 2], [3, 4]], "list"),
    ],
)
def test_anything_else_is_refused_and_named(analyzer, image, named):
    with pytest.raises(BadSetting, match=named):
        analyzer.analyze(image)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (500, 1, 3), (2, 3)])
def test_images_of_a_few_pixels_have_no_face(analyzer, shape):
    analysis = analyzer.analyze(np.zeros(shape, dtype=np.uint8))
    assert analysis.reason == Reason.NO_FACE
    assert analysis.image.shape == (*shape[:2], 3)


def test_an_image_wider_than_opencv_warps_is_analyzed(analyzer, make_detector):
    wide = np.zeros((100, 40_000, 3), dtype=np.uint8)
    analysis = Analyzer(detector=make_detector([[39_000, 10, 39_060, 80]])).analyze(wide)
    assert len(analysis.faces) == 1
    assert analysis.draw().shape == wide.shape


# Bad files


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.EMPTY_FILE),
        (b"Dear diary", Reason.NOT_AN_IMAGE),
        (PORTRAIT.read_bytes()[:20_000], Reason.TRUNCATED),
        (None, Reason.MISSING),
    ],
)
def test_a_bad_file_gives_an_analysis_with_its_reason(analyzer, tmp_path, content, reason):
    file = tmp_path / "photo.jpg"
    if content is not None:
        file.write_bytes(content)
    analysis = analyzer.analyze(file)
    assert analysis.faces == ()
    assert analysis.reason is reason
    assert analysis.detail
    assert analysis.image is None
    assert analysis.draw() is None
    (row,) = analysis.to_rows()
    assert row["source"] == str(file)
    assert row["reason"] == reason.value


@pytest.mark.parametrize("path", ["", "a\0b.jpg", "x" * 300, "/dev/null", "."])
def test_no_path_whatever_raises(analyzer, path):
    assert analyzer.analyze(path).reason is not None


def test_a_failed_source_keeps_the_error_in_words(analyzer):
    analysis = analyzer.recognizer.failed("x.jpg", UnreadableMedia(Reason.DAMAGED, "cannot decode"))
    assert (analysis.source, analysis.reason, analysis.detail) == ("x.jpg", Reason.DAMAGED, "cannot decode")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no room\nleft"), cv2.error("OpenCV(4): broken\n")])
@pytest.mark.parametrize("from_file", [True, False])
def test_an_analysis_that_breaks_off_has_its_reason_and_the_next_one_works(portrait, make_detector, error, from_file):
    errors = [error]

    def detect(image):
        if errors:
            raise errors.pop()
        return make_detector([[180, 57, 269, 175]])(image)

    analyzer = Analyzer(detector=detect)
    source = PORTRAIT if from_file else portrait
    analysis = analyzer.analyze(source)
    assert (analysis.reason, analysis.faces) == (Reason.FAILED, ())
    assert analysis.detail
    assert "\n" not in analysis.detail
    (row,) = analysis.to_rows()
    assert (row["reason"], row["source"]) == ("failed", str(PORTRAIT) if from_file else "")
    assert len(analyzer.analyze(source).faces) == 1


# Detectors


def test_a_detector_may_be_any_callable(analyzer, portrait, make_detector):
    box = [180, 57, 269, 175]
    (face,) = Analyzer(detector=make_detector([box])).analyze(portrait).faces
    assert face.box_xyxy.tolist() == box
    assert np.isnan(face.landmarks_xy).all()


def test_the_detector_whole_takes_the_image_as_the_face():
    (face,) = Analyzer(detector="whole").analyze(np.zeros((48, 48), dtype=np.uint8)).faces
    assert face.box_xyxy.tolist() == [0, 0, 48, 48]
    assert face.score == 1


def test_the_smallest_face_reaches_the_detector():
    assert Analyzer(min_face_px=400).analyze(PORTRAIT).reason is Reason.NO_FACE


@pytest.mark.parametrize(
    ("settings", "error", "named"),
    [
        ({"detector": "mtcn"}, UnknownName, "did you mean 'mtcnn'"),
        ({"detector": "retina"}, UnknownName, "choose from: " + ", ".join(catalog.available("faces.detectors"))),
        ({"detector": "mtcnn:file.onnx"}, BadSetting, "'mtcnn' takes no model file, got 'file.onnx'"),
        ({"detector": "yunet"}, BadSetting, "yunet:FILE"),
        ({"detector": "yunet:nowhere.onnx"}, BadModelFile, "nowhere.onnx"),
        ({"detector": "mtcnn", "min_face_px": 3}, BadSetting, "at least 12"),
        ({"detector": "mtcnn", "min_face_px": "abc"}, BadSetting, "option 'min_face_px' of detector 'mtcnn': .* 'abc'"),
        ({"detector": None}, BadSetting, "NoneType"),
        ({"detector": 5}, BadSetting, "int"),
        ({"detector": lambda image: None, "min_face_px": 50}, BadSetting, "min_face_px"),
        ({"threads": -1}, BadSetting, "threads must be >= 0 .* got -1"),
        ({"model": "nowhere.onnx"}, BadModelFile, "nowhere.onnx"),
        ({"model": PORTRAIT}, BadModelFile, "portrait.jpg"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(settings, error, named):
    with pytest.raises(error, match=named):
        Analyzer(**settings)


def test_a_detector_of_the_catalogue_that_is_no_function_is_refused(contribute):
    contribute("faces.detectors", "new", "def build(): ...")
    with pytest.raises(BadSetting, match=r"build of the detector 'new' must return a function .*, got NoneType"):
        Analyzer(detector="new")


@pytest.mark.parametrize("answer", [None, [[1, 2, 3, 4]]])
def test_a_wrong_answer_of_a_detector_is_an_error_not_a_row(portrait, answer):
    analyzer = Analyzer(detector=lambda image: answer)
    message = f"a detector must return affectlens.Detections, got {type(answer).__name__}"
    with pytest.raises(BadSetting, match=message):
        analyzer.analyze(portrait)
    with pytest.raises(BadSetting, match=message):
        list(analyzer.video([portrait], frame_rate=10))


# Models


def test_a_model_with_labels_of_its_own_speaks_them(tiny, make_detector):
    analyzer = Analyzer(tiny, make_detector([[10, 10, 50, 50]]))
    dark, bright = (analyzer.analyze(np.full((60, 60, 3), level, dtype=np.uint8)) for level in (0, 255))
    assert dark.labels == ("calm", "excited")
    assert (bright.faces[0].expression, bright.model) == ("excited", "tiny")
    assert dark.faces[0].probabilities == pytest.approx({"calm": 0.5, "excited": 0.5})
    assert dark.faces[0].disagreement == pytest.approx(1)
    assert [name for name in bright.to_rows()[0] if name.startswith("p_")] == ["p_calm", "p_excited"]


def test_a_model_in_the_home_folder_may_be_named_with_a_tilde(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tiny.onnx").write_bytes(tiny.read_bytes())
    assert Analyzer("~/tiny.onnx").spec.name == "tiny"


def test_labels_without_coordinates_have_no_valence_and_arousal(tiny):
    (face,) = Analyzer(str(tiny), "whole").analyze(np.zeros((8, 8), dtype=np.uint8)).faces
    assert (face.valence, face.arousal, face.va_source) == (None, None, None)


def test_the_temperature_of_the_model_softens_its_probabilities(write_model, tmp_path):
    white = np.full((8, 8), 255, dtype=np.uint8)
    models = [write_model(tmp_path / f"{t}.onnx", metadata={"temperature": t}) for t in (1.0, 4.0)]
    sharp, soft = (Analyzer(model, "whole").analyze(white).faces[0].probabilities["excited"] for model in models)
    assert sharp == pytest.approx(1 / (1 + np.exp(-8)))
    assert soft == pytest.approx(1 / (1 + np.exp(-2)))


def test_below_the_threshold_of_the_model_the_answer_is_uncertain(write_model, tmp_path):
    model = write_model(tmp_path / "strict.onnx", metadata={"uncertain_below": 0.9})
    analyzer = Analyzer(model, "whole")
    dark, bright = (analyzer.analyze(np.full((8, 8), level, dtype=np.uint8)).faces[0] for level in (0, 255))
    assert (dark.answer, dark.expression) == ("uncertain", "calm")
    assert bright.answer == "excited"


def test_with_a_balanced_prior_the_rare_expression_is_found(write_model, tmp_path):
    file = write_model(tmp_path / "tiny.onnx", bias=(4.0, 0.0), metadata={"class_prior": [0.9, 0.1]})
    dark = np.full((64, 64), 96, dtype=np.uint8)
    (natural,) = Analyzer(file, detector="whole").analyze(dark).faces
    (balanced,) = Analyzer(file, detector="whole", prior="balanced").analyze(dark).faces
    assert (natural.expression, balanced.expression) == ("calm", "excited")
    odds = natural.probabilities["excited"] / natural.probabilities["calm"]
    assert balanced.probabilities["excited"] / balanced.probabilities["calm"] == pytest.approx(9 * odds, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"prior": "balanced"}, "tiny does not state its class frequencies"), ({"prior": "even"}, "got 'even'")],
)
def test_a_prior_that_cannot_be_is_refused(write_model, tmp_path, settings, named):
    with pytest.raises(BadSetting, match=named):
        Analyzer(write_model(tmp_path / "tiny.onnx"), **settings)


def test_priors_for_other_labels_are_refused(write_model, tmp_path):
    file = write_model(tmp_path / "tiny.onnx", metadata={"class_prior": [0.9, 0.05, 0.05]})
    with pytest.raises(BadModelFile, match="3 priors for 2 labels"):
        Analyzer(file)


def test_the_order_of_the_labels_in_the_file_is_that_of_its_logits(write_model, tmp_path):
    model = write_model(tmp_path / "two.onnx", labels=("sadness", "happiness"), bias=(3.0, 0.0))
    (face,) = Analyzer(model, "whole").analyze(np.zeros((8, 8), dtype=np.uint8)).faces
    assert face.expression == "sadness"
    assert face.valence < 0


def test_a_model_without_metadata_is_refused(write_model, tmp_path):
    model = onnx.load(write_model(tmp_path / "bare.onnx"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(BadModelFile, match="metadata"):
        Analyzer(tmp_path / "bare.onnx")


def test_a_model_with_more_labels_than_outputs_is_refused(write_model, tmp_path):
    model = write_model(tmp_path / "odd.onnx", metadata={"labels": ["calm", "excited", "bored"]})
    with pytest.raises(BadModelFile, match="labels"):
        Analyzer(model, "whole").analyze(np.zeros((8, 8), dtype=np.uint8))


# Many faces, many threads


def test_two_hundred_faces_are_each_read_as_if_alone(portrait, make_detector):
    tile = cv2.resize(portrait, (64, 64), interpolation=cv2.INTER_AREA)
    tiles = [np.roll(tile, shift, axis=1) for shift in range(20)]
    crowd = np.vstack([np.hstack(tiles)] * 10)
    boxes = [(64 * x, 64 * y, 64 * x + 64, 64 * y + 64) for y in range(10) for x in range(20)]
    faces = Analyzer(detector=make_detector(boxes, framed=True)).analyze(crowd).faces
    alone = [Analyzer(detector="whole").analyze(tile).faces[0] for tile in tiles[:3]]
    assert len(faces) == 200
    assert [face.box_xyxy.tolist() for face in faces] == [list(map(float, box)) for box in boxes]
    for face, expected in zip((faces[0], faces[61], faces[182]), alone, strict=True):
        assert face.probabilities == pytest.approx(expected.probabilities, abs=1e-4)


def test_a_crowd_of_twenty_is_found_whole(analyzer, portrait):
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    analysis = analyzer.analyze(np.tile(small, (4, 5, 1)))
    assert len(analysis.faces) == 20
    assert len({(int(x) // 256, int(y) // 256) for x, y, *_ in (face.box_xyxy for face in analysis.faces)}) == 20
    assert [row["face"] for row in analysis.to_rows()] == list(range(20))


def test_eight_threads_at_once_find_exactly_what_one_finds(analyzer, portrait):
    images = [np.ascontiguousarray(portrait[10 * i :, 15 * i : 512 - 5 * i]) for i in range(5)]
    images.append(np.zeros((100, 100, 3), dtype=np.uint8))
    expected = [analyzer.analyze(image).to_rows() for image in images] * 4
    with ThreadPoolExecutor(8) as pool:
        got = [analysis.to_rows() for analysis in pool.map(analyzer.analyze, images * 4)]
    assert got == expected
    assert sum(row["reason"] is None for rows in got for row in rows) >= 20


@pytest.mark.parametrize(("name", "faces"), [("single_face.jpg", 1), ("multi_face.jpg", 5)])
def test_sample_photos_give_all_their_faces(analyzer, media, name, faces):
    assert len(analyzer.analyze(media(name)).faces) == faces


def test_a_landscape_gives_an_analysis_without_faces(analyzer, media):
    analysis = analyzer.analyze(media("free-mountain-vector-01.jpg"))
    assert analysis.reason is Reason.NO_FACE
    assert analysis.image is not None


def test_a_picture_with_transparency_is_read(analyzer, media):
    assert analyzer.analyze(media("Image_with_alpha.png")).image.ndim == 3


def test_many_images_are_answered_in_order_as_each_alone(analyzer, portrait, tmp_path):
    gray, missing = portrait[:64, :64], tmp_path / "missing.jpg"
    many = [PORTRAIT, portrait, missing, gray, PORTRAIT.read_bytes()]
    found = list(analyzer.analyze_many(iter(many), workers=2))
    assert [one.to_rows() for one in found] == [analyzer.analyze(one).to_rows() for one in many]
    assert [len(one.faces) for one in found] == [1, 1, 0, 0, 1]


def test_many_images_are_taken_only_as_they_are_needed(analyzer, portrait):
    taken = []
    analyses = analyzer.analyze_many((taken.append(number) or portrait[:64, :64] for number in range(50)), workers=1)
    next(analyses)
    assert len(taken) == 3
    analyses.close()
    assert len(taken) == 3


def test_arrays_in_bgr_may_stand_among_files(analyzer, portrait):
    (photo, array) = analyzer.analyze_many([PORTRAIT, portrait[..., ::-1]], colour="bgr")
    assert array.faces[0].probabilities == photo.faces[0].probabilities


@pytest.mark.parametrize(("sources", "workers"), [([1], None), ([], 0)])
def test_what_is_no_image_or_no_number_of_workers_is_refused(analyzer, sources, workers):
    with pytest.raises(BadSetting):
        list(analyzer.analyze_many(sources, workers=workers))


@pytest.mark.parametrize(
    "answers",
    [{"bias": (np.nan, 0.0)}, {"bias": (0.0, np.inf)}, {"outputs": {"affect": (np.nan, 0.0)}}],
    ids=["nan", "inf", "affect"],
)
def test_an_answer_that_is_not_finite_is_a_failure_and_no_face(write_model, tmp_path, answers):
    analysis = Analyzer(write_model(tmp_path / "bad.onnx", **answers)).analyze(PORTRAIT)
    assert (analysis.reason, analysis.faces) == (Reason.FAILED, ())
    assert analysis.detail.startswith("the model answered 1 face with numbers that are not finite")


def test_a_model_that_loses_a_face_fails(write_model, tmp_path, portrait):
    model = onnx.load(write_model(tmp_path / "bad.onnx"))
    model.graph.node[-1].output[0] = "both"
    model.graph.node.append(onnx.helper.make_node("Slice", ["both", "zero", "one", "zero"], ["logits"]))
    numbers = {"zero": [0], "one": [1]}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(to), name) for name, to in numbers.items())
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "rows"
    onnx.save(model, tmp_path / "bad.onnx")
    bad = Analyzer(tmp_path / "bad.onnx")
    assert len(bad.analyze(portrait).faces) == 1
    analysis = bad.analyze(np.concatenate([portrait, portrait], axis=1))
    assert (analysis.reason, analysis.faces) == (Reason.FAILED, ())
    assert analysis.detail == "the model answered 1 row for 2 faces in its output 'logits'"
