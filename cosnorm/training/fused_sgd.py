"""Linear layers that make their SGD step inside the backward pass.

One product that adds to the weights replaces the product that computes their gradient, a pass over the
gradient and a pass over the weights. The gradient of the input is computed first, with the old weights, so
this is plain gradient descent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm._kernels.vectors import center
from cosnorm.functional import cosine_linear
from cosnorm.layers import CosineLinear
from cosnorm.relatives import UpdateRule, WeightNormLinear
from cosnorm.relatives._shared import directions
from cosnorm.relatives.weight import moderate


def fuse(network: nn.Module, rule: UpdateRule, rate: float) -> tuple[Tensor | None, set[int]]:
    """Let a network's linear layers update their own weights, unless a penalty is added to the loss.

    Plain layers are fused, and on a CPU also weight normalization and cosine layers. Returns a tensor with
    respect to which the loss must be differentiated, among others (None if no layer is fused), and the
    ``id`` of the parameters that the caller must not update.
    """
    if type(rule).penalty is not UpdateRule.penalty:
        return None, set()
    layers: list[Any] = [module for module in network.modules() if _is_fusible(module)]
    if not layers:
        return None, set()
    like = layers[0].weight
    anchor = torch.zeros((), device=like.device, dtype=like.dtype, requires_grad=True)
    for layer in layers:
        layer.__class__ = FUSED[type(layer)]
        layer.anchor, layer.rate = anchor, rate
    return anchor, {id(layer.weight) for layer in layers}


def _is_fusible(module: nn.Module) -> bool:
    if type(module) not in FUSED:  # not isinstance: a subclass may compute something else
        return False
    # On CUDA the check that norms are moderate would make the CPU wait.
    return type(module) is nn.Linear or module.get_parameter("weight").device.type == "cpu"


class _Fused(nn.Module):
    # Makes the output require grad even if the input does not.
    anchor: Tensor
    rate: float

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(input)
        return self._forward_with_update(input)

    def _forward_with_update(self, input: Tensor) -> Tensor:
        raise NotImplementedError


class _LinearStep(torch.autograd.Function):
    """``F.linear`` with an update of the weights in its backward pass; there is no second derivative."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, anchor: Tensor, weight: Tensor, rate: float) -> Tensor:
        ctx.weight, ctx.rate, ctx.input = weight, rate, input.detach()
        return F.linear(input, weight, None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        input_gradient = gradient @ ctx.weight if ctx.needs_input_grad[0] else None
        ctx.weight.addmm_(gradient.T, ctx.input, alpha=-ctx.rate)
        return input_gradient, gradient.new_zeros(()), None, None


class _Prepared(NamedTuple):
    """A minibatch and the norms that a layer has computed of it and of its weights. All are moderate."""

    inputs: Tensor  # minus their means in a centered layer
    input_reciprocals: Tensor | None  # 1 / norm of each input, (B, 1); None in weight normalization
    reciprocals: Tensor  # 1 / norm of each weight vector
    means: Tensor | None  # of the weight vectors in a centered layer
    square: float  # of the appended constant


class _DirectionStep(torch.autograd.Function):
    r"""As :class:`_LinearStep`, for :math:`t_{bj} = s_b r_j (w_j \cdot x_b + \kappa^2)`.

    Here :math:`s` and :math:`r` are the reciprocal norms of inputs and weights. With the gradient :math:`D`
    with respect to :math:`t`, Equations 11 and 14 make the step

    .. math:: w_j \leftarrow w_j + \eta\, r_j^2 \Bigl(\sum_b D_{bj} t_{bj}\Bigr) (w_j - \bar w_j)
        - \eta \sum_b D_{bj} s_b r_j x_b

    The mean :math:`\bar w_j` is subtracted in centered layers only; centered inputs make it drop out of
    :math:`t`.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, anchor: Tensor, weight: Tensor, rate: float, prepared: _Prepared
    ) -> Tensor:
        output = F.linear(prepared.inputs, weight).add_(prepared.square).mul_(prepared.reciprocals)
        if prepared.input_reciprocals is not None:
            output.mul_(prepared.input_reciprocals).clamp_(-1.0, 1.0)
        ctx.rate, ctx.weight, ctx.prepared = rate, weight, prepared
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (output,) = gradients, ctx.saved_tensors
        weight, (inputs, input_reciprocals, reciprocals, means, _) = ctx.weight, ctx.prepared
        radial = gradient * output
        scaled = gradient * reciprocals
        if input_reciprocals is not None:
            scaled.mul_(input_reciprocals)
        input_gradient = None
        if ctx.needs_input_grad[0]:
            input_gradient = scaled @ weight
            if input_reciprocals is not None:
                factors = radial.sum(1, keepdim=True) * input_reciprocals.square()
                input_gradient.addcmul_(inputs, factors, value=-1)
            if means is not None:
                input_gradient.sub_((scaled @ means).unsqueeze(1))
        stretch = radial.sum(0).mul_(reciprocals.square()).mul_(ctx.rate).unsqueeze(1)
        shift = None if means is None else stretch * means.unsqueeze(1)
        weight.mul_(stretch + 1)
        if shift is not None:
            weight.sub_(shift)
        weight.addmm_(scaled.T, inputs, alpha=-ctx.rate)
        return input_gradient, gradient.new_zeros(()), None, None, None


class _AutogradStep(torch.autograd.Function):
    """As :class:`_LinearStep`, for any map of inputs and weights, differentiated by autograd."""

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
        input_gradient, weight_gradient = torch.autograd.grad(ctx.output, ctx.leaves, gradients)
        ctx.weight.sub_(weight_gradient, alpha=ctx.rate)
        return input_gradient, gradients[0].new_zeros(()), None, None, None


class FusedLinear(_Fused, nn.Linear):
    """An ``nn.Linear`` that updates its weights, but not its bias."""

    def _forward_with_update(self, input: Tensor) -> Tensor:
        output: Any = _LinearStep.apply(input, self.anchor, self.weight.detach(), self.rate)
        return output if self.bias is None else output + self.bias


class _FusedDirections(_Fused):
    weight: Tensor

    def _outputs(self, input: Tensor, prepared: _Prepared | None, map: Callable[..., Tensor]) -> Any:
        # Nothing was prepared if norms are extreme; then autograd differentiates ``map``.
        arguments = input, self.anchor, self.weight.detach(), self.rate
        if prepared is None:
            return _AutogradStep.apply(*arguments, map)
        return _DirectionStep.apply(*arguments, prepared)


class FusedWeightNorm(_FusedDirections, WeightNormLinear):
    """A :class:`~cosnorm.relatives.WeightNormLinear` that updates its weights, but not its gain."""

    def _forward_with_update(self, input: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(self.weight.detach(), dim=1)
        prepared = _Prepared(input.detach(), None, 1 / lengths, None, 0.0) if moderate(lengths) else None
        output = self._outputs(input, prepared, lambda input, weight: F.linear(input, directions(weight)))
        if isinstance(self.gain, Tensor) or self.gain != 1:
            output = output * self.gain
        return output if self.bias is None else output + self.bias


class FusedCosine(_FusedDirections, CosineLinear):
    """A :class:`~cosnorm.CosineLinear` that updates its weights, but not a learned scale."""

    def _forward_with_update(self, input: Tensor) -> Tensor:
        cosines = partial(cosine_linear, centered=self.centered, constant=self.constant)
        return self._scaled(self._outputs(input, self._prepare(input.detach()), cosines))

    def _prepare(self, input: Tensor) -> _Prepared | None:
        weight, square, means = self.weight.detach(), self.constant**2, None
        squares = torch.linalg.vector_norm(weight, dim=1).square()
        if self.centered:
            input = center(input)
            means = weight.mean(1)
            subtracted = weight.shape[1] * means.square()
            # Otherwise the squared norm would be a small difference of large numbers.
            if not bool((subtracted <= squares / 4).all()):
                return None
            squares -= subtracted
        lengths = (squares + square).sqrt()
        input_lengths = (torch.linalg.vector_norm(input, dim=1, keepdim=True).square() + square).sqrt()
        if not (moderate(lengths) and moderate(input_lengths)):
            return None
        return _Prepared(input, 1 / input_lengths, 1 / lengths, means, square)


#: What each type of layer becomes.
FUSED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FusedLinear,
    WeightNormLinear: FusedWeightNorm,
    CosineLinear: FusedCosine,
}
