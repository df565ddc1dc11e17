"""Property tests: a cosine convolution is unfold + cosine linear, whatever the geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cosnorm
from cosnorm import functional

from .cases import numbers
from .unfolding import unfolded

#: The same examples at every run: a failure seen once is seen by all.
PROPERTY = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
FLOAT64 = torch.float64


@dataclass(frozen=True)
class Geometry:
    """Shapes and options of one convolution."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    options: dict[str, Any]


def per_dimension(dims: int, low: int, high: int) -> st.SearchStrategy[int | tuple[int, ...]]:
    """One integer for all dimensions, or one for each."""
    one = st.integers(low, high)
    return one | st.tuples(*[one] * dims)


@st.composite
def geometries(draw: st.DrawFn, dims: int, *, modes: bool = False) -> Geometry:
    """A random convolution that fits, in ``dims`` dimensions; padded in any mode if ``modes``."""
    largest = {1: 9, 2: 7, 3: 5}[dims]
    spatial = draw(st.tuples(*[st.integers(1, largest)] * dims))
    window = draw(st.tuples(*[st.integers(1, 4 if dims < 3 else 3)] * dims))
    groups, each, filters = (draw(st.integers(1, 3)) for _ in range(3))
    options: dict[str, Any] = {
        "dilation": draw(per_dimension(dims, 1, 3)),
        "groups": groups,
        "centered": draw(st.booleans()),
        "constant": draw(st.sampled_from([0.0, 0.03, 0.5])),
    }
    padding = draw(per_dimension(dims, 0, 3) | st.sampled_from(["same", "valid"]))
    options["padding"] = padding
    options["stride"] = 1 if padding == "same" else draw(per_dimension(dims, 1, 3))
    gaps = oracles.per_dimension(options["dilation"], dims)
    widths = oracles.pad_widths(padding, window, gaps)
    for size, extent, gap, pair in zip(spatial, window, gaps, widths, strict=True):
        assume(size + sum(pair) >= gap * (extent - 1) + 1)
    if modes:
        mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
        options["padding_mode"] = mode
        most = {"reflect": -1, "circular": 0}.get(mode, 10)  # torch refuses wider padding
        assume(all(max(pair) <= size + most for size, pair in zip(spatial, widths, strict=True)))
    return Geometry(
        (draw(st.integers(1, 2)), groups * each, *spatial), (groups * filters, each, *window), options
    )


def draw_tensors(geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard normal numbers; one seed is enough, the shapes differ."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(geometry.input, generator=generator, dtype=FLOAT64, requires_grad=True)
    w = torch.randn(geometry.weight, generator=generator, dtype=FLOAT64, requires_grad=True)
    return x, w


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolution_is_unfold_and_linear(dims: int) -> None:
    function = getattr(functional, f"cosine_conv{dims}d")

    @PROPERTY
    @given(geometries(dims))
    def holds(geometry: Geometry) -> None:
        x, w = draw_tensors(geometry)
        output = function(x, w, **geometry.options)
        expected = unfolded(x, w, functional.cosine_linear, **geometry.options)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
        # Through a curved loss: under "centred" with two entries the output is +-1, and its gradient 0.
        slopes = torch.autograd.grad(output.exp().sum(), (x, w))
        for found, right in zip(slopes, torch.autograd.grad(expected.exp().sum(), (x, w)), strict=True):
            scale = max(1.0, right.abs().max().item())
            torch.testing.assert_close(found, right, rtol=0, atol=1e-10 * scale)

    holds()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolution_is_the_oracle(dims: int) -> None:
    function = getattr(functional, f"cosine_conv{dims}d")

    @PROPERTY
    @given(geometries(dims))
    def holds(geometry: Geometry) -> None:
        x, w = draw_tensors(geometry)
        output = function(x, w, **geometry.options)
        expected = oracles.convolution(numbers(x), numbers(w), **geometry.options)
        assert tuple(output.shape) == expected.shape
        np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=1e-13)

    holds()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_layers_in_every_padding_mode(dims: int) -> None:
    layer_type = getattr(cosnorm, f"CosineConv{dims}d")
    plain_type = getattr(torch.nn, f"Conv{dims}d")

    @PROPERTY
    @given(geometries(dims, modes=True))
    def holds(geometry: Geometry) -> None:
        x, w = draw_tensors(geometry)
        options = dict(geometry.options)
        sizes = (x.shape[1], len(w), w.shape[2:])
        layer = layer_type(*sizes, **options, dtype=FLOAT64)
        layer.load_state_dict({"weight": w.detach()})
        output = layer(x)
        expected = oracles.convolution(numbers(x), numbers(w), **options)
        np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=1e-13)
        del options["centered"], options["constant"]
        plain = plain_type(*sizes, **options, bias=False, dtype=FLOAT64)
        assert plain(x).shape == output.shape

    holds()


@PROPERTY
@given(
    leading=st.lists(st.integers(0, 3), max_size=3),
    rows=st.integers(1, 4),
    size=st.integers(1, 9),
    centered=st.booleans(),
    constant=st.sampled_from([0.0, 1e-4, -0.5]),
    power=st.integers(-12, 12),
)
def test_linear_is_the_oracle(
    leading: list[int], rows: int, size: int, centered: bool, constant: float, power: int
) -> None:
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(*leading, size, generator=generator, dtype=FLOAT64) * 10.0**power
    w = torch.randn(rows, size, generator=generator, dtype=FLOAT64)
    output = functional.cosine_linear(x, w, centered=centered, constant=constant)
    expected = oracles.linear(numbers(x), numbers(w), centered=centered, constant=constant)
    assert tuple(output.shape) == expected.shape
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=1e-13)


finite = st.floats(-(2.0**50), 2.0**50, width=32).filter(lambda number: number == 0 or abs(number) > 1e-15)


@PROPERTY
@given(st.data(), st.integers(1, 6), st.booleans(), st.sampled_from([0.0, 1e-4]))
def test_any_finite_numbers_stay_bounded_with_finite_gradients(
    data: st.DataObject, size: int, centered: bool, constant: float
) -> None:
    """Hypothesis likes repeated values, zeros and extremes: the places where a cosine may break."""
    x, w = (
        torch.tensor([data.draw(st.lists(finite, min_size=size, max_size=size))], requires_grad=True)
        for _ in range(2)
    )
    output = functional.cosine_linear(x, w, centered=centered, constant=constant)
    assert output.abs().item() <= 1
    dx, dw = torch.autograd.grad(output.sum(), (x, w))
    assert torch.isfinite(dx).all()
    assert torch.isfinite(dw).all()
