"""Every technique inside the networks: what is built, and that each learns at the rate its table gives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm import CosineConv2d, CosineLinear, data
from cosnorm.networks import NORMS, convnet, fit_inputs, hidden_layer, mlp, update_rule
from cosnorm.training import Replica, train

SMALL = {"in_channels": 1, "size": 8, "channels": (8, 8), "hidden": (32,), "kernel_size": 3, "std": 0.3}

#: Which technique's rate is for another network, and how many epochs it needs there.
_LARGER = ({"channels": (16, 16), "hidden": (64,), "std": 0.1}, 30)
WIDER = {"cosine_mean_only": _LARGER}


def rates(function: Callable[..., nn.Module]) -> dict[str, float]:
    """The table of rates in a docstring."""
    return {
        norm: float(rate)
        for norm, rate in re.findall(r"^ {4}(\w+) +(\d+\.?\d*)(?: |$)", function.__doc__ or "", re.MULTILINE)
        if norm in NORMS
    }


def test_the_tables_of_rates_are_complete() -> None:
    assert set(rates(mlp)) == set(NORMS) - {"instance"}
    assert set(rates(convnet)) == set(NORMS)


@pytest.mark.parametrize("norm", rates(mlp))
def test_a_dense_network_learns_the_digits_at_the_stated_rate(norm: str) -> None:
    digits = data.load("digits")
    (curves,) = train(
        [Replica((64, 100, 100, 10), norm, rates(mlp)[norm], 50, 10, seed=0)], digits, device="cpu"
    )
    assert curves.test_loss[-1] < math.log(10) / 4, "a guess has log 10"
    assert curves.test_error[-1] < 0.15 * len(digits.test_targets)


@pytest.mark.parametrize("norm", NORMS)
def test_a_convolutional_network_learns_the_digits_at_the_stated_rate(norm: str) -> None:
    digits = data.load("digits")
    x, y = images(digits.train_inputs), torch.from_numpy(digits.train_targets)
    changes, epochs = WIDER.get(norm, ({}, 10))
    network = convnet(norm, **{**SMALL, **changes}, seed=0)
    fit_inputs(network, x)
    descend(network, norm, x, y, rates(convnet)[norm], epochs)
    network.eval()
    with torch.no_grad():
        logits = network(images(digits.test_inputs))
    targets = torch.from_numpy(digits.test_targets)
    assert F.cross_entropy(logits, targets).item() < math.log(10) / 3, "a guess has log 10"
    assert (logits.argmax(1) != targets).float().mean().item() < 0.25


def images(inputs: np.ndarray) -> Tensor:
    return torch.from_numpy(inputs / 16).float()[:, None]


def descend(network: nn.Module, norm: str, x: Tensor, y: Tensor, rate: float, epochs: int) -> None:
    optimizer, rule = torch.optim.SGD(network.parameters(), rate), update_rule(norm, network)
    rule.attach(optimizer)
    order = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=order).split(50):
            loss = F.cross_entropy(network(x[batch]), y[batch]) + rule.penalty()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.mark.parametrize("norm", NORMS)
def test_a_convolutional_networks_shapes_and_seeds(norm: str) -> None:
    network, plain = convnet(norm, **SMALL, seed=3), convnet("none", **SMALL, seed=3)
    assert network.train()(torch.rand(4, 1, 8, 8)).shape == (4, 10)
    ours, theirs = ([p for n, p in net.named_parameters() if p.dim() > 1] for net in (network, plain))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other), "one seed is one draw for every technique"


def test_the_paper_s_network_for_cifar10() -> None:
    network = convnet("cosine")
    shapes = [tuple(m.weight.shape) for m in network if hasattr(m, "weight")]
    assert shapes == [(64, 3, 5, 5), (64, 64, 5, 5), (384, 64 * 6 * 6), (192, 384), (10, 192)]
    assert [isinstance(m, CosineConv2d | CosineLinear) for m in network if hasattr(m, "weight")] == [
        True
    ] * 4 + [False]
    pools = [m for m in network if isinstance(m, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2), (3, 2)]


def test_early_batch_norm_is_in_the_first_layer_only() -> None:
    dense = [type(m) for m in mlp((6, 5, 4, 3), "early_batch")]
    assert dense == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    kinds = [type(m) for m in convnet("early_batch", **SMALL)]
    assert kinds.index(nn.BatchNorm2d) == 1
    assert nn.BatchNorm1d not in kinds
    assert kinds.count(nn.BatchNorm2d) == 1


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "instance"])
def test_a_hidden_layer_by_itself(norm: str) -> None:
    layer = hidden_layer(norm, 6, 16)  # 8 groups of two; groups of one would leave nothing but rounding error
    output = layer(torch.randn(5, 6, generator=torch.Generator().manual_seed(0)))
    assert output.shape == (5, 16)
    floor = -math.sqrt(1 / (math.pi - 1)) - 1e-6  # of a normalized ReLU
    assert (output.min() < 0) if norm != "propagation" else (output.min() >= floor)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": "cosin"}, "unknown normalization"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"channels": (8, 0)}, "channels: every size must be a positive integer, got 0"),
        ({"size": 2.5}, "positive integer, got 2.5"),
        ({"std": -1.0}, "std must be"),
    ],
)
def test_wrong_arguments_of_convnet_are_explained(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convnet(**arguments)


def test_without_convolutions_or_hidden_layers() -> None:
    assert convnet("batch", channels=(), size=4, hidden=(7,))(torch.rand(3, 3, 4, 4)).shape == (3, 10)
    assert convnet("batch", channels=(6,), size=4, hidden=())(torch.rand(3, 3, 4, 4)).shape == (3, 10)
