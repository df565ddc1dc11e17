"""The cosine of every filter with every patch, with the derivatives of Equations 11 and 12."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from cosnorm._kept import can_watch, keep, kept
from cosnorm._patches import Patches, largest_or_one, patch_mean, prepare_patches, shift
from cosnorm._vectors import (
    HALF,
    Vectors,
    may_reuse,
    prepare,
    remember_signature,
    remove_radial_part,
    subtract,
    times,
)
from cosnorm._windows import (
    Geometry,
    blocks,
    box,
    box_transposed,
    column,
    convolution_gradient,
    convolve,
    join,
    over_filters,
    per_group,
    split,
)

#: Outputs for each entry of the input from which on a convolution is done in parts.
_WIDE = 4

#: Numbers up to this one leave float16 room for sums of many.
_FITS_HALF = 2**10


def apply(input: Tensor, weight: Tensor, geometry: Geometry, centered: bool, constant: float) -> Tensor:
    """The cosines, bounded and differentiable, by the function that suits how it is called."""
    if can_watch(input, weight):
        return CosineConvolution.apply(input, weight, geometry, centered, constant)
    compiling = torch.compiler.is_compiling()
    traced = CosineConvolutionCompiled if compiling else CosineConvolutionTransformed
    return traced.apply(input, weight, geometry, centered, constant)[0]


class Filters(NamedTuple):
    """Prepared filters, shaped for a convolution: divided by their lengths, or ``left`` to be."""

    values: Tensor
    left: Tensor | None
    reciprocal: Tensor


def filters_of(w: Vectors, shape: torch.Size, outputs: int) -> Filters:
    """Divide the filters by their lengths, or leave it to the outputs, whichever are fewer."""
    if w.values.dtype in HALF or w.values.numel() > outputs:
        return Filters(w.values.view(shape), w.reduced, w.reciprocal)
    return Filters((w.values * w.reduced.unsqueeze(-1)).view(shape), None, w.reciprocal)


def cosines(x: Patches, w: Vectors, shape: torch.Size) -> Tensor:
    """Equation 3 for every filter and patch. Rounding may leave [-1, 1] by a hair."""
    outputs = shape[0] * x.reduced[:, 0].numel()
    filters = filters_of(w, shape, outputs)
    parts = parts_of(x, outputs)
    if len(parts) == 1:
        products = _products(x, filters)
        parts = blocks(products)
        if len(parts) == 1:
            return _divided(products, filters, x)
        for part in parts:
            _divided(products[part], filters, x.part(part))  # in place: there are parts only where that is so
        return products
    whole = None
    for part in parts:
        own = x.part(part)
        products = _divided(_products(own, filters), filters, own)
        if whole is None:  # laid out as the convolution lays out its own
            whole = products.new_empty_strided((len(x.values), *products.shape[1:]), products.stride())
        torch.clamp(products, -1.0, 1.0, out=whole[part])
    assert whole is not None
    return whole


def parts_of(x: Patches, outputs: int) -> list[slice]:
    """Samples to convolve in turn, where few channels become many: outputs are then what costs time.

    While a part of them is in cache, all is done with it that has to be done.
    """
    inputs = x.values.numel()
    if outputs < _WIDE * max(1, inputs) or x.values.dim() == 5:  # torch lays a single volume out its own way
        return [slice(None)]
    return blocks(x.values, outputs // inputs)


def _products(x: Patches, filters: Filters) -> Tensor:
    """Slide the filters over the values. Those of half precision have means again, by rounding."""
    products = convolve(x.values, filters.values, x.geometry).to(x.reduced.dtype)
    if x.centered and x.values.dtype in HALF:
        rounding = filters.values.to(products.dtype).flatten(1).sum(1)
        products = _add_outer(products, patch_mean(x, tuple(filters.values.shape[2:])), -rounding)
    return without_noise(products, x)


def _add_outer(products: Tensor, of_patches: Tensor, of_filters: Tensor) -> Tensor:
    """Add to each product a number of its patch, ``(N, groups, *out)``, times one of its filter."""
    groups = of_patches.shape[1]
    rows, columns = of_patches.unsqueeze(2), split(column(of_filters, products).unsqueeze(0), groups)
    if not may_reuse(products, rows, columns):
        return products + join(rows * columns)
    split(products, groups).addcmul_(rows, columns)
    return products


def _divided(products: Tensor, filters: Filters, x: Patches) -> Tensor:
    """Add the product of the appended components, and divide by the lengths.

    Where a flat patch or float16's power of two is in the way of that order, in the other.
    """
    divided_first = x.flat is not None or x.values.dtype == torch.float16
    if x.constant and not divided_first:
        appended = x.constant * x.constant
        if filters.left is None:
            appended = column(x.constant * (x.constant * filters.reciprocal), products)
        products += appended
    split(products, x.geometry.groups).mul_(x.reduced.unsqueeze(2))
    if filters.left is not None:
        products.mul_(column(filters.left, products))
    if x.constant and divided_first:
        return _add_outer(products, x.constant * x.reciprocal, x.constant * filters.reciprocal)
    return products


def without_noise(products: Tensor, x: Patches) -> Tensor:
    """Products with filters, 0 for flat patches, where they are rounding; their derivatives stay.

    Where no graph is kept, ``x.reduced`` does the same and a pass is saved.
    """
    if x.flat is None or not torch.is_grad_enabled():
        return products
    noise = over_filters(x.flat.to(products.dtype), products)
    return products - noise + vanishing(noise)


def vanishing(noise: Tensor) -> Tensor:
    """Zero, with the derivatives of ``noise``; noise where torch's old vmap cannot tell the two apart."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    return noise if functorch.is_legacy_batchedtensor(noise) else noise - noise.detach()


