import json
import math
import os
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from affectlens.core.errors import BadSetting, UnknownName
from affectlens.core.messages import MAX_LENGTH, describe
from affectlens.data.samplers import SAMPLERS
from affectlens.training.recipe import CHOICES, find, from_dict, from_yaml, to_yaml, with_settings

DEFAULT = find("default/ferplus")
AT_LEAST_ZERO = [
    *("schedule_patience", "early_stop", "sam_radius", "gradient_clip", "seed", "rotation_deg", "shear_deg", "scale"),
    *("shift", "brightness", "exposure", "contrast", "saturation", "hue", "sharpness"),
]


def test_a_work_alone_stands_for_its_first_row():
    assert find("default") is DEFAULT
    assert DEFAULT.name == "default/ferplus"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("defualt", "unknown recipe 'defualt'; did you mean 'default'?"),
        ("default/ferpluss", "unknown row 'ferpluss' of 'default'; did you mean 'ferplus'?"),
    ],
)
def test_an_unknown_recipe_is_answered_with_the_nearest_name(name, message):
    with pytest.raises(UnknownName) as error:
        find(name)
    assert str(error.value) == message


@pytest.mark.parametrize("row", ["x" * 100, "two\nlines", "space "])
def test_a_row_that_could_not_name_a_model_is_refused(row):
    with pytest.raises(BadSetting, match="recipe key 'row': a name must"):
        replace(DEFAULT, row=row)


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
        ("data_options.protocol=standard", "data_options", {"protocol": "standard"}),
        ("sampler=augment", "sampler", "augment"),
        ("target=drawn", "target", "drawn"),
        ("schedule=plateau", "schedule", "plateau"),
        ("early_stop=3", "early_stop", 3),
        ("sam_radius=0.05", "sam_radius", 0.05),
        ("decay_all=true", "decay_all", True),
        ("tta=ten-crop", "tta", "ten-crop"),
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
        ("epochs", "a setting must have the form key=value, got 'epochs'"),
        ("epoch=3", "unknown recipe key 'epoch'; did you mean 'epochs'?"),
        ("epochs=many", "recipe key 'epochs' expects int, got 'many'"),
        ("epochs=2.5", "recipe key 'epochs' expects int, got '2.5'"),
        ("learning_rate=fast", "recipe key 'learning_rate' expects float, got 'fast'"),
        ("nesterov=yes", "recipe key 'nesterov' expects true or false, got 'yes'"),
        ("mean=0.5;0.5", "recipe key 'mean' expects numbers separated by commas, got '0.5;0.5'"),
        ("mean=", "recipe key 'mean' expects numbers separated by commas, got ''"),
        ("work=mine", "'work' is the name of the recipe and cannot be set"),
        ("row=mine", "'row' is the name of the recipe and cannot be set"),
        ("model_options={}", "recipe key 'model_options' must be set entry by entry: model_options.NAME=VALUE"),
        ("losses=multi_target", "recipe key 'losses' must be set entry by entry: losses.NAME=VALUE"),
        ("loss=multi_target", "unknown recipe key 'loss'; did you mean 'losses'?"),
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
        {"schedule_factor": 0.0},
        {"schedule_factor": 1.0, "schedule": "plateau"},
        {"seed": 2**31 + 1},
        {"schedule_factor": -0.5},
        {"schedule_factor": math.nan},
        {"teacher_weight": 1.5, "teacher": "runs/one"},
        {"erase_area": (0.05,)},
        {"erase_area": (0.3, 0.1)},
        {"erase_area": (0.0, 0.1)},
        {"erase_area": (0.1, 1.1)},
        *({key: -1} for key in AT_LEAST_ZERO),
        *({key: math.inf} for key in AT_LEAST_ZERO if key not in ("seed", "early_stop", "schedule_patience")),
        *({key: "no such name"} for key in CHOICES),
        *({key: ""} for key in CHOICES),
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items()),
)
def test_a_value_out_of_range_is_refused_with_its_key(changes):
    key = next(iter(changes))
    with pytest.raises(BadSetting, match=rf"recipe default/ferplus: {key} must be"):
        replace(DEFAULT, **changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mean": (0.4, 0.5, 0.6)}, "one per channel"),
        ({"std": ()}, "one per channel"),
        ({"channels": "rgb"}, "one per channel"),
        ({"std": (0.0,)}, "std must be > 0"),
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


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in CHOICES.items() for name in names])
def test_every_name_that_a_key_offers_is_accepted(key, name):
    colours = {"mean": (0.5,) * 3, "std": (0.25,) * 3} if name == "rgb" else {}
    assert getattr(replace(DEFAULT, **{key: name}, **colours), key) == name


def test_a_name_that_is_none_is_answered_with_those_that_are():
    with pytest.raises(BadSetting, match="sampler must be shuffle or expression or age or augment, got random"):
        replace(DEFAULT, sampler="random")
    assert CHOICES["sampler"] == tuple(SAMPLERS)


@pytest.mark.parametrize(
    "losses", [{}, {"multi_target": -1.0}, {"soft_cross_entropy": math.nan}, {"soft_cross_entropy": math.inf}]
)
def test_losses_without_a_name_or_with_a_weight_that_is_none_are_refused(losses):
    with pytest.raises(
        BadSetting, match="recipe default/ferplus: losses must contain at least one loss, with weights >= 0"
    ):
        replace(DEFAULT, losses=losses)


def test_several_losses_have_a_weight_and_options_each():
    several = with_settings(DEFAULT, ["losses.multi_target=0.5", "loss_options.soft_cross_entropy.temperature=2"])
    assert several.losses == {"soft_cross_entropy": 1.0, "multi_target": 0.5}
    assert several.loss_options == {"soft_cross_entropy": {"temperature": 2}}


