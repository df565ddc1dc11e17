"""The cosine of every filter with every patch, with the derivatives of Equations 11 and 12."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm._kernels.vectors import (
    HALF,
    Saved,
    Vectors,
    may_reuse,
    multiply,
    prepare,
    remove_radial_part,
    subtract,
)
from cosnorm._kernels.windows import (
    Geometry,
    Patches,
    blocks,
    box,
    box_transposed,
    column,
    convolution_gradient,
    convolve,
    join,
    largest_or_one,
    over_filters,
    patch_mean,
    per_group,
    prepare_patches,
    shift,
    split,
)

#: Outputs for each entry of the input from which on a convolution is done in parts.
_WIDE = 4

#: Numbers up to this one leave float16 room for sums of many.
_FITS_HALF = 2**10


class ConvolutionCosine(NamedTuple):
    """The kernel of filters that slide over patches, see :mod:`cosnorm._kernels.autograd`."""

    geometry: Geometry
    centered: bool
    constant: float

    def prepare(
        self,
        input: Tensor,
        weight: Tensor,
        saved: Saved = None,
        eager: bool = False,
        shifted: bool | None = None,
    ) -> tuple[Patches, Vectors]:
        reciprocals = (None, None) if saved is None else saved
        x = prepare_patches(
            input, tuple(weight.shape[2:]), *self, eager=eager, reciprocal=reciprocals[0], shifted=shifted
        )
        w = prepare(weight.reshape(len(weight), -1), self.centered, self.constant, reciprocals[1])
        return x, w

    def cosines(self, x: Patches, w: Vectors, shape: torch.Size) -> Tensor:
        outputs = shape[0] * x.reduced[:, 0].numel()
        filters = filters_of(w, shape, outputs)
        parts = chunks(x, outputs)
        if len(parts) == 1:
            products = _products(x, filters)
            parts = blocks(products)
            if len(parts) == 1:
                return _normalize(products, filters, x)
            for part in parts:
                _normalize(products[part], filters, x.part(part))  # in place: else there is only one part
            return products
        whole = None
        for part in parts:
            own = x.part(part)
            products = _normalize(_products(own, filters), filters, own)
            if whole is None:  # laid out as the convolution lays out its own
                whole = products.new_empty_strided((len(x.values), *products.shape[1:]), products.stride())
            torch.clamp(products, -1.0, 1.0, out=whole[part])
        assert whole is not None
        return whole

    def gradients(
        self, needed: Sequence[bool], grad: Tensor, cosine: Tensor, x: Patches, w: Vectors, shape: torch.Size
    ) -> tuple[Tensor | None, Tensor | None]:
        filters = filters_of(w, shape, grad.numel())
        parts = chunks(x, grad.numel())
        patch_dots, filter_dots, filter_parts, input_parts = [], [], [], []
        for part in parts:
            own = x.part(part)
            scaled, by_patch, by_filter = project(grad[part].to(x.reduced.dtype), cosine[part], own.reduced)
            patch_dots.append(by_patch)
            filter_dots.append(by_filter)
            if needed[1]:
                filter_parts.append(filter_products_gradient(scaled, own, filters.values))
            if needed[0]:
                if x.flat is not None and not torch.is_grad_enabled():
                    scaled = over_filters(own.full_reciprocal, grad[part].to(x.reduced.dtype))
                input_parts.append(input_products_gradient(scaled, grad[part], own, filters))
        grad_input = grad_weight = None
        if needed[1]:
            products, dots = (sum(each[1:], each[0]) for each in (filter_parts, filter_dots))
            grad_weight = remove_radial_part(products, w, dots).view(shape).to(w.values.dtype)
        if needed[0]:
            products, dots = (
                torch.cat(each) if len(parts) > 1 else each[0] for each in (input_parts, patch_dots)
            )
            grad_input = input_gradient(products, dots, x, tuple(shape[2:]))
            if x.shifted:  # the values were padded
                grad_input = F.pad(grad_input, [-side for side in self.geometry.both_sides()])
        return grad_input, grad_weight

    def tangent(self, input: Tensor, weight: Tensor, tangents: Sequence[Any]) -> Tensor:
        x, w = self.prepare(input, weight)
        output = self.cosines(x, w, weight.shape)
        mean = patch_mean(x, tuple(weight.shape[2:])) if x.centered else torch.zeros_like(x.reduced)
        total = torch.zeros_like(output)
        if tangents[0] is not None:
            moved = F.pad(tangents[0], self.geometry.both_sides()) if x.shifted else tangents[0]
            total = total + _input_tangent(moved, output, x, w, weight.shape, mean)
        if tangents[1] is not None:
            total = total + _filter_tangent(tangents[1], output, x, w, mean)
        return total.to(input.dtype)


class Filters(NamedTuple):
    """Prepared filters, shaped for a convolution; ``pending`` are reciprocal lengths still to multiply by."""

    values: Tensor
    pending: Tensor | None
    reciprocal: Tensor


def filters_of(w: Vectors, shape: torch.Size, outputs: int) -> Filters:
    """Divide the filters by their lengths, or leave it to the outputs, whichever are fewer."""
    if w.values.dtype in HALF or w.values.numel() > outputs:
        return Filters(w.values.view(shape), w.reduced, w.reciprocal)
    return Filters((w.values * w.reduced.unsqueeze(-1)).view(shape), None, w.reciprocal)


def chunks(x: Patches, outputs: int) -> list[slice]:
    """Samples to convolve in turn if few channels become many, so that outputs are finished in the cache."""
    inputs = x.values.numel()
    if outputs < _WIDE * max(1, inputs) or x.values.dim() == 5:  # torch lays a single volume out its own way
        return [slice(None)]
    return blocks(x.values, outputs // inputs)


def _products(x: Patches, filters: Filters) -> Tensor:
    """Slide the filters over the values. In half precision rounding gives centered filters a mean again."""
    products = convolve(x.values, filters.values, x.geometry).to(x.reduced.dtype)
    if x.centered and x.values.dtype in HALF:
        rounding = filters.values.to(products.dtype).flatten(1).sum(1)
        products = _add_outer(products, patch_mean(x, tuple(filters.values.shape[2:])), -rounding)
    return without_noise(products, x)


def _add_outer(products: Tensor, of_patches: Tensor, of_filters: Tensor) -> Tensor:
    groups = of_patches.shape[1]
    rows, columns = of_patches.unsqueeze(2), split(column(of_filters, products).unsqueeze(0), groups)
    if not may_reuse(products, rows, columns):
        return products + join(rows * columns)
    split(products, groups).addcmul_(rows, columns)
    return products


def _normalize(products: Tensor, filters: Filters, x: Patches) -> Tensor:
    # Add the product of the appended components and divide by the lengths. Flat patches, and float16 with its
    # power of two, need the opposite order.
    divided_first = x.flat is not None or x.values.dtype == torch.float16
    if x.constant and not divided_first:
        appended = x.constant * x.constant
        if filters.pending is None:
            appended = column(x.constant * (x.constant * filters.reciprocal), products)
        products += appended
    split(products, x.geometry.groups).mul_(x.reduced.unsqueeze(2))
    if filters.pending is not None:
        products.mul_(column(filters.pending, products))
    if x.constant and divided_first:
        return _add_outer(products, x.constant * x.full_reciprocal, x.constant * filters.reciprocal)
    return products


def without_noise(products: Tensor, x: Patches) -> Tensor:
    """Set the products of flat patches, which are rounding error, to 0, and keep their derivatives."""
    # While no graph is recorded, ``x.reduced`` does this without a pass of its own.
    if x.flat is None or not torch.is_grad_enabled():
        return products
    noise = over_filters(x.flat.to(products.dtype), products)
    return products - noise + vanishing(noise)


def vanishing(noise: Tensor) -> Tensor:
    """Zero with the derivatives of ``noise``; ``noise`` itself under torch's old vmap, which lacks detach."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    return noise if functorch.is_legacy_batchedtensor(noise) else noise - noise.detach()


