"""Distillation: predictions of trained teacher networks as targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.core.preprocessing import InputSpec
from affectlens.core.session import Session, run_model
from affectlens.training.recipe import Recipe
from affectlens.training.tta import averaged


@dataclass(frozen=True)
class Teacher:
    """A trained network, the input that it was trained with, and the (C,) logarithms that put back how frequent the
    classes are where its training left that out (`logit_adjustment`); None for none.
    """

    network: nn.Module
    input: InputSpec
    shift: Tensor | None = None

    def __deepcopy__(self, _: dict[int, object]) -> Self:
        """Itself: averaging the student's weights copies the student, not who teaches it."""
        return self

    def check(self, student: Recipe) -> None:
        """Raises BadSetting where it cannot see what the student sees."""
        keys = ["size_px", "channels"]
        if student.mixup or student.cutmix:
            keys.append("relight")  # two faces in one picture, each in a light of its own
        for key in keys:
            if getattr(self.input, key) != getattr(student, key):
                raise BadSetting(
                    f"teacher and student must have the same {key}, got {getattr(self.input, key)} and "
                    f"{getattr(student, key)}"
                )

    def distribution(self, images: Tensor, light: Tensor | None, student: InputSpec, views: str) -> Tensor:
        """(B, classes) distribution over the `views` of what it sees of the student's (B, C, H, W) images."""
        logits = averaged(self.network, self.seen(images, light, student), views).logits.float()
        return (logits if self.shift is None else logits + self.shift.to(logits.device)).softmax(dim=1)

    def seen(self, images: Tensor, light: Tensor | None, student: InputSpec) -> Tensor:
        """(B, C, H, W) images of the student in the teacher's normalisation.

        `light` (B, 2) is what `core.preprocessing.light_change` makes of the faces: what it made of the student's is
        undone for a teacher that was trained without, and done for one that was trained with it.
        """
        mean, std, own_mean, own_std = (
            torch.tensor(values, device=images.device).view(1, -1, 1, 1)
            for values in (student.mean, student.std, self.input.mean, self.input.std)
        )
        pixels = images * std + mean
        if light is not None and self.input.relight != student.relight:
            gain, offset = light.view(-1, 2, 1, 1, 1).unbind(dim=1)
            pixels = pixels * gain + offset if self.input.relight else (pixels - offset) / gain
        return (pixels - own_mean) / own_std


class Exported(nn.Module):
    """An exported file as a network that runs on the CPU and does not learn: in eight bits it takes less than half
    the time of its weights in torch.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, classes) logits."""
        faces = np.ascontiguousarray(images.float().cpu().numpy())
        return torch.from_numpy(run_model(self._session, faces).logits).to(images.device)


@torch.no_grad()
def teach(teachers: Sequence[Teacher], images: Tensor, light: Tensor | None, student: Recipe) -> Tensor:
    """(B, classes) mean distribution of `teachers` on the student's (B, C, H, W) images and their `light`."""
    spec = student.input_spec()
    return torch.stack([one.distribution(images, light, spec, student.teacher_tta) for one in teachers]).mean(dim=0)