def test_options_of_a_loss_that_is_not_used_are_refused():
    with pytest.raises(BadSetting, match="loss_options for 'multi_target', which is not one of the losses"):
        replace(DEFAULT, loss_options={"multi_target": {}})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("stn=true", True),
        ("stn=False", False),
        ("msa_form=joint", "joint"),
        ("dropout=0.25", 0.25),
        ("heads=8", 8),
        ("widths=8,16", (8, 16)),
    ],
)
def test_one_entry_of_a_mapping_is_set_and_the_others_stay(setting, value):
    before = replace(DEFAULT, model_options={"other": 1})
    changed = with_settings(before, [f"model_options.{setting}"])
    name = setting.partition("=")[0]
    assert changed.model_options == {"other": 1, name: value}
    assert type(changed.model_options[name]) is type(value)
    assert before.model_options == {"other": 1}


def test_settings_add_up():
    changed = with_settings(DEFAULT, ["model_options.stn=true", "model_options.msa=true", "epochs=1", "epochs=2"])
    assert (changed.model_options, changed.epochs) == ({"stn": True, "msa": True}, 2)


@pytest.mark.parametrize("name", ["default/ferplus", "default/distilled", "caciolai/vgg-stn-msa"])
def test_a_recipe_comes_back_from_json_and_yaml(name, tmp_path):
    recipe = with_settings(find(name), ["model_options.widths=8,16", "loss_options.soft_cross_entropy.temperature=2"])
    assert from_dict(json.loads(json.dumps(recipe.as_dict()))).name == name
    file = tmp_path / "recipe.yaml"
    file.write_text(to_yaml(recipe))
    for again in (from_yaml(file), find(str(file)), from_dict(json.loads(json.dumps(recipe.as_dict())))):
        assert json.dumps(again.as_dict()) == json.dumps(recipe.as_dict())
        assert (again.mean, again.std) == (recipe.mean, recipe.std)


def test_keys_that_a_file_leaves_out_have_their_defaults():
    needed = ("work", "row", "data", "model", "losses", "epochs", "batch_size", "learning_rate")
    recipe = from_dict({key: getattr(DEFAULT, key) for key in needed})
    assert (recipe.sampler, recipe.schedule, recipe.tta, recipe.sam_radius) == ("shuffle", "one-cycle", "one", 0.0)
    assert (recipe.sam_norms, recipe.erase_area) == ("first", (0.02, 0.33))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "unknown recipe key 'epoch'; did you mean 'epochs'?"),
        ({"epochs": "many"}, "recipe key 'epochs': .*got 'many'"),
        ({"epochs": 2.5}, "recipe key 'epochs': .*got 2.5"),
        ({"losses": "multi_target"}, "recipe key 'losses': .*got 'multi_target'"),
        ({"losses": {"multi_target": "much"}}, "recipe key 'losses.multi_target': .*got 'much'"),
        ({"sampler": "random"}, "sampler must be shuffle"),
    ],
)
def test_a_stored_recipe_with_a_wrong_key_or_value_is_refused(changes, message):
    with pytest.raises(BadSetting, match=message) as error:
        from_dict(DEFAULT.as_dict() | changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2", "must contain recipe keys"),
        ("a: [", "is not valid YAML"),
        ("work: mine\nrow: best", "recipe.yaml': recipe key 'data': "),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, message):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(BadSetting, match=message) as error:
        find(str(file))
    assert "\n" not in str(error.value)


def test_a_recipe_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BadSetting, match=r"recipe file '.*none.yaml' does not exist"):
        find(str(tmp_path / "none.yaml"))


def aliases(levels):
    """A list that holds nine times the one before it, and so on: 9 ** levels values."""
    names = (f"&a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels))
    return f"[&a0 [{','.join('x' * 9)}], {', '.join(names)}]"


HOSTILE = {
    "an alias bomb": (f"model_options:\n  x: {aliases(9)}\n", "aliases are not supported"),
    "its own alias": ("work: &a [*a]\n", "aliases are not supported"),
    "deep lists": ("work: " + "[" * 100_000, "nested more than 20 deep"),
    "deep mappings": ("work: " + '{"a": ' * 100_000, "nested more than 20 deep"),
    "too many digits": ("epochs: " + "1" * 5000, "ValueError"),
    "no date": ("epochs: 2001-99-99", "ValueError"),
    "no number": ("epochs: !!int ''", "IndexError"),
    "no truth value": ("epochs: !!bool x", "KeyError"),
    "a value that is code": ("epochs: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    "a character of no text": ("a: \0", "special characters are not allowed"),
}


@pytest.mark.parametrize(("text", "said"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_one_short_line_and_at_once(tmp_path, deadline, text, said):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(BadSetting, match=rf"^'.*a\.yaml' is not valid YAML: .*{said}") as error:
        from_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)
    assert len(describe(error.value)) <= MAX_LENGTH


def test_a_huge_file_or_one_without_an_end_is_no_recipe(tmp_path, deadline):
    (tmp_path / "huge.yaml").write_text("a" * (1 << 21))
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, said in (("huge", "the limit is"), ("pipe", "not a regular file")):
        with pytest.raises(OSError, match=said):
            from_yaml(tmp_path / f"{name}.yaml")


def test_a_long_value_is_quoted_shortly():
    with pytest.raises(BadSetting) as error:
        from_dict({"epochs": "x" * 200_000})
    assert len(str(error.value)) < MAX_LENGTH


def test_a_file_of_an_earlier_version_is_read_by_its_former_keys():
    settings = find("default").as_dict()
    settings["without_twins"] = not settings.pop("drop_near_duplicates")
    assert from_dict(settings) == replace(find("default"), drop_near_duplicates=False)
