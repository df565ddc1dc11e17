"""Normalization propagation: values, gradients, its two constants, and the data it asks for."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from relatives import oracles_weights as oracles
from torch import Tensor, nn

from cosnorm.relatives.propagation import (
    PropagationConv1d,
    PropagationConv2d,
    PropagationConv3d,
    PropagationLinear,
    Standardize,
)

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

CONVOLUTIONS: dict[str, tuple[type[nn.Module], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": (PropagationConv1d, (2, 4, 9), (4, 5, 3), {"stride": 2, "padding": 1}),
    "2d-grouped": (PropagationConv2d, (2, 4, 5, 6), (4, 6, 3), {"groups": 2, "padding": 1}),
    "2d-circular": (PropagationConv2d, (2, 3, 4, 5), (3, 4, 3), {"padding": 1, "padding_mode": "circular"}),
    "3d": (PropagationConv3d, (2, 2, 4, 3, 4), (2, 3, (3, 2, 2)), {"padding": (0, 1, 0)}),
}


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def draw(layer: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def batch(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def state(layer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return numbers(layer.weight), numbers(layer.gain), numbers(layer.bias)


def assert_gradients(layer: Any, x: Tensor, g: Tensor, expected: oracles.Gradients) -> None:
    x = x.clone().requires_grad_()
    found = torch.autograd.grad(layer(x), [x, layer.weight, layer.gain, layer.bias], g)
    for gradient, oracle in zip(found, expected, strict=True):
        np.testing.assert_allclose(numbers(gradient), oracle, rtol=1e-12, atol=1e-12)


def test_linear_values_and_gradients() -> None:
    layer = draw(PropagationLinear(6, 5, dtype=torch.float64))
    x, g = batch(4, 6), batch(4, 5, seed=2)
    np.testing.assert_allclose(numbers(layer(x)), oracles.propagation(numbers(x), *state(layer)), rtol=1e-12)
    assert_gradients(layer, x, g, oracles.propagation_gradients(numbers(x), *state(layer), numbers(g)))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_values_and_gradients(name: str) -> None:
    """The length is that of the whole filter, not that of each of its rows or channels."""
    kind, shape, sizes, geometry = CONVOLUTIONS[name]
    layer = draw(kind(*sizes, **geometry, dtype=torch.float64))
    x = batch(*shape)
    expected = oracles.convolution(oracles.propagation, numbers(x), *state(layer), **geometry)
    np.testing.assert_allclose(numbers(layer(x)), expected, rtol=1e-12, atol=1e-12)
    if geometry.get("padding_mode", "zeros") == "zeros":
        g = batch(*expected.shape, seed=2)
        gradients = oracles.convolution_gradients(
            oracles.propagation_gradients, numbers(x), *state(layer), numbers(g), **geometry
        )
        assert_gradients(layer, x, g, gradients)


def test_it_starts_where_the_paper_says() -> None:
    for layer in (PropagationLinear(3, 4), PropagationConv2d(3, 4, 3)):
        for _ in range(2):
            assert layer.gain.tolist() == pytest.approx([1 / 1.21] * 4)
            assert layer.bias.tolist() == [0] * 4
            with torch.no_grad():
                layer.gain.zero_()
                layer.bias.fill_(3.0)
            layer.reset_parameters()


def test_outputs_have_mean_0_and_variance_1_for_normal_inputs() -> None:
    """For gain 1 and bias 0, whatever the weights: the constants by simulation."""
    layer = draw(PropagationLinear(8, 3, dtype=torch.float64))
    nn.init.ones_(layer.gain)
    nn.init.zeros_(layer.bias)
    output = numbers(layer(batch(200_000, 8)))
    np.testing.assert_allclose(output.mean(0), 0, atol=5 / 200_000**0.5)
    np.testing.assert_allclose(output.var(0), 1, atol=0.02)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_near_the_oracle_and_zero_rows_pass_no_gradient(dtype: torch.dtype) -> None:
    layer = draw(PropagationLinear(40, 5, dtype=dtype))
    with torch.no_grad():
        layer.weight[1] = 0
    x = batch(7, 40, dtype=dtype)
    output = layer(x)
    assert output.dtype == dtype
    expected = oracles.propagation(numbers(x), *state(layer))
    np.testing.assert_allclose(numbers(output), expected, atol=60 * torch.finfo(dtype).eps)
    output.sum().backward()
    assert (layer.weight.grad[1] == 0).all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_batches_of_any_kind_and_both_modes() -> None:
    layer = draw(PropagationLinear(4, 3, dtype=torch.float64))
    x = batch(6, 4)
    whole = layer(x)
    torch.testing.assert_close(layer(x[:1]), whole[:1])
    torch.testing.assert_close(layer.eval()(x.T.contiguous().T), whole)
    assert layer(x[:0]).shape == (0, 3)
    assert torch.equal(copy.deepcopy(layer)(x), whole)
    assert layer(torch.zeros(2, 4, dtype=torch.float64)).isfinite().all()


def test_standardize_divides_by_one_deviation() -> None:
    inputs = batch(50, 3, 4) * torch.arange(1.0, 5.0) + 7
    standardize = Standardize((3, 4), dtype=torch.float64)
    assert torch.equal(standardize(inputs), inputs)
    standardize.fit(inputs)
    x = numbers(inputs)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0).mean())
    np.testing.assert_allclose(numbers(standardize(inputs)), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(expected.var(0).mean(), 1)
    np.testing.assert_allclose(numbers(standardize(inputs[3])), expected[3], rtol=1e-12, atol=1e-13)


def test_standardize_is_part_of_a_checkpoint_but_learns_nothing() -> None:
    standardize = Standardize(4)
    standardize.fit(batch(9, 4, dtype=torch.float32))
    other = Standardize(4)
    other.load_state_dict(standardize.state_dict())
    x = batch(2, 4, dtype=torch.float32)
    assert torch.equal(other(x), standardize(x))
    assert not list(standardize.parameters())


@pytest.mark.parametrize("dtype", DTYPES)
def test_standardize_is_finite_on_constant_data_and_in_every_dtype(dtype: torch.dtype) -> None:
    standardize = Standardize(2, dtype=dtype)
    standardize.fit(torch.tensor([[1.0, 2.0]] * 3, dtype=dtype))
    assert standardize.std.item() == 1
    output = standardize(torch.tensor([[1.0, 5.0]], dtype=dtype))
    assert output.dtype == dtype
    assert output.tolist() == [[0, 3]]
    standardize.fit(torch.tensor([[1.0, 2.0]], dtype=dtype))
    assert standardize(torch.empty(0, 2, dtype=dtype)).shape == (0, 2)


def test_standardize_takes_bytes() -> None:
    standardize = Standardize(2)
    standardize.fit(torch.tensor([[0, 255], [255, 255]], dtype=torch.uint8))
    assert standardize.mean.tolist() == [127.5, 255]
    assert standardize.std.item() == pytest.approx(127.5 / 2**0.5)


def test_standardize_refuses_what_has_no_statistics() -> None:
    standardize = Standardize((2, 3))
    with pytest.raises(ValueError, match="at least one example"):
        standardize.fit(torch.empty(0, 2, 3))
    with pytest.raises(ValueError, match="finite inputs"):
        standardize.fit(torch.full((4, 2, 3), float("nan")))
    for wrong in (torch.ones(4, 3, 2), torch.ones(3)):
        with pytest.raises(ValueError, match=r"must be \(2, 3\)"):
            standardize.fit(wrong)
        with pytest.raises(ValueError, match=r"must be \(2, 3\)"):
            standardize(wrong)
