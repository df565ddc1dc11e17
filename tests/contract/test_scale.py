"""Scale invariance of inputs and of weights: values do not move, gradients shrink as 1/s."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from .cases import Case, Law, cases, numbers

FLOAT32, FLOAT64 = torch.float32, torch.float64
#: dtype, smallest and largest length the contract names
RANGES = [(FLOAT32, 1e-18, 1e18), (FLOAT64, 1e-150, 1e150)]


def outcome(case: Case, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output and the two gradients for a fixed upstream gradient of standard normal numbers."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    output = case.function(x, w)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(9), dtype=FLOAT64).to(output.dtype)
    dx, dw = torch.autograd.grad(output, (x, w), g)
    return output.detach(), dx, dw


def sides(*both: str) -> list[Any]:
    """Each case with each argument whose scale it ignores; with ``both``, the two together as well."""
    laws = {"input": (Law.INPUT_SCALE,), "weight": (Law.WEIGHT_SCALE,)}
    laws |= dict.fromkeys(both, (Law.INPUT_SCALE, Law.WEIGHT_SCALE))
    return [
        pytest.param(each.values[0], side, id=f"{each.id}-{side}")
        for side, needed in laws.items()
        for each in cases(*needed)
    ]


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("power", [-20, -3, 1, 20])
@pytest.mark.parametrize(("case", "side"), sides())
def test_powers_of_two_change_no_bit(case: Case, side: str, power: int, dtype: torch.dtype) -> None:
    x, w = case.draw(dtype=dtype)
    sx, sw = (2.0**power, 1.0) if side == "input" else (1.0, 2.0**power)
    y, dx, dw = outcome(case, x, w)
    y_scaled, dx_scaled, dw_scaled = outcome(case, x * sx, w * sw)
    assert torch.equal(y_scaled, y)
    assert torch.equal(dx_scaled * sx, dx)
    assert torch.equal(dw_scaled * sw, dw)


@pytest.mark.parametrize(("case", "side"), sides("both"))
def test_every_row_may_have_its_own_factor(case: Case, side: str) -> None:
    x, w = case.draw()
    generator = torch.Generator().manual_seed(6)
    sx = 10 ** (6 * torch.rand(len(case.input_blocks(x)), 1, generator=generator, dtype=FLOAT64) - 3)
    sw = 10 ** (6 * torch.rand(len(w), 1, generator=generator, dtype=FLOAT64) - 3)
    sx = torch.ones_like(sx) if side == "weight" else sx
    sw = torch.ones_like(sw) if side == "input" else sw
    y, dx, dw = outcome(case, x, w)
    scaled = outcome(case, (case.input_blocks(x) * sx).view_as(x), (case.weight_blocks(w) * sw).view_as(w))
    case.alike(scaled[0], y)
    case.alike(case.input_blocks(scaled[1]) * sx, case.input_blocks(dx), 1e-13)
    case.alike(case.weight_blocks(scaled[2]) * sw, case.weight_blocks(dw), 1e-13)


@pytest.mark.parametrize("power", [-100, 100])
@pytest.mark.parametrize("case", cases(Law.ZERO_WEIGHT))
def test_directions_of_any_length_that_float32_can_hold(case: Case, power: int) -> None:
    """The squares of these weights do not fit, and need not. Where memory lies decides the order of a sum."""
    x, w = case.draw(dtype=FLOAT32)
    case.alike(case.function(x, w * 2.0**power), case.function(x, w), 4 * torch.finfo(FLOAT32).eps)


def inside(case: Case, x: Tensor, low: float, high: float, end: float) -> float:
    """A factor that moves the vectors of ``x`` to ``end`` of the range, all of them staying within it."""
    if case.dims == 0:
        norms = x.norm(dim=-1)
    else:  # every patch, lengths only: cosines are not used
        geometry = {
            key: case.options[key] for key in ("stride", "padding", "dilation") if key in case.options
        }
        places = oracles.Patches(x.shape[2:], case.weight_shape[2:], **geometry)
        norms = torch.from_numpy(oracles.lengths(places.gather(numbers(x), case.groups)))
    return 1.001 * end / norms.min().item() if end == low else 0.999 * end / norms.max().item()


@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize(("dtype", "low", "high"), RANGES, ids=["float32", "float64"])
@pytest.mark.parametrize(("case", "side"), sides("both"))
def test_the_whole_stated_range(
    case: Case, dtype: torch.dtype, low: float, high: float, end: str, side: str
) -> None:
    x, w = case.draw(8)
    goal = low if end == "low" else high
    rows = case.weight_blocks(w).norm(dim=1)
    sx = 1.0 if side == "weight" else inside(case, x, low, high, goal)
    sw = (
        1.0
        if side == "input"
        else (1.001 * low / rows.min() if end == "low" else 0.999 * high / rows.max()).item()
    )
    epsilon = torch.finfo(dtype).eps
    y, dx, dw = outcome(case, (x * sx).to(dtype), (w * sw).to(dtype))
    y_plain, dx_plain, dw_plain = (numbers(tensor) for tensor in outcome(case, x, w))
    np.testing.assert_allclose(numbers(y), y_plain, rtol=0, atol=case.tolerance(dtype, y_plain, 16))
    for found, expected, s in ((dx, dx_plain, sx), (dw, dw_plain, sw)):
        atol = 64 * epsilon * np.abs(expected).max()
        np.testing.assert_allclose(numbers(found) * s, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("dtype", "low", "high"), RANGES, ids=["float32", "float64"])
@pytest.mark.parametrize("case", cases(Law.INPUT_SCALE, dims=(0,)))
def test_large_and_small_rows_share_a_batch(case: Case, dtype: torch.dtype, low: float, high: float) -> None:
    """A factor chosen for a whole batch, and not for each row, would lose the small ones."""
    x, w = case.draw(8)
    sizes = torch.tensor([low, 1.0, high, 1e-6], dtype=FLOAT64)
    x = x / x.norm(dim=1, keepdim=True) * 1.0001 * sizes[:, None].clamp(max=high * 0.999)
    w = (
        w
        / w.norm(dim=1, keepdim=True)
        * torch.tensor([[1.0], [low * 1.01], [3.0], [high * 0.99], [1e5]], dtype=FLOAT64)
    )
    x, w = x.to(dtype), w.to(dtype)
    case.close(case.function(x, w), x, w, factor=16)


@pytest.mark.parametrize("case", cases(Law.INPUT_SCALE, Law.PER_EXAMPLE, dims=(1, 2, 3)))
def test_large_and_small_examples_share_a_batch(case: Case) -> None:
    x, w = (tensor.float() for tensor in case.draw(8))
    sizes = torch.tensor([1e-15, 1e15, 1.0])[: len(x)].reshape(-1, *[1] * (x.dim() - 1))
    case.close(case.function(x * sizes, w), x * sizes, w, factor=16)


@pytest.mark.parametrize("case", cases(Law.INPUT_SCALE, dims=(1, 2, 3)))
def test_a_faint_half_beside_a_bright_half(case: Case) -> None:
    """Each patch is its own vector: a faint patch is as exact as a bright one beside it."""
    x, w = (tensor.float() for tensor in case.draw(8))
    half = x.shape[-1] // 2
    x[..., :half] *= 1e-9
    case.close(case.function(x, w), x, w, factor=16)


@pytest.mark.parametrize(("case", "side"), sides())
def test_gradients_are_orthogonal_to_what_they_are_gradients_of(case: Case, side: str) -> None:
    """Euler's identity for a function of degree 0: one factor for a vector leaves the output alone."""
    x, w = case.draw(12)
    _, dx, dw = outcome(case, x, w)
    blocks, tensor, gradient = (case.input_blocks, x, dx) if side == "input" else (case.weight_blocks, w, dw)
    inner = (blocks(tensor) * blocks(gradient)).sum(dim=1)
    size = blocks(tensor).norm(dim=1) * blocks(gradient).norm(dim=1)
    assert (size > 0.01).all()
    assert (inner.abs() <= 1e-14 * size).all()


