"""AdaNorm against sums and Jacobians in NumPy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from relatives import oracles_statistics as oracles
from torch import Tensor

from cosnorm.relatives.layer import AdaNorm, LayerNormSimple

CASES = [((4, 6), -1), ((2, 3, 5), -1), ((3, 2, 4, 2), (-3, -2, -1))]


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 1


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(("k", "scale", "eps"), [(0.1, 1.0, 1e-5), (0.3, 2.0, 0.0), (-0.5, -1.5, 0.4)])
@pytest.mark.parametrize(("shape", "dim"), CASES)
def test_values_and_gradients(
    shape: tuple[int, ...], dim: Any, k: float, scale: float, eps: float, unbiased: bool
) -> None:
    x, g = draw(shape).requires_grad_(), draw(shape, 1)
    output = AdaNorm(dim, k, scale, eps, unbiased)(x)
    options = {"k": k, "scale": scale, "eps": eps, "unbiased": unbiased}
    dims = 1 if isinstance(dim, int) else len(dim)
    values = x.detach().numpy()
    expected = oracles.over_slices(values, dims, partial(oracles.adanorm, **options))
    np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-11, atol=1e-12)
    (gradient,) = torch.autograd.grad(output, x, g)
    backward = partial(oracles.adanorm_gradient, **options)
    expected = oracles.over_slices(values, dims, backward, g.numpy())
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-11, atol=1e-12)


def test_with_k_zero_it_is_layer_norm_simple() -> None:
    x, g = draw((5, 8)).requires_grad_(), draw((5, 8), 1)
    ada, plain = AdaNorm(k=0.0)(x), LayerNormSimple()(x)
    torch.testing.assert_close(ada, plain, rtol=1e-14, atol=1e-14)
    by_ada, by_plain = (torch.autograd.grad(y, x, g)[0] for y in (ada, plain))
    torch.testing.assert_close(by_ada, by_plain, rtol=1e-13, atol=1e-14)


def test_the_factor_has_no_gradient() -> None:
    """Finite differences of the forward map disagree with the gradient, by the factor's derivative."""
    x = draw((1, 6)).requires_grad_()
    true = torch.autograd.functional.jacobian(lambda v: _forward(v, 0.2), x)
    given = torch.autograd.functional.jacobian(AdaNorm(k=0.2, eps=0.0), x)
    assert isinstance(true, Tensor)
    assert isinstance(given, Tensor)
    assert not torch.allclose(true, given, rtol=1e-3)
    y = _forward(x.detach(), 0.0).flatten()
    of_y = torch.autograd.functional.jacobian(lambda v: _forward(v, 0.0), x)
    assert isinstance(of_y, Tensor)
    missing = -0.2 * y[:, None] * of_y.reshape(6, 6)
    torch.testing.assert_close((true - given).reshape(6, 6), missing)


def _forward(x: Tensor, k: float) -> Tensor:
    y = (x - x.mean()) / x.std(correction=0)
    return (1 - k * y) * y


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_precision(dtype: torch.dtype) -> None:
    x = (200 * draw((4, 3000))).to(dtype)
    output = AdaNorm()(x)
    assert output.dtype == dtype
    expected = oracles.over_slices(
        x.double().numpy(), 1, partial(oracles.adanorm, k=0.1, scale=1.0, eps=1e-5)
    )
    np.testing.assert_allclose(output.double().numpy(), expected, rtol=torch.finfo(dtype).eps, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_a_constant_vector_gives_zeros(value: float) -> None:
    x = torch.full((3, 5), value, requires_grad=True)
    output = AdaNorm(eps=0.0, unbiased=True)(x)
    assert torch.equal(output, torch.zeros(3, 5))
    output.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_empty_batches_views_and_modes() -> None:
    layer, x = AdaNorm(), draw((4, 3)).T
    assert layer(torch.empty(0, 3)).shape == (0, 3)
    torch.testing.assert_close(layer(x), layer(x.contiguous()))
    assert torch.equal(layer(x), layer.eval()(x))


def test_one_component_has_no_unbiased_variance() -> None:
    assert torch.equal(AdaNorm()(torch.ones(2, 1)), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="use unbiased=False"):
        AdaNorm(unbiased=True)(torch.ones(2, 1))


def test_bad_options_and_inputs_are_refused() -> None:
    for options in ({"k": float("nan")}, {"scale": float("inf")}, {"eps": -1.0}, {"dim": 0}):
        with pytest.raises(ValueError, match=r"AdaNorm: (k|scale|eps|dim) must be"):
            AdaNorm(**options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"input\.float\(\)"):
        AdaNorm()(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="dimensions, and dim="):
        AdaNorm((-2, -1))(torch.zeros(3))


def test_print_shows_the_options() -> None:
    assert repr(AdaNorm(k=0.2)) == "AdaNorm(dim=(-1,), k=0.2, scale=1, eps=1e-05, unbiased=False)"