def project(grad: Tensor, cosine: Tensor, reciprocal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient over the patch lengths, and its inner products with the cosines by patch and by filter."""
    parts = blocks(grad)
    if len(parts) == 1 or not may_reuse(grad, cosine, reciprocal):
        return over_filters(reciprocal, grad), *_cosine_dots(grad, cosine, reciprocal.shape[1])
    scaled, by_patch = torch.empty_like(grad), torch.empty_like(reciprocal)
    by_filter = grad.new_zeros(grad.shape[1])
    groups = reciprocal.shape[1]
    for part in parts:
        by_patch[part], share = _cosine_dots(grad[part], cosine[part], groups)
        by_filter += share
        torch.mul(split(grad[part], groups), reciprocal[part].unsqueeze(2), out=split(scaled[part], groups))
    return scaled, by_patch, by_filter


def _cosine_dots(grad: Tensor, cosine: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    product = grad * cosine
    return per_group(product, groups), product.sum([0, *range(2, grad.dim())])


def filter_products_gradient(scaled: Tensor, x: Patches, filters: Tensor) -> Tensor:
    if x.flat is None or not torch.is_grad_enabled():
        grad = _sum_patches(scaled, x, filters)
    else:  # as in without_noise
        flat = over_filters(x.flat.to(scaled.dtype), scaled)
        noise = _sum_patches(flat, x, filters)
        grad = _sum_patches(scaled - flat, x, filters) + vanishing(noise)
    # The convolution used uncentered patches, so subtract the contribution of their means.
    return grad - grad.mean(1, keepdim=True) if x.centered else grad


def _sum_patches(scaled: Tensor, x: Patches, filters: Tensor) -> Tensor:
    unit, values, geometry = None, x.values, x.geometry
    if x.centered and values.dtype in HALF:  # a large mean would leave few digits to the sum
        values = shift(values.to(x.reduced.dtype), geometry).to(values.dtype)
        geometry = geometry.without_padding()
    if values.dtype == torch.float16 and scaled.numel():
        unit = (scaled.detach().abs().amax() / _FITS_HALF).clamp(min=1.0)
        scaled = scaled / unit
    sums = convolution_gradient(scaled.to(values.dtype), values, filters, geometry, of_filters=True)
    sums = sums.reshape(len(filters), -1).to(x.reduced.dtype)
    return sums if unit is None else sums * unit


def input_products_gradient(scaled: Tensor, grad: Tensor, x: Patches, filters: Filters) -> Tensor:
    # In float16 over the largest reciprocal length, because those of faint patches do not fit.
    if x.values.dtype == torch.float16:
        scaled = over_filters(x.full_reciprocal / largest_or_one(x.full_reciprocal), grad.to(scaled.dtype))
    if filters.pending is not None:
        scaled = multiply(scaled, column(filters.pending, scaled))
    scaled = scaled.to(x.values.dtype)
    return convolution_gradient(scaled, x.values, filters.values, x.geometry, of_filters=False)


def input_gradient(grad: Tensor, cosine_dot: Tensor, x: Patches, window: tuple[int, ...]) -> Tensor:
    """Equation 12: subtract the components along all patches that a position belongs to."""
    groups = x.geometry.groups
    # Factored out, so that squares of reciprocals neither overflow nor underflow.
    unit = largest_or_one(x.full_reciprocal)
    share = cosine_dot * (x.full_reciprocal / unit) * x.reduced
    covered = box_transposed(share, x.values, window, x.geometry)
    mean = None
    if x.centered:
        mean = box_transposed(share * patch_mean(x, window), x.values, window, x.geometry)
    if x.values.dtype == torch.float16:
        return (
            _subtract_radial(grad.float(), x.values, covered, mean, torch.ones_like(unit), groups) * unit
        ).half()
    parts = blocks(grad)
    if len(parts) == 1:
        return _subtract_radial(grad.to(unit.dtype), x.values, covered, mean, unit, groups).to(x.values.dtype)
    for part in parts:
        own = None if mean is None else mean[part]
        grad[part] = _subtract_radial(
            grad[part].to(unit.dtype), x.values[part], covered[part], own, unit[part], groups
        )
    return grad


def _subtract_radial(
    grad: Tensor, values: Tensor, covered: Tensor, mean: Tensor | None, unit: Tensor, groups: int
) -> Tensor:
    radial = split(values.to(unit.dtype), groups) * covered.unsqueeze(2)
    radial = radial if mean is None else radial - mean.unsqueeze(2)
    return subtract(grad, join(radial), unit)


def _input_tangent(
    moved: Tensor, output: Tensor, x: Patches, w: Vectors, shape: torch.Size, mean: Tensor
) -> Tensor:
    groups, window = x.geometry.groups, tuple(shape[2:])
    inner = box(split(moved * x.values, groups).sum(2), window, x.geometry)
    inner = inner - mean * box(split(moved, groups).sum(2), window, x.geometry)
    products = convolve(moved, w.values.view(shape), x.geometry) * column(w.reduced, output)
    return over_filters(x.full_reciprocal, products - over_filters(inner * x.reduced, output))


def _filter_tangent(moved: Tensor, output: Tensor, x: Patches, w: Vectors, mean: Tensor) -> Tensor:
    rows = moved.reshape(len(moved), -1)
    ones = column(rows.sum(1), output).expand_as(output)
    products = without_noise(convolve(x.values, moved, x.geometry) - over_filters(mean, ones), x)
    radial = output * column((rows * w.values).sum(1) * w.reduced, output)
    return (over_filters(x.reduced, products) - radial) * column(w.reciprocal, output)
