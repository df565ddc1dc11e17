"""Cosine normalization as pure functions: the cosine of an input with each row or filter of a weight.

Source: Luo, Zhan, Wang, Yang, *Cosine Normalization: Using Cosine Similarity Instead of Dot
Product in Neural Networks*, arXiv:1702.05870. The straightforward version is

>>> def straightforward(input, weight, centered=False, constant=0.0):
...     x, w = (v - v.mean(-1, keepdim=True) if centered else v for v in (input, weight))
...     x, w = (torch.nn.functional.pad(v, (0, 1), value=constant) for v in (x, w))
...     return torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(w).T
>>> x, w = torch.randn(128, 20), torch.randn(30, 20)
>>> torch.allclose(cosine_linear(x, w, constant=0.1), straightforward(x, w, constant=0.1), atol=1e-6)
True

and a convolution does the same with each patch. Everything else, in ``cosnorm._kernels``, exists for the
range of float16, memory, in-place activations after the layer, ``torch.compile``, the transforms of
``torch.func``, and exactness at zero vectors and large means. The derivatives are written out (Equations 11
and 12; chapter 3 of the book derives them), so only the inputs, the cosines and two sets of lengths are kept
for the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cosnorm._kernels.autograd import OnceDifferentiableCosine, apply
from cosnorm._kernels.checks import (
    autocasts,
    check_channels,
    check_constant,
    check_extent,
    check_sparse,
    check_tensors,
    per_dimension,
    reject_unknown,
    resolve_padding,
)
from cosnorm._kernels.convolution import ConvolutionCosine
from cosnorm._kernels.linear import LinearCosine, SparseCosine
from cosnorm._kernels.windows import Geometry

__all__ = ["cosine_conv1d", "cosine_conv2d", "cosine_conv3d", "cosine_linear"]


def cosine_linear(
    input: Tensor, weight: Tensor, *, centered: bool = False, constant: float = 0.0, **unknown: object
) -> Tensor:
    r"""Cosine of the angle between every input row and every weight row (Equations 3, 4 and 8).

    .. math:: y_{j} = \frac{w_j \cdot x}{\lVert w_j \rVert \, \lVert x \rVert}

    With ``centered`` it is Pearson's correlation (Equation 17): the mean of :math:`x` and of each
    :math:`w_j` over the last dimension is subtracted first. With a ``constant`` :math:`\kappa` in addition,

    .. math:: y_j = \frac{\sum_i (w_{ji} - \bar w_j)(x_i - \bar x) + \kappa^2}
        {\sqrt{\lVert w_j - \bar w_j \rVert^2 + \kappa^2} \, \sqrt{\lVert x - \bar x \rVert^2 + \kappa^2}}

    The output lies in [-1, 1] in every dtype. It does not change when a row of either argument is
    multiplied by a positive number, for lengths from 1e-18 to 1e18 in float32 and from 1e-150 to
    1e150 in float64. The cosine with a zero vector (when centered: with a constant one) is defined
    as 0, with zero gradient. Outside the range no wrong cosine is returned: a length below about
    1e-19 in float32 (its square underflows) counts as zero, one above about 1e19 gives NaN.
    :func:`torch.nn.functional.normalize` differs at zero: its gradient there is about 1e12.

    Parameters
    ----------
    input
        Shape ``(*, in_features)``, of dtype float16, bfloat16, float32 or float64. Or a matrix in layout
        :data:`torch.sparse_csr` of float32 or float64, which is not made dense and gets no gradient;
        the weight's is dense (the layers of ``cosnorm.training.sparse`` train without that).
    weight
        Shape ``(out_features, in_features)``, same dtype and device.
    centered
        Subtract the mean of each vector first: Pearson's correlation.
    constant
        If not 0, one more component of this value is appended to every vector of both arguments. The
        paper calls it the bias and uses 1e-4 to keep clear of zero vectors. With ``centered`` it is
        appended after the mean was subtracted and is no part of the mean. So shifts are ignored for
        every constant, and as the constant goes to 0 the output tends to Pearson's correlation.

    Returns
    -------
    Tensor
        Shape ``(*, out_features)``, dtype of ``input``. In half precision the lengths and sums of
        lengths are computed in float32. Under autocast the arguments are cast as for
        :func:`torch.nn.functional.linear`.

    Examples
    --------
    >>> x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    >>> w = torch.tensor([[30.0, 40.0], [-4.0, 3.0]])
    >>> cosine_linear(x, w).round(decimals=4)
    tensor([[1., 0.],
            [0., 0.]])
    """
    name = "cosine_linear"
    reject_unknown(name, unknown)
    check_tensors(name, input, weight)
    check_constant(name, constant)
    if weight.dim() != 2:
        raise ValueError(
            f"{name}: weight must have shape (out_features, in_features), got {tuple(weight.shape)}"
        )
    if input.dim() == 0 or input.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{name}: the last dimension of input {tuple(input.shape)} must equal in_features of "
            f"weight {tuple(weight.shape)}: {weight.shape[1]}"
        )
    input, weight = _autocast(name, input, weight)
    if input.layout == torch.sparse_csr:
        check_sparse(name, input)
        return OnceDifferentiableCosine.apply(input, weight, SparseCosine(bool(centered), float(constant)))
    rows = input if input.dim() == 2 else input.reshape(-1, weight.shape[1])
    cosines = apply(rows, weight, LinearCosine(bool(centered), float(constant)))
    return cosines if input.dim() == 2 else cosines.view(*input.shape[:-1], len(weight))


def cosine_conv1d(
    input: Tensor,
    weight: Tensor,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    centered: bool = False,
    constant: float = 0.0,
    **unknown: object,
) -> Tensor:
    """Cosine of every filter with every patch of a signal ``(N, C, L)`` or ``(C, L)``.

    Everything is as in :func:`cosine_conv2d`, with one spatial dimension.

    Examples
    --------
    >>> cosine_conv1d(torch.ones(1, 2, 5), torch.ones(3, 2, 3)).shape
    torch.Size([1, 3, 3])
    """
    return _cosine_convolution(
        1, input, weight, stride, padding, dilation, groups, centered, constant, unknown
    )


def cosine_conv2d(
    input: Tensor,
    weight: Tensor,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    centered: bool = False,
    constant: float = 0.0,
    **unknown: object,
) -> Tensor:
    r"""Cosine of every filter with every patch of an image (Equation 3 applied to receptive fields).

    .. math:: y_{o,p} = \frac{\sum_i w_{o,i} \, x_{p,i}}
                             {\lVert w_o \rVert \, \lVert x_p \rVert}

    where :math:`x_p` is the patch under the window at position :math:`p`: the channels of the
    filter's group times the kernel window, padding included as zeros. With ``centered`` the means
    are taken over that same patch and over the filter. Bounds, ranges, zero patches and half
    precision are as in :func:`cosine_linear`; no copy of the patches is made.

    Parameters
    ----------
    input
        Shape ``(N, C, H, W)`` or ``(C, H, W)``, floating point; any memory format.
    weight
        Shape ``(out_channels, C / groups, kH, kW)``, same dtype and device.
    stride, padding, dilation, groups
        As in :func:`torch.nn.functional.conv2d`; ``padding`` may be ``"same"`` or ``"valid"``.
    centered
        Subtract the mean of each patch and each filter first: Pearson's correlation.
    constant
        If not 0, one more component of this value is appended to every patch and every filter; with
        ``centered``, after their means were subtracted.

    Returns
    -------
    Tensor
        Shape ``(N, out_channels, H_out, W_out)`` as for :func:`torch.nn.functional.conv2d`, or
        without ``N``.

    Examples
    --------
    >>> image = torch.arange(16.0).view(1, 1, 4, 4)
    >>> cosine_conv2d(image, torch.ones(1, 1, 3, 3)).round(decimals=3)
    tensor([[[[0.8300, 0.8720],
              [0.9370, 0.9480]]]])
    """
    return _cosine_convolution(
        2, input, weight, stride, padding, dilation, groups, centered, constant, unknown
    )


def cosine_conv3d(
    input: Tensor,
    weight: Tensor,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    centered: bool = False,
    constant: float = 0.0,
    **unknown: object,
) -> Tensor:
    """Cosine of every filter with every patch of a volume ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Everything is as in :func:`cosine_conv2d`, with three spatial dimensions.

    Examples
    --------
    >>> cosine_conv3d(torch.ones(1, 2, 5, 5, 5), torch.ones(3, 2, 3, 3, 3), padding=1).shape
    torch.Size([1, 3, 5, 5, 5])
    """
    return _cosine_convolution(
        3, input, weight, stride, padding, dilation, groups, centered, constant, unknown
    )


def _cosine_convolution(
    dims: int,
    input: Tensor,
    weight: Tensor,
    stride: int | Sequence[int],
    padding: int | Sequence[int] | str,
    dilation: int | Sequence[int],
    groups: int,
    centered: bool,
    constant: float,
    unknown: dict[str, object],
) -> Tensor:
    name = f"cosine_conv{dims}d"
    reject_unknown(name, unknown)
    check_tensors(name, input, weight)
    check_constant(name, constant)
    check_channels(name, dims, input, weight, groups)
    steps = per_dimension(name, "stride", stride, dims, least=1)
    gaps = per_dimension(name, "dilation", dilation, dims, least=1)
    window = tuple(weight.shape[2:])
    batch = input if input.dim() == dims + 2 else input.unsqueeze(0)
    widths, batch = resolve_padding(name, padding, batch, window, steps, gaps)
    check_extent(name, batch, window, widths, gaps)
    batch, weight = _autocast(name, batch, weight)
    geometry = Geometry(steps, widths, gaps, int(groups))
    output = apply(batch, weight, ConvolutionCosine(geometry, bool(centered), float(constant)))
    return output if input.dim() == dims + 2 else output.squeeze(0)


def _autocast(name: str, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    if not autocasts(input.device) or input.dtype == torch.float64:
        if input.dtype != weight.dtype:
            raise TypeError(f"{name}: input is {input.dtype} but weight is {weight.dtype}; convert one")
        return input, weight
    dtype = torch.get_autocast_dtype(input.device.type)
    return input.to(dtype), weight.to(dtype)
