"""The numbered equations of chapter 5 (convolution), each against patches cut out one by one in plain loops.

Images of whole numbers make sums of squares exact. Gradients are compared with complex steps: the imaginary
part of ``L(x + i h)`` is ``h`` times a derivative, with nothing subtracted. Statements about chance are
averaged over a group exactly, or simulated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from cosnorm.functional import cosine_conv2d

Array = NDArray[np.float64]
Pixel = tuple[int, int]
Upstream = dict[tuple[int, Pixel], float]


class Geometry(NamedTuple):
    """How the window moves, one entry a coordinate."""

    stride: Pixel = (1, 1)
    padding: Pixel = (0, 0)
    dilation: Pixel = (1, 1)


GEOMETRIES = [
    Geometry(),
    Geometry(padding=(2, 1)),
    Geometry(stride=(2, 3), padding=(2, 0)),
    Geometry(dilation=(2, 1), padding=(1, 1)),
    Geometry(stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
]
SHAPE, WINDOW = (2, 6, 7), (3, 2)


def positions(size: Pixel, window: Pixel, geometry: Geometry) -> list[Pixel]:
    """All positions at which the window, its dilation included, lies within the padded image."""
    rows, columns = (
        range((length + 2 * pad - gap * (wide - 1) - 1) // step + 1)
        for length, wide, (step, pad, gap) in zip(size, window, zip(*geometry, strict=True), strict=True)
    )
    return list(itertools.product(rows, columns))


def receptive_field(p: Pixel, window: Pixel, geometry: Geometry) -> list[Pixel]:
    """Equation eq-receptive-field, typed from the chapter, in the order of the window's entries."""
    return [
        (
            geometry.stride[0] * p[0] - geometry.padding[0] + geometry.dilation[0] * v[0],
            geometry.stride[1] * p[1] - geometry.padding[1] + geometry.dilation[1] * v[1],
        )
        for v in itertools.product(*map(range, window))
    ]


def inside(u: Pixel, size: tuple[int, ...]) -> bool:
    return 0 <= u[0] < size[0] and 0 <= u[1] < size[1]


def patch(image: NDArray, field: list[Pixel]) -> NDArray:
    """Entries ``(channels, window)`` under the window; pixels outside the image are zeros."""
    size = image.shape[1:]
    columns = [image[:, u[0], u[1]] if inside(u, size) else np.zeros_like(image[:, 0, 0]) for u in field]
    return np.stack(columns, axis=1)


def cosine_maps(image: NDArray, filters: NDArray, geometry: Geometry) -> dict[tuple[int, Pixel], NDArray]:
    """Equation eq-conv-cosine for every filter and position, analytic in the image and the filters."""
    window = filters.shape[2:]
    result = {}
    for p in positions(image.shape[1:], window, geometry):
        x = patch(image, receptive_field(p, window, geometry)).ravel()
        for j, w in enumerate(filters.reshape(len(filters), -1)):
            result[j, p] = (w * x).sum() / np.sqrt((w * w).sum()) / np.sqrt((x * x).sum())
    return result


