"""Batches of faces for training and validation: made ahead in a thread, in bytes, and normalised on the device."""

import math
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from affectlens.core.errors import BadData
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import InputSpec, light_change, to_input, to_pixels
from affectlens.core.progress import SILENT, Progress, track
from affectlens.data.images import FaceImages, decoded, in_chunks
from affectlens.data.samplers import EpochBatches, InOrder, Rows
from affectlens.data.table import FaceTable
from affectlens.training import masks
from affectlens.training.recipe import Recipe

Batch = dict[str, Tensor]
_AHEAD = 3
"""Batches that are made before they are asked for."""


def truth_of(table: FaceTable) -> Batch:
    """What the faces of `table` are known to be, (N, K) float32 by the names under which losses ask for it, NaN where
    unknown.
    """
    return {one.target: torch.from_numpy(one.truth(table)) for one in OUTPUTS.values() if one.fields}


class FaceBatches(Dataset[Batch]):
    """Batches by (B, 2) rows and copies: pixels (B, H, W, C) uint8, votes (B, classes), target (B,), index and copy
    (B,), labelled () (how many have a target), and the truth of every output (`truth_of`), affect_target (B, 2) for
    instance; with `relight` or a teacher light (B, 2), gain and offset of `core.preprocessing.light_change`; if the
    network's `needs` name masks, mask_target (B, 1, H, W), NaN where the face has no 68 landmarks. With (N, D)
    `embedded` faces (`training.features`) there is embedded (B, D) in the place of pixels.

    Images that cannot be decoded are left out, which are the rows of NaN in `embedded`; a batch of a single one may be
    empty.

    Raises:
        BadData: none of several images can be decoded.
    """

    def __init__(
        self, table: FaceTable, recipe: Recipe, needs: Collection[str] = (), embedded: Tensor | None = None
    ) -> None:
        self.table = table
        self.embedded = embedded
        self.readable = None if embedded is None else (~torch.isnan(embedded).all(dim=1)).numpy()
        self.truth = truth_of(table)
        self.spec = recipe.input_spec()
        self.masks = masks.OUTPUT in needs
        self.teachers = recipe.teachers

    def __getitem__(self, picks: Rows) -> Batch:
        if self.embedded is not None and self.readable is not None:
            known = picks[self.readable[picks[:, 0]]]
            self._check_any(len(known), picks)
            return self._described(known) | {"embedded": self.embedded[known[:, 0]]}
        images, readable = decoded(self.table.images, picks[:, 0])
        self._check_any(len(images), picks)
        pixels = to_pixels(images, self.spec)
        batch = self._described(picks[readable]) | {"pixels": torch.from_numpy(pixels)}
        if self.spec.relight or self.teachers:
            batch["light"] = torch.from_numpy(light_change(pixels))
        if self.masks:
            faces = zip(self.table.landmarks_xy[batch["index"].numpy()], images, strict=True)
            drawn = [masks.draw(points, image.shape, self.spec.size_px) for points, image in faces]
            batch[masks.TARGET] = torch.from_numpy(np.stack(drawn)).unsqueeze(1)
        return batch

    def _check_any(self, readable: int, picks: Rows) -> None:
        """Raises BadData where none of several images is readable."""
        if not readable and len(picks) > 1:
            first = self.table.ids[picks[0, 0]]
            raise BadData(f"cannot decode any of the {len(picks)} images of a batch; the first is '{first}'")

    def _described(self, picks: Rows) -> Batch:
        """What is known of the faces beside their images."""
        index, copy = picks.T.copy()
        batch = {
            "votes": torch.from_numpy(self.table.votes[index]),
            "target": torch.from_numpy(self.table.targets[index]),
            "index": torch.from_numpy(index),
            "copy": torch.from_numpy(copy),
            "labelled": torch.tensor((self.table.targets[index] >= 0).sum()),
        }
        return batch | {name: truth[batch["index"]] for name, truth in self.truth.items()}


def with_images(batch: Batch, spec: InputSpec) -> Batch:
    """The batch with image (B, C, H, W) float32 for its pixels, as `core.preprocessing.normalise` makes it, computed
    where the batch is.
    """
    if "pixels" not in batch:
        return batch
    others = {name: value for name, value in batch.items() if name != "pixels"}
    values = batch["pixels"].float()
    if spec.relight:
        gain, offset = batch["light"].view(-1, 2, 1, 1, 1).unbind(dim=1)
        values = values * gain + 255 * offset
    mean, std = (torch.tensor(numbers, device=values.device) * 255 for numbers in (spec.mean, spec.std))
    return others | {"image": ((values - mean) / std).permute(0, 3, 1, 2)}  # in memory as channels_last networks want


class Ahead(DataLoader[Batch]):
    """Makes the next batches in a thread while the last one is learned from, and pins them where there is a GPU.

    Threads, not processes: images are decoded in several threads at once, outside the interpreter's lock, and an image
    that cannot be decoded is reported as it is without them. An iteration that is broken off waits for the batch in the
    making, not for those after it.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches = super().__iter__()
        device = torch.cuda.current_device() if torch.cuda.is_available() else None
        thread = ThreadPoolExecutor(1, "affectlens-loader", _set_device, (device,))
        try:
            coming = deque(thread.submit(_next, batches) for _ in range(_AHEAD))
            while (batch := coming.popleft().result()) is not None:
                coming.append(thread.submit(_next, batches))
                yield batch
        finally:
            thread.shutdown(cancel_futures=True)


def _set_device(device: int | None) -> None:
    """Make the GPU of the process's main thread this thread's too, which would pin memory for the first one."""
    if device is not None:
        torch.cuda.set_device(device)


def _next(batches: Iterator[Batch]) -> Batch | None:
    """The next batch, None after the last."""
    batch = next(batches, None)
    if batch is None or not torch.cuda.is_available():
        return batch
    return {name: value.pin_memory() for name, value in batch.items()}


def train_loader(
    table: FaceTable,
    recipe: Recipe,
    rank: int = 0,
    ranks: int = 1,
    needs: Collection[str] = (),
    embedded: Tensor | None = None,
) -> DataLoader[Batch]:
    """Training batches in the sampler's order; with several processes, this one's share of each."""
    order = EpochBatches(table, recipe.sampler, recipe.batch_size, recipe.seed, rank, ranks)
    return Ahead(FaceBatches(table, recipe, needs, embedded), batch_size=None, sampler=order)


def valid_loader(table: FaceTable, recipe: Recipe, embedded: Tensor | None = None) -> DataLoader[Batch]:
    """Validation batches in table order."""
    order = InOrder(len(table), faces_at_once(recipe))
    return Ahead(FaceBatches(table, recipe, embedded=embedded), batch_size=None, sampler=order)


def network_inputs(
    images: FaceImages, recipe: Recipe, progress: Progress = SILENT, description: str = "running the network"
) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
    """(B, C, H, W) float32 faces as the recipe's network takes them, in order and without augmentation, and their (B,)
    rows; images that cannot be decoded are left out.

    Raises:
        BadData: none can be decoded.
    """
    spec, size = recipe.input_spec(), faces_at_once(recipe)
    empty = True
    for crops, rows in track(in_chunks(images, size), progress, description, math.ceil(len(images) / size)):
        if crops:
            empty = False
            yield torch.from_numpy(to_input(crops, spec)), rows
    if empty:
        raise BadData(f"cannot decode any of {len(images)} images")


def faces_at_once(recipe: Recipe) -> int:
    """How many faces evaluation takes at a time: 256 of 64 pixels a side, fewer larger ones, so that maps fit."""
    return max(8, min(256, 256 * 64**2 // recipe.size_px**2))
