from dataclasses import fields

import pytest
import yaml

from affectlens.core import catalog
from affectlens.training.recipe import Recipe, find, from_yaml, with_settings
from affectlens.workflows import train

WORKS = catalog.available("training.recipes")
EVERY = [recipe.name for work in WORKS for recipe in catalog.load("training.recipes", work).ROWS.values()]


@pytest.fixture
def mine(cli, tmp_path):
    """A YAML file of `caciolai/stn`, changed by the function it is given."""

    def write(change=lambda settings: None):
        settings = yaml.safe_load(cli("recipes", "show", "caciolai/stn", "--yaml").out)
        change(settings)
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
        return tmp_path / "mine.yaml"

    return write


def test_the_list_has_a_line_for_every_row_of_every_work(cli):
    result = cli("recipes", "list")
    assert (result.code, result.err) == (0, "")
    lines = {line.split()[0]: line for line in result.out.splitlines() if "/" in line.partition(" ")[0]}
    assert list(lines) == EVERY
    assert "…" not in result.out
    assert "caciolai: data ferplus, model deep_emotion, epochs 300, size_px 48 unless listed" in result.out
    assert lines["caciolai/vgg-stn"].split(maxsplit=2)[1:] == ["soft_cross_entropy", "model=custom_vgg"]
    assert lines["antoniadis/t3.2-soft"].endswith(
        "weighted_cross_entropy + 0.1 va_soft                        va_soft.bins=5"
    )


def test_the_list_of_one_work_has_its_rows_alone(cli):
    result = cli("recipes", "list", "vats")
    assert (result.code, result.err) == (0, "")
    found = [line.split()[0] for line in result.out.splitlines() if "/" in line.partition(" ")[0]]
    assert found == [name for name in EVERY if name.startswith("vats/")]
    assert "did you mean 'vats'" in cli("recipes", "list", "vat").err


@pytest.mark.parametrize("name", ["t6.1-gcn", "t6.1-gcnn"])
def test_a_row_without_its_work_is_told_whose_it_is(cli, name):
    result = cli("recipes", "show", name)
    meant = "'antoniadis/t6.1-gcn' or 'frozen/t6.1-gcn'"
    assert (result.code, result.err) == (1, f"error: unknown recipe '{name}'; did you mean {meant}?\n")


@pytest.mark.parametrize("name", ["antoniadis/t6.1-gcn", "caciolai/stn", "dare/two-stream", "default/taught"])
def test_show_names_every_setting(cli, name):
    result = cli("recipes", "show", name)
    assert (result.code, result.err) == (0, "")
    shown = {line.split()[0]: line.split(maxsplit=1)[1:] for line in result.out.splitlines() if line[0] != " "}
    assert list(shown) == [field.name for field in fields(Recipe)]
    recipe = find(name)
    assert shown["epochs"][0].strip() == str(recipe.epochs)
    assert shown["learning_rate"][0].strip() == str(recipe.learning_rate)


def test_the_name_of_a_work_shows_its_first_row(cli):
    assert cli("recipes", "show", "caciolai").out == cli("recipes", "show", "caciolai/baseline").out


@pytest.mark.parametrize("name", EVERY)
def test_yaml_reads_back_as_the_recipe_it_was_written_from(cli, tmp_path, name):
    result = cli("recipes", "show", name, "--yaml")
    assert (result.code, result.err) == (0, "")
    (tmp_path / "mine.yaml").write_text(result.out)
    assert from_yaml(tmp_path / "mine.yaml") == find(name)


def test_a_file_is_shown_as_it_was_written(cli, tmp_path):
    written = cli("recipes", "show", "caciolai/stn", "--yaml").out
    (tmp_path / "mine.yaml").write_text(written)
    assert cli("recipes", "show", tmp_path / "mine.yaml", "--yaml").out == written


