"""Linear layers whose weights descend inside the backward pass, in the product that is their gradient."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.relatives import UpdateRule
from cosnorm.relatives.rules import LAYERS
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


def descending(network: nn.Module, rule: UpdateRule, rate: float) -> tuple[Tensor | None, set[int]]:
    """Let a network's plain linear layers descend by themselves, unless a penalty joins the loss.

    Returns
    -------
    Tensor or None
        What the loss is to be differentiated by, to make it happen; None if no layer does.
    set of int
        ``id`` of the parameters that nobody else must update.
    """
    if type(rule).penalty is not UpdateRule.penalty:
        return None, set()
    found = [module for module in network.modules() if type(module) is nn.Linear]
    if not found:
        return None, set()
    anchor = torch.zeros((), device=found[0].weight.device, dtype=found[0].weight.dtype, requires_grad=True)
    for layer in found:
        layer.__class__ = DescendingLinear
        descender = cast(DescendingLinear, layer)
        descender.anchor, descender.rate = anchor, rate
    return anchor, {id(layer.weight) for layer in found}


def gains(network: nn.Module) -> set[int]:
    """``id`` of each scale and shift: the parameters of modules that are neither linear nor convolutional."""
    return {
        id(parameter)
        for module in network.modules()
        if not isinstance(module, (*LAYERS, SparseLayer))
        for parameter in module.parameters(recurse=False)
    }
