"""A learned scale and shift for every feature: what batch norm ends with, and nothing else."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cosnorm._vectors import accumulation_dtype
from cosnorm.relatives._statistics import check_features, check_size

__all__ = ["ScaleShift"]


class ScaleShift(nn.Module):
    r"""A learned scale and shift for every feature (Ioffe & Szegedy 2015, the last step of Algorithm 1).

    .. math:: z = \gamma \odot y + \beta

    Luo et al. (2017, Section 2) say that cosine normalization needs neither before a ReLU; after a cosine
    layer this module tests that. The cosine of two random vectors of :math:`d` components has a standard
    deviation of about :math:`1 / \sqrt d`, so a scale that starts at :math:`\sqrt d` gives the next layer
    inputs of about the size that batch normalization would give it.

    Parameters
    ----------
    num_features
        Number of units or channels, the second dimension of the input.
    scale
        Where the scale of every feature starts.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight, bias
        Parameters of shape ``(num_features,)``: :math:`\gamma`, which starts at ``scale``, and
        :math:`\beta`, which starts at 0.

    Shape
    -----
    Input ``(N, num_features, *positions)``; output the same. Half precision is computed in float32.

    Raises
    ------
    TypeError
        If the input is not a floating-point tensor.
    ValueError
        If ``num_features`` is not a positive integer, ``scale`` is not a finite number, or the input has
        another shape.

    Examples
    --------
    >>> layer = ScaleShift(2)
    >>> layer(torch.tensor([[1.0, -1.0]])).detach()
    tensor([[ 1., -1.]])
    """

    def __init__(
        self,
        num_features: int,
        scale: float = 1.0,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = check_size("ScaleShift", "num_features", num_features)
        number = isinstance(scale, int | float) and not isinstance(scale, bool)
        if not number or not math.isfinite(scale):
            raise ValueError(f"ScaleShift: scale must be a finite number, got {scale!r}")
        self.scale = float(scale)
        self.weight = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to its first value and the shift to 0."""
        nn.init.constant_(self.weight, self.scale)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, num_features, *positions)`` to the same shape."""
        check_features("ScaleShift", input, self.num_features)
        values = input.to(accumulation_dtype(input.dtype))
        shape = (-1, *(1,) * (input.dim() - 2))
        scale, shift = (entry.to(values.dtype).view(shape) for entry in (self.weight, self.bias))
        return torch.addcmul(shift, values, scale).to(input.dtype)

    def extra_repr(self) -> str:
        """Size and first scale, as shown by ``print``."""
        return str(self.num_features) + (f", scale={self.scale:g}" if self.scale != 1 else "")
