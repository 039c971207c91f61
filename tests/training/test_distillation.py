import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.core.preprocessing import to_input
from affectlens.core.session import model_file, open_session, read_spec
from affectlens.core.statistics import DatasetStatistics
from affectlens.training.distillation import Teacher, teach
from affectlens.training.export import export
from affectlens.training.fit import fit
from affectlens.training.loaders import train_loader, with_images
from affectlens.training.module import ExpressionModule
from affectlens.training.objective import adjustment, dataset_statistics
from affectlens.training.recipe import find, from_dict
from affectlens.training.run import check_sources, load_run
from affectlens.training.start import open_teacher


@pytest.fixture(scope="module")
def taught(recipe, data, tmp_path_factory):
    """The run folder of a teacher, and the recipe of a student that starts from it."""
    out = tmp_path_factory.mktemp("teacher")
    fit(replace(recipe, epochs=1), data, out, resume=False)
    return out, replace(recipe, epochs=1, teacher=str(out), teacher_weight=0.5, start_from=str(out))


PLAIN = find("default")
SPEC = PLAIN.input_spec()


def taught_by(networks, images, student=PLAIN):
    return teach([Teacher(network, SPEC) for network in networks], images, None, student)


def test_a_teacher_answers_a_face_and_its_mirror_image_alike():
    network = nn.Sequential(nn.Conv2d(1, 3, 5), nn.Flatten(), nn.Linear(3 * 12 * 12, 4))
    images = torch.randn(6, 1, 16, 16)
    answer = taught_by([network], images)
    torch.testing.assert_close(answer, taught_by([network], images.flip(3)))
    torch.testing.assert_close(answer.sum(dim=1), torch.ones(6))
    assert not answer.requires_grad
    assert not torch.allclose(answer, network(images).softmax(dim=1), atol=1e-3)
    once = taught_by([network], images, replace(PLAIN, teacher_tta="one"))
    torch.testing.assert_close(once, network(images).softmax(dim=1))


def test_a_teacher_trained_with_an_adjustment_teaches_how_frequent_classes_are(data):
    images = torch.randn(5, 1, 16, 16)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 3))
    shares = torch.tensor([0.6, 0.3, 0.1])
    teacher = Teacher(network, SPEC, shares.log() / 2)
    answer = teach([teacher], images, None, replace(PLAIN, teacher_tta="one"))
    unnormalised = network(images).softmax(dim=1) * shares.sqrt()
    torch.testing.assert_close(answer, unnormalised / unnormalised.sum(dim=1, keepdim=True))

    facts = dataset_statistics(data.train)
    assert adjustment(0.0, facts) is None
    half = adjustment(0.5, facts)
    np.testing.assert_allclose(half, np.log(facts.class_shares) / 2, rtol=1e-6)


def test_several_teachers_teach_the_mean_of_their_distributions():
    networks = [nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 4)) for _ in range(3)]
    images = torch.randn(6, 1, 16, 16)
    expected = sum(taught_by([network], images) for network in networks) / 3
    torch.testing.assert_close(taught_by(networks, images), expected)


def test_the_teacher_is_no_part_of_the_student(recipe):
    teacher = nn.Linear(2, 2)
    module = ExpressionModule(recipe, 8, teachers=(Teacher(teacher, SPEC),))
    assert not any(parameter is teacher.weight for parameter in module.parameters())
    assert module.state_dict().keys() == ExpressionModule(recipe, 8).state_dict().keys()


@pytest.mark.parametrize(("weight", "expected"), [(0.0, [1.0, 0.0]), (0.25, [0.875, 0.125]), (1.0, [0.5, 0.5])])
def test_the_target_mixes_votes_and_teacher(recipe, monkeypatch, weight, expected):
    seen = []

    class Constant(nn.Module):
        def forward(self, images):
            return torch.zeros(len(images), 2)

    facts = DatasetStatistics(("a", "b"), np.zeros(1, dtype=np.int64), np.full((1, 2), np.nan, dtype=np.float32))
    module = ExpressionModule(
        replace(recipe, teacher="constant", teacher_weight=weight), 2, facts, (Teacher(Constant(), SPEC),)
    )
    monkeypatch.setattr(ExpressionModule, "log", lambda *_, **__: None)
    module.losses.forward = lambda answer, target, **_: seen.append(target) or {"sum": answer.logits.sum()}
    module.trainer = None
    monkeypatch.setattr(ExpressionModule, "global_step", 0)
    monkeypatch.setattr(ExpressionModule, "current_epoch", 0)
    module.on_train_epoch_start()
    first = torch.tensor([0])
    batch = {"image": torch.zeros(1, 1, 48, 48), "votes": torch.tensor([[1.0, 0.0]]), "index": first, "copy": first}
    batch |= {
        "target": first,
        "labelled": torch.tensor(1),
        "affect": torch.full((1, 2), torch.nan),
        "attributes": torch.zeros(1, 0),
    }
    module.training_step(batch)
    torch.testing.assert_close(seen[0], torch.tensor([expected]))


