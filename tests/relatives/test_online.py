"""Online normalization against streams in NumPy; layer scaling and clamping."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from relatives import oracles_statistics as oracles
from torch import Tensor, nn

from cosnorm.relatives.online import ActivationClamp, LayerScaling, OnlineNorm

STATES = ("mean", "var", "error_y", "error_1")
SHAPES = [(7, 3), (5, 2, 4), (4, 3, 3, 2), (3, 2, 2, 3, 2)]
HALF = [torch.float16, torch.bfloat16]


def draw(shape: tuple[int, ...], seed: int, offset: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64) + offset


def layer64(features: int, **options: float | bool) -> OnlineNorm:
    return OnlineNorm(features, dtype=torch.float64, **options)  # pyright: ignore[reportArgumentType]


def close(seen: Tensor, expected: oracles.Array, rtol: float = 1e-10) -> None:
    np.testing.assert_allclose(seen.detach().double().numpy(), expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("forward", "backward"), [(0.9, 0.7), (0.0, 0.0), (1.0, 1.0), (0.3, 0.95)])
def test_three_batches_follow_the_streams(shape: tuple[int, ...], forward: float, backward: float) -> None:
    layer = layer64(shape[1], alpha_forward=forward, alpha_backward=backward, eps=1e-3, affine=False)
    streams = oracles.Streams.start(shape[1], forward, backward, 1e-3)
    for batch in range(3):
        x = draw(shape, batch).requires_grad_()
        upstream = draw(shape, 10 + batch, offset=0.3)
        output = layer(x)
        close(output, streams.forward(x.detach().numpy()))
        (gradient,) = torch.autograd.grad(output, x, upstream)
        close(gradient, streams.backward(upstream.numpy()), rtol=1e-8)
        for name in STATES:
            close(getattr(layer, name), streams.state(name), rtol=1e-8)


def test_scale_and_shift_stand_after_the_stream() -> None:
    layer = layer64(3, alpha_forward=0.8, alpha_backward=0.6)
    weight, bias = layer.weight, layer.bias
    assert weight is not None
    assert bias is not None
    with torch.no_grad():
        weight.copy_(torch.tensor([2.0, -1.0, 0.5]))
        bias.copy_(torch.tensor([1.0, 0.0, -3.0]))
    streams = oracles.Streams.start(3, 0.8, 0.6, 1e-5)
    x, upstream = draw((6, 3, 4), 0).requires_grad_(), draw((6, 3, 4), 1)
    y = streams.forward(x.detach().numpy())
    scale, shift = (oracles.spread(p.detach().numpy(), 3) for p in (weight, bias))
    output = layer(x)
    close(output, scale * y + shift)
    by_x, by_weight, by_bias = torch.autograd.grad(output, (x, weight, bias), upstream)
    g = upstream.numpy()
    close(by_x, streams.backward(scale * g), rtol=1e-8)
    close(by_weight, (g * y).sum((0, 2)))
    close(by_bias, g.sum((0, 2)))


@pytest.mark.parametrize("shape", [(100, 3), (100, 2, 3)])
def test_two_halves_are_one_whole_bit_for_bit(shape: tuple[int, ...]) -> None:
    whole, halves = layer64(shape[1]), layer64(shape[1])
    x, upstream = draw(shape, 0).requires_grad_(), draw(shape, 1)
    output = whole(x)
    (gradient,) = torch.autograd.grad(output, x, upstream)
    parts = [part.detach().requires_grad_() for part in x.split(50)]
    outputs, gradients = [], []
    for part, above in zip(parts, upstream.split(50), strict=True):
        outputs.append(halves(part))
        gradients.append(torch.autograd.grad(outputs[-1], part, above)[0])
    assert torch.equal(torch.cat(outputs), output)
    assert torch.equal(torch.cat(gradients), gradient)
    for name in STATES:
        assert torch.equal(getattr(halves, name), getattr(whole, name))


def test_the_gradients_need_the_order_of_the_stream() -> None:
    x, upstream = draw((10, 2), 0), draw((10, 2), 1)
    gradients = {}
    for order in ((0, 1), (1, 0)):
        layer = layer64(2, alpha_backward=0.5)
        parts = [part.clone().requires_grad_() for part in x.split(5)]
        outputs = [layer(part) for part in parts]  # both forward passes first: allowed
        for index in order:
            above = upstream.split(5)[index]
            (gradients[order, index],) = torch.autograd.grad(outputs[index], parts[index], above)
    whole = layer64(2, alpha_backward=0.5)
    inputs = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(whole(inputs), inputs, upstream)
    in_order = torch.cat([gradients[(0, 1), 0], gradients[(0, 1), 1]])
    assert torch.equal(in_order, expected)
    backwards = torch.cat([gradients[(1, 0), 0], gradients[(1, 0), 1]])
    assert not torch.allclose(backwards, expected)


def test_the_accumulated_errors_are_sums_over_everything_sent_back() -> None:
    layer = layer64(4, alpha_forward=0.95, alpha_backward=0.9, affine=False)
    total = torch.zeros(4, dtype=torch.float64)
    for batch in range(20):
        x = draw((8, 4), batch).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(x), x, draw((8, 4), 100 + batch))
        total += gradient.sum(0)
    torch.testing.assert_close(layer.error_1, total, rtol=1e-10, atol=1e-10)


def test_control_removes_the_parts_along_y_and_1() -> None:
    """The upstream gradient is y plus 1 plus noise; batch norm would send only noise back."""
    sent = {}
    for backward in (0.9, 1.0):
        layer = layer64(1, alpha_forward=0.99, alpha_backward=backward, affine=False)
        kept = []
        for batch in range(40):
            x = draw((50, 1), batch).requires_grad_()
            y = layer(x)
            noise = draw((50, 1), 1000 + batch, offset=0.0)
            (gradient,) = torch.autograd.grad(y, x, y.detach() + 1 + noise)
            kept.append(torch.cat([gradient, y.detach()], 1))
        stream = torch.cat(kept[10:])  # the estimates have settled
        gradient, y = stream[:, 0], stream[:, 1]
        sent[backward] = (gradient * y).mean().abs(), gradient.mean().abs()
    for controlled, free in zip(sent[0.9], sent[1.0], strict=True):
        assert controlled < 0.05
        assert free > 0.5


def test_without_memory_each_example_meets_the_one_before() -> None:
    layer = layer64(2, alpha_forward=0.0, affine=False, eps=1e-3)
    x = draw((6, 2), 0)
    expected = (x[1:] - x[:-1]) / math.sqrt(1e-3)  # the variance of a single number is 0
    torch.testing.assert_close(layer(x)[1:], expected)
    images, layer = draw((6, 2, 3, 3), 1), layer64(2, alpha_forward=0.0, affine=False, eps=0.0)
    before = images[:-1]
    mean, std = before.mean((2, 3), keepdim=True), before.std((2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(layer(images)[1:], (images[1:] - mean) / std)


def test_backward_without_memory_is_a_difference() -> None:
    """With y = ±1 and deviation 1 the two recurrences have a closed form."""
    layer = layer64(1, alpha_forward=1.0, alpha_backward=0.0, eps=0.0, affine=False)
    y = torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0], dtype=torch.float64)[:, None].requires_grad_()
    g = draw((5, 1), 0)
    (gradient,) = torch.autograd.grad(layer(y), y, g)
    product = g * y.detach()
    tilted = g - y.detach() * torch.cat([torch.zeros_like(g[:1]), product[:-1]])
    expected = tilted - torch.cat([torch.zeros_like(g[:1]), tilted[:-1]])
    torch.testing.assert_close(gradient, expected)


def test_full_memory_stands_still() -> None:
    layer = layer64(2, alpha_forward=1.0, alpha_backward=1.0, affine=False, eps=0.25)
    x, g = draw((6, 2), 0).requires_grad_(), draw((6, 2), 1)
    output = layer(x)
    torch.testing.assert_close(output, x / math.sqrt(1.25))
    torch.testing.assert_close(torch.autograd.grad(output, x, g)[0], g / math.sqrt(1.25))
    assert torch.equal(layer.mean, torch.zeros(2).double())
    assert torch.equal(layer.var, torch.ones(2).double())


def test_estimates_approach_mean_and_variance() -> None:
    layer = layer64(1, alpha_forward=0.999)
    layer(torch.from_numpy(np.random.default_rng(0).uniform(2, 8, (20_000, 1))))
    assert layer.mean.item() == pytest.approx(5, abs=0.2)
    assert layer.var.item() == pytest.approx(3, abs=0.3)


def test_evaluation_uses_the_estimates_and_moves_nothing() -> None:
    layer = layer64(3, alpha_forward=0.5)
    x = draw((9, 3), 0).requires_grad_()
    layer(x).sum().backward()
    before = copy.deepcopy(layer.state_dict())
    layer.eval()
    inputs = draw((4, 3), 1).requires_grad_()
    output = layer(inputs)
    mean, var = before["mean"].numpy(), before["var"].numpy()
    close(output, (inputs.detach().numpy() - mean) / np.sqrt(var + 1e-5))
    (gradient,) = torch.autograd.grad(output.sum(), inputs)
    close(gradient, np.broadcast_to(1 / np.sqrt(var + 1e-5), (4, 3)))
    assert torch.autograd.gradgradcheck(lambda rows: layer(rows).square(), inputs)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_evaluation_before_training_uses_the_start() -> None:
    layer = layer64(3).eval()
    x = draw((2, 3), 0)
    torch.testing.assert_close(layer(x), x / math.sqrt(1 + 1e-5))


def test_without_a_backward_pass_the_control_rests() -> None:
    layer = layer64(2)
    with torch.no_grad():
        layer(draw((5, 2), 0))
    assert layer.mean.abs().min() > 0
    assert layer.error_y.abs().max() == layer.error_1.abs().max() == 0


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("shape", [(40, 3), (10, 3, 5)])
def test_half_precision_has_single_precision_statistics(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    layer = OnlineNorm(3, affine=False).to(dtype)
    streams = oracles.Streams.start(3, 0.999, 0.99, 1e-5)
    for batch in range(2):
        x, g = draw(shape, batch).to(dtype).requires_grad_(), draw(shape, 5 + batch).to(dtype)
        output = layer(x)
        (gradient,) = torch.autograd.grad(output, x, g)
        assert output.dtype == gradient.dtype == dtype
        close(output, streams.forward(x.detach().double().numpy()), rtol=torch.finfo(dtype).eps)
        close(gradient, streams.backward(g.double().numpy()), rtol=2 * torch.finfo(dtype).eps)
    for name in STATES:
        assert getattr(layer, name).dtype == torch.float32
        close(getattr(layer, name), streams.state(name), rtol=1e-4)


@pytest.mark.parametrize("dtype", HALF)
def test_made_in_half_precision_only_the_parameters_are(dtype: torch.dtype) -> None:
    layer = OnlineNorm(3, dtype=dtype)
    assert layer.weight is not None
    assert layer.weight.dtype == dtype
    assert layer.mean.dtype == torch.float32
    assert OnlineNorm(3).double().mean.dtype == torch.float64


def test_under_autocast_the_stream_is_single_precision() -> None:
    layer, x = OnlineNorm(3), draw((6, 3), 0).float()
    expected = copy.deepcopy(layer)(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), expected)


def test_a_batch_of_one_is_a_step_of_the_stream() -> None:
    layer = layer64(2)
    x = draw((1, 2), 0)
    torch.testing.assert_close(layer(x), x / math.sqrt(1 + 1e-5))
    torch.testing.assert_close(layer.mean, 0.001 * x[0])


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (2, 3, 0)])
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_changes_nothing(shape: tuple[int, ...], training: bool) -> None:
    layer = layer64(3).train(training)
    x = torch.empty(shape, dtype=torch.float64, requires_grad=True)
    output = layer(x)
    output.sum().backward()
    assert output.shape == shape
    assert x.grad is not None
    assert x.grad.shape == shape
    assert torch.equal(layer.mean, torch.zeros(3).double())
    assert torch.equal(layer.var, torch.ones(3).double())


@pytest.mark.parametrize("value", [0.0, 0.1, -300.0])
@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_constant_inputs_stay_finite(value: float, eps: float) -> None:
    layer = OnlineNorm(2, alpha_forward=0.5, eps=eps)
    x = torch.full((400, 2), value, requires_grad=True)
    output = layer(x)
    output.square().sum().backward()
    assert output.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    if eps:  # without it the distance and the deviation shrink together
        assert output[-1].abs().max() < 1e-3


def test_a_silent_unit_far_outside_gets_no_gradient() -> None:
    """Huge outputs with zero gradients: the decays' product overflows, the recurrence stays 0."""
    layer = OnlineNorm(1, affine=False)
    x = torch.full((60, 1), 1e8, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x), x, torch.zeros(60, 1))
    assert torch.equal(gradient, torch.zeros(60, 1))


