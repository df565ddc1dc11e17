"""What is done to a layer's weights, inputs or circumstances, and where its output is then looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor

#: The unit, example and feature that are changed alone: neither the first nor the last.
PLACE = 1

View = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """Everything that a layer's output depends on besides its other parameters.

    Attributes
    ----------
    weight
        Of the layer, ``(units, features, *kernel)``.
    dataset
        What the statistics of inference are taken from, ``(n, features, *positions)``.
    batch
        The inputs, ``(B, features, *positions)``.
    training
        The mode of the layer.
    """

    weight: Tensor
    dataset: Tensor
    batch: Tensor
    training: bool


def whole(output: Tensor) -> Tensor:
    """All of an output."""
    return output


@dataclass(frozen=True)
class Changed:
    """A transformed setting and what to compare its output with.

    Attributes
    ----------
    setting
        The transformed one.
    seen
        Which part of the output afterwards is compared.
    same
        What that part is, in terms of the output before, if the layer ignores the transformation.
    along
        What it is if the output takes up the factor exactly; ``None`` where there is no factor.
    """

    setting: Setting
    seen: View = whole
    same: View = whole
    along: View | None = None


@dataclass(frozen=True)
class Transformation:
    """One way to change a setting.

    Attributes
    ----------
    key, label
        The name in code and in figures.
    of
        What it changes: the weights, the inputs, or neither.
    amount
        Whether it multiplies by a positive factor, adds a number, or has no size.
    apply
        From a setting, a size and a generator for what is drawn.
    """

    key: str
    label: str
    of: Literal["weights", "inputs", "circumstances"]
    amount: Literal["factor", "number", "none"]
    apply: Callable[[Setting, float, Generator], Changed]


def _scaled(values: Tensor, factor: float, dim: int) -> Tensor:
    """``values`` with one slice of dimension ``dim`` multiplied."""
    values = values.clone()
    values.select(dim, PLACE).mul_(factor)
    return values


def _shifted(values: Tensor, number: float, dim: int) -> Tensor:
    """``values`` with a number added to one slice of dimension ``dim``."""
    values = values.clone()
    values.select(dim, PLACE).add_(number)
    return values


def _row_scale(setting: Setting, factor: float, _: Generator) -> Changed:
    weight = _scaled(setting.weight, factor, 0)
    return Changed(replace(setting, weight=weight), along=lambda y: _scaled(y, factor, 1))


def _row_shift(setting: Setting, number: float, _: Generator) -> Changed:
    return Changed(replace(setting, weight=_shifted(setting.weight, number, 0)))


def _matrix_scale(setting: Setting, factor: float, _: Generator) -> Changed:
    return Changed(replace(setting, weight=setting.weight * factor), along=lambda y: y * factor)


def _matrix_shift(setting: Setting, number: float, _: Generator) -> Changed:
    return Changed(replace(setting, weight=setting.weight + number))


def _matrix_vector(setting: Setting, number: float, draw: Generator) -> Changed:
    vector = torch.randn(setting.weight.shape[1:], generator=draw, dtype=setting.weight.dtype)
    return Changed(replace(setting, weight=setting.weight + number * vector))


def _example_scale(setting: Setting, factor: float, _: Generator) -> Changed:
    batch = _scaled(setting.batch, factor, 0)
    return Changed(replace(setting, batch=batch), along=lambda y: _scaled(y, factor, 0))


def _example_shift(setting: Setting, number: float, _: Generator) -> Changed:
    return Changed(replace(setting, batch=_shifted(setting.batch, number, 0)))


def _batch_scale(setting: Setting, factor: float, _: Generator) -> Changed:
    return Changed(replace(setting, batch=setting.batch * factor), along=lambda y: y * factor)


def _batch_shift(setting: Setting, number: float, _: Generator) -> Changed:
    return Changed(replace(setting, batch=setting.batch + number))


def _feature_scale(setting: Setting, factor: float, _: Generator) -> Changed:
    return Changed(replace(setting, batch=_scaled(setting.batch, factor, 1)))


def _feature_shift(setting: Setting, number: float, _: Generator) -> Changed:
    return Changed(replace(setting, batch=_shifted(setting.batch, number, 1)))


def _dataset_scale(setting: Setting, factor: float, _: Generator) -> Changed:
    changed = replace(setting, dataset=setting.dataset * factor, batch=setting.batch * factor)
    return Changed(changed, along=lambda y: y * factor)


def _dataset_shift(setting: Setting, number: float, _: Generator) -> Changed:
    return Changed(replace(setting, dataset=setting.dataset + number, batch=setting.batch + number))


def _order(setting: Setting, _: float, draw: Generator) -> Changed:
    # A rotation moves every example, which a random order need not.
    by = int(torch.randint(1, len(setting.batch), (), generator=draw))
    return Changed(replace(setting, batch=setting.batch.roll(by, 0)), same=lambda y: y.roll(by, 0))


def _company(setting: Setting, _: float, draw: Generator) -> Changed:
    # The example that is kept is the last, so that those replaced came before it in a stream.
    batch = torch.randn(setting.batch.shape, generator=draw, dtype=setting.batch.dtype)
    batch[-1] = setting.batch[-1]
    return Changed(replace(setting, batch=batch), seen=lambda y: y[-1], same=lambda y: y[-1])


def _mode(setting: Setting, _: float, __: Generator) -> Changed:
    return Changed(replace(setting, training=not setting.training))


#: In the order of the matrix's columns. In the labels, a and c are any positive factor and any number.
TRANSFORMATIONS: tuple[Transformation, ...] = (
    Transformation("row_scale", "one row times a", "weights", "factor", _row_scale),
    Transformation("row_shift", "one row plus c", "weights", "number", _row_shift),
    Transformation("matrix_scale", "all rows times a", "weights", "factor", _matrix_scale),
    Transformation("matrix_shift", "all rows plus c", "weights", "number", _matrix_shift),
    Transformation("matrix_vector", "all rows plus one vector", "weights", "number", _matrix_vector),
    Transformation("example_scale", "one example times a", "inputs", "factor", _example_scale),
    Transformation("example_shift", "one example plus c", "inputs", "number", _example_shift),
    Transformation("batch_scale", "batch times a", "inputs", "factor", _batch_scale),
    Transformation("batch_shift", "batch plus c", "inputs", "number", _batch_shift),
    Transformation("feature_scale", "one feature times a", "inputs", "factor", _feature_scale),
    Transformation("feature_shift", "one feature plus c", "inputs", "number", _feature_shift),
    Transformation("dataset_scale", "data set times a", "inputs", "factor", _dataset_scale),
    Transformation("dataset_shift", "data set plus c", "inputs", "number", _dataset_shift),
    Transformation("order", "order of examples", "circumstances", "none", _order),
    Transformation("company", "other examples", "circumstances", "none", _company),
    Transformation("mode", "training or inference", "circumstances", "none", _mode),
)
