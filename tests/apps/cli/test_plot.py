import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from affectlens.core.expressions import FERPLUS
from affectlens.data import crops
from affectlens.data.table import FaceTable
from affectlens.evaluation import affect_plots
from affectlens.evaluation.evaluation import Scores
from affectlens.models.layers.mobile_facenet import MobileFaceNet
from affectlens.training import run
from affectlens.workflows import face_figures
from affectlens.workflows.scoring import Scored

LABELS = ("anger", "happiness")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of small faces with valence and arousal, all of the test split."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    lines = ["path,expression,valence,arousal,split"]
    for number in range(24):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (48, 48), dtype=np.uint8))
        lines.append(f"{number}.png,{LABELS[number % 2]},{rng.uniform(-1, 1):.2f},{rng.uniform(-1, 1):.2f},test")
    (folder / "faces.csv").write_text("\n".join(lines))
    return f"table:{folder / 'faces.csv'}"


GCN = {"name": "antoniadis/t6.5-breg-next-gcn", "size_px": 32, "eye_distance": 0.0}


@pytest.fixture(scope="module")
def trained(untrained, tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("run"), LABELS, **GCN)


@pytest.mark.parametrize(
    "name", ["va-plane", pytest.param("features", marks=pytest.mark.slow), "adjacency", "similarity", "samples"]
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:Tensorflow not installed")  # of UMAP
def test_every_figure_is_drawn(cli, name, table, trained, tmp_path):
    file = tmp_path / "figure.png"
    result = cli("plot", name, "--data", table, "--model", trained, "--faces", 6, "--out", file)
    assert (result.code, result.out) == (0, f"figure: {file}\n")
    picture = cv2.imread(str(file))
    assert min(picture.shape[:2]) > 200
    assert len(np.unique(picture)) > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("va-plane",), "the figure 'va-plane' needs data"),
        (("adjacency",), "the figure 'adjacency' needs a model"),
        (("similarity", "--model", "nowhere"), "needs a run folder of 'affectlens train', got 'nowhere'"),
        (("heatmaps", "--model", "a", "--model", "b"), "the figure 'heatmaps' needs a single model"),
        (("samples", *3 * ("--model", "a")), "the figure 'samples' takes one or two models, got 3"),
        (("landscape", "--model", "run", "--points", 4), "points must be odd"),
        (("samples", "--out", "x.jpg"), "figures are written as PNG; --out must end in .png, got 'x.jpg'"),
        (("landscape",), "the figure 'landscape' needs one or more models"),
        (("adjacency", "--model", "bundled"), "needs a run folder of 'affectlens train', got 'bundled'"),
    ],
)
def test_what_is_missing_is_one_line(cli, arguments, message):
    result = cli("plot", *arguments)
    assert (result.code, len(result.errors)) == (1, 1)
    assert message in result.err


def test_the_plane_of_data_without_valence_and_arousal_names_a_way_to_have_them(cli, make_ferplus, tmp_path):
    result = cli("plot", "va-plane", "--data", f"ferplus:{make_ferplus(tmp_path / 'ferplus')}", "--split", "train")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "has valence and arousal (for ferplus, use ?va=projected)" in result.err


def test_captions_say_what_is_uncertain():
    probabilities = np.array([[0.75, 0.25], [0.375, 0.625]])
    faces = FaceTable(("a", "b"), np.zeros((2, 4, 4), dtype=np.uint8), np.eye(2, dtype="f4"), np.array([0, 0]), LABELS)
    scored = Scored("m", faces, Scores(LABELS, probabilities, faces.targets, uncertain_below=0.7))
    captions, right = face_figures._captions(scored, None)
    assert captions == ["anger 75 %\ntrue: anger", "happiness? 62 %\ntrue: anger"]
    assert right == [True, False]


def test_a_folder_that_is_not_there_is_made(cli, table, tmp_path):
    assert cli("plot", "va-plane", "--data", table, "--out", tmp_path / "new" / "plane.png").code == 0
    assert (tmp_path / "new" / "plane.png").is_file()


def test_samples_say_where_valence_and_arousal_of_ferplus_are_from(cli, make_ferplus, untrained, tmp_path, monkeypatch):
    trained, captions = untrained(tmp_path / "run", FERPLUS, **GCN), []
    monkeypatch.setattr(affect_plots, "captioned_faces", lambda faces, texts, right: captions.extend(texts) or Figure())
    data = f"ferplus:{make_ferplus(tmp_path / 'ferplus')}"
    for option, last in (("?va=projected", "true (projected) "), ("", "true: ")):
        captions.clear()
        cli("plot", "samples", "--data", data + option, "--model", trained, "--out", tmp_path / "s.png")
        assert captions
        assert all(text.splitlines()[-1].startswith(last) for text in captions)


