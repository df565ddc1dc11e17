"""What several relatives share: directions of weight vectors, standardization, and checks of arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm._kernels.checks import check_channels, check_extent, check_floating, check_tensors
from cosnorm._kernels.vectors import HALF, accumulation_dtype, power_of_two_above, reciprocal_root


def directions(weight: Tensor) -> Tensor:
    """Each vector ``weight[j]`` divided by its length; a zero vector has direction 0 and passes no gradient.

    The result is float32 for half precision.
    """
    rows = weight.flatten(1).to(accumulation_dtype(weight.dtype))
    if rows.shape[1] == 0:
        return rows.view(weight.shape)
    # A power of two brings the largest entry to between 1 and 2: it cancels, and keeps squares in range.
    with torch.no_grad():
        largest = rows.abs().amax(1, keepdim=True)
        # Half of it, since the power of two above the very largest numbers is infinite.
        unit = power_of_two_above(largest.clamp_min(4 * torch.finfo(rows.dtype).tiny) / 2)
    scaled = rows / unit
    # Not vector_norm: its second derivative at zero is NaN.
    squares = scaled.square().sum(1, keepdim=True)
    zero = largest == 0
    lengths = squares.masked_fill(zero, 1.0).sqrt()
    return (scaled / lengths).masked_fill(zero, 0.0).view(weight.shape)


class Directional(nn.Module):
    """Multiplies by ``gain`` times the directions of its weight vectors; a base before the torch layer."""

    weight: Tensor
    bias: Any
    gain: nn.Parameter | float

    def effective_weight(self) -> Tensor:
        """Gain times direction (Equation 13), shaped and typed as ``weight``."""
        unit, gain = directions(self.weight), self.gain
        if isinstance(gain, Tensor):
            gain = gain.to(unit.dtype).view(-1, *[1] * (unit.dim() - 1))
        return (unit * gain).to(self.weight.dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Map an input as the torch layer does, with the effective weight."""
        return self._transform(input, self.effective_weight(), self.bias)

    def _transform(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError


class DirectionLinear(Directional, nn.Linear):
    def _transform(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        name = type(self).__name__
        check_tensors(name, input, weight)
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            raise ValueError(
                f"{name}: the last dimension of input {tuple(input.shape)} must equal in_features: "
                f"{self.in_features}"
            )
        return F.linear(input, weight, bias)


class DirectionConv(Directional, nn.modules.conv._ConvNd):
    def _transform(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        name, dims = type(self).__name__, weight.dim() - 2
        check_tensors(name, input, weight)
        check_channels(name, dims, input, weight, self.groups)
        if not isinstance(self.padding, str):
            batch = input if input.dim() == dims + 2 else input.unsqueeze(0)
            check_extent(name, batch, self.kernel_size, self.padding, self.dilation)
        convolve: Any = self._conv_forward
        return convolve(input, weight, bias)


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
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {role} must be a positive integer, got {value!r}")
    return value


def check_features(name: str, input: object, features: int, dims: tuple[int, ...] | None = None) -> None:
    """Refuse an input that is not ``(N, features, *positions)``, with one of ``dims`` dimensions if given."""
    check_floating(name, "the input", input)
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
