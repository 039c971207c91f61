"""Grayscale faces as input of networks with RGB weights."""

from torch import Tensor


def as_rgb(faces: Tensor) -> Tensor:
    """(B, 1 or 3, H, W) -> (B, 3, H, W): a gray face is shown to all three channels."""
    return faces.expand(-1, 3, -1, -1)
