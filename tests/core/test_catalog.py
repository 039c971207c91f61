import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import affectlens
from affectlens.core import catalog
from affectlens.core.errors import BadSetting, UnknownName
from affectlens.runtime.media import PORTRAIT

ENTRIES = [(kind, name) for kind in catalog.DOORS for name in catalog.available(kind)]

LISTING = """
import json, sys
from affectlens.core import catalog
names = {kind: catalog.available(kind) for kind in sys.argv[1:]}
loaded = [f"{kind}.{name}" for kind in names for name in names[kind] if f"affectlens.{kind}.{name}" in sys.modules]
print(json.dumps([names, loaded, "torch" in sys.modules]))
"""


def test_folders_are_listed_without_importing_their_files():
    run = subprocess.run([sys.executable, "-c", LISTING, *catalog.DOORS], capture_output=True, text=True, check=True)
    names, loaded, torch_loaded = json.loads(run.stdout)
    assert loaded == []
    assert not torch_loaded
    assert all(names.values())


@pytest.mark.parametrize("kind", catalog.DOORS)
def test_listing_is_the_public_file_stems_in_order(kind):
    folder = Path(affectlens.__file__).parent / kind.replace(".", "/")
    stems = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    assert catalog.available(kind) == stems


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_loads_and_defines_what_its_kind_needs(kind, name):
    assert all(hasattr(catalog.load(kind, name), door) for door in catalog.DOORS[kind])


READER = """
LICENCE = "Weights: any use."
OPTIONS = {}
def labels(directory, options): ...
def read(directory, split, options): ...
"""


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("models", "def build(:", r"model 'new' (affectlens/models/new.py) cannot be loaded: SyntaxError: "),
        ("losses", "import nowhere", "loss 'new' (affectlens/losses/new.py) cannot be loaded: ModuleNotFoundError: "),
        ("losses", "", "loss 'new' (affectlens/losses/new.py) must define build(statistics, ...): it is missing"),
        ("faces.measures", "build = 5", "must define build(...): it is not a function"),
        (
            "models",
            "def build(classes): ...",
            "must define build(classes, in_channels, ...), with defaults for further parameters; got",
        ),
        (
            "models",
            "def build(classes, in_channels, width: int): ...",
            "with defaults for further parameters; got build(classes, ",
        ),
        (
            "models",
            "def build(classes, in_channels=1, **options): ...",
            "with one named parameter per option instead of **options",
        ),
        ("faces.detectors", "def build(*options): ...", "with one named parameter per option instead of *options"),
        (
            "models",
            "def build(classes, in_channels=1, width=16): ...",
            "model 'new' (affectlens/models/new.py): the option 'width' of build has no type annotation; "
            "write 'width: TYPE = DEFAULT'",
        ),
        (
            "models",
            "def build(classes, in_channels=1, width: 'Width' = 16): ...",
            "model 'new' (affectlens/models/new.py): cannot resolve the type of the option 'width' of build: "
            "NameError: name 'Width' is not defined",
        ),
        ("data.readers", READER.replace("LICENCE", "LICENSE"), "must define LICENCE: it is missing"),
        ("data.readers", READER.replace("Weights: any use.", ""), "must define LICENCE: String should have at least 1"),
        (
            "data.readers",
            READER.replace("{}", "{'mode': 'votes'}"),
            "must define OPTIONS: Input should be a valid tuple",
        ),
        ("data.readers", READER.replace("split, ", ""), "must define read(directory, split, options), with defaults"),
        ("runtime.writers", "def build(file): ...", "must define build(file, schema, ...), with defaults"),
        ("training.recipes", "ROWS = {}", "must define ROWS: Dictionary should have at least 1 item"),
    ],
)
def test_a_file_that_does_not_define_what_its_kind_needs_is_one_line(contribute, kind, code, message):
    contribute(kind, "new", code)
    with pytest.raises(BadSetting) as caught:
        catalog.load(kind, "new")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_are_those_beyond_the_arguments_with_their_types(contribute):
    contribute("models", "new", "def build(classes, in_channels=1, width: int = 16, form: 'str' = 'a'): return width")
    assert catalog.options("models", "new") == {"width": int, "form": str}
    assert catalog.build("models", "new", 8, 1, options={"width": "8"}) == 8


def test_an_option_of_a_type_that_no_text_becomes_is_one_line(contribute):
    contribute("models", "new", "class Width: ...\ndef build(classes, in_channels=1, width: Width = Width()): ...")
    with pytest.raises(BadSetting, match="the type of the option 'width' is not supported"):
        catalog.build("models", "new", 8, 1, options={"width": 8})


def test_whatever_goes_wrong_in_build_is_one_line_that_names_the_entry(contribute):
    contribute("losses", "new", "def build(statistics): return {}['weights']")
    with pytest.raises(BadSetting, match="loss 'new' cannot be built with its defaults: KeyError: 'weights'"):
        catalog.build("losses", "new", None, options={})


