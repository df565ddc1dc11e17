"""Weights that descend in the backward pass end where those of ordinary gradient descent end."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from cosnorm import data
from cosnorm.networks import mlp, update_rule
from cosnorm.relatives import UpdateRule, WeightDecay
from cosnorm.training import Replica, fused_sgd, train
from cosnorm.training.fused_sgd import FusedLinear, fuse

#: Techniques whose hidden layers work with directions.
DIRECTED_NORMS = ["weight", "weight_learned", "mean_only_batch", "cosine", "centered", "cosine_affine"]


class Doubled(nn.Linear):
    """A layer nobody knows."""


def networks(norm: str = "none") -> tuple[nn.Sequential, nn.Sequential]:
    ordinary = mlp((6, 8, 7, 3), norm, std=0.7, seed=0).double()
    return ordinary, copy.deepcopy(ordinary)


def gradients(network: nn.Module, wanted: list[torch.Tensor], seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 3, (5,), generator=generator)
    return torch.autograd.grad(nn.functional.cross_entropy(network(inputs), targets), wanted)


@pytest.mark.parametrize("norm", [*DIRECTED_NORMS, "none", "batch", "max_norm", "scaling"])
def test_steps_are_those_of_gradient_descent(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if norm != "centered":  # of rows so short the mean may be most
        monkeypatch.setattr(fused_sgd, "_AutogradStep", None)  # ordinary lengths do without
    ordinary, ours = networks(norm)
    rate, rules = 0.5, (update_rule(norm, ordinary), update_rule(norm, ours))
    anchor, fused = fuse(ours, rules[1], rate)
    assert anchor is not None
    rest = [p for p in ours.parameters() if id(p) not in fused]
    every = list(ordinary.parameters())
    assert len(rest) < len(every)
    for step in range(4):
        given = gradients(ordinary, every, step)
        others = gradients(ours, [*rest, anchor], step)
        with torch.no_grad():
            for parameter, gradient in zip(every, given, strict=True):
                parameter -= rate * gradient
            for parameter, gradient in zip(rest, others, strict=False):
                parameter -= rate * gradient
        for rule in rules:
            rule.step()
        for a, b in zip(every, ours.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    assert not torch.equal(every[0], networks(norm)[0][0].weight)


def extreme(name: str, layer: Any, inputs: torch.Tensor) -> float:
    """Make lengths extreme; returns a rate at which the weights move by about their own size."""
    if name == "zero row":
        layer.weight[2] = 0
    elif name == "zero input":
        inputs[1] = 0
    elif name == "equal weights":
        layer.weight[3] = 0.1 + 1e-9 * layer.weight[3]
    elif name == "long input":
        inputs[1] *= 1e9
    else:
        scale = float(name)
        layer.weight *= scale
        return 0.1 * scale**2
    return 0.1


@pytest.mark.parametrize("constant", [0.0, 1e-4])
@pytest.mark.parametrize(
    "name", ["1", "1e-9", "1e9", "1e100", "zero row", "zero input", "equal weights", "long input"]
)
@pytest.mark.parametrize("norm", DIRECTED_NORMS)
def test_steps_and_gradients_at_every_length(norm: str, name: str, constant: float) -> None:
    layers = list(mlp((6, 8, 3), norm, std=0.7, constant=constant, seed=0).double()[:-1])
    ordinary = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    direction = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        rate = extreme(name, ordinary[0], inputs)
    ours = copy.deepcopy(ordinary)
    anchor, fused = fuse(ours, UpdateRule(ours), rate)
    assert fused == {id(ours[0].weight)}
    inputs.requires_grad_()
    expected, weight = ordinary(inputs), ordinary[0].weight
    wanted = torch.autograd.grad(expected, [inputs, weight], direction)
    before = weight.detach().clone()
    output = ours(inputs)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12)
    upstream, _ = torch.autograd.grad(output, [inputs, anchor], direction)
    torch.testing.assert_close(upstream, wanted[0], rtol=1e-10, atol=1e-12 * float(wanted[0].abs().max()))
    step = -rate * wanted[1]
    for found, row in zip(ours[0].weight.detach() - before, step, strict=True):
        tolerance = 1e-12 * float(before.abs().max() + step.abs().max())
        torch.testing.assert_close(found, row, rtol=1e-10, atol=tolerance)
    assert step.any()


def test_evaluation_changes_nothing() -> None:
    ordinary, ours = networks()
    fuse(ours, UpdateRule(ours), rate=0.5)
    inputs = torch.rand(4, 6, dtype=torch.float64)
    ours.eval()
    expected = ordinary(inputs)
    torch.testing.assert_close(ours(inputs), expected, rtol=0, atol=0)
    with torch.no_grad():
        ours.train()
        torch.testing.assert_close(ours(inputs), expected, rtol=0, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(ordinary.parameters(), ours.parameters(), strict=True))


def test_penalized_losses_and_other_layers_are_left_to_the_optimizer() -> None:
    decayed = mlp((6, 8, 3), "none", seed=0)
    assert fuse(decayed, WeightDecay(decayed, 0.1), 0.5) == (None, set())
    assert type(decayed[0]) is nn.Linear
    cosine = mlp((6, 8, 3), "cosine", seed=0)
    first = cosine[0] = Doubled(6, 8)
    _, fused = fuse(cosine, UpdateRule(cosine), 0.5)
    assert type(cosine[2]) is FusedLinear
    assert type(first) is Doubled
    assert fused == {id(cosine[2].weight)}


@pytest.mark.parametrize("norm", ["none", "cosine", "weight"])
def test_a_network_without_any_bias_is_trained(norm: str) -> None:
    """All of its parameters descend in the backward pass, and none is left for the step after it."""
    hidden = {} if norm == "cosine" else {"hidden_bias": False}
    replica = Replica((64, 20, 10), norm, 0.3, batch_size=50, epochs=2, seed=0, output_bias=False, **hidden)
    (curves,) = train([replica], data.load("digits"), device="cpu")
    assert curves.train_loss[1] < curves.train_loss[0]
