"""Linear layers whose weights descend inside the backward pass, in the product that is their gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm._kernels.vectors import center
from cosnorm.functional import cosine_linear
from cosnorm.layers import CosineLinear
from cosnorm.relatives import UpdateRule, WeightNormLinear
from cosnorm.relatives._shared import directions
from cosnorm.relatives.rules import LAYERS
from cosnorm.relatives.weight import moderate
from cosnorm.training.sparse import SparseLayer


class _Descent(torch.autograd.Function):
    """``F.linear`` whose backward makes the step :math:`W \\leftarrow W - \\eta\\, D^\\top X` at once.

    One product that adds to the weights replaces a product, a pass over the gradient and one over the
    weights. The gradient of the input is taken first, with the old weights, so this is plain gradient
    descent. ``anchor`` makes the output require grad where the input does not. There is no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, anchor: Tensor, layer: nn.Linear, rate: float) -> Tensor:
        ctx.layer, ctx.rate, ctx.input = layer, rate, input.detach()
        return F.linear(input, layer.weight.detach(), None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (gradient,) = gradients
        weight = ctx.layer.weight.detach()
        upstream = gradient @ weight if ctx.needs_input_grad[0] else None
        weight.addmm_(gradient.T, ctx.input, alpha=-ctx.rate)
        return upstream, gradient.new_zeros(()), None, None


class DescendingLinear(nn.Linear):
    """An ``nn.Linear`` whose weights descend while it is trained; in evaluation it is an ordinary one."""

    anchor: Tensor
    rate: float

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Linear``; with gradients enabled the backward pass changes the weights."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(input)
        output: Any = _Descent.apply(input, self.anchor, self, self.rate)
        return output if self.bias is None else output + self.bias


class _Sight(NamedTuple):
    """What a layer that works with directions sees of a minibatch and of its weights, all of it moderate.

    ``inputs`` are the rows, less their means where the layer centers, and ``nearness`` their reciprocal
    lengths, ``(B, 1)`` (None: an input's length counts). Of the weights there are the reciprocal lengths and
    the means that are still to be subtracted (None: nothing). ``square`` is that of the appended constant.
    """

    inputs: Tensor
    nearness: Tensor | None
    reciprocals: Tensor
    means: Tensor | None
    square: float


class _DirectionDescent(torch.autograd.Function):
    r"""As :class:`_Descent`, for outputs :math:`t_{bj} = s_b r_j (w_j \cdot x_b + \kappa^2)` of directions.

    Here :math:`x` and :math:`w` are what the layer sees of them and :math:`s`, :math:`r` their reciprocal
    lengths. With the gradient :math:`D` with respect to :math:`t`, Equations 11 and 14 make the step

    .. math:: w_j \leftarrow w_j + \eta\, r_j^2 \Bigl(\sum_b D_{bj} t_{bj}\Bigr) (w_j - \bar w_j)
        - \eta \sum_b D_{bj} s_b r_j x_b

    The mean :math:`\bar w_j` is subtracted where the layer centers; a product with centered inputs is the
    same with and without it.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, anchor: Tensor, weight: Tensor, rate: float, sight: _Sight
    ) -> Tensor:
        del input
        output = F.linear(sight.inputs, weight).add_(sight.square).mul_(sight.reciprocals)
        if sight.nearness is not None:
            output.mul_(sight.nearness).clamp_(-1.0, 1.0)
        ctx.rate, ctx.weight, ctx.sight = rate, weight, sight
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (output,) = gradients, ctx.saved_tensors
        weight, (inputs, nearness, reciprocals, means, _) = ctx.weight, ctx.sight
        along = gradient * output
        scaled = gradient * reciprocals
        if nearness is not None:
            scaled.mul_(nearness)
        upstream = None
        if ctx.needs_input_grad[0]:
            upstream = scaled @ weight
            if nearness is not None:
                upstream.addcmul_(inputs, along.sum(1, keepdim=True) * nearness.square(), value=-1)
            if means is not None:
                upstream.sub_((scaled @ means).unsqueeze(1))
        stretch = along.sum(0).mul_(reciprocals.square()).mul_(ctx.rate).unsqueeze(1)
        shift = None if means is None else stretch * means.unsqueeze(1)
        weight.mul_(stretch + 1)
        if shift is not None:
            weight.sub_(shift)
        weight.addmm_(scaled.T, inputs, alpha=-ctx.rate)
        return upstream, gradient.new_zeros(()), None, None, None


class _OrdinaryDescent(torch.autograd.Function):
    """As :class:`_Descent`, for any map of inputs and weights, differentiated by autograd."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, anchor: Tensor, weight: Tensor, rate: float, map: Callable[..., Tensor]
    ) -> Tensor:
        ctx.rate, ctx.weight = rate, weight
        ctx.leaves = input.detach().requires_grad_(), weight.clone().requires_grad_()
        with torch.enable_grad():
            ctx.output = map(*ctx.leaves)
        return ctx.output.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        upstream, change = torch.autograd.grad(ctx.output, ctx.leaves, gradients)
        ctx.weight.sub_(change, alpha=ctx.rate)
        return upstream, gradients[0].new_zeros(()), None, None, None


