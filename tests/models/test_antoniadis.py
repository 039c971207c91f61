"""Numbers that the thesis and its code give for breg_next, multi_task and emotion_gcn, with images in RGB."""

import pytest
import timm
import torch

from affectlens.core import catalog
from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.models import breg_next, emotion_gcn, multi_task
from affectlens.models.layers import published
from affectlens.models.layers.backbones import BACKBONES


def parameters(module):
    return sum(weight.numel() for weight in module.parameters())


def test_parameters_are_those_of_the_thesis():
    assert parameters(breg_next.build(8)) == 3_072_696
    densenet = BACKBONES["densenet121"]
    assert (parameters(densenet.build(3, True)), densenet.width) == (6_953_856, 1024)
    assert parameters(emotion_gcn.build(7).convolutions) == 677_888
    assert parameters(emotion_gcn.build(7)) == 6_953_856 + 677_888


@pytest.mark.parametrize(("name", "side"), [("densenet121", 7), ("resnet50", 8), ("breg_next", 57), ("bundled", 15)])
def test_maps_of_the_backbones(name, side):
    network, width = BACKBONES[name].build(3, True), BACKBONES[name].width
    size = 228 if name == "breg_next" else 227
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 3, size, size)).shape == (1, width, side, side)


@pytest.mark.parametrize(("name", "drops"), [("densenet121", True), ("breg_next", False)])
def test_without_its_last_relu_a_map_of_densenet_has_values_of_both_signs(name, drops):
    torch.manual_seed(0)
    faces = torch.randn(2, 3, 64, 64)
    for rectified in (True, False):
        network = BACKBONES[name].build(3, rectified)
        lowest = 0 if name == "densenet121" else -1  # of ReLU and ELU
        assert (network.train()(faces).min() >= lowest) == (rectified or not drops)


@pytest.mark.parametrize("model", [multi_task, emotion_gcn])
@pytest.mark.parametrize(("name", "pool"), [("densenet121", "amax"), ("breg_next", "mean")])
def test_densenet_is_pooled_by_its_maximum_and_breg_next_by_its_mean(model, name, pool):
    network = model.build(7, 3, backbone=name).eval()
    with torch.inference_mode():
        space = network.backbone(faces := torch.randn(2, 3, 64, 64))
        torch.testing.assert_close(network(faces).features, getattr(space, pool)(dim=(2, 3)))


@pytest.mark.parametrize(("affect", "numbers"), multi_task.AFFECT.items())
def test_second_answers(affect, numbers):
    found = multi_task.build(7, 3, backbone="breg_next", affect=affect)(torch.randn(2, 3, 32, 32))
    assert ("affect" in found.others) == (affect == "regression")
    if affect == "none":
        assert "divisions" not in found.others
    else:
        assert found.others["affect" if affect == "regression" else "divisions"].shape == (2, numbers)


def test_what_concatenate_and_separate_change():
    sizes = {
        fusion: multi_task.build(7, 3, backbone="breg_next", affect="eight", fusion=fusion)
        for fusion in multi_task.FUSIONS
    }
    assert sizes["classic"].classifier.in_features == 128
    assert sizes["concatenate"].classifier.in_features == 128 + 8
    extra = parameters(sizes["separate"]) - parameters(sizes["classic"])
    assert extra == 2 * (128 * 128 + 128)


def test_the_expressions_of_the_network_for_affect_alone_say_nothing():
    network = multi_task.build(7, 3, backbone="breg_next", affect="regression", expressions=False)
    found = network(torch.randn(2, 3, 32, 32))
    assert not found.logits.any()
    assert found.others["affect"].any()


def test_the_mask_is_eight_times_the_map():
    network = multi_task.build(7, 3, backbone="densenet121", mask=True)
    assert network(torch.randn(2, 3, 64, 64)).others["mask"].shape == (2, 1, 16, 16)


def test_a_graph_convolution_by_hand():
    layer = emotion_gcn.GraphConvolution(2, 3)
    nodes, graph = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    torch.testing.assert_close(layer(nodes, graph), graph @ nodes @ layer.weight)
    assert layer.weight.abs().max() <= 3**-0.5


def test_the_graph_is_used_transposed_as_in_the_authors_code():
    network = emotion_gcn.build(2, 3, backbone="breg_next", layers=1)
    network.adjacency.copy_(torch.tensor([[0.3, 0.7, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.7, 0.3]]))
    (layer,) = network.convolutions
    torch.testing.assert_close(network.head_vectors(), network.adjacency.T @ network.words @ layer.weight)


def test_without_word_vectors_every_node_is_an_axis_of_its_own():
    words = emotion_gcn.build(7).words
    assert words.shape == (9, 300)
    torch.testing.assert_close(words @ words.T, 25 * torch.eye(9))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("multi_task", {"affect": "halves"}, "affect must be one of none, regression"),
        ("multi_task", {"affect": "eight", "fusion": "late"}, "fusion must be one of classic, concatenate, separate"),
        ("multi_task", {"fusion": "concatenate"}, "fusion 'concatenate' needs a second task"),
        ("multi_task", {"backbone": "densenet12"}, "did you mean 'densenet121'?"),
        ("emotion_gcn", {"layers": 4}, "layers must be 1, 2 or 3, got 4"),
        ("emotion_gcn", {"share": 1.0}, r"share in \[0, 1\)"),
    ],
)
def test_settings_that_there_are_not(model, options, message):
    with pytest.raises(BadSetting, match=message):
        catalog.load("models", model).build(7, **options)


