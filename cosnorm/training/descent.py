"""Linear layers whose weights descend inside the backward pass, in the product that is their gradient."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.relatives import UpdateRule, WeightNormLinear
from cosnorm.relatives._directions import directions
from cosnorm.relatives.weight import moderate_lengths


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


class _DirectionDescent(torch.autograd.Function):
    r"""The same for :math:`t = \hat w \cdot x`: outputs of a weight-normalized layer before gain and bias.

    With the gradient :math:`D` with respect to :math:`t`, Equation 14 makes the step

    .. math:: w_j \leftarrow \Bigl(1 + \eta \frac{\sum_b D_{bj} t_{bj}}{\lVert w_j \rVert^2}\Bigr) w_j
        - \eta \sum_b \frac{D_{bj}}{\lVert w_j \rVert} x_b

    Where a length is zero or extreme the directions are made, and differentiated by autograd.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, anchor: Tensor, layer: WeightNormLinear, rate: float) -> Tensor:
        weight = layer.weight.detach()
        ctx.layer, ctx.rate, ctx.lengths = layer, rate, moderate_lengths(input, weight)
        if ctx.lengths is None:
            output = F.linear(input, directions(weight).to(weight.dtype))
        else:
            output = F.linear(input, weight).div_(ctx.lengths)
        ctx.save_for_backward(input, output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (gradient,), (input, output) = gradients, ctx.saved_tensors
        step = _step_by_definition if ctx.lengths is None else _step_by_lengths
        upstream = step(ctx, gradient, input, output)
        return upstream, gradient.new_zeros(()), None, None


def _step_by_lengths(ctx: Any, gradient: Tensor, input: Tensor, output: Tensor) -> Tensor | None:
    weight, lengths = ctx.layer.weight.detach(), ctx.lengths
    scaled = gradient / lengths
    upstream = scaled @ weight if ctx.needs_input_grad[0] else None
    stretch = (gradient * output).sum(0).div_(lengths.square()).mul_(ctx.rate).add_(1)
    weight.mul_(stretch.unsqueeze(1)).addmm_(scaled.T, input, alpha=-ctx.rate)
    return upstream


def _step_by_definition(ctx: Any, gradient: Tensor, input: Tensor, output: Tensor) -> Tensor | None:
    del output
    weight = ctx.layer.weight.detach()
    with torch.enable_grad():
        leaf = weight.clone().requires_grad_()
        unit = directions(leaf).to(weight.dtype)
    upstream = gradient @ unit.detach() if ctx.needs_input_grad[0] else None
    (change,) = torch.autograd.grad(unit, leaf, gradient.T @ input)
    weight.sub_(change, alpha=ctx.rate)
    return upstream


class DescendingWeightNorm(WeightNormLinear):
    """A :class:`~cosnorm.relatives.WeightNormLinear` of which the same holds; its gain is the optimizer's."""

    anchor: Tensor
    rate: float

    def forward(self, input: Tensor) -> Tensor:
        """As the ordinary layer; with gradients enabled the backward pass changes the weights."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(input)
        output: Any = _DirectionDescent.apply(input, self.anchor, self, self.rate)
        if isinstance(self.gain, Tensor) or self.gain != 1:
            output = output * self.gain
        return output if self.bias is None else output + self.bias


def descending(network: nn.Module, rule: UpdateRule, rate: float) -> tuple[Tensor | None, set[int]]:
    """Let a network's linear layers descend by themselves, unless a penalty joins the loss.

    These are the plain ones, and on processors those of weight normalization.

    Returns
    -------
    Tensor or None
        What the loss is to be differentiated by, to make it happen; None if no layer does.
    set of int
        ``id`` of the parameters that nobody else must update.
    """
    if type(rule).penalty is not UpdateRule.penalty:
        return None, set()
    found = [module for module in network.modules() if _kind(module)]
    if not found:
        return None, set()
    first = next(found[0].parameters())
    anchor = torch.zeros((), device=first.device, dtype=first.dtype, requires_grad=True)
    for layer in found:
        layer.__class__ = _kind(layer)
        descender = cast(DescendingLinear, layer)
        descender.anchor, descender.rate = anchor, rate
    return anchor, {id(layer.weight) for layer in found}


def _kind(module: nn.Module) -> type[nn.Module] | None:
    """What a layer becomes; None if it does not descend by itself. Exact types: a subclass may do anything."""
    if type(module) is nn.Linear:
        return DescendingLinear
    if type(module) is WeightNormLinear and module.weight.device.type == "cpu":
        return DescendingWeightNorm
    return None