def test_the_teacher_sees_the_picture_before_it_is_spoilt(recipe, data, monkeypatch):
    plain = replace(recipe, teacher="some", teacher_weight=0.5)
    seen = {}
    for name, asked in (("plain", plain), ("degraded", replace(plain, noise=2.0, blur=2.0))):
        by_teacher, by_student = [], []
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(48 * 48, 8))
        teacher.register_forward_pre_hook(lambda _, images, into=by_teacher: into.append(images[0]))
        module = ExpressionModule(asked, 8, dataset_statistics(data.train), (Teacher(teacher, SPEC),))
        module.network.register_forward_pre_hook(lambda _, images, into=by_student: into.append(images[0]))
        monkeypatch.setattr(ExpressionModule, "log", lambda *_, **__: None)
        monkeypatch.setattr(ExpressionModule, "global_step", 0)
        monkeypatch.setattr(ExpressionModule, "current_epoch", 0)
        module.trainer = None
        module.on_train_epoch_start()
        module.training_step(with_images(next(iter(train_loader(data.train, recipe))), recipe.input_spec()))
        seen[name] = (by_teacher[0], by_student[0])
    torch.testing.assert_close(seen["degraded"][0], seen["plain"][0])
    torch.testing.assert_close(seen["plain"][1], seen["plain"][0])
    assert not torch.allclose(seen["degraded"][1], seen["degraded"][0], atol=0.1)


def test_a_teacher_sees_faces_in_its_own_light_and_normalisation(recipe, data):
    student = replace(recipe, relight=True, mean=(0.4,), std=(0.3,))
    dim = replace(data.train, images=(data.train.images * 0.2).astype(np.uint8))
    batch = with_images(next(iter(train_loader(dim, student))), student.input_spec())
    teacher = Teacher(nn.Identity(), replace(recipe, mean=(0.1,), std=(0.6,)).input_spec())
    plain = to_input(list(dim.images[batch["index"].numpy()]), teacher.input)
    seen = teacher.seen(batch["image"], batch["light"], student.input_spec())
    torch.testing.assert_close(seen, torch.from_numpy(plain), atol=1e-4, rtol=0)
    alike = Teacher(nn.Identity(), student.input_spec())
    torch.testing.assert_close(alike.seen(batch["image"], batch["light"], alike.input), batch["image"])


def test_a_relit_teacher_sees_an_unlit_students_faces_in_its_light(recipe, data):
    student = replace(recipe, teacher="some", teacher_weight=0.5)
    dim = replace(data.train, images=(data.train.images * 0.2).astype(np.uint8))
    batch = with_images(next(iter(train_loader(dim, student))), student.input_spec())
    teacher = Teacher(nn.Identity(), replace(recipe, relight=True).input_spec())
    relit = to_input(list(dim.images[batch["index"].numpy()]), teacher.input)
    seen = teacher.seen(batch["image"], batch["light"], student.input_spec())
    torch.testing.assert_close(seen, torch.from_numpy(relit), atol=1e-4, rtol=0)
    assert not torch.allclose(seen, batch["image"], atol=0.1)


def test_a_training_step_hands_on_what_was_done_to_the_light(recipe, data, monkeypatch):
    student = replace(recipe, relight=True, teacher="some", teacher_weight=0.5)
    handed = []

    def uniform(teachers, images, light, asked):
        handed.append((light, asked))
        return torch.full((len(images), 8), 1 / 8)

    monkeypatch.setattr("affectlens.training.module.teach", uniform)
    monkeypatch.setattr(ExpressionModule, "log", lambda *_, **__: None)
    monkeypatch.setattr(ExpressionModule, "global_step", 0)
    monkeypatch.setattr(ExpressionModule, "current_epoch", 0)
    module = ExpressionModule(student, 8, dataset_statistics(data.train), (Teacher(nn.Identity(), SPEC),))
    module.trainer = None
    module.on_train_epoch_start()
    dim = replace(data.train, images=(data.train.images * 0.2).astype(np.uint8))
    batch = with_images(next(iter(train_loader(dim, student))), student.input_spec())
    module.training_step(batch)
    ((light, asked),) = handed
    torch.testing.assert_close(light, batch["light"])
    assert (light[:, 0] > 1).any()
    assert asked == student


@pytest.mark.slow
def test_a_teacher_puts_back_what_its_run_or_file_left_out(recipe, data, tmp_path):
    fit(replace(recipe, epochs=1, logit_adjustment=0.5), data, tmp_path, resume=False)
    export(load_run(tmp_path), data, tmp_path)
    facts = dataset_statistics(data.train)
    for where in (tmp_path, tmp_path / "model.onnx"):
        torch.testing.assert_close(open_teacher(str(where), PLAIN, facts).shift, adjustment(0.5, facts))


