"""Every technique in one row: how it builds a hidden layer, its rule, rates, label, color and abilities.

The tables in the docstrings of :mod:`cosnorm.networks` and the figures read these rows. A new technique is a
layer in :mod:`cosnorm.relatives` and a row here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from torch import nn

from cosnorm.layers import CosineConv2d, CosineLinear
from cosnorm.relatives import (
    AdaNorm,
    LayerNormSimple,
    LayerScaling,
    MaxNorm,
    MeanOnlyBatchNorm1d,
    MeanOnlyBatchNorm2d,
    OnlineNorm,
    PropagationConv2d,
    PropagationLinear,
    ScaleShift,
    ScalingWeightNorm,
    UpdateRule,
    WeightDecay,
    WeightNormConv2d,
    WeightNormLinear,
)

#: Group norm divides the units into this many groups, or the largest number below that divides both.
GROUPS = 8
#: Strength of weight decay and radius of max norm, if nothing else is said.
STRENGTH, RADIUS = WeightDecay.STRENGTH, MaxNorm.RADIUS


@dataclass(frozen=True)
class Slot:
    """The place of one hidden layer in a network."""

    inputs: int  #: Number of features, or of channels, before the layer.
    units: int
    kernel_size: int | None = None  #: None if dense; else a convolution of this odd size that keeps the size.
    constant: float = 1e-4  #: What the cosines append to both vectors.
    first: bool = True  #: Whether it is the network's first hidden layer.
    bias: bool = True  #: Whether a layer that learns a bias of its own has it.

    def make(
        self, dense: Callable[..., nn.Module], conv: Callable[..., nn.Module], **options: Any
    ) -> nn.Module:
        """A dense or a convolutional layer of this slot's sizes."""
        if self.kernel_size is None:
            return dense(self.inputs, self.units, **options)
        return conv(self.inputs, self.units, self.kernel_size, padding=self.kernel_size // 2, **options)

    def plain(self, *, bias: bool) -> nn.Module:
        """The ordinary layer."""
        return self.make(nn.Linear, nn.Conv2d, bias=bias)

    def cosine(self, *, centered: bool = False) -> nn.Module:
        """The cosine layer."""
        return self.make(CosineLinear, CosineConv2d, centered=centered, constant=self.constant)

    def weight_norm(self, *, bias: bool, gain: float | Literal["learnable"]) -> nn.Module:
        """The layer with its weight vectors divided by their lengths."""
        return self.make(WeightNormLinear, WeightNormConv2d, bias=bias, gain=gain)

    @property
    def fan_in(self) -> int:
        """Numbers that one unit reads: its features, or the values in a window."""
        return self.inputs * (1 if self.kernel_size is None else self.kernel_size**2)

    @property
    def unit_dims(self) -> tuple[int, ...]:
        """The dimensions of the output that hold one example's units: all but the batch."""
        return (-1,) if self.kernel_size is None else (-3, -2, -1)


#: The modules of a hidden layer up to its activation.
Build = Callable[[Slot], list[nn.Module]]


@dataclass(frozen=True)
class Recipe:
    """One technique."""

    label: str  #: Its name in figures and tables.
    build: Build
    parameters: str | None = None  #: What a hidden unit learns in addition to its weights.
    inference: str | None = None  #: Which statistics of the training set replace the batch's at test time.
    rule: Callable[[nn.Module], UpdateRule] = UpdateRule  #: What it adds to the loss and does after updates.
    layers: str = ""  #: The classes that ``build`` uses, for the table of :func:`cosnorm.networks.mlp`.
    #: Learning rates at which the small networks of :func:`cosnorm.networks.mlp` and ``convnet`` learn
    #: scikit-learn's digits; None if there is no such network.
    rate: float | None = None
    conv_rate: float | None = None
    color: str = ""
    marker: str = ""
    output_layer: str | None = None  #: What it does to the output layer; None for nothing.
    settings: Mapping[str, float] = field(default_factory=dict)  #: Its numbers, for the record of a run.
    appends_constant: bool = False  #: Whether it uses the constant of the cosines.
    centers: bool = False  #: Whether it first subtracts the means of both vectors.
    activated: bool = False  #: Whether ``build`` includes the ReLU.
    standardized: bool = False  #: Whether the network's input must have mean 0 and variance 1.
    needs_batch: bool = False  #: Whether training fails on a batch of one example in a dense layer.
    needs_positions: bool = False  #: Whether it is defined for convolutions only.
    stackable: bool = True  #: Whether :func:`torch.func.vmap` can train several of its networks as one.
    biased: bool = False  #: Whether its hidden layers have a bias that can be left out.
    #: Builds the whole network, if this is not a technique in the networks of the paper, from the sizes of
    #: :func:`cosnorm.networks.convnet` and the seed.
    network: Callable[..., nn.Sequential] | None = None
    weights: str | None = None  #: How such a network's weights start.


def _plain(slot: Slot) -> list[nn.Module]:
    return [slot.plain(bias=slot.bias)]


def _batch(slot: Slot) -> list[nn.Module]:
    # The shift of batch normalization replaces the bias; a bias before it would cancel.
    norm = nn.BatchNorm1d if slot.kernel_size is None else nn.BatchNorm2d
    return [slot.plain(bias=False), norm(slot.units)]


def _shift(slot: Slot) -> nn.Module:
    return MeanOnlyBatchNorm1d(slot.units) if slot.kernel_size is None else MeanOnlyBatchNorm2d(slot.units)


def _layer(slot: Slot) -> list[nn.Module]:
    # One group is the whole layer: all channels and positions of an example, gain and shift by channel.
    whole = nn.LayerNorm(slot.units) if slot.kernel_size is None else nn.GroupNorm(1, slot.units)
    return [slot.plain(bias=False), whole]


def _layer_simple(detach: Literal["mean", "std", "both"] | None = None) -> Build:
    return lambda slot: [slot.plain(bias=False), LayerNormSimple(slot.unit_dims, detach=detach)]


def _instance(slot: Slot) -> list[nn.Module]:
    # A dense layer has no positions to take a mean over, so it stays plain.
    if slot.kernel_size is None:
        return _plain(slot)
    return [slot.plain(bias=False), nn.InstanceNorm2d(slot.units, affine=True)]


_RUNNING = "running averages, momentum 0.1"
_SCALE_AND_SHIFT = "scale from 1 and shift from 0"

#: Every technique by the name used in records, plots and on the command line. The colors of the paper's own
#: techniques are Okabe and Ito's palette, told apart with every common color blindness (its yellow is too
#: faint for lines); the others have Tol's muted colors and darker ones, near their family's.
TECHNIQUES: dict[str, Recipe] = {
    "none": Recipe(
        "none", _plain, "bias from 0", biased=True,
        layers="Linear", rate=0.3, conv_rate=0.1, color="#000000", marker="o",
    ),
    "cosine": Recipe(
        "cosine", lambda slot: [slot.cosine()], appends_constant=True,
        layers="CosineLinear", rate=3, conv_rate=3, color="#0072B2", marker="s",
    ),
    "centered": Recipe(
        "centered", lambda slot: [slot.cosine(centered=True)], appends_constant=True, centers=True,
        layers="CosineLinear, ``centered``", rate=3, conv_rate=3, color="#56B4E9", marker="D",
    ),
    "weight": Recipe(
        "weight norm", lambda slot: [slot.weight_norm(bias=slot.bias, gain=1.0)], "bias from 0", biased=True,
        layers="WeightNormLinear, gain 1", rate=0.3, conv_rate=0.3, color="#009E73", marker="v",
    ),
    "weight_learned": Recipe(
        "weight norm, learned", lambda slot: [slot.weight_norm(bias=slot.bias, gain="learnable")],
        "gain from the initial weights' length, bias from 0", biased=True,
        layers="WeightNormLinear, learned gain", rate=0.3, conv_rate=0.3, color="#44AA99", marker="<",
    ),
    "weight_decay": Recipe(
        "weight decay", _plain, "bias from 0", biased=True,
        rule=partial(WeightDecay, strength=STRENGTH), settings={"strength": STRENGTH},
        layers="Linear; rule WeightDecay", rate=0.3, conv_rate=0.1, color="#999933", marker="h",
    ),
    "max_norm": Recipe(
        "max norm", _plain, "bias from 0", biased=True,
        rule=partial(MaxNorm, radius=RADIUS), settings={"radius": RADIUS},
        output_layer="its weight vectors stay within the radius",
        layers="Linear; rule MaxNorm", rate=0.3, conv_rate=0.1, color="#E69F00", marker="P",
    ),
    "scaling": Recipe(
        "scaling", _plain, "bias from 0", rule=ScalingWeightNorm, biased=True,
        layers="Linear; rule ScalingWeightNorm", rate=0.3, conv_rate=0.03, color="#117733", marker=">",
    ),
    "batch": Recipe(
        "batch norm", _batch, _SCALE_AND_SHIFT, _RUNNING, needs_batch=True,
        layers="Linear, BatchNorm1d", rate=1, conv_rate=0.3, color="#D55E00", marker="^",
    ),
    "mean_only_batch": Recipe(
        "mean-only batch", lambda slot: [slot.weight_norm(bias=False, gain="learnable"), _shift(slot)],
        "gain from the initial weights' length, shift from 0", _RUNNING,
        layers="WeightNormLinear, learned gain, MeanOnlyBatchNorm1d",
        rate=0.3, conv_rate=0.3, color="#A03A13", marker="d",
    ),
    "cosine_mean_only": Recipe(
        "cosine, mean-only", lambda slot: [slot.cosine(), _shift(slot)], "shift from 0", _RUNNING,
        appends_constant=True,
        layers="CosineLinear, MeanOnlyBatchNorm1d", rate=0.3, conv_rate=0.05, color="#332288", marker="p",
    ),
    "cosine_affine": Recipe(
        "cosine, affine", lambda slot: [slot.cosine(), ScaleShift(slot.units, math.sqrt(slot.fan_in))],
        "scale from the square root of the number of inputs, shift from 0", appends_constant=True,
        layers="CosineLinear, ScaleShift", rate=0.3, conv_rate=0.1, color="#4A4E8C", marker=r"$\ast$",
    ),
    "early_batch": Recipe(
        "early batch norm", lambda slot: _batch(slot) if slot.first else _plain(slot),
        "first layer scale from 1 and shift from 0, others bias from 0", _RUNNING, needs_batch=True,
        layers="as ``batch`` in the first hidden layer, ``none`` in the others",
        rate=0.3, conv_rate=0.1, color="#CC6677", marker="*",
    ),
    "layer": Recipe(
        "layer norm", _layer, _SCALE_AND_SHIFT,
        layers="Linear, LayerNorm", rate=0.3, conv_rate=0.3, color="#CC79A7", marker="X",
    ),
    "layer_simple": Recipe(
        "layer norm, simple", _layer_simple(),
        layers="Linear, LayerNormSimple", rate=0.3, conv_rate=0.3, color="#AA4499", marker="x",
    ),
    "detach": Recipe(
        "layer norm, detached", _layer_simple("both"),
        layers="Linear, LayerNormSimple, mean and deviation detached",
        rate=0.1, conv_rate=0.2, color="#882255", marker="+",
    ),
    "detach_mean": Recipe(
        "mean detached", _layer_simple("mean"), layers="Linear, LayerNormSimple, mean detached",
        rate=0.1, conv_rate=0.5, color="#B5739D", marker="1",
    ),
    "detach_std": Recipe(
        "deviation detached", _layer_simple("std"), layers="Linear, LayerNormSimple, deviation detached",
        rate=0.1, conv_rate=0.5, color="#5E1A3E", marker="2",
    ),
    "adanorm": Recipe(
        "AdaNorm", lambda slot: [slot.plain(bias=False), AdaNorm(slot.unit_dims)],
        layers="Linear, AdaNorm", rate=0.3, conv_rate=0.3, color="#7B5EA7", marker="H",
    ),
    "group": Recipe(
        "group norm",
        lambda slot: [slot.plain(bias=False), nn.GroupNorm(math.gcd(slot.units, GROUPS), slot.units)],
        _SCALE_AND_SHIFT, settings={"groups": GROUPS},
        layers="Linear, GroupNorm", rate=0.3, conv_rate=0.3, color="#B8860B", marker="8",
    ),
    "instance": Recipe(
        "instance norm", _instance, _SCALE_AND_SHIFT, needs_positions=True,
        layers="Conv2d, InstanceNorm2d", conv_rate=0.3, color="#6B6B1A", marker="3",
    ),
    "propagation": Recipe(
        "propagation", lambda slot: [slot.make(PropagationLinear, PropagationConv2d)],
        "gain from 1 / 1.21, bias from 0", activated=True, standardized=True,
        layers="PropagationLinear, its ReLU included",
        rate=0.1, conv_rate=0.1, color="#3D6F8E", marker="|",
    ),
    "online": Recipe(
        "online norm", lambda slot: [slot.plain(bias=False), OnlineNorm(slot.units), LayerScaling()],
        _SCALE_AND_SHIFT, stackable=False,
        layers="Linear, OnlineNorm, LayerScaling", rate=0.3, conv_rate=0.1, color="#7A5230", marker="4",
    ),
}  # fmt: skip
