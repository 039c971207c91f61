"""One backbone, several answers (Antoniadis, chapters 3 and 5): expressions, and beside them valence and arousal
(section 5.1.1), the sector of their plane (5.2.1), or a mask of eyes and mouth (5.1.2).

The feature vector is the backbone's map, after its last activation, pooled (`layers.backbones`). `affect` says what is
answered beside the expressions: "none", "regression" (two numbers), "signs" (two logits), "quarter", "eight" or
"twelve" (sectors). `fusion` says how (section 5.2.3): "classic" (both from the shared feature vector), "concatenate"
(the classifier of expressions sees the other head's outputs too) or "separate" (a hidden layer of its own for each
task). With `mask` a decoder draws the mask from the backbone's map.

Classifiers and regressors have a bias, as in the author's code; eq. 5.1.1 and 5.1.4 have none. Valence and arousal are
not limited, but clipped to [-1, 1] before they are measured or shown (`core.outputs`).

Left open and chosen: the classifier of "concatenate" sees raw outputs (of signs and sectors, the logits) that are not
detached; the hidden layers of "separate" are as wide as the feature vector, with ReLU; the decoder is a 1x1 convolution
to 128 channels and three times (nearest enlargement, 3x3 convolution, batch norm, ReLU), halving the channels each
time. The network for valence and arousal alone (table 6.3) is this one with a loss on `affect` only; `expressions` off
makes its logits 0, so that it never pretends to tell expressions.
"""

import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers.backbones import Backbone, find_backbone
from affectlens.models.layers.evidence import Explaining, through_relus
from affectlens.models.layers.frozen import PartlyFrozen
from affectlens.models.layers.outputs import Outputs

AFFECT = {"none": 0, "regression": 2, "signs": 2, "quarter": 4, "eight": 8, "twelve": 12}
"""What is answered beside the expressions -> numbers per face."""
FUSIONS = ("classic", "concatenate", "separate")


class MultiTask(PartlyFrozen, Explaining):
    """(B, C, H, W) normalised images -> `Outputs`."""

    outer_options = ("affect", "fusion", "mask", "expressions", "train")

    def __init__(
        self,
        kind: Backbone,
        classes: int,
        in_channels: int,
        affect: str,
        fusion: str,
        mask: bool,
        expressions: bool,
        train: str,
    ) -> None:
        super().__init__(train)
        self.kind = kind
        self.in_channels = in_channels
        self.affect = affect
        self.fusion = fusion
        self.expressions = expressions
        self.backbone, width = kind.build(in_channels, True), kind.width
        self.feature_width, self.first_place = width, kind.first_place
        others = AFFECT[affect]
        seen = width + others if fusion == "concatenate" else width
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU()) if fusion == "separate" else nn.Identity()
            for _ in range(2)
        )
        self.classifier = nn.Linear(seen, classes)
        self.regressor = nn.Linear(width, others) if others else None
        self.decoder = _decoder(width) if mask else None
        self.needs = ("mask",) if mask else ()

    def load_pretrained(self, file: str = "") -> None:
        """ImageNet weights into the backbone; see `Backbone.load_imagenet`."""
        self.kind.load_imagenet(self.backbone, self.in_channels, file)

    def head_vectors(self) -> Tensor:
        """(C, D) classifiers or, with the regressors of valence and arousal after them, (C + 2, D): weights on the
        feature vector, without those that "concatenate" has on the other task's answer.

        Raises:
            BadSetting: `fusion` is "separate".
        """
        if self.fusion == "separate":
            raise BadSetting(
                "classifiers and regressors cannot be compared with fusion 'separate', because they use different "
                "features"
            )
        classifiers = self.classifier.weight[:, : self.feature_width]
        if self.affect != "regression" or self.regressor is None:
            return classifiers
        return torch.cat([classifiers, self.regressor.weight])

    def embed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D), the pooled map."""
        return self.kind.pooled(self.backbone(x))

    def answers(self, features: Tensor) -> Outputs:
        """(B, D) of `embed` -> all outputs but the mask."""
        answer = None if self.regressor is None else self.regressor(self.hidden[1](features))
        shown = self.hidden[0](features)
        if self.fusion == "concatenate" and answer is not None:
            shown = torch.cat([shown, answer], dim=1)
        logits = self.classifier(shown)
        if not self.expressions:
            logits = logits * 0
        others = {} if answer is None else {"affect" if self.affect == "regression" else "divisions": answer}
        return Outputs(logits, features, others)

    def forward(self, x: Tensor) -> Outputs:
        space = self.backbone(x)
        features = self.kind.pooled(space)
        outputs = self.answers(features)
        if self.decoder is not None:
            outputs = outputs._replace(others={**outputs.others, "mask": self.decoder(space)})
        if self.explaining:
            outputs = outputs._replace(explanation=self.kind.evidence(space, self._weights(features)))
        return outputs

    def _weights(self, features: Tensor) -> Tensor:
        """(C, D) or (B, C, D) weights of the classifier on the (B, D) pooled map."""
        weights = self.classifier.weight
        if self.fusion == "separate":
            active = self.hidden[0](features)
            return through_relus([(self.hidden[0].get_parameter("0.weight"), active)], weights)
        if self.fusion == "concatenate" and self.regressor is not None:
            return weights[:, : self.feature_width] + weights[:, self.feature_width :] @ self.regressor.weight
        return weights


def _decoder(width: int) -> nn.Sequential:
    """(B, width, h, w) -> (B, 1, 8 h, 8 w) logits."""
    layers: list[nn.Module] = [nn.Conv2d(width, 128, 1)]
    for channels in (64, 32, 16):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(2 * channels, channels, 3, padding=1)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 1, 1))


def build(
    classes: int,
    in_channels: int = 3,
    backbone: str = "densenet121",
    affect: str = "none",
    fusion: str = "classic",
    mask: bool = False,
    expressions: bool = True,
    pool: str = "",
    train: str = "full",
) -> MultiTask:
    """A fresh network; `pool` is "max" or "mean" instead of the backbone's own (`layers.backbones`). With `train`
    "head" the backbone keeps its pretrained weights, which takes seconds where faces are not augmented
    (`training.features`).

    Raises:
        BadSetting: an option has no such value.
    """
    if affect not in AFFECT:
        raise BadSetting(f"affect must be one of {', '.join(AFFECT)}, got '{affect}'")
    if fusion not in FUSIONS:
        raise BadSetting(f"fusion must be one of {', '.join(FUSIONS)}, got '{fusion}'")
    if affect == "none" and fusion != "classic":
        raise BadSetting(f"fusion '{fusion}' needs a second task; set affect")
    return MultiTask(find_backbone(backbone, pool), classes, in_channels, affect, fusion, mask, expressions, train)
