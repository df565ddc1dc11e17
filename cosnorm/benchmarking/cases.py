"""The shapes that are timed, and who competes on each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import cast

import torch
from torch import nn

from cosnorm import CosineConv2d, CosineLinear
from cosnorm.benchmarking import contenders
from cosnorm.benchmarking.models import ResidualNetwork, VisionTransformer
from cosnorm.convert import convert

#: Makes a layer.
Make = Callable[[], nn.Module]

#: Pairs of an input row and a unit, above which the pairs of vectors would not fit in memory.
_PAIRS = 2 * 10**7


@dataclass(frozen=True)
class Case:
    """A shape, and the layers that compete on it.

    Attributes
    ----------
    key, title
        Short name, and the shape in words.
    input
        Shape of the input.
    contenders
        By name, the plain layer or network first; those that compute cosines are in ``cosines``.
    cosines
        Names of the contenders whose output is the cosine of input and weight; none in a network.
    left_out
        By name, why a contender does not take part.
    """

    key: str
    title: str
    input: tuple[int, ...]
    contenders: dict[str, Make]
    cosines: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def plain(self) -> str:
        """Name of the layer that the others are divided by."""
        return next(iter(self.contenders))


def linear(key: str, what: str, batch: tuple[int, ...], inputs: int, units: int) -> Case:
    """A fully connected layer; the plain one has its bias, as it is used."""
    made: dict[str, Make] = {
        "nn.Linear": partial(nn.Linear, inputs, units),
        "CosineLinear": partial(CosineLinear, inputs, units),
        "CosineLinear, centered": partial(CosineLinear, inputs, units, centered=True),
        "nn.Linear + LayerNorm": lambda: nn.Sequential(
            nn.Linear(inputs, units, bias=False), nn.LayerNorm(units)
        ),
        "F.normalize + F.linear": partial(contenders.NormalizedLinear, inputs, units, bias=False),
    }
    cosines = ["CosineLinear", "F.normalize + F.linear"]
    left_out = {}
    if len(batch) == 1:
        made["nn.Linear + BatchNorm1d"] = lambda: nn.Sequential(
            nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units)
        )
    else:
        left_out["nn.Linear + BatchNorm1d"] = "wants two dimensions, or the features second"
    if math.prod(batch) * inputs * units <= _PAIRS:
        made["F.cosine_similarity"] = partial(contenders.SimilarityLinear, inputs, units, bias=False)
        cosines.append("F.cosine_similarity")
    else:
        left_out["F.cosine_similarity"] = "holds every pair of vectors in memory"
    if find_spec("pytorch_metric_learning") is None:
        left_out["pytorch-metric-learning"] = "not installed"
    elif len(batch) > 1:
        left_out["pytorch-metric-learning"] = "wants two dimensions"
    else:
        made["pytorch-metric-learning"] = partial(contenders.MetricLearningLinear, inputs, units)
        cosines.append("pytorch-metric-learning")
    shape = f"{' x '.join(map(str, batch))} x {inputs} -> {units}"
    return Case(key, f"{what}, {shape}", (*batch, inputs), made, tuple(cosines), left_out)


def convolution(key: str, what: str, batch: int, channels: int, filters: int, size: int, kernel: int) -> Case:
    """A convolution that keeps the image's size; the plain one has its bias, as it is used."""
    shape, padding = (channels, filters, kernel), kernel // 2
    made: dict[str, Make] = {
        "nn.Conv2d": partial(nn.Conv2d, *shape, padding=padding),
        "CosineConv2d": partial(CosineConv2d, *shape, padding=padding),
        "CosineConv2d, centered": partial(CosineConv2d, *shape, padding=padding, centered=True),
        "nn.Conv2d + BatchNorm2d": lambda: nn.Sequential(
            nn.Conv2d(*shape, padding=padding, bias=False), nn.BatchNorm2d(filters)
        ),
        "nn.Conv2d + GroupNorm(1)": lambda: nn.Sequential(
            nn.Conv2d(*shape, padding=padding, bias=False), nn.GroupNorm(1, filters)
        ),
        "kernel of ones": partial(contenders.OnesKernelConv2d, *shape, padding=padding, bias=False),
        "unfold + F.normalize": partial(contenders.UnfoldedConv2d, *shape, padding=padding, bias=False),
    }
    title = f"{what}, {batch} x {channels} -> {filters}, {kernel}x{kernel}, {size}x{size}"
    cosines = ("CosineConv2d", "kernel of ones", "unfold + F.normalize")
    return Case(key, title, (batch, channels, size, size), made, cosines)


def network(key: str, what: str, make: Make, shape: tuple[int, ...]) -> Case:
    """A whole network, as it is and with its layers converted; its output layer stays as it is."""
    made: dict[str, Make] = {
        "as built": make,
        "converted to cosine": lambda: convert(make(), "cosine"),
        "converted to centered": lambda: convert(make(), "centered"),
    }
    return Case(key, f"{what}, {' x '.join(map(str, shape))}", shape, made, ())


def with_compiled(case: Case) -> Case:
    """The case with its first contender and the cosine layers once more, through :func:`torch.compile`."""

    def compiled(make: Make) -> Make:
        return lambda: cast(nn.Module, torch.compile(make()))

    ours = [
        name for name in case.contenders if name == case.plain or name.startswith(("Cosine", "converted"))
    ]
    more = {f"{name}, compiled": compiled(case.contenders[name]) for name in ours}
    return replace(case, contenders={**case.contenders, **more})


#: The paper's layers, and those of networks that people train now.
CASES: dict[str, Case] = {
    case.key: case
    for case in (
        linear("small", "a small layer", (64,), 64, 128),
        linear("paper-first", "the paper's first layer", (100,), 784, 1000),
        linear("paper-hidden", "the paper's second layer", (100,), 1000, 1000),
        linear("paper-dense", "the paper's dense layer on images", (128,), 2304, 384),
        linear("vit-up", "ViT-B's first MLP layer", (8, 197), 768, 3072),
        linear("vit-down", "ViT-B's second MLP layer", (8, 197), 3072, 768),
        linear("square", "a square layer", (256,), 4096, 4096),
        convolution("paper-conv1", "the paper's first convolution", 128, 3, 64, 24, 5),
        convolution("paper-conv2", "the paper's second convolution", 128, 64, 64, 12, 5),
        convolution("resnet-2", "ResNet-50's second stage", 8, 64, 64, 56, 3),
        convolution("resnet-3", "ResNet-50's third stage", 8, 128, 128, 28, 3),
        convolution("resnet-4", "ResNet-50's fourth stage", 8, 256, 256, 14, 3),
        convolution("resnet-5", "ResNet-50's fifth stage", 8, 512, 512, 7, 3),
        convolution("resnet-1x1", "a 1x1 convolution of ResNet-50", 8, 256, 64, 56, 1),
        network("vit", "a vision transformer of four layers", VisionTransformer, (4, 3, 224, 224)),
        network("resnet", "ResNet-50 with one block a stage", ResidualNetwork, (4, 3, 128, 128)),
    )
}