def meet(grad: Tensor, cosine: Tensor, reciprocal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient over the patch lengths, and its inner product with the cosines by patch and by filter."""
    parts = blocks(grad)
    if len(parts) == 1 or not may_reuse(grad, cosine, reciprocal):
        return over_filters(reciprocal, grad), *_inner(grad, cosine, reciprocal.shape[1])
    scaled, by_patch = torch.empty_like(grad), torch.empty_like(reciprocal)
    by_filter = grad.new_zeros(grad.shape[1])
    groups = reciprocal.shape[1]
    for part in parts:
        by_patch[part], share = _inner(grad[part], cosine[part], groups)
        by_filter += share
        torch.mul(split(grad[part], groups), reciprocal[part].unsqueeze(2), out=split(scaled[part], groups))
    return scaled, by_patch, by_filter


def _inner(grad: Tensor, cosine: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    along = grad * cosine
    return per_group(along, groups), along.sum([0, *range(2, grad.dim())])


def gradients(
    needed: Sequence[bool], grad: Tensor, cosine: Tensor, x: Patches, w: Vectors, shape: torch.Size
) -> tuple[Tensor | None, Tensor | None]:
    """Equations 12 and 11, summed over the patches that a position belongs to, and over all patches."""
    filters = filters_of(w, shape, grad.numel())
    parts = parts_of(x, grad.numel())
    shares, by_filter, towards_patches, towards_filters = [], [], [], []
    for part in parts:
        own = x.part(part)
        scaled, along, total = meet(grad[part].to(x.reduced.dtype), cosine[part], own.reduced)
        shares.append(along)
        by_filter.append(total)
        if needed[1]:
            towards_patches.append(weight_pull(scaled, own, filters.values))
        if needed[0]:
            if x.flat is not None and not torch.is_grad_enabled():
                scaled = over_filters(own.reciprocal, grad[part].to(x.reduced.dtype))
            towards_filters.append(input_pull(scaled, grad[part], own, filters))
    grad_input = grad_weight = None
    if needed[1]:
        pull, along = (sum(each[1:], each[0]) for each in (towards_patches, by_filter))
        grad_weight = remove_radial_part(pull, w, along).view(shape).to(w.values.dtype)
    if needed[0]:
        pull, along = (torch.cat(each) if len(parts) > 1 else each[0] for each in (towards_filters, shares))
        grad_input = input_gradient(pull, along, x, tuple(shape[2:]))
    return grad_input, grad_weight


def weight_pull(scaled: Tensor, x: Patches, filters: Tensor) -> Tensor:
    """Pull filters towards patches. What slid by were patches with their means; these come off the sum."""
    if x.flat is None or not torch.is_grad_enabled():
        pull = _summed_patches(scaled, x, filters)
    else:  # as in without_noise
        flat = over_filters(x.flat.to(scaled.dtype), scaled)
        noise = _summed_patches(flat, x, filters)
        pull = _summed_patches(scaled - flat, x, filters) + vanishing(noise)
    return pull - pull.mean(1, keepdim=True) if x.centered else pull


def _summed_patches(scaled: Tensor, x: Patches, filters: Tensor) -> Tensor:
    """Sum the patches by filter, each times its entry of ``scaled``, which may be too large for float16."""
    unit, values, geometry = None, x.values, x.geometry
    if x.centered and values.dtype in HALF:  # a large mean would leave few digits to the sum
        values = shift(values.to(x.reduced.dtype), geometry).to(values.dtype)
        geometry = geometry.without_padding()
    if values.dtype == torch.float16 and scaled.numel():
        unit = (scaled.detach().abs().amax() / _FITS_HALF).clamp(min=1.0)
        scaled = scaled / unit
    pull = convolution_gradient(scaled.to(values.dtype), values, filters, geometry, of_filters=True)
    pull = pull.reshape(len(filters), -1).to(x.reduced.dtype)
    return pull if unit is None else pull * unit


def input_pull(scaled: Tensor, grad: Tensor, x: Patches, filters: Filters) -> Tensor:
    """Pull positions towards filters; in float16 less by each sample's largest reciprocal length."""
    if x.values.dtype == torch.float16:  # faint patches have reciprocals that do not fit
        scaled = over_filters(x.reciprocal / largest_or_one(x.reciprocal), grad.to(scaled.dtype))
    if filters.left is not None:
        scaled = times(scaled, column(filters.left, scaled))
    return convolution_gradient(
        scaled.to(x.values.dtype), x.values, filters.values, x.geometry, of_filters=False
    )


def input_gradient(pull: Tensor, along: Tensor, x: Patches, window: tuple[int, ...]) -> Tensor:
    """Equation 12: take from the pull what goes along the patches that a position belongs to.

    Each sample's largest reciprocal length is set aside, so that squares of reciprocals neither
    overflow nor underflow.
    """
    groups = x.geometry.groups
    unit = largest_or_one(x.reciprocal)
    share = along * (x.reciprocal / unit) * x.reduced
    covered = box_transposed(share, x.values, window, x.geometry)
    mean = None
    if x.centered:
        mean = box_transposed(share * patch_mean(x, window), x.values, window, x.geometry)
    if x.values.dtype == torch.float16:
        return (_less(pull.float(), x.values, covered, mean, torch.ones_like(unit), groups) * unit).half()
    parts = blocks(pull)
    if len(parts) == 1:
        return _less(pull.to(unit.dtype), x.values, covered, mean, unit, groups).to(x.values.dtype)
    for part in parts:
        own = None if mean is None else mean[part]
        pull[part] = _less(pull[part].to(unit.dtype), x.values[part], covered[part], own, unit[part], groups)
    return pull


def _less(
    pull: Tensor, values: Tensor, covered: Tensor, mean: Tensor | None, unit: Tensor, groups: int
) -> Tensor:
    """``pull`` less the radial parts of the patches that cover a position, in its own memory if free."""
    radial = split(values.to(unit.dtype), groups) * covered.unsqueeze(2)
    radial = radial if mean is None else radial - mean.unsqueeze(2)
    return subtract(pull, join(radial), unit)


def tangent(
    input: Tensor, weight: Tensor, geometry: Geometry, options: tuple[bool, float], moves: Sequence[Any]
) -> Tensor:
    """How the cosines move when input and weight move by ``moves`` (None: not at all)."""
    window = tuple(weight.shape[2:])
    x = prepare_patches(input, window, geometry, *options)
    w = prepare(weight.reshape(len(weight), -1), *options)
    output = cosines(x, w, weight.shape)
    mean = patch_mean(x, window) if x.centered else torch.zeros_like(x.reduced)
    total = torch.zeros_like(output)
    if moves[0] is not None:
        moved = F.pad(moves[0], geometry.both_sides()) if x.shifted else moves[0]
        total = total + _input_tangent(moved, output, x, w, weight.shape, mean)
    if moves[1] is not None:
        total = total + _filter_tangent(moves[1], output, x, w, mean)
    return total.to(input.dtype)


def _input_tangent(
    moved: Tensor, output: Tensor, x: Patches, w: Vectors, shape: torch.Size, mean: Tensor
) -> Tensor:
    groups, window = x.geometry.groups, tuple(shape[2:])
    inner = box(split(moved * x.values, groups).sum(2), window, x.geometry)
    inner = inner - mean * box(split(moved, groups).sum(2), window, x.geometry)
    products = convolve(moved, w.values.view(shape), x.geometry) * column(w.reduced, output)
    return over_filters(x.reciprocal, products - over_filters(inner * x.reduced, output))


def _filter_tangent(moved: Tensor, output: Tensor, x: Patches, w: Vectors, mean: Tensor) -> Tensor:
    rows = moved.reshape(len(moved), -1)
    ones = column(rows.sum(1), output).expand_as(output)
    products = without_noise(convolve(x.values, moved, x.geometry) - over_filters(mean, ones), x)
    radial = output * column((rows * w.values).sum(1) * w.reduced, output)
    return (over_filters(x.reduced, products) - radial) * column(w.reciprocal, output)


class CosineConvolution(Function):
    """As :class:`cosnorm._linear.CosineLinear`: keeps the output itself, and reciprocal lengths."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, geometry: Geometry, centered: bool, constant: float
    ) -> Tensor:
        x = prepare_patches(input, tuple(weight.shape[2:]), geometry, centered, constant, look=True)
        w = prepare(weight.reshape(len(weight), -1), centered, constant)
        output = cosines(x, w, weight.shape).clamp_(-1.0, 1.0).to(input.dtype)
        ctx.geometry, ctx.options, ctx.shifted = geometry, (centered, constant), x.shifted
        ctx.save_for_forward(input, weight)
        keep(ctx, output, input, weight, x.inner, w.reciprocal)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cosine, (input, weight, *reciprocals) = kept(ctx)
        if torch.is_grad_enabled():
            return _backward(ctx, grads[0], input, weight, None, (None, None), look=True)
        return _backward(ctx, grads[0], input, weight, cosine, reciprocals, look=True, shifted=ctx.shifted)

    @staticmethod
    def jvp(ctx: Any, *moves: Tensor | None) -> Tensor:
        input, weight = ctx.saved_tensors
        return tangent(input, weight, ctx.geometry, ctx.options, moves)


def _backward(
    ctx: Any,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    cosine: Tensor | None,
    reciprocals: Sequence[Tensor | None],
    *,
    look: bool = False,
    shifted: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """Gradients of the five arguments, from what was kept; None is computed again."""
    window, (centered, constant) = tuple(weight.shape[2:]), ctx.options
    x = prepare_patches(
        input, window, ctx.geometry, centered, constant, look=look, inner=reciprocals[0], shifted=shifted
    )
    w = prepare(weight.reshape(len(weight), -1), centered, constant, reciprocals[1])
    cosine = cosines(x, w, weight.shape) if cosine is None else cosine
    grad_input, grad_weight = gradients(ctx.needs_input_grad, grad, cosine, x, w, weight.shape)
    if x.shifted and grad_input is not None:  # the input was padded by hand
        grad_input = F.pad(grad_input, [-side for side in ctx.geometry.both_sides()])
    return grad_input, grad_weight, None, None, None


class CosineConvolutionCompiled(Function):
    """As :class:`cosnorm._linear.CosineLinearCompiled`: keeps the cosines besides."""

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
        return output, cosine.to(input.dtype), x.inner, w.reciprocal

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        input, weight, ctx.geometry, centered, constant = inputs
        ctx.options = centered, constant
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input, weight, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if grads[0] is None:
            return (None,) * 5
        input, weight, cosine, *reciprocals = ctx.saved_tensors
        if torch.is_grad_enabled():
            cosine, reciprocals = None, (None, None)
        return _backward(ctx, grads[0], input, weight, cosine, reciprocals)


class CosineConvolutionTransformed(CosineConvolutionCompiled):
    """The same with forward-mode derivatives, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        CosineConvolutionCompiled.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2], *output[1:])

    @staticmethod
    def jvp(ctx: Any, *moves: Tensor | None) -> tuple[Tensor | None, ...]:
        input, weight, *_ = ctx.saved_tensors
        return tangent(input, weight, ctx.geometry, ctx.options, moves), None, None, None
