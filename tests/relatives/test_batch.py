"""Mean-only batch norm and population statistics against sums in NumPy."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from relatives import oracles_statistics as oracles
from torch import Tensor, nn

from cosnorm.relatives.batch import (
    MeanOnlyBatchNorm1d,
    MeanOnlyBatchNorm2d,
    MeanOnlyBatchNorm3d,
    set_population_statistics,
)

CASES = [
    (MeanOnlyBatchNorm1d, (6, 3)),
    (MeanOnlyBatchNorm1d, (5, 3, 4)),
    (MeanOnlyBatchNorm2d, (4, 3, 2, 5)),
    (MeanOnlyBatchNorm3d, (2, 3, 2, 3, 2)),
]
HALF = [torch.float16, torch.bfloat16]


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) + 2


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_three_batches_then_evaluation(kind: Any, shape: tuple[int, ...], momentum: float) -> None:
    layer = kind(3, momentum, dtype=torch.float64)
    shift = np.array([1.0, -2.0, 0.5])
    with torch.no_grad():
        layer.bias.copy_(torch.from_numpy(shift))
    running = np.zeros(3)
    for batch in range(3):
        x, g = draw(shape, batch).requires_grad_(), draw(shape, 10 + batch)
        output = layer(x)
        mean = oracles.feature_mean(x.detach().numpy())
        expected = x.detach().numpy() - oracles.spread(mean - shift, len(shape))
        np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-12)
        by_x, by_shift = torch.autograd.grad(output, (x, layer.bias), g)
        upstream = g.numpy()
        expected = upstream - oracles.spread(oracles.feature_mean(upstream), len(shape))
        np.testing.assert_allclose(by_x.numpy(), expected, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(by_shift.numpy(), upstream.sum((0, *range(2, len(shape)))), rtol=1e-12)
        running = (1 - momentum) * running + momentum * mean
        np.testing.assert_allclose(layer.running_mean.numpy(), running, rtol=1e-12)
    layer.eval()
    x = draw(shape, 3).requires_grad_()
    expected = x.detach().numpy() - oracles.spread(running - shift, len(shape))
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12)
    (gradient,) = torch.autograd.grad(layer(x), x, draw(shape, 4))
    assert torch.equal(gradient, draw(shape, 4))
    np.testing.assert_allclose(layer.running_mean.numpy(), running, rtol=1e-12)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_its_mean_is_that_of_torch_batch_norm(kind: Any, shape: tuple[int, ...]) -> None:
    number = kind.__name__[-2]
    whole = getattr(nn, f"BatchNorm{number}d")(3, dtype=torch.float64)
    layer = kind(3, dtype=torch.float64)
    for batch in range(2):
        x = draw(shape, batch)
        deviation = torch.from_numpy(np.sqrt(oracles.feature_variance(x.numpy()) + whole.eps))
        torch.testing.assert_close(layer(x) / deviation.view(-1, *(1,) * (len(shape) - 2)), whole(x))
    torch.testing.assert_close(layer.running_mean, whole.running_mean)


def test_without_a_shift_there_is_no_parameter() -> None:
    layer = MeanOnlyBatchNorm1d(3, shift=False, dtype=torch.float64)
    assert list(layer.parameters()) == []
    x = draw((5, 3))
    torch.testing.assert_close(layer(x), x - x.mean(0))


def test_a_batch_of_one_is_its_own_mean() -> None:
    layer = MeanOnlyBatchNorm1d(3)
    nn.init.constant_(layer.bias, 0.5)  # pyright: ignore[reportArgumentType]
    x = draw((1, 3)).float().requires_grad_()
    output = layer(x)
    assert torch.equal(output, torch.full((1, 3), 0.5))
    (gradient,) = torch.autograd.grad(output.square().sum(), x)
    assert torch.equal(gradient, torch.zeros(1, 3))


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (2, 3, 0)])
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_leaves_the_running_mean(shape: tuple[int, ...], training: bool) -> None:
    layer = MeanOnlyBatchNorm1d(3).train(training)
    layer.running_mean.fill_(2.0)
    x = torch.empty(shape, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(layer.running_mean, torch.full((3,), 2.0))


@pytest.mark.parametrize("value", [0.0, 0.1, -5e6])
def test_constant_inputs_give_the_shift(value: float) -> None:
    output = MeanOnlyBatchNorm2d(2)(torch.full((3, 2, 4, 4), value))
    assert output.abs().max() <= 1e-6 * abs(value)


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_averages_in_single_precision(dtype: torch.dtype) -> None:
    layer = MeanOnlyBatchNorm1d(2, momentum=0.01).to(dtype)
    x = (100 + draw((4000, 2))).to(dtype)  # the sum is beyond float16
    output = layer(x)
    mean = oracles.feature_mean(x.double().numpy())
    assert output.dtype == dtype
    np.testing.assert_allclose(output.double().detach().numpy(), x.double().numpy() - mean, atol=0.02)
    assert layer.running_mean.dtype == torch.float32
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.01 * mean, rtol=1e-5)


def test_strides_do_not_matter() -> None:
    x = draw((4, 5, 6, 3)).permute(0, 3, 1, 2)
    one, other = (MeanOnlyBatchNorm2d(3, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(one(x), other(x.contiguous()))


def test_evaluation_before_training_and_reset() -> None:
    layer, x = MeanOnlyBatchNorm1d(3), draw((4, 3)).float()
    assert torch.equal(layer.eval()(x), x)
    layer.train()(x)
    nn.init.ones_(layer.bias)  # pyright: ignore[reportArgumentType]
    layer.reset_parameters()
    assert torch.equal(layer.eval()(x), x)


def test_second_derivatives() -> None:
    layer = MeanOnlyBatchNorm1d(2, dtype=torch.float64)
    x = draw((4, 2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: layer(v).square(), x)
    assert torch.autograd.gradgradcheck(lambda v: layer(v).square(), x)


def test_copies_and_checkpoints_carry_the_mean() -> None:
    layer = MeanOnlyBatchNorm1d(3)
    layer(draw((4, 3)).float())
    loaded = MeanOnlyBatchNorm1d(3)
    loaded.load_state_dict(layer.state_dict())
    for other in (copy.deepcopy(layer), loaded):
        assert torch.equal(other.running_mean, layer.running_mean)
        assert other.running_mean is not layer.running_mean


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (MeanOnlyBatchNorm1d, (3,)),
        (MeanOnlyBatchNorm1d, (2, 4)),
        (MeanOnlyBatchNorm1d, (2, 3, 4, 4)),
        (MeanOnlyBatchNorm2d, (2, 3, 4)),
        (MeanOnlyBatchNorm3d, (2, 3, 4, 4)),
    ],
)
def test_another_shape_is_refused(kind: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(N, 3, \.\.\.\)"):
        kind(3)(torch.zeros(shape))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="num_features must be a positive integer"):
        MeanOnlyBatchNorm1d(-1)
    with pytest.raises(ValueError, match="momentum must be between 0 and 1"):
        MeanOnlyBatchNorm1d(2, momentum=1.5)
    with pytest.raises(TypeError, match=r"input\.float\(\)"):
        MeanOnlyBatchNorm1d(2)(torch.zeros(3, 2, dtype=torch.int64))


def test_print_shows_the_options() -> None:
    assert repr(MeanOnlyBatchNorm1d(3)) == "MeanOnlyBatchNorm1d(3, momentum=0.1, shift=True)"


# Population statistics -------------------------------------------------------------------------------


def dense(seed: int = 0) -> nn.Sequential:
    """Two blocks, one nested, with a mean-only norm between: what comes later sees what came before."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)),
        nn.ReLU(),
        nn.Sequential(nn.Linear(5, 6), nn.Sequential(MeanOnlyBatchNorm1d(6))),
        nn.ReLU(),
        nn.Linear(6, 3),
        nn.BatchNorm1d(3, affine=False),
    ).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return network