@pytest.mark.slow
def test_imagenet_weights_come_from_a_file_and_fit_one_channel_or_not(tmp_path):
    torch.manual_seed(1)
    source = timm.create_model("densenet121")
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    network = multi_task.build(7, 3)
    network.load_pretrained(str(tmp_path / "weights.pt"))
    for key, value in network.backbone.state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[key])
    gray = multi_task.build(7, 1)
    gray.load_pretrained(str(tmp_path / "weights.pt"))
    first = "features.conv0.weight"
    torch.testing.assert_close(
        gray.backbone.state_dict()[first], source.state_dict()[first].sum(dim=1, keepdim=True), rtol=1e-5, atol=1e-6
    )


def test_files_that_hold_other_weights(tmp_path):
    network = multi_task.build(7, 3)
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(BadModelFile, match=r"junk.pt' does not contain the weights of 'densenet121.tv_in1k'"):
        network.load_pretrained(str(tmp_path / "junk.pt"))
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pt")
    with pytest.raises(BadModelFile, match=r"other.pt' does not contain the weights of 'densenet121.tv_in1k'"):
        network.load_pretrained(str(tmp_path / "other.pt"))


def test_weights_of_another_network_are_not_copied_in_part():
    state = BACKBONES["densenet121"].build(3, True).state_dict()
    network = BACKBONES["densenet121"].build(1, True)
    with pytest.raises(BadModelFile, match="the weights of 'a' do not fit: size mismatch"):
        published.copy_into(network, state, "a")
    with pytest.raises(BadModelFile, match=r"the weights of 'a' do not contain 'features.conv0.weight'"):
        published.copy_into(network, {}, "a")


def test_offline_the_hub_is_one_line_that_says_what_to_do(monkeypatch, caplog):
    """As it is without a network; the cache is empty."""

    class Offline:
        def head(self, url, timeout):
            asked.append(url)
            raise OSError("no network")

    def absent(repository, file, local_files_only=False):
        assert local_files_only, "asked for at length while offline"
        raise OSError("not in the cache")

    asked = []
    monkeypatch.setattr(published, "get_session", Offline)
    monkeypatch.setattr(published, "hf_hub_download", absent)
    with pytest.raises(BadModelFile, match=r"cannot download .* pretrained_file=FILE .* pretrained=false"):
        multi_task.build(7, 3).load_pretrained()
    assert len(asked) == 1
    assert not caplog.records
    with pytest.raises(BadSetting, match="the backbone 'breg_next' has no ImageNet weights"):
        multi_task.build(7, 3, backbone="breg_next").load_pretrained()


def test_weights_in_the_cache_need_no_network(monkeypatch, tmp_path):
    source = timm.create_model("densenet121")
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    monkeypatch.setattr(published, "get_session", lambda: pytest.fail("the network was asked"))
    monkeypatch.setattr(published, "hf_hub_download", lambda *_, local_files_only: tmp_path / "weights.pt")
    network = multi_task.build(7, 3)
    network.load_pretrained()
    key = "features.norm5.running_mean"
    torch.testing.assert_close(network.backbone.state_dict()[key], source.state_dict()[key])


@pytest.mark.parametrize("model", [multi_task, emotion_gcn])
@pytest.mark.parametrize("backbone", ["densenet121", "breg_next"])
def test_either_pooling_goes_with_every_backbone(model, backbone):
    torch.manual_seed(0)
    faces = torch.randn(2, 3, 64, 64)
    start, found = model.build(7, backbone=backbone).state_dict(), {}
    for pool in ("max", "mean", ""):
        network = model.build(7, backbone=backbone, pool=pool).eval()
        network.load_state_dict(start)
        with torch.inference_mode():
            space, found[pool] = network.backbone(faces), network(faces).features
        if pool:
            reduced = space.amax(dim=(2, 3)) if pool == "max" else space.mean(dim=(2, 3))
            torch.testing.assert_close(found[pool], reduced)
    own = "mean" if backbone == "breg_next" else "max"
    torch.testing.assert_close(found[""], found[own])
    assert not torch.allclose(found["max"], found["mean"])


def test_convolutions_of_breg_next_start_wider_than_torchs_behind_the_first():
    torch.manual_seed(0)
    first, second, *_, last = [one for one in breg_next.trunk(3).modules() if isinstance(one, torch.nn.Conv2d)]
    for layer, inputs in ((second, 32 * 9), (last, 128 * 9)):
        assert layer.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.1)
    assert first.weight.std().item() == pytest.approx((1 / (3 * 27)) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("affect", "fusion", "rows"), [("none", "classic", 7), ("regression", "concatenate", 9)])
def test_head_vectors_are_weights_on_the_feature_vector(affect, fusion, rows):
    network = multi_task.build(7, 1, backbone="bundled", affect=affect, fusion=fusion)
    assert network.head_vectors().shape == (rows, 384)


@pytest.mark.parametrize("affect", ["signs", "quarter"])
def test_head_vectors_leave_out_what_classifiers_see_of_the_other_task(affect):
    network = multi_task.build(7, 1, backbone="bundled", affect=affect, fusion="concatenate")
    assert torch.equal(network.head_vectors(), network.classifier.weight[:, :384])
