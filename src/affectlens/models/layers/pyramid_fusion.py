"""What POSTER++ (Mao et al. 2023, arXiv:2301.12149) and Da Re's Two-Stream network share: at each level of a pyramid
an attention with landmark features as queries and image features as keys and values, and a small transformer over the
tokens of all levels.

As in the authors' code, each window is its whole map, the residual is the normalised image (equation 4.10 of Da Re has
the image itself, and no landmarks), and both branches have a learned scale that begins at 1e-5, or at `layer_scale`: Da
Re's equations have none, and from 1e-5 a small learning rate never opens the path of the landmarks. Da Re's equation
4.7 projects the landmark features to queries; the code takes them as they are. Relative position biases are initialised
with std 0.02 as in the code, where Da Re's text has zeros. Stochastic depth of 0, 0.125 and 0.25 at the three levels is
the code's; Da Re's equations 4.10 and 4.11 have none. Neither the weights of the cross-attention nor its projection
have dropout: Da Re's text names both (attn_drop, proj_drop) without a rate, and the code's is 0. Da Re also speaks of
an image-to-landmark branch, which belongs to the first POSTER and is not built.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torchvision.ops import MLP, StochasticDepth

from affectlens.models.layers.evidence import Explaining
from affectlens.models.layers.frozen import FUSION_TRAIN, PartlyFrozen
from affectlens.models.layers.landmark_stream import LandmarkStream
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.squeeze_excitation import Excitation

HEADS = (2, 4, 8)
DROP_PATHS = (0.0, 0.125, 0.25)
_SCALE = 1e-5


class CrossAttention(nn.Module):
    """(B, N, D) tokens as queries and (B, N, D) as keys and values -> (B, N, D), with a bias for each relative place in
    a window of N = window x window.
    """

    def __init__(self, width: int, heads: int, window: int, project_query: bool) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width) if project_query else nn.Identity()
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = place[:, :, None] - place[:, None, :] + window - 1
        self.register_buffer("place", apart[0] * (2 * window - 1) + apart[1], persistent=False)

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        query, key, value = self._heads_of(queries, image)
        if torch.compiler.is_compiling():  # torch exports the fused kernel with strides that its decomposition lacks
            mixed = self._weights(query, key) @ value
        else:
            mixed = scaled_dot_product_attention(query, key, value, attn_mask=self._bias().to(query.dtype))
        answer: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return answer

    def weights(self, queries: Tensor, image: Tensor) -> Tensor:
        """(B, heads, N, N) attention weights: queries x keys; rows sum to 1."""
        query, key, _ = self._heads_of(queries, image)
        return self._weights(query, key)

    def _weights(self, query: Tensor, key: Tensor) -> Tensor:
        scores: Tensor = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + self._bias()
        return scores.softmax(dim=-1)

    def _heads_of(self, queries: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three of (B, heads, N, D / heads)."""
        parts = (self.query(queries), *self.key_value(image).chunk(2, dim=2))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        return query, key, value

    def _bias(self) -> Tensor:
        """(1, heads, N, N)."""
        biases: Tensor = self.bias_table[self.get_buffer("place")]
        return biases.permute(2, 0, 1).unsqueeze(0)


class FusionLevel(nn.Module):
    """(B, D, w, w) image features, attended to by (B, D, w, w) landmark features or, without any, by themselves -> the
    same shape; w = `window`.
    """

    def __init__(
        self, width: int, heads: int, window: int, drop_path: float, project_query: bool, layer_scale: float = _SCALE
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = CrossAttention(width, heads, window, project_query)
        self.scale1, self.scale2 = (nn.Parameter(torch.full((width,), layer_scale)) for _ in range(2))
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, [4 * width, width], activation_layer=nn.GELU, inplace=None)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, image: Tensor, landmarks: Tensor | None) -> Tensor:
        queries, tokens = self._tokens(image, landmarks)
        x: Tensor = tokens + self.drop_path(self.scale1 * self.attention(queries, tokens))
        x = x + self.drop_path(self.scale2 * self.mlp(self.norm2(x)))
        return torch.unflatten(x.transpose(1, 2), 2, image.shape[2:])

    def attention_map(self, image: Tensor, landmarks: Tensor | None) -> Tensor:
        """(B, 1, w, w) how much each place is attended to, the mean over heads and queries."""
        weights = self.attention.weights(*self._tokens(image, landmarks))
        return torch.unflatten(weights.mean(dim=(1, 2)), 1, (1, *image.shape[2:]))

    def _tokens(self, image: Tensor, landmarks: Tensor | None) -> tuple[Tensor, Tensor]:
        tokens = self.norm(image.flatten(2).transpose(1, 2))
        return tokens if landmarks is None else landmarks.flatten(2).transpose(1, 2), tokens


