import json
import math
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from affectlens.core.errors import BadSetting, UnknownName
from affectlens.training.recipe import find, with_settings

DEFAULT = find("default/ferplus")


def test_a_work_alone_stands_for_its_first_row():
    assert find("default") is DEFAULT
    assert DEFAULT.name == "default/ferplus"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("defualt", "unknown recipe 'defualt'; did you mean 'default'?"),
        ("default/ferpluss", "unknown row of 'default' 'ferpluss'; did you mean 'ferplus'?"),
    ],
)
def test_an_unknown_recipe_is_answered_with_the_nearest_name(name, message):
    with pytest.raises(UnknownName) as error:
        find(name)
    assert str(error.value) == message


def test_a_recipe_is_frozen():
    with pytest.raises(FrozenInstanceError):
        DEFAULT.epochs = 1


def test_a_recipe_survives_json():
    assert json.loads(json.dumps(DEFAULT.as_dict()))["learning_rate"] == DEFAULT.learning_rate
    assert DEFAULT.as_dict() == asdict(DEFAULT)


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("epochs=3", "epochs", 3),
        ("learning_rate=1e-3", "learning_rate", 0.001),
        ("model=other", "model", "other"),
        ("nesterov=false", "nesterov", False),
        ("rotate=True", "rotate", True),
        ("mean=0.25", "mean", (0.25,)),
        ("precision=32-true", "precision", "32-true"),
    ],
)
def test_a_setting_replaces_one_value_with_its_type(setting, key, value):
    changed = with_settings(DEFAULT, [setting])
    assert getattr(changed, key) == value
    assert type(getattr(changed, key)) is type(value)
    assert replace(changed, **{key: getattr(DEFAULT, key)}) == DEFAULT


def test_a_setting_of_several_numbers_is_joined_by_commas():
    settings = ["channels=rgb", "mean=0.4,0.5,0.6", "std=0.2,0.2,0.2"]
    assert with_settings(DEFAULT, settings).mean == (0.4, 0.5, 0.6)


def test_no_settings_change_nothing():
    assert with_settings(DEFAULT, []) == DEFAULT


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "--set expects key=value, got 'epochs'"),
        ("epoch=3", "unknown recipe key 'epoch'; did you mean 'epochs'?"),
        ("epochs=many", "recipe key 'epochs' expects int, got 'many'"),
        ("epochs=2.5", "recipe key 'epochs' expects int, got '2.5'"),
        ("learning_rate=fast", "recipe key 'learning_rate' expects float, got 'fast'"),
        ("nesterov=yes", "recipe key 'nesterov' expects true or false, got 'yes'"),
        ("mean=0.5;0.5", "recipe key 'mean' expects numbers joined by commas, got '0.5;0.5'"),
        ("mean=", "recipe key 'mean' expects numbers joined by commas, got ''"),
        ("work=mine", "'work' names the recipe and cannot be set"),
        ("row=mine", "'row' names the recipe and cannot be set"),
        ("model_options={}", "recipe key 'model_options' cannot be set from the command line; write a recipe row"),
    ],
)
def test_a_bad_setting_is_refused_with_what_was_expected(setting, message):
    with pytest.raises(BadSetting) as error:
        with_settings(DEFAULT, [setting])
    assert str(error.value) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"size_px": 0},
        {"margin": -1.0},
        {"flip": 1.5},
        {"erase": -0.1},
        {"warmup": 2.0},
        {"ema": math.nan},
        {"momentum": 1.5},
        {"momentum": -0.1},
        {"weight_decay": 2.0},
        {"weight_decay": -0.1},
        {"brightness": math.inf},
        {"rotation_deg": math.nan},
        {"shift_y": -math.inf},
        {"seed": -1},
        {"channels": "purple"},
        {"precision": "64"},
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key(changes):
    (key,) = changes
    with pytest.raises(BadSetting, match=rf"recipe default/ferplus: {key} must be"):
        replace(DEFAULT, **changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mean": (0.4, 0.5, 0.6)}, "one per channel"),
        ({"std": ()}, "one per channel"),
        ({"channels": "rgb"}, "one per channel"),
        ({"std": (0.0,)}, "std must be above 0"),
        ({"size_px": 4}, "size_px"),
        ({"size_px": 5000}, "size_px"),
        ({"margin": 9.0}, "margin"),
        ({"shift_y": 2.0}, "shift_y"),
        ({"mean": (math.nan,)}, "mean"),
        ({"std": (math.nan,)}, "std"),
        ({"std": (math.inf,)}, "std"),
    ],
)
def test_an_input_that_does_not_fit_together_is_refused(changes, named):
    with pytest.raises(BadSetting, match=rf"recipe default/ferplus: .*{named}") as error:
        replace(DEFAULT, **changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("setting", ["learning_rate=nan", "gradient_clip=inf", "sharpness=1e999", "mean=nan"])
def test_a_number_that_is_not_finite_cannot_be_set(setting):
    with pytest.raises(BadSetting, match=setting.partition("=")[0]):
        with_settings(DEFAULT, [setting])


def test_the_protocol_is_no_setting():
    with pytest.raises(BadSetting, match="unknown recipe key 'protocol'"):
        with_settings(DEFAULT, ["protocol=majority"])
