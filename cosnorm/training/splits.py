"""The examples on the device: stored as bytes or sparse rows, drawn by index, never copied back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cosnorm.data.rows import SparseRows
from cosnorm.training.images import Distortions, Images, ImageSettings
from cosnorm.training.sparse import SparseBatch, SparseExamples

#: Examples evaluated at once; bounds the memory of an evaluation, never its result by more than rounding.
EVALUATION_CHUNK = 2000


class Examples(Protocol):
    """What the engine needs of a dataset; :class:`cosnorm.data.Dataset` has it."""

    @property
    def train_inputs(self) -> np.ndarray | SparseRows:
        """Bytes, ``(N, *shape)``, or sparse rows."""
        ...

    @property
    def train_targets(self) -> np.ndarray:
        """Classes, ``(N,)``, int64."""
        ...

    @property
    def test_inputs(self) -> np.ndarray | SparseRows:
        """Bytes, ``(M, *shape)``, or sparse rows."""
        ...

    @property
    def test_targets(self) -> np.ndarray:
        """Classes, ``(M,)``, int64."""
        ...

    @property
    def maximum(self) -> float:
        """Largest value that an input can take."""
        ...


@dataclass(frozen=True)
class Variation:
    """How the training inputs of one epoch differ from the stored ones; leading dimensions are replicas.

    Attributes
    ----------
    distortions
        Of images.
    factors
        ``(..., N)``: what each example's input is multiplied by.
    """

    distortions: Distortions | None = None
    factors: Tensor | None = None


UNVARIED = Variation()


class Split(Protocol):
    """Training or test examples on a device."""

    targets: Tensor
    #: Shape of one input as the network sees it.
    shape: tuple[int, ...]

    def inputs_of(self, indices: Tensor, variation: Variation = UNVARIED) -> Any:
        """The inputs of the examples ``indices``, ``(..., B)``, ready for the network."""
        ...

    def draw(self, generator: torch.Generator) -> Distortions | None:
        """The distortions of an epoch, if there are any."""
        ...


class DenseSplit:
    """Inputs as bytes, ``(N, *shape)``, divided by their maximum when they are drawn."""

    def __init__(self, inputs: Tensor, targets: Tensor, maximum: float) -> None:
        self.inputs, self.targets, self.maximum = inputs, targets, maximum
        self.shape = tuple(inputs.shape[1:])

    def inputs_of(self, indices: Tensor, variation: Variation = UNVARIED) -> Tensor:
        """Floats, ``(..., B, *shape)``."""
        drawn = self.inputs.index_select(0, indices.flatten()).to(torch.get_default_dtype())
        inputs = drawn.div_(self.maximum).view(*indices.shape, *self.shape)
        return _scaled(inputs, indices, variation)

    def draw(self, generator: torch.Generator) -> None:
        """No distortions."""


class ImageSplit:
    """Images that are cropped, whitened and distorted when they are drawn."""

    def __init__(
        self, inputs: Tensor, targets: Tensor, maximum: float, settings: ImageSettings, flat: bool
    ) -> None:
        self.images = Images(inputs, targets, maximum, settings)
        self.targets, self.settings = targets, settings
        self.shape = (math.prod(self.images.shape),) if flat else tuple(self.images.shape)

    def inputs_of(self, indices: Tensor, variation: Variation = UNVARIED) -> Tensor:
        """Floats, ``(..., B, *shape)``."""
        inputs = self.images.inputs_of(indices, variation.distortions).reshape(*indices.shape, *self.shape)
        if inputs.dim() == 4 and inputs.device.type == "cpu":
            # As the weights are: a cosine's output follows its input, and pooling takes a tenth of the time.
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return _scaled(inputs, indices, variation)

    def draw(self, generator: torch.Generator) -> Distortions | None:
        """One entry an example if the settings ask for augmentation."""
        return self.images.draw(generator) if self.settings.augment else None


class SparseSplit:
    """Sparse rows, drawn as they are."""

    def __init__(self, examples: SparseExamples, width: int) -> None:
        self.examples, self.targets, self.shape = examples, examples.targets, (width,)

    def inputs_of(self, indices: Tensor, variation: Variation = UNVARIED) -> SparseBatch:
        """The rows ``indices``, ``(B,)``."""
        del variation  # refused where the replica is checked
        return self.examples.batch(indices)

    def draw(self, generator: torch.Generator) -> None:
        """No distortions."""


def _scaled(inputs: Tensor, indices: Tensor, variation: Variation) -> Tensor:
    if variation.factors is None:
        return inputs
    factors = variation.factors.gather(-1, indices).to(inputs.dtype)
    return inputs * factors.view(*factors.shape, *[1] * (inputs.dim() - factors.dim()))


def place(
    dataset: Examples, part: str, device: torch.device, settings: ImageSettings | None, flat: bool
) -> Split:
    """The ``"train"`` or ``"test"`` part of a dataset on a device.

    Parameters
    ----------
    settings
        For images, if anything is to be done to them.
    flat
        Whether the network takes vectors; else images get a channel dimension where they have none.
    """
    inputs, targets = getattr(dataset, f"{part}_inputs"), getattr(dataset, f"{part}_targets")
    if isinstance(inputs, SparseRows):
        return SparseSplit(SparseExamples(inputs, targets, device), inputs.width)
    stored = torch.from_numpy(np.array(inputs)).to(device)
    where = torch.from_numpy(np.array(targets)).to(device)
    if stored.dim() == 3 and (settings is not None or not flat):
        stored = stored.unsqueeze(1)
    if settings is not None:
        return ImageSplit(stored, where, float(dataset.maximum), settings, flat)
    return DenseSplit(stored.flatten(1) if flat else stored, where, float(dataset.maximum))


def chunks(split: Split) -> Iterator[tuple[Any, Tensor]]:
    """All examples, a bounded number at a time and without variation."""
    indices = torch.arange(len(split.targets), device=split.targets.device)
    for part in indices.split(EVALUATION_CHUNK):
        yield split.inputs_of(part), split.targets.index_select(0, part)
