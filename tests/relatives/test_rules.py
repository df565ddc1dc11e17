"""What all update rules share, and weight decay."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cosnorm import CosineConv2d, CosineLinear
from cosnorm.relatives.rules import MaxNorm, UpdateRule, WeightDecay
from cosnorm.relatives.scaling import ScalingWeightNorm

RULES: list[Any] = [UpdateRule, WeightDecay, MaxNorm, ScalingWeightNorm]


def network(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).to(dtype)


def loss(net: nn.Module, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    return net(x).square().sum() + net(x).sum()


def test_the_base_rule_changes_nothing() -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    rule = UpdateRule(net)
    rule.step()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert rule.penalty().shape == ()
    assert rule.penalty().item() == 0
    assert rule.penalty().dtype == torch.float64
    assert UpdateRule(nn.ReLU()).penalty().item() == 0


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_made_from_a_network(rule: Any) -> None:
    with pytest.raises(TypeError, match="network"):
        rule(network().parameters())


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("rule", RULES)
def test_attached_it_follows_every_step_of_the_optimizer_until_removed(rule: Any, optimizer: str) -> None:
    """The same as calling step() by hand; after remove(), the optimizer alone."""
    nets = [network(), network()]
    steppers = [getattr(torch.optim, optimizer)(net.parameters(), lr=0.5) for net in nets]
    rules = [rule(net, radius=0.3) if rule is MaxNorm else rule(net) for net in nets]
    handle = rules[0].attach(steppers[0])
    for turn in range(4):
        if turn == 2:
            handle.remove()
        for index, (net, stepper) in enumerate(zip(nets, steppers, strict=True)):
            stepper.zero_grad()
            loss(net, seed=turn).backward()
            stepper.step()
            if index == 1 and turn < 2:
                rules[1].step()
    for ours, by_hand in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(ours, by_hand)


def test_a_hook_that_did_nothing_would_be_noticed() -> None:
    """The rule under attach really acts: radius 0.3 binds in the test above."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    MaxNorm(net, radius=0.3).attach(optimizer)
    loss(net).backward()
    optimizer.step()
    assert max(layer.weight.norm(dim=1).max().item() for layer in net[::2]) <= 0.3


def test_the_penalty_is_half_the_strength_times_all_squared_weights() -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 3, 2),
        nn.BatchNorm2d(3),
        CosineConv2d(3, 4, 1),
        nn.Flatten(),
        CosineLinear(4, 5, scale="learnable"),
        nn.LayerNorm(5),
        nn.Linear(5, 2),
    ).double()
    expected = 0.0
    for index in (0, 2, 4, 6):
        expected += 0.25 / 2 * np.square(net[index].weight.detach().numpy()).sum()
    rule = WeightDecay(net, strength=0.25)
    assert rule.penalty().shape == ()
    assert rule.penalty().item() == pytest.approx(expected, rel=1e-14)
    rule.penalty().backward()
    for name, parameter in net.named_parameters():
        decayed = name in {"0.weight", "2.weight", "4.weight", "6.weight"}
        assert (parameter.grad is not None) == decayed, name
        if decayed:
            torch.testing.assert_close(parameter.grad, 0.25 * parameter.detach())


def test_shared_weights_count_once() -> None:
    layer = nn.Linear(3, 3)
    tied = nn.Linear(3, 3)
    tied.weight = layer.weight
    one = WeightDecay(layer, 1.0).penalty()
    torch.testing.assert_close(WeightDecay(nn.Sequential(layer, nn.ReLU(), tied), 1.0).penalty(), one)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_penalty_of_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    layer = nn.Linear(300, 300, dtype=dtype)
    nn.init.constant_(layer.weight, 2.0)
    penalty = WeightDecay(layer, 2.0).penalty()
    assert penalty.dtype == torch.float32
    assert penalty.item() == 360_000


def test_plain_descent_on_the_penalty_is_decoupled_decay() -> None:
    """What the docstring says: w - rate (gradient + strength w) = (1 - rate strength) w - rate gradient."""
    coupled, decoupled = network(), network()
    rule, rate, strength = WeightDecay(coupled, strength=0.3), 0.05, 0.3
    for _ in range(3):
        for net in (coupled, decoupled):
            total = loss(net) + (rule.penalty() if net is coupled else 0)
            gradients = torch.autograd.grad(total, list(net.parameters()))
            with torch.no_grad():
                for (name, parameter), gradient in zip(net.named_parameters(), gradients, strict=True):
                    if net is decoupled and name.endswith("weight"):
                        parameter *= 1 - rate * strength
                    parameter -= rate * gradient
    for one, other in zip(coupled.parameters(), decoupled.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def test_defaults_are_the_recorded_settings() -> None:
    assert WeightDecay(network()).strength == WeightDecay.STRENGTH == 1e-4
    assert WeightDecay(network(), 0).penalty().item() == 0


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf"), True, "much"])
def test_a_wrong_strength_is_refused(strength: Any) -> None:
    with pytest.raises(ValueError, match="strength must be a finite number of at least 0"):
        WeightDecay(network(), strength)


def test_a_network_without_weights_is_refused() -> None:
    for rule in (WeightDecay, MaxNorm):
        with pytest.raises(ValueError, match="no linear or convolutional layer"):
            rule(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)))