def linear(layer: Any, x: oracles.Array) -> oracles.Array:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


@pytest.mark.parametrize("sizes", [[40], [13, 27], [1] * 40, [39, 1]])
def test_dense_statistics_are_those_of_the_whole_set(sizes: list[int]) -> None:
    network, data = dense(), draw((40, 4))
    network(3 * data - 5)  # running averages of something else
    set_population_statistics(network, data.split(sizes))
    (first, norm), middle, last = network[0], network[2], network[4]  # pyright: ignore[reportGeneralTypeIssues]
    a = linear(first, data.numpy())
    np.testing.assert_allclose(norm.running_mean.numpy(), oracles.feature_mean(a), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.numpy(), oracles.feature_variance(a), rtol=1e-12)
    scale, shift = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    deviation = np.sqrt(oracles.feature_variance(a) + norm.eps)
    hidden = np.maximum(scale * (a - oracles.feature_mean(a)) / deviation + shift, 0)
    b = linear(middle[0], hidden)  # pyright: ignore[reportIndexIssue]
    mean = middle[1][0].running_mean.numpy()  # pyright: ignore
    np.testing.assert_allclose(mean, oracles.feature_mean(b), rtol=1e-12)
    c = linear(last, np.maximum(b - oracles.feature_mean(b), 0))
    np.testing.assert_allclose(network[5].running_mean.numpy(), oracles.feature_mean(c), rtol=1e-11)
    np.testing.assert_allclose(network[5].running_var.numpy(), oracles.feature_variance(c), rtol=1e-11)


