"""Scaling-based weight normalization: unit lengths, the same function, another gradient."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cosnorm import CosineLinear
from cosnorm.networks import mlp
from cosnorm.relatives.scaling import ScalingWeightNorm

FLOAT64 = torch.float64


def dense(bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 7, bias=bias), nn.ReLU(), nn.Linear(7, 5, bias=bias), nn.LeakyReLU(0.1), nn.Linear(5, 3)
    )


def nested() -> nn.Sequential:
    block = nn.Sequential(nn.Linear(7, 5), nn.Sequential(nn.ReLU(), nn.Dropout(0.5)))
    return nn.Sequential(nn.Linear(6, 7), nn.Sequential(nn.ReLU(), block), nn.Linear(5, 3), nn.Softmax(1))


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 4, 3, groups=2, padding=1, padding_mode="reflect"),
        nn.PReLU(4),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 2 * 2, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )


def dense_with_batch_norm() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 7),
        nn.BatchNorm1d(7),
        nn.ReLU(),
        nn.Linear(7, 5),
        nn.ReLU(),
        nn.BatchNorm1d(5),
        nn.Linear(5, 3),
    )


def convolutional_with_batch_norm() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.BatchNorm1d(16),
        nn.BatchNorm1d(16),
        nn.Linear(16, 3),
    )


NETWORKS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "dense": (dense, (9, 6)),
    "without-bias": (lambda: dense(bias=False), (9, 6)),
    "nested": (nested, (9, 6)),
    "convolutional": (convolutional, (9, 2, 8, 8)),
    "dense-batch-norm": (dense_with_batch_norm, (9, 6)),
    "convolutional-batch-norm": (convolutional_with_batch_norm, (9, 2, 8, 8)),
}


def make(name: str, eps: float = 1e-25) -> tuple[Any, Tensor]:
    """A network in float64 with lengths far from 1 and used running statistics, and a batch."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    network, x = build().to(FLOAT64), torch.randn(shape, dtype=FLOAT64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = eps
    network(x)  # in training mode: running statistics leave their start
    return network, x


def hidden_layers(network: nn.Module) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)][:-1]


