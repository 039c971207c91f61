"""Numbers that the works and their code give for ViT, Swin, POSTER++, MobileFaceNet and the Two-Stream network."""

import pytest
import timm
import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import vit_b_16

from affectlens.core import catalog
from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from affectlens.models import attributes, poster, swin, swin_se, two_stream, vit
from affectlens.models.layers import published
from affectlens.models.layers.ir50 import IR50
from affectlens.models.layers.landmark_stream import LandmarkStream
from affectlens.models.layers.mobile_facenet import MobileFaceNet
from affectlens.models.layers.pyramid_fusion import CrossAttention, FusionLevel, TokenTransformer


def on_meta(build, *arguments, **options):
    """Parameters, and multiply-adds of one RGB face of 224 pixels, without memory for either."""
    with torch.device("meta"):
        network = build(*arguments, **options).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, 224, 224))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2e9


@pytest.mark.slow
def test_full_size_networks_have_the_published_size():
    assert on_meta(vit.build, 8)[0] == 85_804_808
    assert on_meta(vit.build, 8, size="large")[0] == 303_309_832
    assert on_meta(swin.build, 8)[0] == 27_525_506
    parameters, multiply_adds = on_meta(poster.build, 7)
    assert parameters == 43_753_941  # the paper: 43.7 million
    assert multiply_adds == pytest.approx(8.59, abs=0.01)  # the paper: 8.4, without the products of attention
    parameters, multiply_adds = on_meta(two_stream.build, 8)
    assert (parameters, round(multiply_adds, 1)) == (111_524_054, 26.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "options", "multiply_adds"),
    [
        (vit.build, {}, 17.6),
        (vit.build, {"size": "large"}, 61.6),
        (swin.build, {}, 4.5),
        (swin_se.build, {}, 4.5),
        (two_stream.build, {"landmarks": "none"}, 26.0),
        (two_stream.build, {"mode": "literal"}, 23.5),
    ],
)
def test_full_size_networks_cost_what_the_published_ones_do(build, options, multiply_adds):
    """ViT-B, ViT-L and Swin-T as torchvision's documentation says: 17.56, 61.55 and 4.49 billion."""
    assert on_meta(build, 8, **options)[1] == pytest.approx(multiply_adds, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "options"),
    [
        (vit.build, {}),
        (vit.build, {"size": "large"}),
        (swin.build, {}),
        (swin_se.build, {}),
        (poster.build, {}),
        (two_stream.build, {}),
        (two_stream.build, {"landmarks": "none"}),
        (two_stream.build, {"mode": "literal"}),
    ],
)
def test_full_size_networks_answer_a_real_face(build, options):
    torch.manual_seed(0)
    network = build(8, **options).eval()
    with torch.inference_mode():
        answer = network(torch.randn(2, 3, 224, 224))
    assert answer.logits.shape == (2, 8)
    assert answer.logits.isfinite().all()
    assert not torch.equal(answer.features[0], answer.features[1])  # logits of a fresh ViT are all 0


KEYS = {
    "conv1.conv.weight": (64, 3, 3, 3),
    "conv1.prelu.weight": (64,),
    "conv2_dw.conv.weight": (64, 1, 3, 3),
    "conv_23.conv.conv.weight": (128, 64, 1, 1),
    "conv_23.conv_dw.bn.running_var": (128,),
    "conv_3.model.3.project.bn.bias": (64,),
    "conv_34.conv_dw.conv.weight": (256, 1, 3, 3),
    "conv_4.model.5.conv.prelu.weight": (256,),
    "conv_45.project.conv.weight": (128, 512, 1, 1),
    "conv_5.model.1.conv_dw.conv.weight": (256, 1, 3, 3),
    "conv_6_sep.conv.weight": (512, 128, 1, 1),
    "output_layer.conv_6_dw.conv.weight": (512, 1, 7, 7),
    "output_layer.linear.weight": (136, 512),
    "output_layer.bn.running_mean": (136,),
}
"""Some of the published checkpoint's."""


def test_mobile_facenet_has_the_keys_and_the_size_of_the_published_checkpoint():
    state = MobileFaceNet().state_dict()
    assert {key: tuple(state[key].shape) for key in KEYS} == KEYS
    assert not [key for key in state if "prelu" in key and "project" in key]
    assert sum(p.numel() for p in MobileFaceNet().parameters()) == 1_007_248


def test_mobile_facenet_gives_landmarks_and_three_maps():
    network = MobileFaceNet().eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 112, 112)).shape == (2, 68, 2)
        shapes = [tuple(level.shape) for level in network.maps(torch.zeros(2, 3, 112, 112))]
    assert shapes == [(2, 64, 28, 28), (2, 128, 14, 14), (2, 512, 7, 7)]


