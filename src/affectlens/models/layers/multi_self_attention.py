"""Multiple self-attention (Caciolai, after Zhang et al. 2019, arXiv:1805.08318): N attention maps over the positions of
a feature map, added up with weights that a small branch reads off the same map.

Each head is a SAGAN block: 1x1 convolutions without bias give queries and keys of C/8 channels and values of C/2; the
attended values go through a 1x1 convolution back to C channels, times a learned gamma that starts at 0, plus the input.
The dot products are not scaled. The branch is a 1x1 convolution, a pooling that halves the map, and a linear layer with
sigmoid; its N weights are divided by their sum. With gamma at 0 and weights that sum to 1 the layer starts as the
identity. The report (section III-C) has no numbers and only asks that queries, keys and values agree in their channels;
C/8, the wider values of C/2 and convolutions without bias are SAGAN's code's. The pooling takes the maximum, as in the
author's code.

Attention weights sum to 1 over the keys. In the report's equation 2 and in the author's code they sum to 1 over the
queries: the same function with the two names exchanged, so that released weights would need that exchange.

Two forms. `separate` is what the report describes: N heads with their own weights. `joint` is what the author's public
code computes: one attention of fastai's kind over the N times repeated channels, cut into N parts. Its queries and keys
have an eighth of the repeated channels, its values all of them; the three convolutions are divided by their spectral
norm (Miyato et al. 2018, arXiv:1802.05957), no convolution follows, and there is one gamma. The branch's convolution is
there (and in the parameter count), but its output is discarded, so that the linear layer sees the pooled input.

The (H W) x (H W) maps of a batch never stand at once: at 42x42 and a batch of 128 they would take 12 GiB. Queries of
width one need none (`layers.scalar_attention`); otherwise at most a few are built, in training on a CPU
(`layers.blockwise_attention`).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, max_pool2d
from torch.nn.utils.parametrizations import spectral_norm

from affectlens.core.errors import BadSetting
from affectlens.models.layers.blockwise_attention import blockwise_attention
from affectlens.models.layers.fused_attention import fused_attention
from affectlens.models.layers.scalar_attention import scalar_attention

Form = Literal["separate", "joint"]


class MultiSelfAttention(nn.Module):
    """(B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of 8.
        side_px: H = W.
        heads: N.
        form: "separate" or "joint".

    Raises:
        BadSetting: `channels` is not a multiple of 8, or there is no such form.
    """

    def __init__(self, channels: int, side_px: int, heads: int = 8, form: Form = "separate") -> None:
        super().__init__()
        if channels % 8:
            raise BadSetting(
                f"the number of channels must be a multiple of 8 for multiple self-attention, got {channels}"
            )
        if form not in ("separate", "joint"):
            raise BadSetting(f"form must be 'separate' or 'joint', got '{form}'")
        self.heads = heads
        self.form = form
        self.blocks = heads if form == "separate" else 1
        inputs = channels if form == "separate" else heads * channels
        total = heads * channels
        self.query = nn.Conv2d(inputs, total // 8, 1, bias=False)
        self.key = nn.Conv2d(inputs, total // 8, 1, bias=False)
        self.value = nn.Conv2d(inputs, total // 2 if form == "separate" else total, 1, bias=False)
        if form == "separate":
            self.output = nn.Conv2d(total // 2, total, 1, groups=self.blocks, bias=False)
        else:
            for conv in (self.query, self.key, self.value):
                spectral_norm(conv)
        self.gamma = nn.Parameter(torch.zeros(self.blocks))
        self.branch = nn.Conv2d(channels, channels, 1)
        self.weights = nn.Linear(channels * (side_px // 2) ** 2, heads)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        weights = self.head_weights(x)
        if self.form == "separate":
            # the output convolution is linear: its weights take the shares of the heads, which then need one product
            shares = (weights * self.gamma).view(batch, self.heads, 1, 1)
            mixing = shares * self.output.weight.view(self.heads, channels, -1).transpose(1, 2)
            update = self._attend(tokens).transpose(1, 2).flatten(2) @ mixing.flatten(1, 2)
        else:
            parts = self._attend(tokens.repeat(1, 1, self.heads)).view(batch, -1, self.heads, channels)
            update = self.gamma * torch.einsum("bn,blnc->blc", weights.to(parts.dtype), parts)
        return x + update.to(x.dtype).view(batch, height, width, channels).permute(0, 3, 1, 2)

    def head_weights(self, x: Tensor) -> Tensor:
        """(B, N) weights of the heads; each row sums to 1."""
        looked_at = self.branch(x) if self.form == "separate" else x
        raw = torch.sigmoid(self.weights(max_pool2d(looked_at, 2).flatten(1)).float())
        return raw / raw.sum(dim=1, keepdim=True)

    def _attend(self, tokens: Tensor) -> Tensor:
        """(B, L, inputs) -> (B, blocks, L, width of a value): softmax(query key^T) value, block by block."""
        query, key, value = (
            linear(tokens, conv.weight.flatten(1)).view(*tokens.shape[:2], self.blocks, -1).transpose(1, 2)
            for conv in (self.query, self.key, self.value)
        )
        if query.shape[3] == 1 and not torch.compiler.is_exporting():  # a file has the plain product
            return scalar_attention(query, key, value)
        if query.device.type == "cpu" and self.training:
            return blockwise_attention(query, key, value)
        return fused_attention(query, key, value)