def test_strides_do_not_matter() -> None:
    x = draw((4, 5, 6, 3), 0)
    for view in (x.permute(0, 3, 1, 2), x.permute(2, 1, 0, 3), x[:, ::2]):
        inputs = view.detach().requires_grad_()
        copied = view.contiguous().detach().requires_grad_()
        seen, expected = layer64(view.shape[1])(inputs), layer64(view.shape[1])(copied)
        torch.testing.assert_close(seen, expected)
        g = draw(tuple(view.shape), 1).transpose(2, 3).contiguous().transpose(2, 3)
        torch.testing.assert_close(
            torch.autograd.grad(seen, inputs, g)[0], torch.autograd.grad(expected, copied, g)[0]
        )


def test_differentiating_twice_is_refused() -> None:
    layer, x = layer64(2), draw((4, 2), 0).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_an_activation_may_work_in_place() -> None:
    layer, x = layer64(2, affine=False), draw((4, 2), 0).requires_grad_()
    torch.relu_(layer(x)).sum().backward()
    assert x.grad is not None


def test_copies_and_checkpoints_carry_the_stream() -> None:
    layer, x = layer64(2, alpha_forward=0.7), draw((4, 2), 0).requires_grad_()
    layer(x).square().sum().backward()
    loaded = layer64(2, alpha_forward=0.7)
    loaded.load_state_dict(layer.state_dict())
    others = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded]
    inputs = draw((4, 2), 1)
    before = layer.error_y.clone()
    expected = layer(inputs)
    for other in others:
        assert torch.equal(other(inputs), expected)
        assert torch.equal(other.error_y, before)
    assert set(STATES) <= set(layer.state_dict())