def test_train_takes_the_yaml_file_with_its_changes_and_settings(cli, mine, make_ferplus, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(train, "run_recipe", lambda *arguments: given.append(arguments))
    file = mine(lambda settings: settings.update(work="mine", row="first", epochs=3, learning_rate="1e-3"))
    folder = make_ferplus(tmp_path / "ferplus")
    result = cli("train", file, "--data", f"ferplus:{folder}", "--set", "model_options.msa=true", "--set", "seed=7")
    assert (result.code, result.err) == (0, "")
    ((recipe, source, out, resume, *_),) = given
    settings = ["epochs=3", "learning_rate=0.001", "model_options.msa=true", "seed=7"]
    expected = with_settings(find("caciolai/stn"), settings).as_dict() | {"work": "mine", "row": "first"}
    assert recipe.as_dict() == expected
    assert (source.reader, str(out), resume) == ("ferplus", "runs/mine-first", False)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.update(epoch=3), "unknown recipe key 'epoch'; did you mean 'epochs'?"),
        (lambda s: s.update({7: 3}), "unknown recipe key '7'"),
        (lambda s: s.pop("epochs"), "recipe key 'epochs': Field required"),
        (lambda s: s.update(epochs="many"), "recipe key 'epochs'"),
        (lambda s: s.update(epochs=2.5), "recipe key 'epochs'"),
        (lambda s: s.update(epochs=None), "recipe key 'epochs'"),
        (lambda s: s.update(epochs=0), "epochs must be > 0"),
        (lambda s: s.update(losses="soft_cross_entropy"), "recipe key 'losses'"),
        (lambda s: s.update(losses={}), "losses must contain at least one loss"),
        (lambda s: s.update(losses={"soft_cross_entropy": float("nan")}), "losses"),
        (lambda s: s.update(model_options=[]), "recipe key 'model_options'"),
        (lambda s: s.update(mean=0.5), "recipe key 'mean'"),
        (lambda s: s.update(mean=[0.5, 0.5]), "one per channel"),
        (lambda s: s.update(learning_rate=float("inf")), "learning_rate must be a finite number"),
        (lambda s: s.update(flip="often"), "recipe key 'flip'"),
        (lambda s: s.update(drop_near_duplicates="perhaps"), "recipe key 'drop_near_duplicates'"),
        (lambda s: s.update(optimiser="lion"), "optimiser must be sgd or adam or adamw, got lion"),
        (lambda s: s.update(model="deep_emotions"), "did you mean 'deep_emotion'?"),
    ],
)
def test_a_yaml_file_that_is_no_recipe_is_one_line(cli, mine, make_ferplus, tmp_path, change, named):
    data = f"ferplus:{make_ferplus(tmp_path / 'ferplus')}"
    result = cli("train", mine(change), "--data", data, "--out", tmp_path / "run")
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")
    assert named in result.err
    assert not (tmp_path / "run").exists()


def test_a_key_that_is_missing_is_not_answered_with_all_the_others(cli, mine):
    assert len(cli("recipes", "show", mine(lambda settings: settings.pop("epochs"))).err) < 200


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"just words\n", b"a: [\n", b"\xff\xfe\x00", b"a: 1\n\tb: 2\n"]
)
def test_a_file_that_is_no_yaml_mapping_is_one_line(cli, tmp_path, content):
    (tmp_path / "mine.yaml").write_bytes(content)
    result = cli("recipes", "show", tmp_path / "mine.yaml")
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "mine.yaml" in result.err
    assert "should not happen" not in result.err


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("cacioli", "unknown recipe 'cacioli'; did you mean 'caciolai'?"),
        ("caciolai/stn-mas", "unknown row 'stn-mas' of 'caciolai'; did you mean 'stn-msa'?"),
        ("", "unknown recipe ''"),
        ("/stn", "unknown recipe ''"),
        ("nowhere.yaml", "recipe file 'nowhere.yaml' does not exist"),
        ("nowhere.yml", "recipe file 'nowhere.yml' does not exist"),
    ],
)
@pytest.mark.parametrize("command", ["show", "train"])
def test_a_recipe_that_does_not_exist_is_one_line_with_the_nearest_name(cli, tmp_path, command, name, named):
    arguments = ["recipes", "show", name] if command == "show" else ["train", name, "--data", f"ferplus:{tmp_path}"]
    result = cli(*arguments)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert result.err.startswith(f"error: {named}")