@pytest.mark.parametrize("case", cases(Law.BATCH_SHIFT))
def test_a_vector_added_to_the_whole_batch_changes_nothing(case: Case) -> None:
    """And the gradients of the inputs sum to 0 over the batch, in every component."""
    x, w = case.draw(12)
    y, dx, dw = outcome(case, x, w)
    sum_over_batch = dx.sum(0) if case.dims == 0 else dx.sum((0, *range(2, dx.dim())))
    assert (sum_over_batch.abs() <= 1e-14 * dx.abs().sum(0).max()).all()
    shift = torch.linspace(-3, 5, x.shape[1], dtype=FLOAT64).reshape(-1, *[1] * case.dims)
    moved = outcome(case, x + shift, w)
    for found, expected in zip(moved, (y, dx, dw), strict=True):
        case.alike(found, expected, 1e-13)


@pytest.mark.parametrize("case", cases(Law.WEIGHT_SHIFT))
def test_weight_gradients_have_mean_zero_where_a_shift_changes_nothing(case: Case) -> None:
    x, w = case.draw(12)
    y, dx, dw = outcome(case, x, w)
    rows = case.weight_blocks(dw)
    assert (rows.sum(dim=1).abs() <= 1e-14 * rows.norm(dim=1)).all()
    shifts = torch.linspace(-3, 5, len(w), dtype=FLOAT64).reshape(-1, *[1] * (w.dim() - 1))
    moved = outcome(case, x, w + shifts)
    for found, expected in zip(moved, (y, dx, dw), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", cases(Law.INPUT_SHIFT))
def test_input_gradients_have_mean_zero_where_a_shift_changes_nothing(case: Case) -> None:
    x, w = case.draw(12)
    y, dx, dw = outcome(case, x, w)
    blocks = case.input_blocks(dx)
    assert (blocks.sum(dim=1).abs() <= 1e-14 * blocks.norm(dim=1)).all()
    shifts = torch.linspace(-3, 5, len(blocks), dtype=FLOAT64)[:, None]
    moved = outcome(case, (case.input_blocks(x) + shifts).view_as(x), w)
    for found, expected in zip(moved, (y, dx, dw), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
