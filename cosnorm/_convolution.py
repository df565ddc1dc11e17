"""The cosine of every filter with every patch, without ever copying the patches out.

A patch's length needs only the sum of squares under the window: the channels are summed first,
and the one map that is left is filtered with a box of ones.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from cosnorm._vectors import (
    HALF,
    Vectors,
    accumulation_dtype,
    power_of_two_above,
    prepare,
    reciprocal_root,
    remember_signature,
    remove_radial_part,
    subtract,
)


class Geometry(NamedTuple):
    """How the window moves: one entry a spatial dimension, symmetric padding with zeros."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def without_padding(self) -> Geometry:
        return self._replace(padding=(0,) * len(self.padding))

    def both_sides(self) -> list[int]:
        """The padding as :func:`torch.nn.functional.pad` wants it: last dimension first."""
        return [side for width in reversed(self.padding) for side in (width, width)]


class Patches(NamedTuple):
    """The input of a cosine convolution, prepared for a product; maps are ``(N, groups, *out)``.

    ``values`` is what the filters slide over under ``geometry``, ``appended`` the component that
    every patch has besides, ``reduced`` the reciprocal length of the patches of ``values`` and
    ``reciprocal`` that of the patches as they came (they differ in half precision only).
    """

    values: Tensor
    geometry: Geometry
    appended: Tensor | float | None
    reduced: Tensor
    reciprocal: Tensor


def convolve(values: Tensor, filters: Tensor, geometry: Geometry) -> Tensor:
    """A plain convolution of ``(N, C, *in)`` with ``(O, C / groups, *window)``, without bias."""
    stride, padding, dilation, groups = geometry
    none = [0] * len(stride)
    return torch.convolution(values, filters, None, stride, padding, dilation, False, none, groups)


def convolution_gradient(
    grad: Tensor, values: Tensor, filters: Tensor, geometry: Geometry, of_filters: bool
) -> Tensor:
    """The gradient of :func:`convolve` with respect to its values, or to its filters."""
    stride, padding, dilation, groups = geometry
    none = [0] * len(stride)
    mask = [not of_filters, of_filters, False]
    grads = torch.ops.aten.convolution_backward(
        grad, values, filters, None, stride, padding, dilation, False, none, groups, mask
    )
    return grads[int(of_filters)]


def box(maps: Tensor, window: tuple[int, ...], geometry: Geometry) -> Tensor:
    """Sum each map ``(N, G, *in)`` under the moving window. Sums of squares stay exact zeros on zeros."""
    groups = maps.shape[1]
    ones = maps.new_ones((groups, 1, *window))
    return convolve(maps, ones, geometry._replace(groups=groups))


def box_transposed(maps: Tensor, like: Tensor, window: tuple[int, ...], geometry: Geometry) -> Tensor:
    """Hand each window's entry of ``maps`` back to every position it covers: the transpose of :func:`box`."""
    groups = maps.shape[1]
    ones = maps.new_ones((groups, 1, *window))
    target = maps.new_zeros(()).expand(like.shape[0], groups, *like.shape[2:])
    return convolution_gradient(maps, target, ones, geometry._replace(groups=groups), of_filters=False)


