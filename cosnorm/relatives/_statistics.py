"""What the layers that normalize by a mean and a deviation share: their checks and their one computation."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from cosnorm._arguments import FLOATING
from cosnorm._vectors import HALF, accumulation_dtype, reciprocal_root


def check_number(name: str, role: str, value: object, least: float, most: float = math.inf) -> float:
    """A finite number between two others, both included; a message that names the range otherwise."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name}: {role} must be a finite number, got {value!r}")
    number = float(value)
    if not least <= number <= most:
        bounds = f"at least {least:g}" if math.isinf(most) else f"between {least:g} and {most:g}"
        raise ValueError(f"{name}: {role} must be {bounds}, got {value!r}")
    return number


def check_size(name: str, role: str, value: object) -> int:
    """A positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {role} must be a positive integer, got {value!r}")
    return value


def check_floating(name: str, input: object) -> None:
    """Refuse what is no floating-point tensor."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}: the input must be a torch.Tensor, got {type(input).__name__}")
    if input.dtype not in FLOATING:
        raise TypeError(
            f"{name}: the input must be float16, bfloat16, float32 or float64, got {input.dtype}; "
            "convert it first, for example input.float()"
        )


def check_features(name: str, input: object, features: int, dims: tuple[int, ...] | None = None) -> None:
    """Refuse an input that is not ``(N, features, *positions)``, with one of ``dims`` dimensions if given."""
    check_floating(name, input)
    assert isinstance(input, Tensor)
    expected = f"(N, {features})" if dims == (2,) else f"(N, {features}, ...)"
    if input.dim() < 2 or (dims is not None and input.dim() not in dims) or input.shape[1] != features:
        wanted = "" if dims is None else f" with {' or '.join(map(str, dims))} dimensions"
        raise ValueError(
            f"{name}: the input must have shape {expected}{wanted}, got {tuple(input.shape)}; "
            "num_features is the number of units or channels, the second dimension"
        )


def standardize(
    input: Tensor,
    dim: tuple[int, ...],
    eps: float,
    *,
    unbiased: bool = False,
    detach_mean: bool = False,
    detach_std: bool = False,
) -> Tensor:
    """``(x - mean) / sqrt(variance + eps)`` over ``dim``, in float32 for half precision.

    The first component goes before the mean does. A constant vector then gives exact zeros, with ``eps``
    0 as well, and a mean far above the spread costs no digits. It is detached because the result does not
    depend on it.
    """
    values = input.to(accumulation_dtype(input.dtype))
    axes = {d % input.dim() for d in dim}
    first = tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(input.dim()))
    values = values - values.detach()[first]
    mean = values.mean(dim, keepdim=True)
    centered = values - (mean.detach() if detach_mean else mean)
    variance = centered.square().mean(dim, keepdim=True)
    if unbiased:
        count = math.prod(input.shape[axis] for axis in axes)
        variance = variance * (count / (count - 1))
    inverse = reciprocal_root(variance + eps)
    return centered * (inverse.detach() if detach_std else inverse)


class FloatStatistics(nn.Module):
    """A module whose statistics stay in float32 when it is converted to half precision.

    A running average that moves by a thousandth of the distance does not move at all in bfloat16.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        for name, buffer in self._buffers.items():
            if buffer is not None and buffer.dtype in HALF:
                self._buffers[name] = buffer.to(torch.float32)
        return self
