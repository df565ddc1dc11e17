"""Checks of what a caller passes: each message says what was wrong and how to mend it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
import torch.nn.functional as F
from torch import Tensor


def reject_unknown(name: str, unknown: dict[str, object]) -> None:
    if "bias" in unknown:
        raise TypeError(
            f"{name}: there is no bias. A cosine has no learned shift; what the paper calls the bias "
            "is a fixed component appended to both vectors: pass constant=1e-4 for it"
        )
    if unknown:
        raise TypeError(f"{name}: unexpected argument {next(iter(unknown))!r}")


def check_floating(name: str, role: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: {role} must be a torch.Tensor, got {type(tensor).__name__}")
    if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(
            f"{name}: {role} must be float16, bfloat16, float32 or float64, got {tensor.dtype}; "
            f"convert it first, for example {role.split()[-1]}.float()"
        )


def check_tensors(name: str, input: Tensor, weight: Tensor) -> None:
    for role, tensor in (("input", input), ("weight", weight)):
        check_floating(name, role, tensor)
        sparse = role == "input" and name == "cosine_linear" and tensor.layout == torch.sparse_csr
        if tensor.layout != torch.strided and not sparse:
            raise TypeError(
                f"{name}: {role} has layout {tensor.layout}; pass {role}.to_dense()"
                + (f", or {role}.to_sparse_csr() if it is a matrix" if name == "cosine_linear" else "")
            )
    if input.dtype != weight.dtype and not autocasts(input.device):
        raise TypeError(
            f"{name}: input is {input.dtype} but weight is {weight.dtype}; "
            "convert one, for example input.to(weight.dtype)"
        )
    if input.device != weight.device:
        raise ValueError(
            f"{name}: input is on {input.device} but weight is on {weight.device}; "
            "move one, for example input.to(weight.device)"
        )


def check_sparse(name: str, input: Tensor) -> None:
    if input.dim() != 2:
        raise ValueError(f"{name}: sparse input must be a matrix, got shape {tuple(input.shape)}")
    if input.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: sparse input must be float32 or float64, got {input.dtype}")
    if input.requires_grad:
        raise ValueError(
            f"{name}: sparse input gets no gradient; pass input.detach(), or input.to_dense() for one"
        )


def autocasts(device: torch.device) -> bool:
    """Whether autocast is on for this kind of device (some kinds, such as meta, know no autocast)."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def check_constant(name: str, constant: object) -> None:
    if isinstance(constant, bool) or not isinstance(constant, Real):
        raise TypeError(f"{name}: constant must be a number (the paper uses 1e-4), got {constant!r}")
    # A compiler may pass a symbol for the number, which cannot be asked whether it is finite.
    if not torch.compiler.is_compiling() and not math.isfinite(constant):
        raise ValueError(f"{name}: constant must be finite, got {constant}")


def check_channels(name: str, dims: int, input: Tensor, weight: Tensor, groups: object) -> None:
    spatial = ("L", "H, W", "D, H, W")[dims - 1]
    if input.dim() not in (dims + 1, dims + 2):
        raise ValueError(
            f"{name}: input must have shape (N, C, {spatial}) or (C, {spatial}), got {tuple(input.shape)}"
        )
    if weight.dim() != dims + 2:
        raise ValueError(
            f"{name}: weight must have {dims + 2} dimensions, (out_channels, in_channels / groups, "
            f"*kernel), got {tuple(weight.shape)}"
        )
    if isinstance(groups, bool) or not isinstance(groups, Integral) or groups < 1:
        raise ValueError(f"{name}: groups must be a positive integer, got {groups!r}")
    channels = input.shape[-dims - 1]
    if channels != weight.shape[1] * groups:
        raise ValueError(
            f"{name}: input {tuple(input.shape)} has {channels} channels, but weight "
            f"{tuple(weight.shape)} with groups={groups} expects {weight.shape[1] * groups}"
        )
    if weight.shape[0] % groups:
        raise ValueError(f"{name}: out_channels ({weight.shape[0]}) must be divisible by groups ({groups})")


def per_dimension(name: str, role: str, value: object, dims: int, least: int) -> tuple[int, ...]:
    """One integer of at least ``least`` for each spatial dimension, from one number or a sequence."""
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    whole = [int(v) for v in values if isinstance(v, Integral) and not isinstance(v, bool)]
    whole = whole * dims if len(values) == 1 else whole
    if len(whole) != dims or min(whole) < least:
        hint = "; the third argument is stride, a cosine takes no bias" if role == "stride" else ""
        raise ValueError(
            f"{name}: {role} must be an integer of at least {least}, or {dims} of them, got {value!r}{hint}"
        )
    return tuple(whole)


def resolve_padding(
    name: str,
    padding: object,
    batch: Tensor,
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], Tensor]:
    """Padding as symmetric widths; what "same" needs on one side only is added to the batch itself."""
    dims = len(window)
    if padding == "valid":
        return (0,) * dims, batch
    if padding == "same":
        if any(step != 1 for step in stride):
            raise ValueError(f"{name}: padding='same' needs stride 1, got stride {stride}")
        total = tuple(gap * (size - 1) for size, gap in zip(window, dilation, strict=True))
        uneven = [side for width in reversed(total) for side in (0, width % 2)]
        return tuple(width // 2 for width in total), F.pad(batch, uneven) if any(uneven) else batch
    if isinstance(padding, str):
        raise ValueError(
            f"{name}: padding must be an integer, {dims} integers, 'same' or 'valid', got {padding!r}"
        )
    return per_dimension(name, "padding", padding, dims, least=0), batch


def check_extent(
    name: str, batch: Tensor, window: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...]
) -> None:
    for size, kernel, width, gap in zip(batch.shape[2:], window, padding, dilation, strict=True):
        if size + 2 * width < gap * (kernel - 1) + 1:
            raise ValueError(
                f"{name}: the kernel {window} with dilation {dilation} is larger than the padded input "
                f"{tuple(s + 2 * p for s, p in zip(batch.shape[2:], padding, strict=True))}"
            )
