"""The exact identities between cosine normalization and its relatives, to rounding, at random points.

Each holds for the outputs and, because it holds everywhere, for the gradients. Values that one side of an
identity is given (a length, a deviation) are worked out here with NumPy, not by the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import oracles
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm import CosineConv2d, CosineLinear
from cosnorm.functional import cosine_conv2d, cosine_linear
from cosnorm.networks import mlp
from cosnorm.relatives import (
    AdaNorm,
    LayerNormSimple,
    LayerScaling,
    MeanOnlyBatchNorm1d,
    OnlineNorm,
    PropagationLinear,
    ScalingWeightNorm,
    WeightNormConv2d,
    WeightNormLinear,
)

#: Examples, inputs and units.
SIZES = [(1, 2, 3), (5, 7, 4), (12, 64, 30), (3, 300, 1)]
DTYPES = [torch.float32, torch.float64]

everywhere = pytest.mark.parametrize("dtype", DTYPES, ids=str)
in_all_sizes = pytest.mark.parametrize("sizes", SIZES, ids=str)


def draw(sizes: tuple[int, int, int], dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and weights, neither of mean 0, of lengths from 0.1 to 10."""
    generator = torch.Generator().manual_seed(seed)
    count, inputs, units = sizes
    x, w = (
        torch.randn(rows, inputs, generator=generator, dtype=torch.float64) + 0.5 for rows in (count, units)
    )
    x, w = (
        rows * 10 ** (2 * torch.rand(len(rows), 1, generator=generator, dtype=torch.float64) - 1)
        for rows in (x, w)
    )
    return x.to(dtype), w.to(dtype)


def lengths(rows: Tensor) -> Tensor:
    """Euclidean lengths of the rows, from NumPy."""
    return torch.from_numpy(oracles.lengths(rows.detach().double().numpy())).to(rows.dtype)


def agree(found: Tensor, expected: Tensor, epsilons: float = 32) -> None:
    """Equal up to rounding, relative to the largest number."""
    assert found.shape == expected.shape
    size = max(expected.detach().abs().max().item(), 1e-30)
    atol = epsilons * torch.finfo(expected.dtype).eps * size
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def agree_with_gradients(
    one: Callable[[Tensor, Tensor], Tensor],
    other: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    w: Tensor,
    epsilons: float = 64,
) -> None:
    """Two functions of input and weight have the same outputs and the same two gradients."""
    outcomes = []
    for function in (one, other):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, w)]
        output = function(*leaves)
        g = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
        outcomes.append([output, *torch.autograd.grad(output, leaves, g)])
    for found, expected in zip(*outcomes, strict=True):
        agree(found, expected, epsilons)


def weight_norm(w: Tensor, gain: float | Tensor = 1.0) -> Callable[[Tensor], Tensor]:
    """The package's layer as a function of its input, for one weight."""
    layer = WeightNormLinear(w.shape[1], w.shape[0], bias=False, dtype=w.dtype)
    return lambda x: gain * torch.func.functional_call(layer, {"weight": w}, (x,))


