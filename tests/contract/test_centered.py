"""Centering keeps its digits when the mean is far above the spread, and no constant lets the mean back in."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

from cosnorm import functional

from .cases import Case, Law, cases, numbers

#: offset of every entry, tolerance for values of spread 1. A float32 near 1e6 moves in steps of 0.06, so the
#: vectors themselves are coarse; the oracle gets the same coarse vectors, and nothing more may be lost.
OFFSETS = [(0.0, 2e-6), (1e2, 2e-6), (1e4, 2e-6), (-1e6, 2e-5)]


@pytest.mark.parametrize(("offset", "tolerance"), OFFSETS)
@pytest.mark.parametrize("size", [4, 100, 784, 2000])
def test_linear_float32_with_a_large_mean(size: int, offset: float, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(size)
    x = (torch.randn(6, size, generator=generator) + offset).requires_grad_()
    w = (torch.randn(5, size, generator=generator) + 0.3 * offset).requires_grad_()
    output = functional.cosine_linear(x, w, centered=True)
    expected = oracles.linear(numbers(x), numbers(w), centered=True)
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=tolerance)
    g = torch.randn(output.shape, generator=generator)
    found = torch.autograd.grad(output, (x, w), g)
    for tensor, oracle in zip(
        found, oracles.linear_gradients(numbers(x), numbers(w), numbers(g), centered=True), strict=True
    ):
        np.testing.assert_allclose(
            numbers(tensor), oracle, rtol=0, atol=10 * tolerance * np.abs(oracle).max()
        )


@pytest.mark.parametrize(("offset", "tolerance"), OFFSETS)
@pytest.mark.parametrize("case", cases(Law.INPUT_SHIFT, dims=(1, 2, 3)))
def test_convolution_float32_with_a_large_mean(case: Case, offset: float, tolerance: float) -> None:
    x, w = case.draw(5, torch.float32)
    x, w = (x + offset).requires_grad_(), (w + 0.3 * offset).requires_grad_()
    output = case.function(x, w)
    expected = case.values(numbers(x), numbers(w))
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=tolerance)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(output, (x, w), g)
    for tensor, oracle in zip(found, case.gradients(numbers(x), numbers(w), numbers(g)), strict=True):
        np.testing.assert_allclose(
            numbers(tensor), oracle, rtol=0, atol=10 * tolerance * np.abs(oracle).max()
        )


@pytest.mark.parametrize("case", cases(Law.INPUT_SHIFT, dims=(1, 2, 3)))
def test_examples_and_groups_with_means_of_their_own(case: Case) -> None:
    x, w = case.draw(5, torch.float32)
    blocks = case.input_blocks(x)
    blocks += torch.linspace(-9e3, 1e4, len(blocks))[:, None]
    case.close(case.function(x, w), x, w, factor=32)


@pytest.mark.parametrize("case", cases(Law.CENTERED))
def test_the_mean_of_an_image_does_not_decide_for_its_patches(case: Case) -> None:
    """A ramp: every patch has another mean, a hundred times its spread."""
    x, w = case.draw(5, torch.float32)
    x = x + torch.linspace(0, 100 * x.shape[-1], x.shape[-1])
    case.close(case.function(x, w), x, w, factor=64)


@pytest.mark.parametrize("constant", [0.0, 1e-4])
@pytest.mark.parametrize("brightness", [1.0, 255.0])
def test_dark_surroundings_of_a_bright_digit(brightness: float, constant: float) -> None:
    """A stroke on black, as in MNIST, with faint noise: what is far from the stroke keeps its digits."""
    generator = torch.Generator().manual_seed(3)
    x = 1e-3 * torch.rand(2, 1, 20, 20, generator=generator)
    x[:, :, 8:12, 4:16] = brightness * (0.5 + 0.5 * torch.rand(2, 1, 4, 12, generator=generator))
    w = torch.randn(4, 1, 3, 3, generator=generator)
    output = functional.cosine_conv2d(x, w, centered=True, constant=constant)
    expected = oracles.convolution(numbers(x), numbers(w), centered=True, constant=constant)
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", cases(Law.CENTERED))
def test_half_precision_with_a_large_mean(case: Case, dtype: torch.dtype) -> None:
    """The mean is taken away before anything is rounded to half precision again."""
    x, w = case.draw(5)
    x, w = (x + 30).to(dtype), (w - 20).to(dtype)
    case.close(case.function(x, w), x, w, factor=16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("constant", [0.0, 1e-4, 0.3, -2.0, 1e3])
def test_no_shift_is_seen_whatever_the_constant(constant: float, dtype: torch.dtype) -> None:
    """Whole numbers, so that the shifted vectors are exact; only the rounding of the layer is left."""
    generator = torch.Generator().manual_seed(6)
    x, w = (torch.randint(-9, 10, (rows, 12), generator=generator).to(dtype) for rows in (7, 5))
    images, filters = x.view(7, 1, 3, 4), w.view(5, 1, 3, 4)
    tolerance = 8 * torch.finfo(dtype).eps
    shifts = torch.linspace(-3, 3, 7).mul(1000).round().to(dtype)
    for shift in (1.0, -1000.0, 4096.0):
        for rows, weights in ((x + shift, w), (x, w - shift), (x + shifts[:, None], w + shift)):
            torch.testing.assert_close(
                functional.cosine_linear(rows, weights, centered=True, constant=constant),
                functional.cosine_linear(x, w, centered=True, constant=constant),
                rtol=0,
                atol=tolerance,
            )
        torch.testing.assert_close(
            functional.cosine_conv2d(images + shift, filters - shift, centered=True, constant=constant),
            functional.cosine_conv2d(images, filters, centered=True, constant=constant),
            rtol=0,
            atol=tolerance,
        )


@pytest.mark.parametrize("components", [2, 3, 64, 2000])
@pytest.mark.parametrize("constant", [10.0**-power for power in range(1, 13)])
def test_the_limit_of_small_constants_is_pearsons_correlation(constant: float, components: int) -> None:
    """And the difference is bounded by half the square of ``constant / |x| + constant / |w|``, both centered.

    With the mean a thousand times the spread, six digits of the inputs are lost before the layer sees them;
    so both sides get the same rounded vectors.
    """
    draw = np.random.default_rng(components)
    x, w = draw.normal(size=(2, 40, components))
    x, w = (rows * draw.uniform(0.1, 10, (40, 1)) + draw.uniform(-1000, 1000, (40, 1)) for rows in (x, w))
    rows = torch.tensor(x), torch.tensor(w)
    found = numbers(functional.cosine_linear(*rows, centered=True, constant=constant))
    pearson = torch.corrcoef(torch.tensor(np.concatenate([x, w]))).numpy()[:40, 40:]
    spread_x, spread_w = (np.sqrt(np.square(rows - rows.mean(1, keepdims=True)).sum(1)) for rows in (x, w))
    bound = (constant / spread_x[:, None] + constant / spread_w) ** 2 / 2
    rounding = 1e-12 * (1 + 1 / spread_x[:, None] + 1 / spread_w) ** 2
    assert (np.abs(found - pearson) <= bound + rounding).all()
    if constant == 0.1:  # the bound is not idle
        assert np.abs(found - pearson).max() > bound.min() / 4


def test_two_components_show_that_the_bound_is_sharp() -> None:
    """Opposite vectors of equal spread: -1 becomes (k^2 - s^2) / (k^2 + s^2), about 2 k^2 / s^2 more."""
    x = torch.tensor([[1e3 - 1.0, 1e3 + 1.0]], dtype=torch.float64)
    for constant in (1e-2, 1e-3):
        output = functional.cosine_linear(x, -x, centered=True, constant=constant)
        assert 1 + output.item() == pytest.approx((2 * constant / 2**0.5) ** 2 / 2, rel=2 * constant)


@pytest.mark.parametrize("case", cases(Law.CENTERED, without=(Law.APPENDED,)))
def test_centred_is_pearson_correlation(case: Case) -> None:
    """Against numpy.corrcoef, patch by patch."""
    x, w = case.draw(9)
    output = numbers(case.function(x, w))
    if case.dims == 0:
        expected = np.corrcoef(numbers(x), numbers(w))[: len(x), len(x) :]
    else:
        geometry = {
            key: case.options[key] for key in ("stride", "padding", "dilation") if key in case.options
        }
        places = oracles.Patches(x.shape[2:], w.shape[2:], **geometry)
        patches, filters = places.gather(numbers(x), case.groups), case.weight_blocks(w).numpy()
        each = len(w) // case.groups
        expected = np.stack(
            [
                [
                    np.corrcoef(filters[o], patches[n, o // each])[0, 1:].reshape(places.output)
                    for o in range(len(w))
                ]
                for n in range(len(x))
            ]
        )
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-14)