@pytest.mark.parametrize(
    ("kind", "typo", "nearest"),
    [
        ("models", "compact_resent", "unknown model 'compact_resent'; did you mean 'compact_resnet'?"),
        ("losses", "soft_crossentropy", "unknown loss 'soft_crossentropy'; did you mean 'soft_cross_entropy'?"),
        ("data.readers", "fer+plus", "unknown reader 'fer+plus'; did you mean 'ferplus'?"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_name(kind, typo, nearest):
    with pytest.raises(UnknownName) as error:
        catalog.load(kind, typo)
    assert str(error.value) == nearest


def test_a_name_near_to_nothing_is_answered_with_all_names():
    assert catalog.unknown("fruit", "zzz", ["apple", "pear"]) == "unknown fruit 'zzz'; choose from: apple, pear"


def test_a_module_outside_the_folder_cannot_be_loaded():
    with pytest.raises(UnknownName):
        catalog.load("models", "..core.errors")


@pytest.mark.parametrize("text", ["no", "off", "false", "0"])
def test_options_are_read_as_the_type_that_build_says(text):
    plain = catalog.build("models", "deep_emotion", 7, 1, options={"stn": False})
    assert len(list(catalog.build("models", "deep_emotion", 7, 1, options={"stn": text}).parameters())) == len(
        list(plain.parameters())
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stn": "perhaps"}, "option 'stn' of model 'deep_emotion': .* got 'perhaps'"),
        ({"dropout": "much"}, "option 'dropout' of model 'deep_emotion': .* got 'much'"),
        ({"msa_form": "both"}, "option 'msa_form' of model 'deep_emotion': .* got 'both'"),
    ],
)
def test_an_option_of_another_type_is_refused(options, message):
    with pytest.raises(BadSetting, match=message):
        catalog.build("models", "deep_emotion", 7, 1, options=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": [32, 64, 0, 256]}, r"must be at least 1, got \[32, 64, 0, 256\]"),
        ({"depths": [2, 3, -1, 2]}, r"must be at least 1, got .* and \[2, 3, -1, 2\]"),
        ({"widths": [], "depths": []}, "cannot be built with widths"),
    ],
)
def test_a_size_of_nothing_is_refused(options, message):
    with pytest.raises(BadSetting, match=message):
        catalog.build("models", "compact_resnet", 7, 1, options=options)


def test_build_hands_arguments_and_options_to_the_entry():
    network = catalog.build("models", "compact_resnet", 5, 3, options={"widths": (8, 16), "depths": (1, 1)})
    assert network.head.out_features == 5
    assert network.stem[0].in_channels == 3
    assert len(network.blocks) == 2


@pytest.mark.parametrize(
    ("kind", "name", "arguments", "option", "message"),
    [
        ("models", "compact_resnet", (8, 1), "depth", "unknown option 'depth' of model 'compact_resnet'; did you mean"),
        ("models", "deep_emotion", (8, 1), "classes", "unknown option 'classes' of model 'deep_emotion'"),
        ("models", "deep_emotion", (8, 1), "in_channels", "unknown option 'in_channels' of model 'deep_emotion'"),
        (
            "losses",
            "soft_cross_entropy",
            (),
            "temp",
            "unknown option 'temp' of loss 'soft_cross_entropy'; did you mean",
        ),
        ("losses", "multi_target", (), "temperature", "unknown option 'temperature' of loss 'multi_target'"),
    ],
)
def test_build_refuses_an_option_that_the_entry_does_not_have(kind, name, arguments, option, message):
    with pytest.raises(BadSetting) as error:
        catalog.build(kind, name, *arguments, options={option: 1})
    assert str(error.value).startswith(message)
    assert not str(error.value).endswith(": ")


def test_build_names_what_is_nearest_to_an_unknown_entry():
    with pytest.raises(UnknownName, match="did you mean 'custom_vgg'"):
        catalog.build("models", "custom_vg", 8, options={})


def test_installed_packages_add_entries(made_up_measure, monkeypatch, tmp_path):
    own = [name for name in catalog.available("faces.measures") if name != "gloss"]
    assert catalog.available("faces.measures") == [*own, "gloss"]
    assert catalog.load("faces.measures", "gloss").build().name == "gloss"
    assert "gloss" not in catalog.available("faces.detectors")


def test_a_plug_in_that_cannot_be_imported_is_one_line_that_names_its_package(install):
    install("faces.measures", "gloss", "import nowhere_to_be_found")
    with pytest.raises(BadSetting) as caught:
        catalog.load("faces.measures", "gloss")
    assert str(caught.value) == (
        "measure 'gloss' of the package 'madeup' cannot be loaded: "
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    )


NAMES = """
from contextlib import contextmanager

@contextmanager
def build(file, schema):
    with file.open("w") as stream:
        yield lambda analysis: print(*(face.expression for face in analysis.faces), file=stream)
"""


def test_a_format_of_another_package_is_written_by_analyze(install, tmp_path):
    folder = install("runtime.writers", "names", NAMES)
    run = [sys.executable, "-m", "affectlens", "analyze", str(PORTRAIT), "--out", str(tmp_path / "out.names")]
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(run, check=True, env=os.environ | {"PYTHONPATH": path}, capture_output=True)
    assert (tmp_path / "out.names").read_text() == "happiness\n"