def test_convolutional_statistics_count_positions() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 2), MeanOnlyBatchNorm2d(4)
    ).double()
    data = draw((10, 2, 6, 5))
    set_population_statistics(network, data.split(4))
    with torch.no_grad():
        a = network[0](data).numpy()
        mean, variance = oracles.feature_mean(a), oracles.feature_variance(a)
        np.testing.assert_allclose(network[1].running_mean.numpy(), mean, rtol=1e-12)
        np.testing.assert_allclose(network[1].running_var.numpy(), variance, rtol=1e-12)
        deviation = np.sqrt(oracles.spread(variance, 4) + network[1].eps)
        hidden = np.maximum((a - oracles.spread(mean, 4)) / deviation, 0)
        b = network[3](torch.from_numpy(hidden)).numpy()
    np.testing.assert_allclose(network[4].running_mean.numpy(), oracles.feature_mean(b), rtol=1e-11)


def test_evaluation_normalizes_the_set_exactly() -> None:
    network, data = dense(), draw((40, 4))
    set_population_statistics(network, [data])
    final = network.eval()(data).detach().numpy()
    np.testing.assert_allclose(oracles.feature_mean(final), 0, atol=1e-12)
    variance = network[5].running_var.numpy()
    np.testing.assert_allclose(
        oracles.feature_variance(final), variance / (variance + network[5].eps), rtol=1e-10
    )


def test_averages_of_batch_statistics_are_something_else() -> None:
    network, data = dense(), draw((40, 4))
    averaged = copy.deepcopy(network)
    torch.optim.swa_utils.update_bn(data.split(4), averaged)
    set_population_statistics(network, data.split(4))
    assert not torch.allclose(averaged[5].running_var, network[5].running_var, rtol=0.01)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2)).double()
    data = draw((1000, 2)) + 1e8
    set_population_statistics(network, data.split(7))
    np.testing.assert_allclose(
        network[0].running_var.numpy(), oracles.feature_variance(data.numpy() - 1e8), rtol=1e-6
    )


def test_only_running_averages_change() -> None:
    network, data = dense(), draw((40, 4))
    network[2].eval()
    modes = [module.training for module in network.modules()]
    before = copy.deepcopy(network.state_dict())
    set_population_statistics(network, data.split(9))
    assert [module.training for module in network.modules()] == modes
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"running_mean", "running_var"}
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_layers_without_averages_and_layers_not_reached_are_left() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.BatchNorm1d(2, track_running_stats=False)
            self.other = nn.BatchNorm1d(2)
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.used(x))

    network = Partly()
    set_population_statistics(network, [draw((5, 2)).float()])
    assert torch.equal(network.other.running_mean, torch.zeros(2))
    assert network.norm.running_mean.abs().max() < 1e-6
    set_population_statistics(nn.Linear(2, 3), [torch.zeros(4, 2)])  # nothing to do


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_statistics_of_low_precision_are_summed_in_double(dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.BatchNorm1d(2).to(dtype))
    data = (draw((3000, 2)) + 50).to(dtype)
    set_population_statistics(network, data.split(1000))
    expected = oracles.feature_mean(data.double().numpy())
    assert network[0].running_mean.dtype == dtype
    seen = network[0].running_mean.double().numpy()
    np.testing.assert_allclose(seen, expected, rtol=torch.finfo(dtype).eps)


def test_an_iterator_an_empty_batch_and_a_single_example_are_taken() -> None:
    network, data = dense(), draw((5, 4))
    set_population_statistics(network, (batch for batch in (data[:2], data[:0], data[2:])))
    expected = oracles.feature_mean(linear(network[0][0], data.numpy()))  # pyright: ignore[reportIndexIssue]
    np.testing.assert_allclose(network[0][1].running_mean.numpy(), expected, rtol=1e-12)  # pyright: ignore
    set_population_statistics(network, [data[:1]])
    assert network[5].running_var.abs().max() == 0
    assert network.eval()(data).isfinite().all()


def test_bad_batches_and_shared_layers_are_refused() -> None:
    network = dense()
    with pytest.raises(ValueError, match="holds no example"):
        set_population_statistics(network, [draw((0, 4))])
    with pytest.raises(TypeError, match=r"\(inputs, targets\) pairs take the first"):
        set_population_statistics(network, [(draw((2, 4)), torch.zeros(2))])  # pyright: ignore
    shared = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match="runs twice"):
        set_population_statistics(nn.Sequential(shared, nn.ReLU(), shared), [draw((3, 2)).float()])
    assert not shared._forward_pre_hooks
    assert shared.training
    assert math.isclose(shared.running_var.sum().item(), 2.0)  # pyright: ignore[reportOptionalMemberAccess]
