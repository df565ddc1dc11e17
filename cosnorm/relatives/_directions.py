"""The direction of each weight vector, and what the layers that work with directions share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm._arguments import check_channels, check_extent, check_tensors
from cosnorm._vectors import accumulation_dtype, power_of_two_above


def directions(weight: Tensor) -> Tensor:
    """Each vector ``weight[j]`` divided by its length; a zero vector has direction 0 and passes no gradient.

    ``(out, *any)`` in any floating dtype to the same shape in the dtype lengths are computed in
    (float32 for half precision). A power of two first brings the largest entry to between 1 and 2:
    it cancels, and keeps every square inside the range for all weights that the dtype can hold.
    """
    rows = weight.flatten(1).to(accumulation_dtype(weight.dtype))
    if rows.shape[1] == 0:
        return rows.view(weight.shape)
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


class DirectionLinear(nn.Linear):
    """A linear layer that uses its weight through :meth:`effective_weight`."""

    def effective_weight(self) -> Tensor:
        """The matrix the input is multiplied by, shaped and typed as ``weight``."""
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(*, in_features)`` to ``(*, out_features)``."""
        return self._transform(input, self.effective_weight(), self.bias)

    def _transform(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        name = type(self).__name__
        check_tensors(name, input, weight)
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            raise ValueError(
                f"{name}: the last dimension of input {tuple(input.shape)} must equal in_features: "
                f"{self.in_features}"
            )
        return F.linear(input, weight, bias)


class DirectionConv(nn.modules.conv._ConvNd):
    """A convolution that uses its filters through :meth:`effective_weight`; stands before ``nn.ConvNd``."""

    def effective_weight(self) -> Tensor:
        """The filters the patches are multiplied by, shaped and typed as ``weight``."""
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, in_channels, *in)`` to ``(N, out_channels, *out)``, with or without ``N``."""
        return self._transform(input, self.effective_weight(), self.bias)

    def _transform(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        name, dims = type(self).__name__, weight.dim() - 2
        check_tensors(name, input, weight)
        check_channels(name, dims, input, weight, self.groups)
        if not isinstance(self.padding, str):
            batch = input if input.dim() == dims + 2 else input.unsqueeze(0)
            check_extent(name, batch, self.kernel_size, self.padding, self.dilation)
        convolve: Any = self._conv_forward
        return convolve(input, weight, bias)
