"""What a network reads: examples on the device, their random variation, and dropout."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cosnorm.data.rows import SparseRows
from cosnorm.training.images import Distortions, Images, ImageSettings
from cosnorm.training.sparse import SparseBatch, SparseExamples

#: Examples evaluated at once; bounds the memory, and changes the result by rounding only.
EVALUATION_CHUNK = 2000


class Examples(Protocol):
    """The part of a :class:`cosnorm.data.Dataset` that the engine reads."""

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
    """How the training inputs of one epoch differ from the stored ones, ``(..., N)`` each.

    A leading dimension counts replicas. ``factors`` multiply the inputs.
    """

    distortions: Distortions | None = None
    factors: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """The tensors of the distortions, and the factors, if there are any."""
        drawn = self.distortions
        tensors = [] if drawn is None else [getattr(drawn, field.name) for field in fields(Distortions)]
        return tensors if self.factors is None else [*tensors, self.factors]

    @staticmethod
    def stack(variations: Sequence[Variation]) -> Variation:
        """Combine those of several replicas with the same settings."""
        columns = zip(*(variation.tensors() for variation in variations), strict=True)
        tensors = [torch.stack(column) for column in columns]
        factors = None if variations[0].factors is None else tensors.pop()
        return Variation(Distortions(*tensors) if tensors else None, factors)


UNVARIED = Variation()


class Split(ABC):
    """Training or test examples on a device."""

    targets: Tensor
    #: Shape of one input as the network sees it.
    shape: tuple[int, ...]

    @abstractmethod
    def inputs_of(self, indices: Tensor, variation: Variation = UNVARIED) -> Any:
        """The inputs of the examples ``indices``, ``(..., B)``, ready for the network."""

    def draw(self, generator: torch.Generator) -> Distortions | None:
        """The distortions of an epoch, if there are any."""
        return None


class DenseSplit(Split):
    """Inputs stored as bytes, ``(N, *shape)``, and divided by their maximum when they are read."""

    def __init__(self, inputs: Tensor, targets: Tensor, maximum: float) -> None:
        self.inputs, self.targets, self.maximum = inputs, targets, maximum
        self.shape = tuple(inputs.shape[1:])

    def inputs_of(self, indices: Tensor, variation: Variation = UNVARIED) -> Tensor:
        """Floats, ``(..., B, *shape)``."""
        drawn = self.inputs.index_select(0, indices.flatten()).to(torch.get_default_dtype())
        inputs = drawn.div_(self.maximum).view(*indices.shape, *self.shape)
        return _scale(inputs, indices, variation)


class ImageSplit(Split):
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
        return _scale(inputs, indices, variation)

    def draw(self, generator: torch.Generator) -> Distortions | None:
        """One entry per example if the settings ask for augmentation."""
        return self.images.draw(generator) if self.settings.augment else None


class SparseSplit(Split):
    """Sparse rows, which have no variation."""

    def __init__(self, examples: SparseExamples, width: int) -> None:
        self.examples, self.targets, self.shape = examples, examples.targets, (width,)

    def inputs_of(self, indices: Tensor, variation: Variation = UNVARIED) -> SparseBatch:
        """The rows ``indices``, ``(B,)``; the engine refuses variations of sparse rows."""
        return self.examples.batch(indices)


def _scale(inputs: Tensor, indices: Tensor, variation: Variation) -> Tensor:
    if variation.factors is None:
        return inputs
    factors = variation.factors.gather(-1, indices).to(inputs.dtype)
    return inputs * factors.view(*factors.shape, *[1] * (inputs.dim() - factors.dim()))


def place(
    dataset: Examples, part: str, device: torch.device, settings: ImageSettings | None, flat: bool
) -> Split:
    """Put the ``"train"`` or ``"test"`` part of a dataset on a device.

    ``flat`` inputs are vectors; otherwise images without a channel dimension get one.
    """
    inputs, targets = getattr(dataset, f"{part}_inputs"), getattr(dataset, f"{part}_targets")
    if isinstance(inputs, SparseRows):
        return SparseSplit(SparseExamples(inputs, targets, device), inputs.width)
    stored = torch.from_numpy(np.array(inputs)).to(device)
    classes = torch.from_numpy(np.array(targets)).to(device)
    if stored.dim() == 3 and (settings is not None or not flat):
        stored = stored.unsqueeze(1)
    if settings is not None:
        return ImageSplit(stored, classes, float(dataset.maximum), settings, flat)
    return DenseSplit(stored.flatten(1) if flat else stored, classes, float(dataset.maximum))


def chunks(split: Split) -> Iterator[tuple[Any, Tensor]]:
    """Inputs and targets of all examples, :data:`EVALUATION_CHUNK` at a time and without variation."""
    indices = torch.arange(len(split.targets), device=split.targets.device)
    for part in indices.split(EVALUATION_CHUNK):
        yield split.inputs_of(part), split.targets.index_select(0, part)


class Dropout(nn.Dropout):
    """Multiplies an input ``(B, features)`` by the first ``B`` rows of a mask in training.

    The mask is a buffer that :meth:`draw` fills: each replica of a stack has its own, independent of the
    others, at an address that a CUDA graph can hold. If it is ``scaled``, the entries that are not dropped
    are divided by ``1 - rate`` in training; otherwise all are multiplied by ``1 - rate`` in evaluation.
    """

    mask: Tensor

    def __init__(self, features: int, rate: float, batch_size: int, scaled: bool = True) -> None:
        super().__init__(rate)
        self.scaled = scaled
        self.register_buffer("mask", torch.ones(batch_size, features), persistent=False)

    def draw(self, generator: torch.Generator) -> None:
        """Draw a new mask in place."""
        self.mask.bernoulli_(1 - self.p, generator=generator)
        if self.scaled:
            self.mask.div_(1 - self.p)

    def forward(self, input: Tensor) -> Tensor:
        """Drop entries in training, and scale them in evaluation if training does not."""
        if self.training:
            return input * self.mask[: len(input)]
        return input if self.scaled else input * (1 - self.p)


def with_dropout(
    network: nn.Sequential, rates: tuple[float, float], batch_size: int, scaled: bool = True
) -> nn.Sequential:
    """The same layers with dropout before every linear one, at the ``rates`` of input and hidden layers."""
    modules: list[nn.Module] = []
    rate = rates[0]
    for module in network:
        if isinstance(module, nn.Linear):
            modules += [Dropout(module.in_features, rate, batch_size, scaled)] if rate else []
            rate = rates[1]
        modules.append(module)
    return nn.Sequential(*modules)
