"""Weight normalization: each weight vector is replaced by a length of its own times its direction.

Source: Salimans and Kingma, *Weight Normalization: A Simple Reparameterization to Accelerate
Training of Deep Neural Networks*, arXiv:1602.07868; Equations 13 and 14 of Luo et al.,
arXiv:1702.05870.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from cosnorm._kernels.autograd import is_ordinary
from cosnorm._kernels.vectors import HALF, accumulation_dtype
from cosnorm.layers import Size
from cosnorm.relatives._shared import Directional, DirectionConv, DirectionLinear, directions

__all__ = ["WeightNormConv1d", "WeightNormConv2d", "WeightNormConv3d", "WeightNormLinear"]

Gain: TypeAlias = float | Literal["learnable"]

#: Row lengths by which outputs may be divided afterwards: with inputs of lengths from 1e-18 to 1e18, which
#: the contract names, products with such rows neither overflow nor lose digits in float32.
MODERATE = (2.0**-40, 2.0**40)


class _WeightNorm(Directional):
    def _set_gain(self, gain: Gain) -> None:
        if isinstance(gain, str) and gain == "learnable":
            self.gain = nn.Parameter(self.weight.new_empty(len(self.weight)))
            self.reset_gain()
        elif isinstance(gain, int | float) and not isinstance(gain, bool) and math.isfinite(gain):
            self.gain = float(gain)
        else:
            name = type(self).__name__
            raise ValueError(f"{name}: gain must be a finite number or 'learnable', got {gain!r}")

    def reset_parameters(self) -> None:
        """Draw weight and bias as the torch layer does, and set a learnable gain to its start."""
        super().reset_parameters()  # pyright: ignore[reportAttributeAccessIssue]
        self.reset_gain()

    @torch.no_grad()
    def reset_gain(self) -> None:
        """Set a learnable gain to the length of its weight vector, so that the layer is the plain one."""
        gain = self._parameters.get("gain")
        if gain is not None:
            rows = self.weight.flatten(1)
            gain.copy_(torch.linalg.vector_norm(rows, dim=1, dtype=accumulation_dtype(rows.dtype)))

    @torch.no_grad()
    def initialize(self, input: Tensor) -> Tensor:
        r"""Set gain and bias so that the outputs on this batch have mean 0 and variance 1.

        With :math:`t = \hat w \cdot x`, :math:`g = 1/\sigma[t]` and :math:`b = -\mu[t]/\sigma[t]`
        (Equation 6 of Salimans and Kingma); mean and biased variance over the examples and, in a
        convolution, the positions. As in their code nothing is added to the variance. A unit whose
        output varies by no more than rounding gets gain 1 and mean 0. Returns the new outputs on the
        batch, with which the next layer can be initialized.

        Examples
        --------
        >>> layer = WeightNormLinear(20, 30, gain="learnable")
        >>> output = layer.initialize(torch.randn(128, 20))
        >>> bool((output.var(0, correction=0) - 1).abs().max() < 1e-4)
        True
        """
        name = type(self).__name__
        if not isinstance(self.gain, Tensor) or self.bias is None:
            raise ValueError(f"{name}: initialize needs gain='learnable' and bias=True")
        output = self._transform(input, directions(self.weight).to(self.weight.dtype), None)
        units = self._per_unit(output.to(accumulation_dtype(output.dtype)))
        if len(units) < 2:
            raise ValueError(f"{name}: initialize needs a batch of at least two, got {tuple(input.shape)}")
        deviation, mean = torch.std_mean(units, 0, correction=0)
        rounding = 8 * torch.finfo(output.dtype).eps * units.abs().amax(0)
        gain = torch.where(deviation > rounding, 1 / deviation, 1.0)
        self.gain.copy_(gain)
        self.bias.copy_(-gain * mean)
        return self(input)

    def _per_unit(self, output: Tensor) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Sizes and options, as shown by ``print``."""
        gain = "learnable" if isinstance(self.gain, Tensor) else f"{self.gain:g}"
        return f"{super().extra_repr()}, gain={gain}"


