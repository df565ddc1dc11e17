"""Normalization propagation: the mean and variance of a unit's output are computed, not measured.

Source: Arpit, Zhou, Kota and Govindaraju, *Normalization Propagation: A Parametric Technique for
Removing Internal Covariate Shift in Deep Networks*, arXiv:1603.01431.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm._kernels.vectors import accumulation_dtype
from cosnorm.layers import Size
from cosnorm.relatives._shared import Directional, DirectionConv, DirectionLinear

__all__ = ["PropagationConv1d", "PropagationConv2d", "PropagationConv3d", "PropagationLinear", "Standardize"]

#: Mean and standard deviation of ReLU(z) for a standard normal z.
MEAN = math.sqrt(1 / (2 * math.pi))
DEVIATION = math.sqrt((1 - 1 / math.pi) / 2)
#: Where the gain starts: by the authors' estimate the singular values of the Jacobian are then near 1.
GAIN = 1 / 1.21


class _Propagation(Directional):
    def _add_gain(self) -> None:
        self.gain = nn.Parameter(self.weight.new_empty(len(self.weight)))
        self._reset_gain_and_bias()

    def reset_parameters(self) -> None:
        """Draw the weight as the torch layer does; gain to 1/1.21, bias to 0."""
        super().reset_parameters()  # pyright: ignore[reportAttributeAccessIssue]
        self._reset_gain_and_bias()

    def _reset_gain_and_bias(self) -> None:
        nn.init.zeros_(self.bias)
        gain = self._parameters.get("gain")
        if gain is not None:
            nn.init.constant_(gain, GAIN)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer, its ReLU and the two constants."""
        return (F.relu(super().forward(input)) - MEAN) / DEVIATION


class PropagationLinear(_Propagation, DirectionLinear):
    r"""A linear layer with its ReLU, whose outputs have mean 0 and variance 1 if its inputs do.

    .. math::

        o_j = \frac{\operatorname{ReLU}(\gamma_j \, \hat w_j \cdot x + \beta_j) - \sqrt{1/2\pi}}
                   {\sqrt{(1 - 1/\pi)/2}}

    (Arpit et al. 2016). The ReLU is part of the layer: put none after it. The two constants are mean
    and standard deviation of the ReLU of a standard normal variable, which
    :math:`\hat w_j \cdot x` is if the input's components are independent, of mean 0 and variance 1, and
    many. So standardize the data before the first such layer (:class:`Standardize`). The outputs have
    mean 0 and variance 1 for :math:`\gamma = 1`, :math:`\beta = 0`. The parameter ``gain``, which is
    :math:`\gamma`, starts at 1/1.21, and ``bias``, which is :math:`\beta`, at 0. There are no statistics, so
    training and inference are the same. A zero row has direction 0, and its gradient is 0.

    Shape
    -----
    Input ``(*, in_features)``, output ``(*, out_features)``, ``weight`` ``(out_features, in_features)``,
    ``gain`` and ``bias`` ``(out_features,)``.

    Examples
    --------
    >>> layer = PropagationLinear(20, 30)
    >>> _ = layer.gain.data.fill_(1.0)
    >>> output = layer(torch.randn(10_000, 20))
    >>> bool(output.mean().abs() < 0.05), bool((output.var() - 1).abs() < 0.05)
    (True, True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, device=device, dtype=dtype)
        self._add_gain()


class _PropagationConv(_Propagation, DirectionConv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        plain: Any = super().__init__  # of nn.Conv1d, nn.Conv2d or nn.Conv3d
        plain(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            True, padding_mode, device, dtype,
        )  # fmt: skip
        self._add_gain()


class PropagationConv2d(_PropagationConv, nn.Conv2d):
    r"""A convolution with its ReLU, whose outputs have mean 0 and variance 1 if its inputs do.

    The same as :class:`PropagationLinear` for every patch, :math:`\hat w` being the whole filter
    divided by its length (the channels of its group times the kernel window). Zeros that pad an input
    are its mean, but have no variance: outputs at the border vary less.

    Arguments and shapes are those of :class:`torch.nn.Conv2d`, but there always is a bias. ``gain`` and
    ``bias`` have shape ``(out_channels,)``.

    Examples
    --------
    >>> PropagationConv2d(3, 8, 3, padding=1)(torch.randn(16, 3, 32, 32)).shape
    torch.Size([16, 8, 32, 32])
    """


class PropagationConv1d(_PropagationConv, nn.Conv1d):
    """As :class:`PropagationConv2d`, over a signal ``(N, in_channels, L)``."""


class PropagationConv3d(_PropagationConv, nn.Conv3d):
    """As :class:`PropagationConv2d`, over a volume ``(N, in_channels, D, H, W)``."""


class Standardize(nn.Module):
    r"""Subtracts each feature's mean and divides by one standard deviation, both of the training set.

    .. math:: y_i = \frac{x_i - \mu_i}{\sqrt{\frac1d \sum_k \sigma_k^2}}

    Normalization propagation needs such data. If each feature were divided by its own standard deviation,
    the few bright values of a rarely lit pixel would become enormous. So all are divided by one number, the
    root of their mean variance, and the variance is 1 on average over the features.
    Input and output are ``(*, *shape)``, where ``shape``, an integer or a tuple, is that of one example.
    Until :meth:`fit` is called the module returns its input unchanged.

    Examples
    --------
    >>> standardize = Standardize(2)
    >>> standardize.fit(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
    >>> standardize(torch.tensor([[0.0, 6.0]]))
    tensor([[-1.4142,  1.4142]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        shape: int | tuple[int, ...],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.register_buffer("mean", torch.zeros(self.shape, device=device, dtype=dtype))
        self.register_buffer("std", torch.ones((), device=device, dtype=dtype))

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> None:
        """Take the mean and standard deviation (with biased variance) from ``inputs``, ``(N, *shape)``.

        Data in which nothing varies is only centered.
        """
        self._check(inputs)
        examples = inputs.reshape(-1, *self.shape).to(accumulation_dtype(self.mean.dtype))
        if not len(examples):
            raise ValueError("Standardize: fit needs at least one example, got none")
        variance, mean = torch.var_mean(examples, 0, correction=0)
        if not (mean.isfinite().all() and variance.isfinite().all()):
            raise ValueError("Standardize: fit needs finite inputs; these hold NaN or infinite numbers")
        deviation = variance.mean().sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(deviation > 0, deviation, 1.0))

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(*, *shape)`` to the same shape."""
        self._check(input)
        dtype = accumulation_dtype(input.dtype)
        return ((input.to(dtype) - self.mean) / self.std).to(input.dtype)

    def _check(self, input: Tensor) -> None:
        if tuple(input.shape[input.dim() - len(self.shape) :]) != self.shape or input.dim() < len(self.shape):
            raise ValueError(
                f"Standardize: the last dimensions of input {tuple(input.shape)} must be {self.shape}"
            )

    def extra_repr(self) -> str:
        """The shape."""
        return str(self.shape)
