"""Spatial transformer: a small network predicts an affine transformation of a feature map (Jaderberg et al. 2015,
arXiv:1506.02025).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample


class SpatialTransformer(nn.Module):
    """(B, C, H, W) -> (B, C, H, W), sampled bilinearly on an affine grid that the localiser and two layers choose.

    Args:
        localiser: (B, C, H, W) -> any shape of `features` values per image.
        features: size of the flattened output of `localiser`.
        hidden: width of the layer between it and the six numbers of the affine map.

    The map starts as the identity (eq. 1 with theta = [1 0 0; 0 1 0]); what is sampled from outside is 0. Coordinates
    are those of `affine_grid`: [-1, 1] in x and y between the outer edges of the corner pixels.
    """

    def __init__(self, localiser: nn.Module, features: int, hidden: int) -> None:
        super().__init__()
        self.localiser = localiser
        last = nn.Linear(hidden, 6)
        self.regressor = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def theta(self, x: Tensor) -> Tensor:
        """(B, 2, 3) affine maps from output to input coordinates."""
        maps: Tensor = self.regressor(self.localiser(x).flatten(1))
        return maps.view(-1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(x).float()
        with torch.autocast(x.device.type, enabled=False):  # half precision would move the grid by parts of a pixel
            grid = affine_grid(theta, list(x.shape), align_corners=False)
            return grid_sample(x.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