class WeightNormLinear(_WeightNorm, DirectionLinear):
    r"""A linear layer with normalized weight vectors (Luo et al. 2017, Equations 13 and 14).

    .. math:: y_j = \frac{g_j}{\lVert w_j \rVert} \, w_j \cdot x + b_j

    Luo et al. fix :math:`g = 1`; Salimans and Kingma learn one :math:`g_j` per unit. With
    :math:`g = 1 / \lVert x \rVert`, different for each example, it would be the cosine.

    A zero row has direction 0: the output is the bias, and the row's gradient is 0 (torch's own
    :func:`torch.nn.utils.parametrizations.weight_norm` gives NaN there, and has no fixed gain).
    All other lengths are fine if the dtype can hold the entries.

    Parameters
    ----------
    in_features, out_features, bias
        As for :class:`torch.nn.Linear`.
    gain
        :math:`g`: a number, the same for all units, or ``"learnable"``: the parameter ``gain``, which
        starts at the length of each row, so that the layer computes what the plain one does (their
        code starts at 1 and relies on :meth:`initialize`). Call :meth:`reset_gain` after the
        weights were redrawn or loaded from a plain layer.

    Shape
    -----
    Input ``(*, in_features)``, output ``(*, out_features)``, ``weight`` ``(out_features, in_features)``,
    ``bias`` and a learnable ``gain`` ``(out_features,)``.

    Examples
    --------
    >>> layer = WeightNormLinear(20, 30)
    >>> x = torch.randn(128, 20)
    >>> bool(((layer(x) - layer.bias).abs() <= x.norm(dim=1, keepdim=True)).all())
    True
    >>> plain = nn.Linear(20, 30)
    >>> learned = WeightNormLinear(20, 30, gain="learnable")
    >>> learned.load_state_dict(plain.state_dict(), strict=False)
    _IncompatibleKeys(missing_keys=['gain'], unexpected_keys=[])
    >>> learned.reset_gain()
    >>> torch.allclose(learned(x), plain(x), atol=1e-5)
    True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        gain: Gain = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device=device, dtype=dtype)
        self._set_gain(gain)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(*, in_features)`` to ``(*, out_features)``."""
        lengths = moderate_lengths(input, self.weight)
        if lengths is None:
            return super().forward(input)
        output = self._transform(input, self.weight, None)
        factors = self.gain / lengths
        return output * factors if self.bias is None else torch.addcmul(self.bias, output, factors)

    def _per_unit(self, output: Tensor) -> Tensor:
        return output.reshape(-1, self.out_features)


def moderate_lengths(input: Tensor, weight: Tensor) -> Tensor | None:
    """Lengths of the rows, ``(units,)``, if the outputs may be divided by them instead of the rows.

    That is cheaper, because a minibatch has fewer outputs than the layer has weights. None if a row is zero
    or its length extreme, in half precision, under autocast, on other devices (where finding out costs more
    than it saves), and while something traces or transforms.
    """
    ordinary = input.device.type == weight.device.type == "cpu" and input.dtype not in HALF
    cast = input.dtype != torch.float64 and torch.is_autocast_enabled("cpu")  # autocast leaves float64 alone
    if not ordinary or cast or not is_ordinary(input, weight) or not weight.numel():
        return None
    lengths = torch.linalg.vector_norm(weight, dim=1)
    return lengths if moderate(lengths) else None


def moderate(lengths: Tensor) -> bool:
    """Whether all lengths are in :data:`MODERATE`; there must be at least one."""
    shortest, longest = lengths.detach().aminmax()
    return bool(shortest >= MODERATE[0]) and bool(longest <= MODERATE[1])


class _WeightNormConv(_WeightNorm, DirectionConv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        gain: Gain = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        plain: Any = super().__init__  # of nn.Conv1d, nn.Conv2d or nn.Conv3d
        plain(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            bias, padding_mode, device, dtype,
        )  # fmt: skip
        self._set_gain(gain)

    def _per_unit(self, output: Tensor) -> Tensor:
        channel = -len(self.kernel_size) - 1
        return output.movedim(channel, -1).reshape(-1, self.out_channels)


class WeightNormConv2d(_WeightNormConv, nn.Conv2d):
    r"""A convolution with normalized filters (Luo et al. 2017, Equations 13 and 14).

    .. math:: y_{o,p} = \frac{g_o}{\lVert w_o \rVert} \, w_o \cdot x_p + b_o

    where :math:`x_p` is the patch at position :math:`p`, and the length is that of the whole filter:
    the channels of its group times the kernel window. ``gain`` is as in :class:`WeightNormLinear`, one per
    filter, ``(out_channels,)``, if learnable. Other arguments and shapes are those of
    :class:`torch.nn.Conv2d`.

    Examples
    --------
    >>> layer = WeightNormConv2d(3, 8, 3, padding=1, gain="learnable")
    >>> layer(torch.randn(16, 3, 32, 32)).shape, layer.gain.shape
    (torch.Size([16, 8, 32, 32]), torch.Size([8]))
    """


class WeightNormConv1d(_WeightNormConv, nn.Conv1d):
    """As :class:`WeightNormConv2d`, over a signal ``(N, in_channels, L)``."""


class WeightNormConv3d(_WeightNormConv, nn.Conv3d):
    """As :class:`WeightNormConv2d`, over a volume ``(N, in_channels, D, H, W)``."""
