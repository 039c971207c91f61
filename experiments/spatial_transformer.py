"""What the spatial transformer of a run does to faces: `python experiments/spatial_transformer.py RUN ferplus:DIR`.

The affine maps that it chooses for validation faces (mean, and deviation over the faces), and how many of the
localiser's outputs are not 0: where none is, every face gets the same map.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from affectlens.models.layers.spatial_transformer import SpatialTransformer
from affectlens.training.loaders import network_inputs
from affectlens.training.run import load_recipe, load_run, with_data_options
from affectlens.workflows.data import source_of


def main():
    """Print a few lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("--faces", type=int, default=500)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.run)
    table = with_data_options(recipe, source_of(arguments.data)).load("valid")
    table = table.keep(np.arange(len(table)) % max(1, len(table) // arguments.faces) == 0)
    transformers = [one for one in load_run(arguments.run).network.modules() if isinstance(one, SpatialTransformer)]
    with torch.inference_mode():
        for transformer in transformers:
            outputs, maps = [], []
            for faces, _ in network_inputs(table.images, recipe):
                outputs.append(transformer.localiser(faces).flatten(1) != 0)
                maps.append(transformer.theta(faces).flatten(1))
            active, theta = torch.cat(outputs), torch.cat(maps)
            print(f"{recipe.name}: {len(theta)} validation faces")
            print("affine map, mean      ", " ".join(f"{value:7.4f}" for value in theta.mean(dim=0)))
            print("affine map, deviation ", " ".join(f"{value:7.4f}" for value in theta.std(dim=0)))
            print(
                f"outputs of the localiser that are not 0: {active.float().mean():.2%}; "
                f"faces with any: {active.any(dim=1).float().mean():.1%}"
            )


if __name__ == "__main__":
    main()
