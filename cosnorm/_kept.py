"""Keep a layer's own output for its backward pass without a copy, and know when it was overwritten."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

#: Modes in which tensors have no numbers, or are recorded for later.
_TRACING = tuple(torch._C._TorchDispatchModeKey.__members__.values())  # pyright: ignore[reportAttributeAccessIssue]


def can_watch(*tensors: Tensor) -> bool:
    """Whether these are ordinary tensors that nothing traces, transforms or intercepts."""
    return (
        not torch.compiler.is_compiling()
        and all(type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore[reportAttributeAccessIssue]
        and not any(torch._C._get_dispatch_mode(mode) for mode in _TRACING)  # pyright: ignore[reportAttributeAccessIssue]
    )


class Watch:
    """Tells whether a tensor was overwritten, as by ``nn.ReLU(inplace=True)``; holds no memory of it."""

    def __init__(self, tensor: Tensor) -> None:
        self._twin = tensor.detach()  # has the tensor's count of changes
        self._twin.data = tensor.new_empty(0)  # and from here on no longer its memory
        self._count = self._twin._version

    @property
    def overwritten(self) -> bool:
        """Whether anything was written to the tensor or to a view of it."""
        return self._twin._version != self._count


def keep(ctx: Any, output: Tensor, *others: Tensor | None) -> None:
    """Save ``others`` and the output for the backward pass; :func:`kept` has them back.

    autograd's own check would make it an error that a later layer works in place.
    """
    if output.is_inference():
        return
    ctx.watch = Watch(output)
    ctx.save_for_backward(output.data, *others)


def kept(ctx: Any) -> tuple[Tensor | None, list[Any]]:
    """The output, or None if it was overwritten, and the others."""
    output, *others = ctx.saved_tensors
    return None if ctx.watch.overwritten else output, others