def test_ir50_reads_both_layouts_of_its_weights(tmp_path):
    source, copies = IR50((2, 1, 3)), [IR50((2, 1, 3)) for _ in range(2)]
    own = source.state_dict()
    starts = {"body1": 0, "body2": 2, "body3": 3}
    numbered = {"output_layer.0.weight": torch.ones(3), "body.6.res_layer.0.weight": torch.ones(3)}
    for name, value in own.items():
        stage, _, rest = name.partition(".")
        unit, _, tail = rest.partition(".")
        key = f"body.{starts[stage] + int(unit)}.{tail}" if stage in starts else name
        numbered[f"module.{key}"] = value
    for number, (state, copy) in enumerate(zip((own, numbered), copies, strict=True)):
        torch.save({"state_dict": state}, tmp_path / f"{number}.pth")
        copy.load_checkpoint(tmp_path / f"{number}.pth")
        for name, value in copy.state_dict().items():
            torch.testing.assert_close(value, own[name])


def test_linear_layers_of_posters_transformer_start_small():
    torch.manual_seed(0)
    network = poster.build(8, side_px=32, units=(1, 1, 1))
    starts = dict(network.named_parameters())
    small = [name for name in starts if name.startswith(("transformer.layers.layers", "transformer.gate", "head"))]
    weights = [name for name in small if name.endswith("weight") and ".norm" not in name]
    assert len(weights) == 2 * 4 + 2 + 1
    for name in weights:
        assert starts[name].std().item() == pytest.approx(0.01, rel=0.03), name
    for name in small:
        if name.endswith("bias"):
            assert not starts[name].any(), name
    assert starts["levels.1.mlp.0.weight"].std().item() == pytest.approx((3 * 128) ** -0.5, rel=0.03)  # torch's own