class DescendingWeightNorm(WeightNormLinear):
    """A :class:`~cosnorm.relatives.WeightNormLinear` of which the same holds; its gain is the optimizer's."""

    anchor: Tensor
    rate: float

    def forward(self, input: Tensor) -> Tensor:
        """As the ordinary layer; with gradients enabled the backward pass changes the weights."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(input)
        weight = self.weight.detach()
        lengths = torch.linalg.vector_norm(weight, dim=1)
        sight = _Sight(input.detach(), None, 1 / lengths, None, 0.0) if moderate(lengths) else None
        output = _descend(self, input, sight, _directed)
        if isinstance(self.gain, Tensor) or self.gain != 1:
            output = output * self.gain
        return output if self.bias is None else output + self.bias


def _directed(input: Tensor, weight: Tensor) -> Tensor:
    return F.linear(input, directions(weight))


class DescendingCosine(CosineLinear):
    """A :class:`~cosnorm.CosineLinear` of which the same holds; a learned scale is the optimizer's."""

    anchor: Tensor
    rate: float

    def forward(self, input: Tensor) -> Tensor:
        """As the ordinary layer; with gradients enabled the backward pass changes the weights."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(input)
        cosines = partial(cosine_linear, centered=self.centered, constant=self.constant)
        return self._scaled(_descend(self, input, self._sight(input.detach()), cosines))

    def _sight(self, input: Tensor) -> _Sight | None:
        weight, square, means = self.weight.detach(), self.constant**2, None
        squares = torch.linalg.vector_norm(weight, dim=1).square()
        if self.centered:
            input = center(input)
            means = weight.mean(1)
            taken = weight.shape[1] * means.square()
            # Else the squared length would be a small difference of large numbers.
            if not bool((taken <= squares / 4).all()):
                return None
            squares -= taken
        lengths = (squares + square).sqrt()
        inputs = (torch.linalg.vector_norm(input, dim=1, keepdim=True).square() + square).sqrt()
        if not (moderate(lengths) and moderate(inputs)):
            return None
        return _Sight(input, 1 / inputs, 1 / lengths, means, square)


def _descend(
    layer: DescendingWeightNorm | DescendingCosine,
    input: Tensor,
    sight: _Sight | None,
    map: Callable[..., Tensor],
) -> Tensor:
    """Outputs of the directions, by what the layer sees or, where that is extreme, by ``map``."""
    arguments = input, layer.anchor, layer.weight.detach(), layer.rate
    if sight is None:
        return cast(Tensor, _OrdinaryDescent.apply(*arguments, map))
    return cast(Tensor, _DirectionDescent.apply(*arguments, sight))


#: The layers of directions that descend on processors.
DIRECTED: dict[type[nn.Module], type[nn.Module]] = {
    WeightNormLinear: DescendingWeightNorm,
    CosineLinear: DescendingCosine,
}


def descending(network: nn.Module, rule: UpdateRule, rate: float) -> tuple[Tensor | None, set[int]]:
    """Let a network's linear layers descend by themselves, unless a penalty joins the loss.

    These are the plain ones, and on processors those of weight normalization and the cosines.

    Returns
    -------
    Tensor or None
        What the loss is to be differentiated by, to make it happen; None if no layer does.
    set of int
        ``id`` of the parameters that nobody else must update.
    """
    if type(rule).penalty is not UpdateRule.penalty:
        return None, set()
    found: list[tuple[Any, type[nn.Module]]] = [
        (module, kind) for module in network.modules() if (kind := _kind(module)) is not None
    ]
    if not found:
        return None, set()
    like = found[0][0].weight
    anchor = torch.zeros((), device=like.device, dtype=like.dtype, requires_grad=True)
    for layer, kind in found:
        layer.__class__ = kind
        layer.anchor, layer.rate = anchor, rate
    return anchor, {id(layer.weight) for layer, _ in found}


def gains(network: nn.Module) -> set[int]:
    """``id`` of each scale and shift: the parameters of modules that are neither linear nor convolutional."""
    return {
        id(parameter)
        for module in network.modules()
        if not isinstance(module, (*LAYERS, SparseLayer))
        for parameter in module.parameters(recurse=False)
    }


def _kind(module: nn.Module) -> type[nn.Module] | None:
    """What a layer becomes; None if it does not descend by itself."""
    # Exact types: a subclass may do anything.
    if type(module) is nn.Linear:
        return DescendingLinear
    # To ask whether lengths are moderate would stop another device.
    if type(module) in DIRECTED and module.get_parameter("weight").device.type == "cpu":
        return DIRECTED[type(module)]
    return None
