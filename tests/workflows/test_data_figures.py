import cv2
import numpy as np
import pytest

from affectlens import BadData, BadSetting, plot
from affectlens.evaluation import plots
from affectlens.workflows.preview import preview

CALM, EXCITED = "calm", "excited"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Twelve calm and four excited faces to train with; the excited ones are ten years old, the calm ones ten or forty,
    one of unknown age.
    """
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    lines = ["path,expression,split,age_years"]
    ages = [""] + [10] * 3 + [45] * 8 + [10] * 4
    for number, age in enumerate(ages):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (48, 48), dtype=np.uint8))
        lines.append(f"{number}.png,{CALM if number < 12 else EXCITED},train,{age}")
    (folder / "faces.csv").write_text("\n".join(lines))
    return f"table:{folder / 'faces.csv'}"


def widths(axes):
    return [[bar.get_width() for bar in bars] for bars in axes.containers]


def test_the_classes_of_each_age_group_are_shares_of_its_faces(faces):
    (axes,) = plot("ages", faces, split="train").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["10-19 (7)", "40-49 (8)"]
    assert widths(axes) == [pytest.approx([3 / 7, 1]), pytest.approx([4 / 7, 0])]


def test_faces_without_ages_name_the_way_to_have_them(make_ferplus, tmp_path):
    data = f"ferplus:{make_ferplus(tmp_path / 'ferplus')}"
    with pytest.raises(BadData, match=r"no labelled face in the split 'train' has an age; .* \?meta=FILE"):
        plot("ages", data, split="train")
    (tmp_path / "ages.csv").write_text("id,age_years\nfer0.png,7\nfer1.png,71\n")
    (axes,) = plot("ages", f"{data}?meta={tmp_path / 'ages.csv'}", split="train").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0-9 (1)", "70+ (1)"]


def test_training_faces_have_a_row_each_and_a_column_per_step(faces):
    figure = plot("training-faces", faces, recipe="caciolai/stn", faces=3, versions=4)
    assert [axes.get_title() for axes in figure.axes[:6]] == ["stored", "input", *(f"epoch {i}" for i in (1, 2, 3, 4))]
    assert [axes.get_ylabel() for axes in figure.axes[::6]] == [CALM, EXCITED, CALM]
    pictures = [axes.images[0].get_array() for axes in figure.axes]
    assert len(pictures) == 18
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1
    assert np.abs(pictures[1].astype(int) - pictures[2]).mean() > 1


@pytest.mark.parametrize("name", ["training-faces", "batches"])
def test_figures_of_training_show_no_other_split(faces, name):
    with pytest.raises(BadSetting, match=f"the figure '{name}' shows the split 'train' only, got 'valid'"):
        plot(name, faces, recipe="caciolai/baseline", split="valid")
    assert plot(name, faces, recipe="caciolai/baseline", split="train").axes


def test_a_preview_has_the_figures_of_training(faces, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.update({path.name: figure}))
    assert preview("caciolai/baseline", faces, tmp_path) == 16
    sheet, shares = plot("training-faces", faces, recipe="caciolai/baseline"), plot("batches", faces, recipe="caciolai")
    assert plots.svg(drawn["faces.png"]) == plots.svg(sheet)
    assert plots.svg(drawn["classes.png"]) == plots.svg(shares)


def test_the_settings_change_what_the_faces_go_through(faces):
    still = {"flip": 0, "rotation_deg": 0}
    figure = plot("training-faces", faces, recipe="caciolai/baseline", settings=still, faces=1, versions=1)
    _, plain, augmented = (axes.images[0].get_array().astype(int) for axes in figure.axes)
    assert np.abs(plain - augmented).max() <= 1


def test_a_run_stands_for_its_recipe(faces, untrained, tmp_path):
    trained = untrained(tmp_path / "run", (CALM, EXCITED), "caciolai/baseline", sampler="expression", batch_size=8)
    (axes,) = plot("batches", faces, [trained]).axes
    shuffled, balanced = widths(axes)
    assert shuffled == pytest.approx([0.75, 0.25])
    assert balanced[1] > 0.3
    (axes,) = plot("batches", faces, [trained], settings={"sampler": "shuffle"}).axes
    assert widths(axes) == [pytest.approx([0.75, 0.25])]
    for chosen in ({}, {"models": [trained], "recipe": "caciolai/baseline"}):
        with pytest.raises(BadSetting, match="the figure 'batches' needs either a recipe or a run folder"):
            plot("batches", faces, **chosen)