def incoming_lengths(layer: Any) -> np.ndarray:
    rows = layer.weight.detach().numpy().reshape(len(layer.weight), -1)
    bias = 0.0 if layer.bias is None else layer.bias.detach().numpy()
    return np.sqrt(np.square(rows).sum(1) + np.square(bias))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_stays_and_every_hidden_unit_gets_length_1(name: str, mode: str) -> None:
    network, x = make(name)
    network.train(mode == "train")
    assert min(incoming_lengths(layer).min() for layer in hidden_layers(network)) > 1.5

    def output() -> Tensor:
        torch.manual_seed(1)  # the same units dropped
        return copy.deepcopy(network)(x).detach()

    before = output()
    rule = ScalingWeightNorm(network)
    rule.step()
    torch.testing.assert_close(output(), before, rtol=1e-10, atol=1e-11)
    for layer in hidden_layers(network):
        np.testing.assert_allclose(incoming_lengths(layer), 1.0, rtol=1e-13)

    parameters = [parameter.detach().clone() for parameter in network.parameters()]
    rule.step()
    for parameter, once in zip(network.parameters(), parameters, strict=True):
        torch.testing.assert_close(parameter.detach(), once, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_books_networks(norm: str) -> None:
    network = mlp((6, 20, 20, 3), norm, std=1.0, seed=0).double().eval()
    x = torch.randn(5, 6, dtype=FLOAT64)
    before = network(x)
    ScalingWeightNorm(network).step()
    tolerance = 1e-12 if norm == "none" else 1e-3
    torch.testing.assert_close(network(x), before, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_with_batch_norm_the_function_moves_by_the_share_of_its_epsilon(mode: str) -> None:
    """Dividing a by n is dividing the variance by n squared; epsilon is not divided."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, eps=0.1), nn.ReLU(), nn.Linear(4, 3)).to(
        FLOAT64
    )
    x = torch.randn(50, 6, dtype=FLOAT64)
    network(x)
    network.train(mode == "train")
    first, norm, last = (copy.deepcopy(network[index]) for index in (0, 1, 3))
    ScalingWeightNorm(network).step()
    with torch.no_grad():
        a = first(x)
        mean, variance = (a.mean(0), a.var(0, correction=0)) if mode == "train" else (
            norm.running_mean, norm.running_var
        )  # fmt: skip
        n2 = torch.from_numpy(incoming_lengths(first)) ** 2
        h = torch.relu((a - mean) / (variance + n2 * 0.1).sqrt() * norm.weight + norm.bias)
        torch.testing.assert_close(network(x), last(h), rtol=1e-12, atol=1e-13)


def test_zero_units_stay_and_the_rest_is_scaled() -> None:
    network, x = make("dense")
    with torch.no_grad():
        network[0].weight[2] = 0
        network[0].bias[2] = 0
    before, outgoing = network(x), network[2].weight[:, 2].clone()
    layer = ScalingWeightNorm(network)
    layer.step()
    torch.testing.assert_close(network(x), before, rtol=1e-11, atol=1e-12)
    assert (network[0].weight[2] == 0).all()
    np.testing.assert_allclose(np.delete(incoming_lengths(network[0]), 2), 1.0, rtol=1e-13)
    assert outgoing.isfinite().all()


def test_the_next_gradient_is_multiplied_by_the_length() -> None:
    """What the rule is for: dL/dw' = n dL/dw for incoming, 1/n for outgoing weights (chapter 6)."""
    network, x = make("dense")
    lengths = torch.from_numpy(incoming_lengths(network[0]))

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            network(x).square().sum(), [network[0].weight, network[0].bias, network[2].weight]
        )

    first = gradients()
    # One hidden layer only, so that nothing else moves.
    ScalingWeightNorm(nn.Sequential(network[0], nn.ReLU(), network[2])).step()
    second = gradients()
    torch.testing.assert_close(second[0], first[0] * lengths[:, None], rtol=1e-11, atol=0)
    torch.testing.assert_close(second[1], first[1] * lengths, rtol=1e-11, atol=0)
    torch.testing.assert_close(second[2], first[2] / lengths, rtol=1e-11, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_dtypes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = dense().to(dtype)
    with torch.no_grad():
        network[0].weight.mul_(200)  # in float16 the squares overflow
    x = torch.randn(5, 6, dtype=dtype)
    before = network(x)
    ScalingWeightNorm(network).step()
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(network(x), before, rtol=20 * eps, atol=200 * eps)
    assert (network[0].weight.float().square().sum(1) + network[0].bias.float().square()).sqrt().sub(
        1
    ).abs().max() < 2 * eps


def refusal(*modules: nn.Module) -> str:
    with pytest.raises(ValueError, match="ScalingWeightNorm") as caught:
        ScalingWeightNorm(nn.Sequential(*modules))
    return str(caught.value)


def test_what_would_change_the_function_is_refused() -> None:
    first, last = nn.Linear(4, 4), nn.Linear(4, 2)
    assert re.search(r"Sigmoid \(module '1'\)", refusal(first, nn.Sigmoid(), last))
    assert "LayerNorm" in refusal(first, nn.LayerNorm(4), nn.ReLU(), last)
    assert "CosineLinear" in refusal(first, nn.ReLU(), CosineLinear(4, 4), nn.ReLU(), last)
    assert "nn.Flatten" in refusal(nn.Conv1d(2, 4, 1), nn.ReLU(), nn.Linear(4, 2))
    assert "share weights" in refusal(first, nn.ReLU(), first, nn.ReLU(), last)
    assert "followed by another" in refusal(nn.ReLU(), last)
    with pytest.raises(TypeError, match=re.escape("must be an nn.Sequential")):
        ScalingWeightNorm(nn.Linear(3, 2))