def resampled(seen: Tensor, start: float, places: int, other_start: float) -> Tensor:
    """(B, 1, n, n) map whose first place lies at `start` -> (B, 1, places, places), its first at `other_start`."""
    count = seen.shape[-1]
    at = (torch.arange(places, device=seen.device) + other_start) * (count / places) - start
    at = at.clamp(0, count - 1)
    weights = (1 - (at[:, None] - torch.arange(count, device=seen.device)).abs()).clamp_min(0).to(seen.dtype)
    return weights @ seen @ weights.T


class LandmarkGuided(PartlyFrozen, Explaining):
    """(B, 1 or 3, S, S) float -> logits (B, classes) and features (B, D), by `maps`, which the network defines.

    Three maps of the image are attended to by as many of its landmarks, or by themselves without a stream of
    `landmarks`, which is frozen if it has a checkpoint.
    """

    levels: nn.ModuleList
    tokens: nn.Module
    transformer: nn.Module
    head: nn.Module
    places: bool = True
    """Whether the maps are of places of the face."""
    first_places: Sequence[float] = (0.5, 0.5, 0.5)
    """Where the first place of each level's map lies (`layers.evidence`)."""

    def __init__(self, landmarks: LandmarkStream | None, train: str = "full") -> None:
        super().__init__(train, FUSION_TRAIN)
        self.landmarks = landmarks
        self.first_place = self.first_places[0]

    def load_frozen(self) -> None:
        """The landmark stream's checkpoint, if one is named.  Raises BadModelFile."""
        if self.landmarks:
            self.landmarks.load()

    def settle(self, pretrained: bool) -> str:
        """Freeze what `train` says, and the landmark stream if it has a checkpoint; else the reasons why they learn."""
        remarks = [super().settle(pretrained)]
        if self.trainable == "head" and pretrained:
            self.freeze(*(part for name, part in self.named_children() if name != "head"))
            return (
                "only the last layer is trained; the fusion keeps the weights that it starts with, which are random "
                "unless start_from names a trained run"
            )
        if self.landmarks and self.landmarks.file:
            self.freeze(self.landmarks.network)
        elif self.landmarks:
            remarks.append(
                "the landmark stream is trained too, because no trained MobileFaceNet is given "
                "(model_options.landmark_file=FILE)"
            )
        return "; ".join(filter(None, remarks))

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor] | list[None]]:
        """Three maps of the image, and three of the same sizes of its landmarks."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Outputs:
        image, landmarks = self.maps(x)
        fused = [level(*pair) for level, pair in zip(self.levels, zip(image, landmarks, strict=True), strict=True)]
        features = self.transformer(self.tokens(fused))
        seen = self._attention_map(image, landmarks) if self.explaining and self.places else None
        return Outputs(self.head(features), features, explanation=seen)

    def _attention_map(self, image: Sequence[Tensor], landmarks: Sequence[Tensor | None]) -> Tensor:
        """(B, 1, h, w) cross-attention of all levels at the places of the first, each level counting the same."""
        shares = []
        for level, own, queries, start in zip(self.levels, image, landmarks, self.first_places, strict=True):
            seen = resampled(
                cast(FusionLevel, level).attention_map(own, queries), start, image[0].shape[-1], self.first_places[0]
            )
            shares.append(seen / seen.sum(dim=(2, 3), keepdim=True))
        return torch.stack(shares).mean(dim=0)


class TokenTransformer(nn.Module):
    """(B, N, D) tokens -> (B, D): a CLS token and positions, `depth` layers, the CLS token, and where it is `gated` an
    excitation of its channels.

    `dropout` is drop_ratio of POSTER++'s code (vit_model_8.py): on the embeddings, after the projection of the
    attention and twice in the MLP, but not on the attention weights, which have a rate of their own there, 0.
    """

    def __init__(
        self, tokens: int, width: int, depth: int = 2, heads: int = 8, dropout: float = 0.0, gated: bool = True
    ) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, tokens + 1, width))
        for weight in (self.cls, self.positions):
            nn.init.trunc_normal_(weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, "gelu", 1e-6, batch_first=True, norm_first=True
        )
        layer.self_attn.dropout = 0.0
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width, eps=1e-6), enable_nested_tensor=False)
        self.gate = Excitation(width, reduction=1) if gated else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.positions
        vector: Tensor = self.gate(self.layers(self.dropout(x))[:, 0])
        return vector


class PyramidTokens(nn.Module):
    """Maps of 4 n, 2 n and n places a side -> (B, 3 n n, D) tokens."""

    def __init__(self, widths: Sequence[int], width: int = 768) -> None:
        super().__init__()
        first, second, third = widths
        self.first = nn.Sequential(nn.Conv2d(first, width, 3, 2, 1), nn.Conv2d(width, width, 3, 2, 1))
        self.second = nn.Conv2d(second, width, 3, 2, 1)
        self.third = nn.Conv2d(third, width, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        levels = (self.first(maps[0]), self.second(maps[1]), self.third(maps[2]))
        return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
