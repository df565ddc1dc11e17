"""The autograd functions of all cosine layers. Each is given a kernel, which knows the layer's geometry.

A kernel is a NamedTuple of options with four methods:

- ``prepare(input, weight, saved, eager, shifted)`` gives ``(x, w)``, all that the products need of both
  arguments. ``saved`` holds the reciprocal lengths of both from the forward pass, and perhaps their means;
  None computes them again. ``eager`` allows looking at numbers to save work.
- ``cosines(x, w, shape)`` gives the cosines, which rounding error may move slightly outside [-1, 1].
- ``gradients(needed, grad, cosine, x, w, shape)`` gives the gradients of input and weight.
- ``tangent(input, weight, tangents)`` gives the forward derivative.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from cosnorm._kernels.vectors import Saved

#: Modes in which tensors have no numbers, or are recorded for later.
_TRACING = tuple(torch._C._TorchDispatchModeKey.__members__.values())  # pyright: ignore[reportAttributeAccessIssue]


def apply(input: Tensor, weight: Tensor, kernel: Any) -> Tensor:
    if is_ordinary(input, weight):
        return Cosine.apply(input, weight, kernel)
    traced = CompiledCosine if torch.compiler.is_compiling() else TransformedCosine
    return traced.apply(input, weight, kernel)[0]


def is_ordinary(*tensors: Tensor) -> bool:
    """Whether nothing traces, transforms or intercepts these tensors."""
    return (
        not torch.compiler.is_compiling()
        and all(type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore[reportAttributeAccessIssue]
        and not any(torch._C._get_dispatch_mode(mode) for mode in _TRACING)  # pyright: ignore[reportAttributeAccessIssue]
    )


class OverwriteCheck:
    """Tells whether a tensor was overwritten, as by ``nn.ReLU(inplace=True)``; holds no memory of it."""

    def __init__(self, tensor: Tensor) -> None:
        self._twin = tensor.detach()  # shares the tensor's version counter
        self._twin.data = tensor.new_empty(0)  # and from here on not its memory
        self._version = self._twin._version

    @property
    def overwritten(self) -> bool:
        return self._twin._version != self._version


def _backward(
    ctx: Any,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    cosine: Tensor | None,
    saved: Saved,
    eager: bool = False,
    shifted: bool | None = None,
) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():  # second derivatives must see the whole computation
        cosine, saved, shifted = None, None, None
    x, w = ctx.kernel.prepare(input, weight, saved, eager, shifted)
    cosine = ctx.kernel.cosines(x, w, weight.shape) if cosine is None else cosine
    return *ctx.kernel.gradients(ctx.needs_input_grad, grad, cosine, x, w, weight.shape), None


class Cosine(Function):
    """For ordinary calls: saves the output itself, which costs no memory, and the reciprocal lengths."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, kernel: Any) -> Tensor:
        x, w = kernel.prepare(input, weight, eager=True)
        output = kernel.cosines(x, w, weight.shape).clamp_(-1.0, 1.0).to(input.dtype)
        ctx.kernel, ctx.shifted = kernel, x.shifted
        ctx.save_for_forward(input, weight)
        if not output.is_inference():
            # The data of the output: saving itself would forbid in-place operations on it, such as ReLU's.
            ctx.check = OverwriteCheck(output)
            ctx.save_for_backward(output.data, input, weight, x.reciprocal, w.reciprocal, x.mean, w.mean)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cosine, input, weight, *saved = ctx.saved_tensors
        cosine = None if ctx.check.overwritten else cosine
        return _backward(ctx, grads[0], input, weight, cosine, saved, True, ctx.shifted)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        return ctx.kernel.tangent(*ctx.saved_tensors, tangents)


class OnceDifferentiableCosine(Cosine):
    """For sparse input, whose kernel has no second and no forward derivative."""

    backward: Any = staticmethod(once_differentiable(Cosine.backward))


class CompiledCosine(Function):
    """For torch.compile, which cannot check whether an output was overwritten.

    The unclamped cosines and the reciprocal lengths are outputs too, because ``setup_context`` can only
    save inputs and outputs.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, weight: Tensor, kernel: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, w = kernel.prepare(input, weight)
        cosine = kernel.cosines(x, w, weight.shape)
        output = cosine.clamp(-1.0, 1.0).to(input.dtype)
        return output, cosine.to(input.dtype), x.reciprocal, w.reciprocal

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        input, weight, ctx.kernel = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input, weight, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if grads[0] is None:
            return None, None, None
        input, weight, cosine, *saved = ctx.saved_tensors
        return _backward(ctx, grads[0], input, weight, cosine, saved)


class TransformedCosine(CompiledCosine):
    """For the transforms of torch.func: with forward-mode derivatives, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        CompiledCosine.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2], *output[1:])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        input, weight, *_ = ctx.saved_tensors
        return ctx.kernel.tangent(input, weight, tangents), None, None, None