@pytest.mark.parametrize("name", ["samples", "heatmaps"])
def test_the_bundled_model_gives_samples_and_heat_maps(cli, table, tmp_path, name):
    result = cli("plot", name, "--data", table, "--model", "bundled", "--faces", 4, "--out", tmp_path / "s.png")
    assert result.code == 0
    assert cv2.imread(str(tmp_path / "s.png")).std() > 10


@pytest.mark.slow
def test_distances_before_and_after_the_gate_and_the_landscapes_of_two_runs(cli, table, untrained, tmp_path):
    gated = untrained(tmp_path / "gated", LABELS, "vats/swin-se", size_px=32, pretrained=False)
    result = cli("plot", "distances", "--data", table, "--model", gated, "--out", tmp_path / "d.png")
    assert (result.code, (tmp_path / "d.png").is_file()) == (0, True)
    before, after, _ = result.out.splitlines()
    assert before.startswith("before the gate: within classes ")
    assert after.startswith("after the gate: within classes ")
    plain = untrained(tmp_path / "plain", LABELS, "vats/swin", size_px=32, pretrained=False)
    models = ("--model", gated, "--model", plain, "--points", 3, "--faces", 4)
    assert cli("plot", "landscape", "--data", table, *models, "--out", tmp_path / "l.png").code == 0
    assert cv2.imread(str(tmp_path / "l.png")).std() > 10
    result = cli("plot", "distances", "--data", table, "--model", plain)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "'swin_se' with these options has no squeeze-and-excitation gate" in result.err


def test_landmarks_are_those_of_the_file(cli, table, tmp_path):
    torch.manual_seed(0)
    torch.save(MobileFaceNet().state_dict(), tmp_path / "marks.pth")
    more = ("--data", table, "--faces", 3, "--out", tmp_path / "marks.png")
    assert cli("plot", "landmarks", "--model", tmp_path / "marks.pth", *more).code == 0
    assert cv2.imread(str(tmp_path / "marks.png")).std() > 10
    result = cli("plot", "landmarks", "--model", "bundled", *more)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "'bundled' is not a file; expected the weights file" in result.err


def test_features_are_those_of_faces_as_training_cuts_them(cli, table, trained, tmp_path, monkeypatch):
    """Aligned, with the options of the recipe's data."""
    seen = []
    monkeypatch.setattr(crops, "cut", lambda faces, spec, search, progress: seen.append((spec, search)) or faces)
    monkeypatch.setattr("affectlens.workflows.network_figures._umap", lambda vectors, seed: vectors[:, :2])
    assert cli("plot", "features", "--data", table, "--model", trained, "--out", tmp_path / "map.png").code == 0
    recipe = run.load_recipe(trained)
    assert seen == [(recipe.input_spec(), recipe.find_faces)]


def test_the_plane_says_that_valence_and_arousal_are_projected(cli, make_ferplus, tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(affect_plots, "va_plane", lambda *given: notes.append(given[-1]) or Figure())
    data = f"ferplus:{make_ferplus(tmp_path / 'ferplus')}?va=projected"
    assert cli("plot", "va-plane", "--data", data, "--out", tmp_path / "plane.png").code == 0
    assert notes == ["valence and arousal projected from the raters' votes"]


def test_the_timeline_of_a_clip_as_figure_and_report(cli, make_video, portrait, tmp_path, monkeypatch):
    face = cv2.resize(portrait[:260, 90:350], (120, 120), interpolation=cv2.INTER_AREA)
    file = make_video(tmp_path / "clip.mp4", [face] * 12, fps=10)
    assert cli("analyze", file, "--out", tmp_path / "faces.csv").code == 0
    monkeypatch.chdir(tmp_path)
    result = cli("plot", "timeline", "faces.csv")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == ["figure: timeline.png", "report: timeline.html"]
    assert cv2.imread("timeline.png").std() > 10
    page = (tmp_path / "timeline.html").read_text()
    assert "clip.mp4" in page
    assert "happiness" in page
    assert cli("plot", "timeline", "faces.csv", "--out", "new/t.html").out == "report: new/t.html\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("timeline",), "the figure 'timeline' needs a TABLE argument"),
        (("samples", "faces.csv"), "the figure 'samples' takes no TABLE argument"),
        (("timeline", "nowhere.csv"), "nowhere.csv"),
        (("timeline", "faces.txt"), "tables must be .parquet, .csv or .jsonl files"),
        (("timeline", "faces.csv", "--out", "t.pdf"), "--out must end in .png or .html, got 't.pdf'"),
    ],
)
def test_timelines_without_what_they_need_are_one_line(cli, arguments, message):
    result = cli("plot", *arguments)
    assert (result.code, len(result.errors)) == (1, 1)
    assert message in result.err