def draw(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def package(
    image: Array, filters: Array, geometry: Geometry, *, centered: bool = False, constant: float = 0.0
) -> Array:
    """The package's maps ``(filters, *out)`` for one image."""
    images, weight = torch.tensor(image)[None], torch.tensor(filters)
    return cosine_conv2d(images, weight, *geometry, centered=centered, constant=constant)[0].numpy()


@pytest.mark.equation("eq-receptive-field")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_pixel_reaches_the_outputs_whose_window_covers_it(geometry: Geometry) -> None:
    fields = {p: receptive_field(p, WINDOW, geometry) for p in positions(SHAPE[1:], WINDOW, geometry)}
    for u in np.ndindex(*SHAPE[1:]):
        impulse = torch.zeros(1, 1, *SHAPE[1:])
        impulse[0, 0, u[0], u[1]] = 1
        answer = F.conv2d(impulse, torch.ones(1, 1, *WINDOW), None, *geometry)[0, 0]
        assert set(fields) == set(np.ndindex(*answer.shape))
        assert {p for p in fields if answer[p]} == {p for p, field in fields.items() if u in field}


@pytest.mark.equation("eq-conv-cosine")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_output_is_the_cosine_of_a_filter_and_a_patch(geometry: Geometry) -> None:
    image, filters = draw(SHAPE, (3, 2, *WINDOW))
    seen = package(image, filters, geometry)
    expected = cosine_maps(image, filters, geometry)
    assert len(expected) == seen.size
    for (j, p), c in expected.items():
        assert seen[j, *p] == pytest.approx(c, abs=1e-14)


@pytest.mark.equation("eq-patch-length")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_squared_lengths_are_box_sums_of_one_map(geometry: Geometry) -> None:
    image = np.random.default_rng(1).integers(-9, 10, SHAPE)
    image[image == 0] = 5  # no empty patch, so that every length can be read off the package's output
    zeta = (image**2).sum(0)
    filters = np.eye(2 * math.prod(WINDOW)).reshape(
        -1, 2, *WINDOW
    )  # each filter picks one entry of the patch
    seen = package(image.astype(float), filters, geometry)
    for p in positions(SHAPE[1:], WINDOW, geometry):
        field = receptive_field(p, WINDOW, geometry)
        entries = patch(image, field).ravel()
        squares = sum(int(zeta[u]) for u in field if inside(u, SHAPE[1:]))
        assert squares == sum(int(entry) ** 2 for entry in entries)
        np.testing.assert_allclose(seen[:, *p] * math.sqrt(squares), entries, atol=1e-13)


@pytest.mark.equation("eq-box-share")
@pytest.mark.parametrize(("channels", "filters", "window"), [(4, 6, (3, 3)), (1, 5, (2, 4)), (8, 1, (5, 5))])
def test_the_box_adds_one_part_in_filters_times_channels(
    channels: int, filters: int, window: tuple[int, int]
) -> None:
    image, weight = torch.randn(2, channels, 9, 8), torch.randn(filters, channels, *window)
    counts = {}
    for layer in (F.conv2d, cosine_conv2d):
        with FlopCounterMode(display=False) as counter:
            layer(image, weight)
        counts[layer] = counter.get_total_flops()
    extra = counts[cosine_conv2d] - counts[F.conv2d]
    assert Fraction(extra, counts[F.conv2d]) == Fraction(1, filters * channels)


@pytest.mark.equation("eq-unfold-memory")
@pytest.mark.parametrize("window", [(3, 3), (5, 3), (1, 1)])
def test_unfolding_repeats_every_pixel_once_for_each_entry_of_the_window(window: Pixel) -> None:
    batch, channels, size = 3, 4, (9, 8)
    image = torch.randn(batch, channels, *size)
    copy = F.unfold(image, window, padding=(window[0] // 2, window[1] // 2))
    d = channels * math.prod(window)
    assert copy.numel() == batch * math.prod(size) * d == math.prod(window) * image.numel()
    some = F.unfold(image, window, stride=2)
    count = len(positions(size, window, Geometry(stride=(2, 2))))
    assert some.numel() == batch * count * d


def complex_gradient(function: Callable[[NDArray], complex], at: Array) -> Array:
    """Gradient of an analytic real function by complex steps."""
    result = np.empty_like(at)
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1e-40j
        result[index] = function(moved).imag / 1e-40
    return result


def upstream(cosines: dict[tuple[int, Pixel], NDArray]) -> Upstream:
    rng = np.random.default_rng(5)
    return {key: rng.normal() for key in cosines}


def upstream_sum(maps: torch.Tensor, g: Upstream) -> torch.Tensor:
    """The loss whose upstream gradients are g, from the package's maps."""
    return torch.stack([g[j, p] * maps[j, *p] for j, p in g]).sum()


def typed_image_gradient(image: Array, filters: Array, geometry: Geometry, g: Upstream) -> Array:
    """Equations eq-patch-pull and eq-conv-grad-x, typed from the chapter, pixel by pixel."""
    window, c = filters.shape[2:], cosine_maps(image, filters, geometry)
    units = [w / np.linalg.norm(w) for w in filters]
    fields = {p: receptive_field(p, window, geometry) for p in positions(image.shape[1:], window, geometry)}
    length = {p: np.linalg.norm(patch(image, field)) for p, field in fields.items()}
    tau = {p: sum(g[j, p] * c[j, p] for j in range(len(units))) / length[p] ** 2 for p in fields}
    result = np.zeros_like(image)
    for k, *u in np.ndindex(image.shape):
        for p, field in fields.items():
            if tuple(u) in field:
                v = np.unravel_index(field.index((u[0], u[1])), window)
                pull = sum(g[j, p] * unit[k, *v] for j, unit in enumerate(units)) / length[p]
                result[k, *u] += pull - image[k, *u] * tau[p]
    return result


@pytest.mark.equation("eq-patch-pull", "eq-conv-grad-x")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_image_gradient_is_a_convolution_and_a_transposed_box(geometry: Geometry) -> None:
    image, filters = draw((2, 4, 5), (3, 2, *WINDOW), seed=2)
    g = upstream(cosine_maps(image, filters, geometry))

    def loss(moved: NDArray) -> complex:
        return complex(sum(g[key] * c for key, c in cosine_maps(moved, filters, geometry).items()))

    typed = typed_image_gradient(image, filters, geometry, g)
    np.testing.assert_allclose(typed, complex_gradient(loss, image), rtol=1e-11, atol=1e-12)
    leaf = torch.tensor(image, requires_grad=True)
    output = cosine_conv2d(leaf[None], torch.tensor(filters), *geometry)[0]
    (seen,) = torch.autograd.grad(upstream_sum(output, g), leaf)
    np.testing.assert_allclose(seen, typed, rtol=1e-11, atol=1e-12)


@pytest.mark.equation("eq-conv-grad-w")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_filter_gradient_sums_tangents_over_positions(geometry: Geometry) -> None:
    image, filters = draw((2, 4, 5), (2, 2, *WINDOW), seed=3)
    c = cosine_maps(image, filters, geometry)
    g = upstream(c)

    def loss(moved: NDArray) -> complex:
        return complex(sum(g[key] * value for key, value in cosine_maps(image, moved, geometry).items()))

    typed = np.zeros_like(filters)
    for j, w in enumerate(filters):
        size = np.linalg.norm(w)
        for p in positions(image.shape[1:], WINDOW, geometry):
            x = patch(image, receptive_field(p, WINDOW, geometry)).reshape(w.shape)
            typed[j] += g[j, p] * (x / np.linalg.norm(x) - w / size * c[j, p]) / size
    np.testing.assert_allclose(typed, complex_gradient(loss, filters), rtol=1e-11, atol=1e-12)
    weight = torch.tensor(filters, requires_grad=True)
    output = cosine_conv2d(torch.tensor(image)[None], weight, *geometry)[0]
    (seen,) = torch.autograd.grad(upstream_sum(output, g), weight)
    np.testing.assert_allclose(seen, typed, rtol=1e-11, atol=1e-12)


def test_the_gradient_is_tangent_to_the_image_and_not_to_its_patches() -> None:
    image, filters = draw((2, 4, 5), (3, 2, 3, 3), seed=4)
    geometry = Geometry(padding=(1, 1))
    g = upstream(cosine_maps(image, filters, geometry))
    gradient = typed_image_gradient(image, filters, geometry, g)
    assert abs((image * gradient).sum()) < 1e-12
    assert abs((image * gradient)[:, :3, :3].sum()) > 0.1


@pytest.mark.equation("eq-border-ceiling")
def test_a_border_cosine_reaches_the_share_of_the_filter_that_meets_pixels_and_no_more() -> None:
    (filters,) = draw((10, 2, 3, 3), seed=6)
    for w in filters:
        part = w[:, 1:, 1:]  # what meets pixels when the window hangs over the upper left corner
        ceiling = np.linalg.norm(part) / np.linalg.norm(w)
        image = np.zeros((2, 4, 4))
        image[:, :2, :2] = 7.0 * part
        seen = package(image, w[None], Geometry(padding=(1, 1)))
        assert seen[0, 0, 0] == pytest.approx(ceiling, rel=1e-13)
        for other in draw(*[(2, 4, 4)] * 20, seed=7):
            assert abs(package(other, w[None], Geometry(padding=(1, 1)))[0, 0, 0]) <= ceiling


def test_the_chapters_three_ceilings_of_a_filter_of_equal_weights() -> None:
    seen = package(np.ones((1, 4, 4)), np.ones((1, 1, 3, 3)), Geometry(padding=(1, 1)))[0]
    np.testing.assert_allclose([seen[0, 0], seen[0, 1], seen[1, 1]], [2 / 3, math.sqrt(6) / 3, 1], rtol=1e-14)


@pytest.mark.equation("eq-border-variance")
def test_the_mean_square_of_a_random_cosine_is_the_same_at_the_border() -> None:
    image, reflected = np.abs(draw((1, 4, 4), seed=8)[0]), draw((4, 1, 1), seed=9)[0].ravel()
    # Turns that permute and flip the axes leave the normal distribution as it is; their average is exact.
    filters = []
    for order, signs in itertools.product(
        itertools.permutations(range(4)), itertools.product((1, -1), repeat=4)
    ):
        filters.append((np.array(signs) * reflected[list(order)]).reshape(1, 2, 2))
    seen = package(image, np.stack(filters), Geometry(padding=(1, 1)))
    np.testing.assert_allclose((seen**2).mean(0), np.full((5, 5), 1 / 4), rtol=1e-13)
    drawn = np.random.default_rng(10).normal(size=(40_000, 1, 3, 3))
    squares = package(image, drawn, Geometry(padding=(1, 1))) ** 2
    np.testing.assert_allclose(squares.mean(0), np.full((4, 4), 1 / 9), rtol=0.05)


def lighting_bound(xi: float) -> float:
    """The right side of eq-lighting, typed from the chapter."""
    return (math.sqrt(xi) - 1) * math.sqrt(2 / (xi + 1))


@pytest.mark.equation("eq-lighting")
@pytest.mark.parametrize("xi", [1.0001, 1.06, 1.9, 10.0, 1e4])
def test_uneven_light_moves_a_cosine_by_the_bound_at_worst(xi: float) -> None:
    rng = np.random.default_rng(11)
    for _ in range(100):
        x, w = rng.normal(size=(2, 2, 3, 3))
        light = xi ** rng.choice([0.0, 1.0, rng.uniform()], size=(3, 3))
        seen = package(x, w[None], Geometry())
        lit = package(x * light, w[None], Geometry())
        assert abs(lit - seen).item() <= lighting_bound(xi) + 1e-15
    # The worst case: two pixels, the darker lit more, and the filter along the difference of directions.
    x, light = np.array([math.sqrt(xi), 1.0]), np.array([1.0, xi])
    before, after = x / np.linalg.norm(x), x * light / np.linalg.norm(x * light)
    w = (after - before).reshape(1, 1, 1, 2)
    pair = [package(values.reshape(1, 1, 2), w, Geometry()).item() for values in (x, x * light)]
    assert pair[1] - pair[0] == pytest.approx(lighting_bound(xi), rel=1e-7)


def test_for_nearly_even_light_the_bound_is_half_the_change() -> None:
    for change in (1e-2, 1e-3, 1e-4):
        assert lighting_bound(1 + change) == pytest.approx(change / 2, rel=change)


@pytest.mark.equation("eq-centered-length")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_centered_lengths_are_a_difference_of_two_box_sums(geometry: Geometry) -> None:
    image = np.random.default_rng(12).integers(-9, 10, SHAPE)
    filters = np.eye(2 * math.prod(WINDOW)).reshape(-1, 2, *WINDOW)
    seen = package(image.astype(float), filters, geometry, centered=True)
    d = filters[0].size
    for p in positions(SHAPE[1:], WINDOW, geometry):
        entries = [
            Fraction(int(entry)) for entry in patch(image, receptive_field(p, WINDOW, geometry)).ravel()
        ]
        mean = sum(entries, Fraction(0)) / d
        spread = sum((entry - mean) ** 2 for entry in entries)
        assert spread == sum(entry**2 for entry in entries) - d * mean**2
        # The correlation of an axis with x is (x_i - mean) / |x - mean| / sqrt(1 - 1/d).
        expected = [float(entry - mean) / math.sqrt(spread * Fraction(d - 1, d)) for entry in entries]
        np.testing.assert_allclose(seen[:, *p], expected, atol=1e-13)


@pytest.mark.equation("eq-cancellation")
def test_the_subtraction_loses_digits_with_the_square_of_the_mean() -> None:
    rng, epsilon = np.random.default_rng(13), float(np.finfo(np.float32).eps)
    spread, d = 0.5, 36
    errors = []
    for ratio in (10, 100, 1000):
        x = (rng.normal(size=(2000, d)) * spread + ratio * spread).astype(np.float32)
        squares, total = np.zeros(2000, np.float32), np.zeros(2000, np.float32)
        for column in x.T:
            squares, total = squares + column * column, total + column
        subtracted = squares - total * total / np.float32(d)
        exact = x.astype(float).var(1) * d
        error = np.sqrt(np.mean((subtracted / exact - 1) ** 2))
        assert 0.1 < error / (epsilon * (1 + ratio**2)) < 10
        errors.append(error)
        w = torch.tensor(rng.normal(size=(1, 1, 6, 6)))
        images = torch.tensor(x).view(-1, 1, 6, 6)
        single = cosine_conv2d(images, w.float(), centered=True).double()
        double = cosine_conv2d(images.double(), w.float().double(), centered=True)
        assert (single - double).abs().max() < 10 * epsilon
    assert 50 < errors[1] / errors[0] < 200
    assert 50 < errors[2] / errors[1] < 200


@pytest.mark.equation("eq-noise-fade")
@pytest.mark.parametrize("kappa", [1e-4, 0.03, 0.1, 0.3])
@pytest.mark.parametrize("d", [9, 75])
def test_the_constant_fades_the_noise_of_black_patches(kappa: float, d: int) -> None:
    rng, sigma = np.random.default_rng(14), 0.02
    x, w = sigma * rng.normal(size=(40_000, d)), 3 * rng.normal(size=(5, d))
    longer_x, longer_w = (np.pad(rows, ((0, 0), (0, 1)), constant_values=kappa) for rows in (x, w))
    c = longer_x @ longer_w.T
    c /= np.linalg.norm(longer_x, axis=1)[:, None] * np.linalg.norm(longer_w, axis=1)
    np.testing.assert_allclose(c.var(0), np.full(5, sigma**2 / (d * sigma**2 + kappa**2)), rtol=0.06)
    assert (np.abs(c.mean(0)) < kappa / np.linalg.norm(w, axis=1) + 0.01).all()
    seen = cosine_conv2d(
        torch.tensor(x[:50]).view(50, 1, 1, d), torch.tensor(w).view(5, 1, 1, d), constant=kappa
    )
    np.testing.assert_allclose(seen.flatten(1), c[:50], rtol=1e-10, atol=1e-14)


@pytest.mark.equation("eq-flat-centered")
@pytest.mark.parametrize("kappa", [1e-4, 0.1])
def test_on_a_flat_patch_a_centered_layer_sees_only_its_constant(kappa: float) -> None:
    for w, brightness in itertools.product(
        np.random.default_rng(15).normal(size=(5, 9)), (0.0, 0.05, 0.2, 30.0)
    ):
        typed = kappa / math.sqrt((w - w.mean()) @ (w - w.mean()) + kappa**2)
        image, filters = np.full((1, 3, 3), brightness), w.reshape(1, 1, 3, 3)
        seen = package(image, filters, Geometry(), centered=True, constant=kappa)
        assert seen.item() == pytest.approx(typed, rel=1e-12)
        assert package(image, filters, Geometry(), centered=True).item() == 0