def split(channels: Tensor, groups: int) -> Tensor:
    """``(N, C, *rest)`` to ``(N, groups, C / groups, *rest)``."""
    samples, count, *rest = channels.shape
    return channels.reshape(samples, groups, count // groups, *rest)


def per_filter(maps: Tensor, filters: int) -> Tensor:
    """``(N, groups, *out)`` to ``(N, filters, *out)``, or to a shape that broadcasts to it."""
    groups = maps.shape[1]
    return maps if groups == 1 else maps.repeat_interleave(filters // groups, dim=1)


def per_group(maps: Tensor, groups: int) -> Tensor:
    """Sum ``(N, filters, *out)`` over the filters of each group."""
    return split(maps, groups).sum(2)


def column(vector: Tensor, maps: Tensor) -> Tensor:
    """Shape a vector over channels so that it broadcasts over ``maps``."""
    return vector.view(-1, *[1] * (maps.dim() - 2))


def shift(input: Tensor, constant: float, geometry: Geometry) -> tuple[Tensor, Tensor | None]:
    """Pad, and take each sample's mean away where it exceeds the spread.

    A centred cosine ignores such a shift; rounding does not: it would drown small patches of a
    sample whose large mean stays, and those of a sample with a few large entries whose mean goes.
    """
    channels = split(input.detach(), geometry.groups)
    within = list(range(2, channels.dim()))
    count = channels.shape[2:].numel()
    mean = channels.mean(within, keepdim=True)
    squares = torch.linalg.vector_norm(channels, dim=within, keepdim=True).square() / count
    mean = torch.where(mean.square() > squares - mean.square(), mean, 0.0)
    padded = split(F.pad(input, geometry.both_sides()), geometry.groups)
    values = (padded - mean).reshape(input.shape[0], input.shape[1], *padded.shape[3:])
    return values, constant - mean.squeeze(2) if constant else None


def windows(maps: Tensor, window: tuple[int, ...], geometry: Geometry) -> Tensor:
    """All windows of unpadded maps ``(N, G, *in)``, copied to ``(N, G, *out, prod(window))``."""
    for axis, (size, step, gap) in enumerate(zip(window, geometry.stride, geometry.dilation, strict=True)):
        maps = maps.unfold(2 + axis, gap * (size - 1) + 1, step)[..., ::gap]
    return maps.reshape(*maps.shape[: 2 + len(window)], math.prod(window))


def sum_of_squares(
    values: Tensor, window: tuple[int, ...], geometry: Geometry, appended: Tensor | float | None
) -> Tensor:
    """The squared length of every centred patch: spread within each pixel, plus spread between pixels.

    No small difference of large sums appears, and a constant patch gives an exact zero.
    """
    channels = split(values, geometry.groups)
    first = channels[:, :, :1]
    rest = channels - first
    offset = rest.mean(2, keepdim=True)
    within = box((rest - offset).square().sum(2), window, geometry)
    pixels = windows((first + offset).squeeze(2), window, geometry)
    start = pixels[..., :1]
    rest = pixels - start
    offset = rest.mean(-1, keepdim=True)
    squares = within + channels.shape[2] * (rest - offset).square().sum(-1)
    if appended is None:
        return squares
    count = channels.shape[2] * pixels.shape[-1]
    gap = appended - (start + offset).squeeze(-1)
    return squares + gap.square() * (count / (count + 1))


def patch_mean(x: Patches, window: tuple[int, ...]) -> Tensor:
    """The mean of every patch of ``x.values``, its appended component included."""
    channels = split(x.values.to(x.reduced.dtype), x.geometry.groups)
    total = box(channels.sum(2), window, x.geometry)
    count = channels.shape[2] * math.prod(window)
    return total / count if x.appended is None else (total + x.appended) / (count + 1)


def prepare_patches(
    input: Tensor,
    window: tuple[int, ...],
    geometry: Geometry,
    centered: bool,
    constant: float,
    reciprocal: Tensor | None = None,
) -> Patches:
    """Make :class:`Patches` of ``input``; a ``reciprocal`` that is already known is not computed again."""
    dtype = accumulation_dtype(input.dtype)
    values, appended = input, constant or None
    if centered:
        values, appended = shift(input.to(dtype), constant, geometry)
        geometry = geometry.without_padding()
    if reciprocal is None:
        if centered:
            squares = sum_of_squares(values, window, geometry, appended)
        else:
            channels = split(values.to(dtype), geometry.groups)
            squares = box(channels.square().sum(2), window, geometry) + constant**2
        reciprocal = reciprocal_root(squares)
    if input.dtype not in HALF:
        return Patches(values, geometry, appended, reciprocal, reciprocal)
    scale = power_of_two_above(smallest_positive(reciprocal))
    values = (values * scale).to(input.dtype)
    appended = None if appended is None else appended * scale
    return Patches(values, geometry, appended, reciprocal / scale, reciprocal)


def smallest_positive(maps: Tensor) -> Tensor:
    """Per sample, the smallest entry above 0, or 0 where there is none; shaped ``(N, 1, *ones)``."""
    smallest = torch.where(maps > 0, maps, torch.inf).amin(tuple(range(1, maps.dim())), keepdim=True)
    return torch.where(smallest < torch.inf, smallest, 0.0)


def largest_or_one(maps: Tensor) -> Tensor:
    """Per sample, the largest entry, or 1 where all are 0; shaped ``(N, 1, *ones)``."""
    largest = maps.amax(tuple(range(1, maps.dim())), keepdim=True)
    return torch.where(largest > 0, largest, 1.0).detach()


def cosines(x: Patches, w: Vectors, shape: torch.Size) -> Tensor:
    """Equation 3 for every filter and patch: products first, lengths after, not yet clamped."""
    products = convolve(x.values, w.values.view(shape), x.geometry).to(x.reduced.dtype)
    if x.appended is not None and w.appended is not None:
        products = products + along_filters(x.appended, products) * along_filters(w.appended, products)
    return products.mul_(per_filter(x.reduced, shape[0])).mul_(column(w.reduced, products))


def along_filters(appended: Tensor | float, products: Tensor) -> Tensor | float:
    """Shape an appended component, a filter's or a patch's, so that it broadcasts over the products."""
    if not isinstance(appended, Tensor):
        return appended
    return column(appended, products) if appended.dim() == 1 else per_filter(appended, products.shape[1])


class CosineConvolutionFunction(Function):
    """As :class:`cosnorm._linear.CosineLinearFunction`: saves inputs, cosines and reciprocal lengths."""

    generate_vmap_rule = True

    @staticmethod
    @remember_signature
    def forward(
        input: Tensor, weight: Tensor, geometry: Geometry, centered: bool, constant: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = prepare_patches(input, tuple(weight.shape[2:]), geometry, centered, constant)
        w = prepare(weight.reshape(len(weight), -1), centered, constant)
        cosine = cosines(x, w, weight.shape)
        output = cosine.clamp(-1.0, 1.0).to(input.dtype)
        return output, cosine.to(input.dtype), x.reciprocal, w.reciprocal

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        input, weight, ctx.geometry, ctx.centered, ctx.constant = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input, weight, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if grads[0] is None:
            return (None,) * 5
        input, weight, cosine, patch_reciprocal, weight_reciprocal = ctx.saved_tensors
        again = torch.is_grad_enabled()
        window = tuple(weight.shape[2:])
        known = None if again else patch_reciprocal
        x = prepare_patches(input, window, ctx.geometry, ctx.centered, ctx.constant, known)
        rows = weight.reshape(len(weight), -1)
        w = prepare(rows, ctx.centered, ctx.constant, None if again else weight_reciprocal)
        mean = patch_mean(x, window) if ctx.centered else None
        grad = grads[0].to(x.reduced.dtype)
        along = grad * (cosines(x, w, weight.shape) if again else cosine)
        grad_input = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_input = input_gradient(grad, along, x, w, mean, weight.shape).to(input.dtype)
            if ctx.centered:  # the input was padded by hand
                grad_input = F.pad(grad_input, [-side for side in ctx.geometry.both_sides()])
        if ctx.needs_input_grad[1]:
            grad_weight = weight_gradient(grad, along, x, w, mean, weight.shape).to(weight.dtype)
        return grad_input, grad_weight, None, None, None


def weight_gradient(
    grad: Tensor, along: Tensor, x: Patches, w: Vectors, mean: Tensor | None, shape: torch.Size
) -> Tensor:
    """Equation 11 summed over patches; what slid by were uncentred patches, so their means come off last."""
    scaled = grad * per_filter(x.reduced, shape[0])
    others = [0, *range(2, grad.dim())]
    filters = w.values.view(shape)
    pull = convolution_gradient(scaled.to(filters.dtype), x.values, filters, x.geometry, of_filters=True)
    pull = pull.reshape(shape[0], -1).to(grad.dtype)
    if mean is not None:
        pull = pull - (scaled * per_filter(mean, shape[0])).sum(others).unsqueeze(-1)
    return remove_radial_part(pull, w, along.sum(others)).view(shape)


def input_gradient(
    grad: Tensor, along: Tensor, x: Patches, w: Vectors, mean: Tensor | None, shape: torch.Size
) -> Tensor:
    """Equation 12 summed over the patches that a position belongs to.

    Each sample's largest reciprocal length is set aside until the end, so that squares of
    reciprocals neither overflow nor underflow.
    """
    window, groups = tuple(shape[2:]), x.reduced.shape[1]
    largest = largest_or_one(x.reciprocal)
    ratio = x.reciprocal / largest
    scaled = grad * per_filter(ratio, shape[0]) * column(w.reduced, grad)
    filters = w.values.view(shape)
    pull = convolution_gradient(scaled.to(filters.dtype), x.values, filters, x.geometry, of_filters=False)
    share = per_group(along, groups) * ratio * x.reduced
    covered = box_transposed(share, x.values, window, x.geometry).unsqueeze(2)
    result = subtract(split(pull, groups), split(x.values, groups), covered)
    if mean is not None:
        result = result + box_transposed(share * mean, x.values, window, x.geometry).unsqueeze(2)
    return result.reshape(x.values.shape) * largest


class CosineConvolutionForwardMode(CosineConvolutionFunction):
    """The same with forward-mode derivatives, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        CosineConvolutionFunction.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2], *output[1:])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors[:2]
        window = tuple(weight.shape[2:])
        x = prepare_patches(input, window, ctx.geometry, ctx.centered, ctx.constant)
        w = prepare(weight.reshape(len(weight), -1), ctx.centered, ctx.constant)
        output = cosines(x, w, weight.shape)
        mean = patch_mean(x, window) if ctx.centered else torch.zeros_like(x.reduced)
        tangent = torch.zeros_like(output)
        if tangents[0] is not None:
            moved = F.pad(tangents[0], ctx.geometry.both_sides()) if ctx.centered else tangents[0]
            tangent = tangent + _input_tangent(moved, output, x, w, weight.shape, mean)
        if tangents[1] is not None:
            tangent = tangent + _filter_tangent(tangents[1], output, x, w, mean)
        return tangent.to(input.dtype), None, None, None


def _input_tangent(
    moved: Tensor, output: Tensor, x: Patches, w: Vectors, shape: torch.Size, mean: Tensor
) -> Tensor:
    groups = x.geometry.groups
    inner = box(split(moved * x.values, groups).sum(2), tuple(shape[2:]), x.geometry)
    inner = inner - mean * box(split(moved, groups).sum(2), tuple(shape[2:]), x.geometry)
    products = convolve(moved, w.values.view(shape), x.geometry) * column(w.reduced, output)
    radial = output * per_filter(inner * x.reduced, shape[0])
    return (products - radial) * per_filter(x.reciprocal, shape[0])


def _filter_tangent(moved: Tensor, output: Tensor, x: Patches, w: Vectors, mean: Tensor) -> Tensor:
    rows = moved.reshape(len(moved), -1)
    products = convolve(x.values, moved, x.geometry)
    products = products - per_filter(mean, len(rows)) * column(rows.sum(1), output)
    radial = output * column((rows * w.values).sum(1) * w.reduced, output)
    return (products * per_filter(x.reduced, len(rows)) - radial) * column(w.reciprocal, output)
