"""Cosine normalization as layers that take the place of ``nn.Linear`` and ``nn.Conv{1,2,3}d``.

Each subclasses the layer it replaces, so its weight has the same name, shape and initial values,
and checkpoints move across. Source: arXiv:1702.05870, Equations 3, 4 and 17.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm._kernels.checks import check_constant, reject_unknown
from cosnorm.functional import cosine_conv1d, cosine_conv2d, cosine_conv3d, cosine_linear

__all__ = ["CosineConv1d", "CosineConv2d", "CosineConv3d", "CosineLinear"]

Size: TypeAlias = int | tuple[int, ...]
Scale: TypeAlias = float | Literal["learnable"] | None


class _Cosine(nn.Module):
    # A base before the torch layer that it refines.
    weight: Tensor
    scale: nn.Parameter | float | None

    def _set_options(self, centered: bool, constant: float, scale: Scale) -> None:
        name = type(self).__name__
        check_constant(name, constant)
        self.centered = bool(centered)
        self.constant = float(constant)
        if isinstance(scale, str) and scale == "learnable":
            self.scale = nn.Parameter(self.weight.new_empty(()))
        elif scale is None:
            self.scale = None
        elif isinstance(scale, int | float) and not isinstance(scale, bool) and math.isfinite(scale):
            self.scale = float(scale)
        else:
            raise ValueError(f"{name}: scale must be None, a finite number or 'learnable', got {scale!r}")
        self._reset_scale()

    def _reset_scale(self) -> None:
        scale = self._parameters.get("scale")
        if scale is not None:
            nn.init.constant_(scale, math.sqrt(self.weight.shape[1:].numel()))

    def reset_parameters(self) -> None:
        """Draw the weight as the torch layer does, and set a learnable scale to its start."""
        super().reset_parameters()  # pyright: ignore[reportAttributeAccessIssue]
        self._reset_scale()

    def _scaled(self, cosines: Tensor) -> Tensor:
        if self.scale is None:
            return cosines
        if isinstance(self.scale, Tensor):
            return cosines * self.scale.to(cosines.dtype)
        return cosines * self.scale

    def extra_repr(self) -> str:
        """Sizes and options, as shown by ``print``."""
        parts = [part for part in super().extra_repr().split(", ") if part != "bias=False"]
        parts += [f"centered={self.centered}", f"constant={self.constant:g}"]
        if self.scale is not None:
            parts.append("scale=learnable" if isinstance(self.scale, Tensor) else f"scale={self.scale:g}")
        return ", ".join(parts)


class CosineLinear(_Cosine, nn.Linear):
    r"""Cosine of the input with each row of the weight (Luo et al. 2017, Equations 3 and 4).

    .. math:: y_j = s \, \frac{w_j \cdot x}{\lVert w_j \rVert \, \lVert x \rVert}

    With ``centered`` it is Pearson's correlation (Equation 17). See
    :func:`cosnorm.functional.cosine_linear` for ranges, zero vectors and half precision.

    Parameters
    ----------
    in_features, out_features
        As for :class:`torch.nn.Linear`.
    centered
        Subtract the mean of each vector first.
    constant
        If not 0, a component of this value is appended to the input and to each weight row, after
        centering. The paper uses 1e-4 and calls it the bias; there is no learned bias.
    scale
        Multiplies the output: None (bounded by 1), a number, or ``"learnable"``: one scalar
        parameter that starts at the square root of ``in_features``, where the output of random
        vectors has unit variance. A cosine layer that ends in a softmax needs one.
    device, dtype
        As for :class:`torch.nn.Linear`.

    Shape
    -----
    Input ``(*, in_features)``, output ``(*, out_features)``, ``weight`` ``(out_features, in_features)``.

    Examples
    --------
    >>> layer = CosineLinear(20, 30, constant=1e-4)
    >>> output = layer(torch.randn(128, 20))
    >>> output.shape, bool((output.abs() <= 1).all())
    (torch.Size([128, 30]), True)
    >>> layer.load_state_dict(nn.Linear(20, 30, bias=False).state_dict())
    <All keys matched successfully>
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        centered: bool = False,
        constant: float = 0.0,
        scale: Scale = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **unknown: Any,
    ) -> None:
        reject_unknown(type(self).__name__, unknown)
        nn.Linear.__init__(self, in_features, out_features, bias=False, device=device, dtype=dtype)
        self._set_options(centered, constant, scale)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(*, in_features)`` to ``(*, out_features)``."""
        cosines = cosine_linear(input, self.weight, centered=self.centered, constant=self.constant)
        return self._scaled(cosines)


class _CosineConv(_Cosine, nn.modules.conv._ConvNd):
    _plain: ClassVar[Any]
    _function: ClassVar[Callable[..., Tensor]]

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
        centered: bool = False,
        constant: float = 0.0,
        scale: Scale = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **unknown: Any,
    ) -> None:
        name = type(self).__name__
        reject_unknown(name, unknown)
        if not isinstance(padding_mode, str):
            raise ValueError(
                f"{name}: padding_mode must be a string such as 'zeros', got {padding_mode!r}; "
                f"a cosine takes no bias, so padding_mode stands where {self._plain.__name__} has bias"
            )
        self._plain.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            False, padding_mode, device, dtype,
        )  # fmt: skip
        self._set_options(centered, constant, scale)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, in_channels, *in)`` to ``(N, out_channels, *out)``, with or without ``N``."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        cosines = self._function(
            input, self.weight, self.stride, padding, self.dilation, self.groups,
            centered=self.centered, constant=self.constant,
        )  # fmt: skip
        return self._scaled(cosines)


class CosineConv2d(_CosineConv, nn.Conv2d):
    r"""Cosine of each filter with every patch of an image (Luo et al. 2017, Equation 3).

    .. math:: y_{o,p} = s \, \frac{w_o \cdot x_p}{\lVert w_o \rVert \, \lVert x_p \rVert}

    where :math:`x_p` is the patch at position :math:`p`: the channels of the filter's group times
    the kernel window, padding included. With ``centered`` it is Pearson's correlation (Equation 17).
    See :func:`cosnorm.functional.cosine_conv2d` for ranges, zero patches and half precision.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode
        As for :class:`torch.nn.Conv2d`. What the padding fills in counts towards a patch's length.
    centered
        Subtract the mean of each patch and each filter first.
    constant
        If not 0, a component of this value is appended to every patch and every filter, after
        centering. There is no learned bias.
    scale
        Multiplies the output: None (bounded by 1), a number, or ``"learnable"``: one scalar
        parameter that starts at the square root of a filter's number of components.
    device, dtype
        As for :class:`torch.nn.Conv2d`.

    Shape
    -----
    Input ``(N, in_channels, H, W)`` or without ``N``; output as for :class:`torch.nn.Conv2d`;
    ``weight`` ``(out_channels, in_channels / groups, *kernel_size)``.

    Examples
    --------
    >>> layer = CosineConv2d(3, 8, 3, padding=1)
    >>> layer(torch.randn(16, 3, 32, 32)).shape
    torch.Size([16, 8, 32, 32])
    """

    _plain = nn.Conv2d
    _function = staticmethod(cosine_conv2d)


class CosineConv1d(_CosineConv, nn.Conv1d):
    """Cosine of each filter with every patch of a signal ``(N, in_channels, L)``.

    Everything is as in :class:`CosineConv2d`, with one spatial dimension.

    Examples
    --------
    >>> CosineConv1d(3, 8, 5, stride=2)(torch.randn(16, 3, 32)).shape
    torch.Size([16, 8, 14])
    """

    _plain = nn.Conv1d
    _function = staticmethod(cosine_conv1d)


class CosineConv3d(_CosineConv, nn.Conv3d):
    """Cosine of each filter with every patch of a volume ``(N, in_channels, D, H, W)``.

    Everything is as in :class:`CosineConv2d`, with three spatial dimensions.

    Examples
    --------
    >>> CosineConv3d(3, 8, 3, padding="same")(torch.randn(2, 3, 6, 8, 8)).shape
    torch.Size([2, 8, 6, 8, 8])
    """

    _plain = nn.Conv3d
    _function = staticmethod(cosine_conv3d)