def test_ir50_gives_three_maps():
    with torch.inference_mode():
        shapes = [tuple(level.shape) for level in IR50((1, 1, 1)).eval()(torch.zeros(2, 3, 112, 112))]
    assert shapes == [(2, 64, 56, 56), (2, 128, 28, 28), (2, 256, 14, 14)]
    assert len(IR50().body3) == 14


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A file as the published one: under "state_dict", from several processes."""
    file = tmp_path_factory.mktemp("landmarks") / "mobilefacenet_model_best.pth.tar"
    torch.manual_seed(3)
    state = MobileFaceNet().state_dict()
    torch.save({"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "options"),
    [(poster.build, {"side_px": 48, "units": (1, 1, 1)}), (two_stream.build, {"backbone": "small", "image_px": 56})],
)
def test_a_landmark_stream_with_a_checkpoint_is_frozen_and_one_without_learns(build, options, checkpoint):
    network = build(8, landmark_file=str(checkpoint), **options)
    network.load_frozen()
    assert network.settle(pretrained=False) == ""
    state = published.state_in(checkpoint)
    for key, value in network.landmarks.network.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)
    network.train()(torch.randn(2, 3, 56, 56))
    for key, value in network.landmarks.network.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)
    learning = {key.split(".")[0] for key, p in network.named_parameters() if p.requires_grad}
    assert {"landmarks", "backbone", "head"} <= learning  # the layer behind MobileFaceNet learns
    assert not [k for k, p in network.named_parameters() if k.startswith("landmarks.network") and p.requires_grad]
    bare = build(8, **options)
    assert "landmark_file=FILE" in bare.settle(pretrained=True)
    assert all(p.requires_grad for p in bare.parameters())


def test_a_file_that_is_not_the_checkpoint(tmp_path):
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(BadModelFile, match=r"cannot read '.*junk' as weights"):
        LandmarkStream(str(tmp_path / "junk"), "bgr", 112).load()
    torch.save(IR50((1, 1, 1)).state_dict(), tmp_path / "other")
    with pytest.raises(BadModelFile, match=r"do not contain 'conv1.conv.weight'"):
        LandmarkStream(str(tmp_path / "other"), "bgr", 112).load()


def test_the_checkpoint_sees_bgr_from_0_to_1_if_asked_to():
    seen = []
    stream = LandmarkStream("", "bgr", 48, IMAGENET_MEAN, IMAGENET_STD)
    stream.network.register_module("conv1", Spy(stream.network.conv1, seen))
    rgb = torch.rand(2, 3, 48, 48)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    stream.eval()((rgb - mean) / std)
    torch.testing.assert_close(seen[0], rgb.flip(1), atol=1e-6, rtol=0)


class Spy(torch.nn.Module):
    """Keeps what goes in."""

    def __init__(self, inner, seen):
        super().__init__()
        self.inner, self.seen = inner, seen

    def forward(self, x):
        self.seen.append(x)
        return self.inner(x)


def test_cross_attention_is_what_its_weights_say():
    torch.manual_seed(0)
    layer = CrossAttention(width=6, heads=2, window=2, project_query=True)
    asking, image = torch.randn(1, 4, 6), torch.randn(1, 4, 6)
    query = layer.query(asking)[0]
    key, value = layer.key_value(image)[0].chunk(2, dim=1)
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    mixed = torch.zeros(4, 6)
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        for i, (row, column) in enumerate(places):
            scores = [
                (query[i, part] @ key[j, part]).item() / 3**0.5
                + layer.bias_table[(row - r + 1) * 3 + (column - c + 1), head].item()
                for j, (r, c) in enumerate(places)
            ]
            weights = torch.tensor(scores).softmax(dim=0)
            torch.testing.assert_close(layer.weights(asking, image)[0, head, i], weights)
            mixed[i, part] = sum(w * value[j, part] for j, w in enumerate(weights))
    for mode in (True, False):  # the fused kernel and the plain one
        torch.testing.assert_close(layer.train(mode)(asking, image)[0], layer.out(mixed), atol=1e-5, rtol=1e-5)


def test_a_level_begins_as_the_normalised_image_and_shows_what_is_looked_at():
    torch.manual_seed(0)
    level = FusionLevel(8, 2, window=3, drop_path=0.0, project_query=False).eval()
    image, landmarks = torch.randn(2, 8, 3, 3), torch.randn(2, 8, 3, 3)
    expected = level.norm(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(level(image, landmarks), expected, atol=1e-3, rtol=0)
    attention_map = level.attention_map(image, landmarks)
    assert attention_map.shape == (2, 1, 3, 3)
    torch.testing.assert_close(attention_map.sum(dim=(1, 2, 3)), torch.ones(2))


def test_dropout_of_the_last_transformer_is_where_posters_code_has_it():
    """On the embeddings, after the projection, twice in the MLP; not on the attention weights."""
    torch.manual_seed(0)
    network = TokenTransformer(tokens=9, width=256, dropout=0.2, gated=False)
    rates = {name: part.p for name, part in network.named_modules() if isinstance(part, torch.nn.Dropout)}
    inside = [f"layers.layers.{at}.{name}" for at in range(2) for name in ("dropout", "dropout1", "dropout2")]
    assert rates == dict.fromkeys(["dropout", *inside], 0.2)
    assert [layer.self_attn.dropout for layer in network.layers.layers] == [0, 0]
    tokens = torch.randn(200, 9, 256)
    network.layers = torch.nn.Identity()  # leaves the embedding of the CLS token
    whole, dropped = network.eval()(tokens), network.train()(tokens)
    kept = dropped != 0
    assert kept.float().mean().item() == pytest.approx(0.8, abs=0.01)
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.8)


@pytest.mark.slow
def test_literal_tensors_hold_768_numbers_each():
    assert [side * side * channels for side, channels, _ in two_stream.MODES["literal"].levels] == [768] * 3
    network = two_stream.build(8, mode="literal", image_px=28).eval()
    with torch.inference_mode():
        image, landmarks = network.maps(torch.randn(1, 3, 28, 28))
    shapes = [(1, 3, 16, 16), (1, 12, 8, 8), (1, 48, 4, 4)]
    assert [tuple(level.shape) for level in image] == shapes
    assert [tuple(level.shape) for level in landmarks] == shapes
    assert network.tokens(image).shape == (1, 9, 256)


@pytest.mark.slow
def test_native_levels_are_dinov2s_own_places():
    network = two_stream.build(8, mode="native", image_px=224).eval()
    faces = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        image, landmarks = network.maps(faces)
        own = network.backbone.forward_intermediates(faces, indices=[3, 7, 11], norm=True, intermediates_only=True)
    shapes = [(1, 768, side, side) for side in (16, 8, 4)]
    assert [tuple(level.shape) for level in image] == [tuple(level.shape) for level in landmarks] == shapes
    torch.testing.assert_close(image[0], own[0])
    torch.testing.assert_close(image[2], torch.nn.functional.avg_pool2d(own[2], 4))
    assert network.tokens(image).shape == (1, 3 * (256 + 64 + 16), 256)
    assert [level.attention.heads for level in network.levels] == [1, 2, 4]


@pytest.mark.parametrize("mode", ["principled", "literal", "native"])
def test_blocks_4_8_and_12_feed_the_first_second_and_third_level(mode):
    torch.manual_seed(0)
    network = two_stream.build(8, mode=mode, image_px=28, landmarks="none").eval()
    outputs = []
    for block in network.backbone.blocks:
        block.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    with torch.inference_mode():
        levels, _ = network.maps(torch.randn(1, 3, 28, 28))
        assert len(outputs) == 12
        for number, (level, own) in enumerate(zip(levels, (outputs[3], outputs[7], outputs[11]), strict=True)):
            tokens, side = network.backbone.norm(own), level.shape[-1]
            patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (2, 2))
            if mode == "literal":
                expected = tokens[:, 0].view(1, side, side, -1).permute(0, 3, 1, 2)
            elif mode == "native":
                expected = adaptive_avg_pool2d(patches, side)
            else:
                expected = interpolate(network.adapt[number](patches), (side, side), mode="bilinear")
            torch.testing.assert_close(level, expected)


@pytest.mark.parametrize(("layer_scale", "open_"), [(1e-5, False), (1.0, True)])
def test_the_layer_scale_opens_the_path_of_the_landmarks(layer_scale, open_):
    torch.manual_seed(0)
    level = FusionLevel(8, 2, window=3, drop_path=0.0, project_query=False, layer_scale=layer_scale).eval()
    image, first, second = torch.randn(3, 2, 8, 3, 3)
    moved = (level(image, first) - level(image, second)).abs().max().item()
    assert (moved > 1e-2) == open_
    assert two_stream.build(8, backbone="small", image_px=28).levels[0].scale1.unique().tolist() == [1.0]


@pytest.mark.slow
@pytest.mark.parametrize("build", [poster.build, two_stream.build])
@pytest.mark.parametrize("train", ["full", "head", "fusion", "frozen"])
def test_what_learns_is_an_option(build, train):
    small = {"side_px": 48, "units": (1, 1, 1)} if build is poster.build else {"backbone": "small", "image_px": 56}
    assert ("no pretrained weights" in build(8, train=train, **small).settle(pretrained=False)) == (train != "full")
    network = build(8, train=train, **small)
    said = network.settle(pretrained=True)
    parts = {name for name, part in network.named_children() if list(part.parameters())}
    frozen = {"full": set(), "head": parts - {"head"}}.get(train, {"backbone"})
    learns = {name: {weight.requires_grad for weight in network.get_submodule(name).parameters()} for name in parts}
    assert learns == {name: {name not in frozen} for name in parts}
    for name in parts:  # whatever mode the network is set to
        assert network.train().get_submodule(name).training == (name not in frozen)
    assert ("only the last layer is trained" in said) == (train == "head")
    assert ("the landmark stream is trained too" in said) == (train != "head")
    with pytest.raises(BadSetting, match="train must be full, head, fusion or frozen, got 'tail'"):
        build(8, train="tail", **small)


@pytest.mark.parametrize("train", ["full", "head", "frozen"])
@pytest.mark.parametrize(("build", "options"), [(vit.build, {"size": "tiny", "image_px": 32}), (swin.build, {})])
def test_without_fusion_a_frozen_network_learns_its_head(build, options, train):
    network = build(8, train=train, **options)
    assert network.settle(pretrained=True) == ""
    learning = {name.split(".")[0] for name, weight in network.named_parameters() if weight.requires_grad}
    assert learning == ({"backbone", "head"} if train == "full" else {"head"})
    assert network.train().backbone.training == (train == "full")


@pytest.mark.parametrize("name", ["poster", "two_stream"])
def test_the_file_of_the_landmark_stream_can_be_asked_for_before_anything_is_read(name):
    assert "mobilefacenet_model_best" in catalog.load("models", name).FILES["landmark_file"]


def test_the_gate_stands_where_it_is_asked_for():
    torch.manual_seed(0)
    plain, gated = (swin_se.build(8, se=se, image_px=32).eval() for se in ("none", "pooled"))
    gated.load_state_dict(plain.state_dict(), strict=False)
    faces = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(plain(faces).features, plain.backbone(faces))
        torch.testing.assert_close(gated(faces).features, gated.gate(plain.backbone(faces)))


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (vit.build, {"size": "huge"}, "size must be one of tiny, base, large"),
        (vit.build, {"image_px": 50}, "the face size must be a multiple of patch_px=16, got 50"),
        (vit.build, {"train": "fusion"}, "train must be full, head or frozen, got 'fusion'"),
        (swin.build, {"train": "tail"}, "train must be full, head or frozen, got 'tail'"),
        (vit.build, {"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        (swin.build, {"window": 0}, "patch_px and window must be at least 1"),
        (swin.build, {"depth_drop": 1.0}, r"depth_drop must be in \[0, 1\)"),
        (swin_se.build, {"reduction": 0}, "reduction must be at least 1, got 0"),
        (two_stream.build, {"landmarks": "dlib"}, "landmarks must be mobile_facenet or none, got 'dlib'"),
        (two_stream.build, {"backbone": "huge"}, "backbone must be base or small, got 'huge'"),
        (attributes.build, {}, "CelebA's two labels not_smiling and smiling, got 8 classes"),
        (swin_se.build, {"se": "cls"}, "se must be one of none, pooled, patches"),
        (swin_se.build, {"image_px": 50}, "the face size must be a multiple of 4 pixels"),
        (poster.build, {"side_px": 50}, "side_px must be a multiple of 16"),
        (poster.build, {"units": (1, 1)}, "units must be three numbers"),
        (poster.build, {"landmark_input": "rgb"}, "landmark_input must be normalised or bgr"),
        (two_stream.build, {"image_px": 50}, "multiple of 14 pixels"),
        (two_stream.build, {"mode": "literal", "backbone": "small"}, "needs backbone='base'"),
        (
            two_stream.build,
            {"landmarks": "none", "landmark_file": "x"},
            "landmark_file needs a network with a landmark stream",
        ),
    ],
)
def test_settings_that_there_are_not(build, options, message):
    with pytest.raises(BadSetting, match=message):
        build(8, **options)


@pytest.mark.slow
def test_torchvision_weights_come_from_a_file_and_positions_fit_the_image(tmp_path):
    torch.manual_seed(0)
    state = vit_b_16().state_dict()
    torch.save(state, tmp_path / "vit.pth")
    network = vit.build(8, image_px=64)
    network.load_pretrained(str(tmp_path / "vit.pth"))
    mine = network.backbone.state_dict()
    key = "encoder.layers.encoder_layer_11.mlp.3.weight"
    torch.testing.assert_close(mine[key], state[key])
    assert mine["encoder.pos_embedding"].shape == (1, 17, 768)


@pytest.mark.slow
def test_a_file_of_something_else_is_one_line(tmp_path):
    torch.save(IR50((1, 1, 1)).state_dict(), tmp_path / "other.pth")
    with pytest.raises(BadModelFile, match=r"other.pth' does not contain the position embeddings of a ViT"):
        vit.build(8, image_px=32).load_pretrained(str(tmp_path / "other.pth"))
    with pytest.raises(BadModelFile, match=r"the weights of 'Swin-T' do not contain"):
        swin.build(8).load_pretrained(str(tmp_path / "other.pth"))


@pytest.mark.slow
def test_offline_each_says_in_one_line_what_is_missing(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(published, "get_session", refuse)
    monkeypatch.setattr(published, "hf_hub_download", refuse)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    networks = {
        "vit_b_16-c867db91.pth": vit.build(8, image_px=32),
        "swin_t-704ceda3.pth": swin.build(8),
        "timm/swin_tiny_patch4_window7_224.ms_in1k": swin_se.build(8, image_px=32),
        "timm/vit_small_patch14_dinov2.lvd142m": two_stream.build(8, backbone="small", image_px=28),
        "vit_l_16-852ce7e3.pth": vit.build(8, size="large", image_px=32),
        "timm/vit_base_patch14_dinov2.lvd142m": attributes.build(2, image_px=28),
        "ir50.pth": poster.build(8, side_px=32, units=(1, 1, 1)),
    }
    for what, network in networks.items():
        with pytest.raises(BadModelFile, match=r"pretrained_file(=FILE)? .* pretrained=false") as caught:
            network.load_pretrained()
        assert what in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: vit.build(8, size="tiny", image_px=32), "a ViT 'tiny' with patch_px=16 has no published weights"),
        (lambda: swin.build(8, patch_px=2, window=2), "need patch_px=4 and window=7"),
    ],
)
def test_networks_without_published_weights_say_so(network, message):
    with pytest.raises(BadSetting, match=message):
        network().load_pretrained()


@pytest.mark.slow
def test_dinov2_weights_of_another_size_fit(tmp_path):
    source = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=42)
    torch.save(source.state_dict(), tmp_path / "dino.pth")
    network = two_stream.build(8, backbone="small", image_px=28)
    network.load_pretrained(str(tmp_path / "dino.pth"))
    key = "blocks.11.mlp.fc2.weight"
    torch.testing.assert_close(network.backbone.state_dict()[key], source.state_dict()[key])