@everywhere
@in_all_sizes
def test_weight_norm_with_a_gain_of_one_over_the_inputs_length_is_the_cosine(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """A gain for each example: as an outer factor, and through the layer's own fixed gain, one by one."""
    x, w = draw(sizes, dtype)
    agree(weight_norm(w, 1 / lengths(x)[:, None])(x), cosine_linear(x, w))
    for example in range(len(x)):
        layer = WeightNormLinear(*w.T.shape, bias=False, gain=1 / lengths(x)[example].item(), dtype=dtype)
        layer.load_state_dict({"weight": w})
        agree(layer(x[example]), cosine_linear(x[example], w))


@everywhere
@in_all_sizes
def test_weight_norm_of_directions_is_the_cosine(sizes: tuple[int, int, int], dtype: torch.dtype) -> None:
    """Gradients too: the length of the input is then part of the function."""
    x, w = draw(sizes, dtype)
    agree_with_gradients(
        lambda x, w: weight_norm(w)(x / x.norm(dim=1, keepdim=True)), lambda x, w: cosine_linear(x, w), x, w
    )


@everywhere
def test_weight_norm_over_the_length_of_each_patch_is_the_cosine_of_a_convolution(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 3, 6, 5, generator=generator, dtype=dtype)
    layer = WeightNormConv2d(3, 4, 3, stride=2, padding=1, bias=False, dtype=dtype)
    places = oracles.Patches((6, 5), (3, 3), stride=2, padding=1)
    patches = torch.from_numpy(places.gather(x.double().numpy(), groups=1)[:, 0])
    length = lengths(patches).view(2, 1, *places.output).to(dtype)
    agree(layer(x) / length, cosine_conv2d(x, layer.weight, stride=2, padding=1))


@everywhere
@in_all_sizes
def test_batch_norm_with_mean_zero_and_the_product_of_lengths_as_deviation_is_the_cosine(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """One example at a time: its running estimates are set to what makes torch's layer the cosine."""
    x, w = draw(sizes, dtype)
    for example in range(len(x)):
        norm = nn.BatchNorm1d(len(w), eps=0.0, dtype=dtype).eval()
        assert norm.running_var is not None
        norm.running_var.copy_((lengths(w) * lengths(x)[example]).square())
        agree(norm(F.linear(x[example : example + 1], w)), cosine_linear(x[example : example + 1], w))


@everywhere
@in_all_sizes
def test_layer_norm_of_a_layer_with_mean_zero_and_equal_lengths_is_the_cosine(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """Layer norm takes one deviation for all units, so the weights have one length here, R.

    Units in pairs w, -w make the mean of the pre-activations 0, and layer_simple divides by their root mean
    square: it is the cosine if that is R|x|. Scaling the output by the quotient of the two shows it is.
    """
    x, w = draw(sizes, dtype)
    w = 3 * w / w.norm(dim=1, keepdim=True)
    w = torch.cat([w, -w])
    a = F.linear(x, w)
    deviation = torch.from_numpy(np.sqrt(np.square(a.double().numpy()).mean(1))).to(dtype)
    quotient = deviation / (3 * lengths(x))
    agree(LayerNormSimple(eps=0.0)(a) * quotient[:, None], cosine_linear(x, w))


@everywhere
@in_all_sizes
def test_online_norm_with_those_estimates_is_the_cosine(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    x, w = draw(sizes, dtype)
    for example in range(len(x)):
        norm = OnlineNorm(len(w), eps=0.0, affine=False, dtype=dtype).eval()
        norm.var.copy_((lengths(w) * lengths(x)[example]).square())
        agree(norm(F.linear(x[example : example + 1], w)), cosine_linear(x[example : example + 1], w))


@everywhere
@in_all_sizes
@pytest.mark.parametrize("constant", [0.0, 1e-4])
def test_the_centered_cosine_is_the_cosine_of_centered_vectors(
    sizes: tuple[int, int, int], dtype: torch.dtype, constant: float
) -> None:
    """The constant is appended after the mean was subtracted."""
    x, w = draw(sizes, dtype)

    def by_hand(x: Tensor, w: Tensor) -> Tensor:
        x, w = (rows - rows.mean(1, keepdim=True) for rows in (x, w))
        if constant:
            x, w = (F.pad(rows, (0, 1), value=constant) for rows in (x, w))
        return cosine_linear(x, w)

    # With two components all centered vectors are parallel: the gradient is 0, and rounding all there is.
    epsilons = 512 if sizes[1] > 2 else math.inf
    if epsilons == math.inf:
        agree(cosine_linear(x, w, centered=True, constant=constant), by_hand(x, w), 512)
    else:
        agree_with_gradients(
            lambda x, w: cosine_linear(x, w, centered=True, constant=constant), by_hand, x, w, epsilons
        )


@everywhere
@in_all_sizes
def test_centering_one_of_the_two_vectors_is_enough_for_the_product_but_not_for_the_length(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """<x - m, w> = <x - m, w - n>: the centered cosine needs the mean of w in its length alone."""
    x, w = draw(sizes, dtype)
    centered_x, centered_w = (rows - rows.mean(1, keepdim=True) for rows in (x, w))
    ratio = (lengths(w) / lengths(centered_w))[None]
    agree(cosine_linear(centered_x, w) * ratio, cosine_linear(x, w, centered=True), 512)


@everywhere
@in_all_sizes
def test_layer_norm_of_the_input_then_centered_normalized_weights_is_the_centered_cosine_times_root_d(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """Because |x - mean| = sqrt(d) sigma: layer norm over the inputs is a direction of length sqrt(d)."""
    x, w = draw(sizes, dtype)
    d = x.shape[1]

    def composed(x: Tensor, w: Tensor) -> Tensor:
        return weight_norm(w - w.mean(1, keepdim=True))(LayerNormSimple(eps=0.0)(x))

    def centered(x: Tensor, w: Tensor) -> Tensor:
        return math.sqrt(d) * cosine_linear(x, w, centered=True)

    if d > 2:
        agree_with_gradients(composed, centered, x, w, 512)
    else:
        agree(composed(x, w), centered(x, w), 512)
    # The weights' mean does not matter for the product, only for their length.
    uncentered = weight_norm(w)(LayerNormSimple(eps=0.0)(x)) * (
        lengths(w) / lengths(w - w.mean(1, keepdim=True))
    )
    agree(uncentered, centered(x, w), 512)


@everywhere
def test_the_same_over_the_patches_of_a_convolution(dtype: torch.dtype) -> None:
    """Each patch normalized over its channels and window; padding would be part of the patch."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 5, 6, generator=generator, dtype=dtype) + 1
    layer = CosineConv2d(3, 4, (3, 2), centered=True, dtype=dtype)
    places = oracles.Patches((5, 6), (3, 2))
    patches = torch.from_numpy(places.gather(x.double().numpy(), groups=1)[:, 0]).to(dtype)
    filters = layer.weight.detach().flatten(1)
    composed = weight_norm(filters - filters.mean(1, keepdim=True))(LayerNormSimple(eps=0.0)(patches))
    expected = math.sqrt(18) * layer(x).detach().flatten(2).transpose(1, 2)
    agree(composed, expected, 256)


@everywhere
@in_all_sizes
def test_root_mean_square_scaling_then_normalized_weights_is_the_cosine_times_root_d(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """The same without means: dividing by the root mean square leaves a direction of length sqrt(d)."""
    x, w = draw(sizes, dtype)
    agree_with_gradients(
        lambda x, w: weight_norm(w)(LayerScaling(eps=0.0)(x)),
        lambda x, w: math.sqrt(x.shape[1]) * cosine_linear(x, w),
        x,
        w,
        128,
    )


@everywhere
@in_all_sizes
def test_layer_norm_is_root_mean_square_scaling_of_the_centered_vector(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    x, _ = draw(sizes, dtype)
    centered = x - x.mean(1, keepdim=True)
    for eps in (0.0, 0.3):
        agree(LayerNormSimple(eps=eps)(x), LayerScaling(eps=eps)(centered), 256)


@everywhere
@in_all_sizes
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.3])
def test_adanorm_with_k_zero_and_c_one_is_layer_norm(
    sizes: tuple[int, int, int], dtype: torch.dtype, eps: float
) -> None:
    """Without gain and shift; bit for bit with LayerNormSimple, to rounding with torch's own layer."""
    x, _ = draw(sizes, dtype)
    outcomes = []
    for module in (AdaNorm(k=0.0, scale=1.0, eps=eps), LayerNormSimple(eps=eps)):
        leaf = x.clone().requires_grad_()
        output = module(leaf)
        g = torch.linspace(-1, 1, output.numel(), dtype=dtype).view(output.shape)
        outcomes.append((output, torch.autograd.grad(output, leaf, g)[0]))
    assert all(map(torch.equal, *outcomes))
    if eps:
        agree(outcomes[0][0], F.layer_norm(x, x.shape[1:], eps=eps), 256)


@everywhere
@in_all_sizes
def test_the_factor_of_adanorm_is_what_distinguishes_it(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """z = C (1 - k y) y for the y of layer norm; its gradient is layer norm's for C (1 - k y) g."""
    x, _ = draw(sizes, dtype)
    leaf = x.clone().requires_grad_()
    y = LayerNormSimple()(leaf)
    factor = 2.0 * (1 - 0.1 * y.detach())
    g = torch.linspace(-1, 1, y.numel(), dtype=dtype).view(y.shape)
    (expected,) = torch.autograd.grad(y, leaf, factor * g)
    other = x.clone().requires_grad_()
    z = AdaNorm(k=0.1, scale=2.0)(other)
    agree(z, factor * y)
    (found,) = torch.autograd.grad(z, other, g)
    agree(found, expected)


@everywhere
def test_layer_norm_over_everything_is_group_norm_with_one_group_and_instance_norm_with_one_a_channel(
    dtype: torch.dtype,
) -> None:
    x = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=dtype) + 2
    agree(LayerNormSimple((-3, -2, -1))(x), F.group_norm(x, 1))
    agree(LayerNormSimple((-2, -1))(x), F.group_norm(x, 4))
    agree(LayerNormSimple((-2, -1))(x), F.instance_norm(x))
    # One example in the batch: batch norm's statistics are then those of instance norm.
    agree(F.batch_norm(x[:1], None, None, training=True), F.instance_norm(x[:1]))


@everywhere
@pytest.mark.parametrize("shape", [(8, 5), (6, 3, 4)], ids=str)
def test_batch_norm_is_mean_only_batch_norm_over_the_batchs_deviation(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """And of a transposed batch it is layer norm."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) + 2
    axes = (0, *range(2, x.dim()))
    deviation = np.sqrt(np.var(x.double().numpy(), axis=axes, keepdims=True) + 1e-5)
    both = MeanOnlyBatchNorm1d(shape[1], shift=False)(x) / torch.from_numpy(deviation).to(dtype)
    agree(both, F.batch_norm(x, None, None, training=True))
    if x.dim() == 2:
        agree(LayerNormSimple()(x.T).T, F.batch_norm(x, None, None, training=True))


@everywhere
@in_all_sizes
def test_propagation_is_weight_norm_and_a_standardized_relu(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    x, w = draw(sizes, dtype)
    layer = PropagationLinear(*w.T.shape, dtype=dtype)
    layer.load_state_dict({"weight": w}, strict=False)
    z = weight_norm(w, 1 / 1.21)(x).relu()
    expected = (z - 1 / math.sqrt(2 * math.pi)) / math.sqrt((1 - 1 / math.pi) / 2)
    agree(layer(x), expected)


@everywhere
@in_all_sizes
def test_at_its_start_learned_weight_norm_is_the_plain_layer(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """The gain is then the length of the weights; its gradient and theirs share out the plain one."""
    x, w = draw(sizes, dtype)
    layer = WeightNormLinear(*w.T.shape, bias=False, gain="learnable", dtype=dtype)
    layer.load_state_dict({"weight": w}, strict=False)
    layer.reset_gain()
    agree(layer(x), F.linear(x, w))
    g = torch.randn(len(x), len(w), generator=torch.Generator().manual_seed(0), dtype=dtype)
    weight, gain = torch.autograd.grad(layer(x), (layer.weight, layer.gain), g)
    plain, unit = g.T @ x, w / lengths(w)[:, None]
    agree(gain, (plain * unit).sum(1), 256)
    torch.testing.assert_close(
        weight + gain[:, None] * unit,
        plain,
        rtol=0,
        atol=256 * torch.finfo(dtype).eps * plain.abs().max().item(),
    )


class TestOnlineAtTheEdges:
    """Online normalization with decay factors of 0 and of 1 (relatives.md)."""

    def stream(self, dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.randn(6, 3, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype) + 1

    @everywhere
    def test_without_memory_each_image_is_normalized_by_the_one_before(self, dtype: torch.dtype) -> None:
        """With a forward factor of 0; the first by mean 0 and variance 1."""
        x = self.stream(dtype, 4, 5)
        norm = OnlineNorm(3, alpha_forward=0.0, eps=0.0, affine=False, dtype=dtype)
        output = norm(x)
        agree(output[0], x[0])
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        agree(output[1:], (x[1:] - mean[:-1]) / var[:-1].sqrt(), 256)
        # Repeated, every image but the first is normalized by itself: instance norm.
        again = OnlineNorm(3, alpha_forward=0.0, eps=0.0, affine=False, dtype=dtype)(
            x[:1].expand(4, -1, -1, -1)
        )
        agree(again[1:], F.instance_norm(x[:1].expand(3, -1, -1, -1), eps=0.0), 256)

    @everywhere
    def test_with_perfect_memory_nothing_is_ever_learned(self, dtype: torch.dtype) -> None:
        x = self.stream(dtype)
        norm = OnlineNorm(3, alpha_forward=1.0, eps=0.0, affine=False, dtype=dtype)
        assert torch.equal(norm(x), x)
        assert (norm.mean == 0).all()
        assert (norm.var == 1).all()

    @everywhere
    def test_without_memory_in_the_backward_pass_each_gradient_is_corrected_by_the_error_before(
        self, dtype: torch.dtype
    ) -> None:
        """With a factor of 0, and y standing still at 1: e is then the mean of the last gradient alone.

        x' = (g - e y) - e1, e' = e + (g - e) = g and e1' = e1 + x' = g - e: each step forgets all but one.
        """
        norm = OnlineNorm(3, alpha_forward=1.0, alpha_backward=0.0, eps=0.0, affine=False, dtype=dtype)
        x = torch.ones(6, 3, dtype=dtype, requires_grad=True)
        g = self.stream(dtype)
        norm(x).backward(g)
        before = F.pad(g, (0, 0, 1, 0))[:-1]
        tilted = g - before
        expected = tilted - F.pad(tilted, (0, 0, 1, 0))[:-1]
        assert x.grad is not None
        agree(x.grad, expected)
        agree(norm.error_y, g[-1])
        agree(norm.error_1, tilted[-1])

    @everywhere
    def test_without_control_the_gradient_is_the_upstream_one_over_the_deviation(
        self, dtype: torch.dtype
    ) -> None:
        """With a backward factor of 1 the errors are counted and have no say."""
        x = self.stream(dtype, 2, 2).requires_grad_()
        norm = OnlineNorm(3, alpha_forward=0.0, alpha_backward=1.0, eps=0.0, affine=False, dtype=dtype)
        g = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
        norm(x).backward(g)
        var = x.detach().var((2, 3), correction=0, keepdim=True)
        deviation = torch.cat([torch.ones_like(var[:1]), var[:-1]]).sqrt()
        assert x.grad is not None
        agree(x.grad, g / deviation, 256)
        assert (norm.error_y != 0).all()

    @everywhere
    def test_the_control_leaves_alone_what_batch_norm_would_not_change(self, dtype: torch.dtype) -> None:
        """An upstream gradient with no part along 1 or y in any image: no error arises."""
        x = self.stream(dtype, 4, 4).requires_grad_()
        norm = OnlineNorm(3, 0.5, 0.3, eps=0.0, affine=False, dtype=dtype)
        y = norm(x)
        flat = y.detach().flatten(2)
        g = torch.randn(flat.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
        basis = torch.linalg.qr(torch.stack([torch.ones_like(flat), flat], -1)).Q
        g = g - (basis @ (basis.mT @ g[..., None])).squeeze(-1)
        y.backward(g.view(x.shape))
        assert x.grad is not None
        assert (norm.error_y.abs() < 64 * torch.finfo(dtype).eps).all()
        assert (norm.error_1.abs() < 64 * torch.finfo(dtype).eps).all()
        scale = (g.view(x.shape) / x.grad).flatten(2)
        agree(scale, scale[..., :1].expand_as(scale), 4096 * 64)


@pytest.mark.parametrize("norm", ["cosine", "weight"])
def test_dividing_weights_by_their_lengths_leaves_what_normalizes_them_alone(norm: str) -> None:
    """Scale invariance, as an identity between a network and itself with unit weights."""
    network = mlp((6, 5, 4, 3), norm, constant=0.0, seed=0).double()
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = network(x)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, CosineLinear | WeightNormLinear):
                layer.weight /= layer.weight.norm(dim=1, keepdim=True)
    agree(network(x), before)


def test_after_the_scaling_rule_a_plain_layer_is_a_weight_normalized_one() -> None:
    """Every hidden vector has length 1 with its bias: the row is its direction times a gain below 1."""
    network = mlp((6, 5, 4, 3), "scaling", seed=0).double()
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Linear):
                layer.bias.copy_(torch.linspace(-1, 1, len(layer.bias)))
    before = network(x)
    ScalingWeightNorm(network).step()
    agree(network(x), before)
    first: Any = network[0]
    gain = torch.sqrt(1 - first.bias.detach().square())
    agree(weight_norm(first.weight.detach(), gain)(x) + first.bias, first(x))