@pytest.mark.parametrize(
    ("change", "asked", "said"),
    [
        ({"size_px": 64}, {}, "the same size_px, got 64 and 48"),
        ({"channels": "rgb", "mean": (0.5,) * 3, "std": (0.25,) * 3}, {}, "the same channels, got rgb and gray"),
        ({"relight": True}, {"mixup": 0.5}, "the same relight, got True and False"),
    ],
)
def test_a_teacher_of_another_input_is_refused(recipe, change, asked, said):
    with pytest.raises(BadSetting, match=said):
        Teacher(nn.Identity(), replace(recipe, **change).input_spec()).check(replace(recipe, **asked))


@pytest.mark.slow
def test_an_exported_file_teaches_as_its_run_does(taught, data):
    out, student = taught
    export(load_run(out), data, out)
    facts = dataset_statistics(data.train)
    images = torch.randn(4, 1, 48, 48)
    by_file, by_run = (
        teach([open_teacher(str(where), student, facts)], images, None, student) for where in (out / "model.onnx", out)
    )
    torch.testing.assert_close(by_file, by_run, atol=2e-3, rtol=0)


@pytest.mark.slow
def test_the_bundled_file_teaches_and_is_named_with_its_settings(recipe, data, tmp_path):
    student = replace(recipe, epochs=1, teacher="bundled", teacher_weight=0.5)
    check_sources(student)
    fit(student, data, tmp_path, resume=False)
    (origin,) = export(load_run(tmp_path), data, tmp_path).provenance["teachers"]
    spec = read_spec(open_session(model_file("bundled")), "bundled")
    assert origin["settings"] == spec.provenance["settings"]
    assert origin["sha256"] == hashlib.sha256(model_file("bundled").read_bytes()).hexdigest()


def test_a_teacher_of_other_labels_is_refused(data):
    facts = dataset_statistics(replace(data.train, labels=tuple(reversed(data.train.labels))))
    with pytest.raises(
        BadSetting, match=r"the labels of the teacher 'bundled' are neutral, .*, but those of the data are contempt, "
    ):
        open_teacher("bundled", PLAIN, facts)


def test_a_student_starts_from_its_teacher(taught, recipe, data, tmp_path):
    out, student = taught
    still = replace(student, learning_rate=1e-12, ema=0.0)
    fit(still, data, tmp_path, resume=False)
    for name, weight in load_run(tmp_path).network.named_parameters():
        torch.testing.assert_close(weight, load_run(out).network.get_parameter(name), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_student_of_two_teachers_says_who_they_were(taught, recipe, data, tmp_path):
    out, student = taught
    student = replace(student, teacher=f"{out},{out}", start_from="")
    check_sources(student)
    fit(student, data, tmp_path, resume=False)
    teachers = export(load_run(tmp_path), data, tmp_path).provenance["teachers"]
    assert [one["settings"]["epochs"] for one in teachers] == [1, 1]
    with pytest.raises(BadModelFile, match="needs teacher='nowhere'"):
        check_sources(replace(student, teacher=f"{out},nowhere"))


def test_a_folder_without_a_run_cannot_teach(recipe, data, tmp_path):
    with pytest.raises(BadModelFile, match="none' does not exist"):
        fit(replace(recipe, teacher=str(tmp_path / "none")), data, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_a_recipe_survives_its_run_folder(recipe):
    stored = json.dumps(recipe.as_dict())
    assert json.dumps(from_dict(json.loads(stored)).as_dict()) == stored


def test_settings_that_are_no_recipe_are_refused():
    with pytest.raises(BadSetting, match="recipe key 'row': Field required"):
        from_dict({"work": "x"})


def test_the_weight_of_a_teacher_needs_a_teacher(recipe):
    with pytest.raises(BadSetting, match="teacher_weight needs a teacher"):
        replace(recipe, teacher_weight=0.5)


def test_a_teacher_of_another_architecture_is_one_line(taught, data, tmp_path):
    student = replace(taught[1], model_options={"widths": (8, 8, 8, 8), "depths": (1, 1, 1, 1)})
    with pytest.raises(BadSetting, match="a different architecture"):
        fit(student, data, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_the_teacher_follows_the_student_to_its_device(recipe):
    teacher = nn.Linear(2, 2)
    module = ExpressionModule(recipe, 8, teachers=(Teacher(teacher, SPEC),)).to("meta")
    module.on_fit_start()
    assert teacher.weight.device.type == "meta"


def test_a_run_from_before_a_setting_existed_goes_on(taught, recipe, data, tmp_path):
    once = replace(recipe, epochs=1)
    fit(once, data, tmp_path, resume=False)
    settings = json.loads((tmp_path / "recipe.json").read_text())
    for key in ("teacher", "teacher_weight", "start_from", "tta", "sam_radius"):
        del settings[key]
    (tmp_path / "recipe.json").write_text(json.dumps(settings))
    assert fit(once, data, tmp_path, resume=True).is_file()