def test_reset_forgets() -> None:
    layer, x = layer64(2), draw((4, 2), 0).requires_grad_()
    layer(x).square().sum().backward()
    layer.reset_parameters()
    for name, fresh in layer64(2).state_dict().items():
        assert torch.equal(layer.state_dict()[name], fresh)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_features": 0}, "num_features must be a positive integer"),
        ({"num_features": True}, "num_features must be a positive integer"),
        ({"num_features": 2, "alpha_forward": 1.5}, "alpha_forward must be between 0 and 1"),
        ({"num_features": 2, "alpha_backward": -0.1}, "alpha_backward must be between 0 and 1"),
        ({"num_features": 2, "eps": -1e-5}, "eps must be at least 0"),
        ({"num_features": 2, "eps": math.nan}, "eps must be a finite number"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OnlineNorm(**options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("shape", [(3,), (2, 4), (3, 2)])
def test_an_input_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(N, 3, \.\.\.\)"):
        OnlineNorm(3)(torch.zeros(shape))


@pytest.mark.parametrize("layer", [OnlineNorm(3), LayerScaling(), ActivationClamp()])
def test_integers_are_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"input\.float\(\)"):
        layer(torch.zeros(2, 3, dtype=torch.int64))


def test_print_shows_the_options() -> None:
    seen = repr(nn.Sequential(OnlineNorm(3, 0.9, 0.8), LayerScaling(), ActivationClamp(3)))
    assert "OnlineNorm(3, alpha_forward=0.9, alpha_backward=0.8, eps=1e-05, affine=True)" in seen
    assert "LayerScaling(eps=1e-05)" in seen
    assert "ActivationClamp(limit=3)" in seen


@pytest.mark.parametrize("shape", [(4, 5), (3, 2, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize("eps", [0.0, 1e-2])
def test_layer_scaling_divides_by_the_root_mean_square(shape: tuple[int, ...], eps: float) -> None:
    x = draw(shape, 0).requires_grad_()
    expected = np.empty(shape)
    for i, example in enumerate(x.detach().numpy()):
        square = sum(float(component) ** 2 for component in example.ravel()) / example.size
        expected[i] = example / math.sqrt(square + eps)
    close(LayerScaling(eps)(x), expected)
    assert torch.autograd.gradcheck(LayerScaling(eps), x)
    assert torch.autograd.gradgradcheck(LayerScaling(eps), x)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_layer_scaling_leaves_zeros(eps: float) -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    output = LayerScaling(eps)(x)
    output.sum().backward()
    assert torch.equal(output[0], torch.zeros(2))
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert LayerScaling(eps)(torch.empty(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("dtype", HALF)
def test_layer_scaling_squares_in_single_precision(dtype: torch.dtype) -> None:
    x = torch.tensor([[300.0, 400.0]], dtype=dtype)  # the square of 400 is beyond float16
    seen = LayerScaling()(x)
    assert seen.dtype == dtype
    close(seen, np.array([[0.6, 0.8]]) * math.sqrt(2), rtol=torch.finfo(dtype).eps)


def test_layer_scaling_needs_a_batch() -> None:
    with pytest.raises(ValueError, match=r"input\[None\]"):
        LayerScaling()(torch.zeros(3))


def test_clamping_cuts_value_and_gradient() -> None:
    x = torch.tensor([-9.0, -2.0, 0.0, 2.5, 7.0], requires_grad=True)
    output = ActivationClamp(2.5)(x)
    assert output.tolist() == [-2.5, -2.0, 0.0, 2.5, 2.5]
    output.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("limit", [0.0, -1.0, math.inf])
def test_a_clamp_needs_a_positive_limit(limit: float) -> None:
    with pytest.raises(ValueError, match="limit"):
        ActivationClamp(limit)
