"""The paper's network: what it computes, and that seeds make techniques comparable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cosnorm.networks import NORMS, convnet, mlp

#: What a dense layer can use, and those of the paper that are written out again below.
DENSE = [norm for norm in NORMS if norm != "instance"]
PAPER = ("none", "cosine", "centered", "batch")

SIZES = (7, 6, 5, 3)


def weights(network: nn.Sequential) -> list[np.ndarray]:
    return [m.weight.detach().double().numpy() for m in network if isinstance(m, nn.Linear)]


def numpy_forward(network: nn.Sequential, x: np.ndarray, norm: str, constant: float) -> np.ndarray:
    """The network written again in float64, from its weights alone (biases are 0 at the start)."""
    *hidden, last = weights(network)
    for w in hidden:
        if norm in ("cosine", "centered"):
            v, z = w, x
            if norm == "centered":
                v, z = v - v.mean(1, keepdims=True), z - z.mean(1, keepdims=True)
            v, z = (np.hstack([rows, np.full((len(rows), 1), constant)]) for rows in (v, z))
            a = (z @ v.T) / np.outer(np.linalg.norm(z, axis=1), np.linalg.norm(v, axis=1))
        else:
            a = x @ w.T
        if norm == "batch":
            a = (a - a.mean(0)) / np.sqrt(a.var(0) + 1e-5)
        x = np.maximum(a, 0)
    return x @ last.T


@pytest.mark.parametrize("norm", PAPER)
def test_computes_what_the_equations_say(norm: str) -> None:
    network = mlp(SIZES, norm, constant=0.05, seed=1).double()
    x = np.random.default_rng(0).random((11, SIZES[0]))
    expected = numpy_forward(network, x, norm, constant=0.05)
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", DENSE)
def test_one_seed_is_one_draw_for_every_technique(norm: str) -> None:
    ours, plain, other = (weights(mlp(SIZES, key, seed=s)) for key, s in ((norm, 4), ("none", 4), (norm, 5)))
    for one, same, another in zip(ours, plain, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, another)


def test_a_seed_neither_uses_nor_disturbs_the_global_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = weights(mlp(SIZES, seed=2))
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(first[0], weights(mlp(SIZES, seed=2))[0])


def test_without_a_seed_the_global_random_numbers_are_used() -> None:
    torch.manual_seed(3)
    first = weights(mlp(SIZES))
    assert not np.array_equal(first[0], weights(mlp(SIZES))[0])
    torch.manual_seed(3)
    np.testing.assert_array_equal(first[0], weights(mlp(SIZES))[0])


@pytest.mark.parametrize("std", [0.1, 2.0])
def test_weights_are_normal_with_the_given_spread(std: float) -> None:
    sample = np.concatenate([w.ravel() for w in weights(mlp((300, 300, 300), std=std, seed=0))])
    assert abs(sample.mean()) < 4 * std / math.sqrt(sample.size)
    assert sample.std() == pytest.approx(std, rel=4 / math.sqrt(2 * sample.size))
    # Of a normal sample 4.55 % lie beyond two standard deviations; of a uniform one, none.
    assert np.mean(np.abs(sample) > 2 * std) == pytest.approx(0.0455, abs=0.003)


@pytest.mark.parametrize(
    ("norm", "learned"),
    [
        ("none", {"weight", "bias"}),
        ("cosine", {"weight"}),
        ("centered", {"weight"}),
        ("batch", {"weight", "bias"}),
        ("weight", {"weight", "bias"}),
        ("weight_learned", {"weight", "bias", "gain"}),
        ("layer_simple", {"weight"}),
        ("propagation", {"weight", "bias", "gain"}),
    ],
)
def test_what_a_hidden_layer_learns(norm: str, learned: set[str]) -> None:
    network = mlp(SIZES, norm, seed=0)
    last = len(network) - 1
    hidden = {name.split(".")[1] for name, _ in network.named_parameters() if not name.startswith(f"{last}.")}
    assert hidden == learned
    assert torch.count_nonzero(network[last].bias) == 0
    if norm == "batch":
        assert network[0].bias is None
        assert torch.equal(network[1].weight, torch.ones(6))


def test_the_output_layer_is_not_normalized() -> None:
    network = mlp((4, 3), "cosine", seed=0)
    assert [type(layer) for layer in network] == [nn.Linear]
    x = torch.rand(2, 4)
    assert torch.allclose(network(10 * x), 10 * network(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((5,),), "at least an input and an output"),
        (((5, 0, 3),), "positive integer, got 0"),
        (((5, 2.5, 3),), "positive integer, got 2.5"),
        (((5, 4, 3), "instance"), "over the positions of an image.*use convnet"),
        (((5, 4, 3), "cosin"), "unknown normalization 'cosin'; choose one of none, cosine"),
    ],
)
def test_wrong_arguments_are_explained(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mlp(*arguments)


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf])
def test_a_wrong_spread_is_explained(std: float) -> None:
    with pytest.raises(ValueError, match="std must be"):
        mlp(SIZES, std=std)


BIASED = ("none", "weight", "weight_learned", "weight_decay", "max_norm", "scaling")


@pytest.mark.parametrize("build", [lambda **o: mlp(SIZES, **o), lambda **o: convnet(size=8, **o)])
@pytest.mark.parametrize("norm", NORMS)
def test_the_bias_of_hidden_layers_can_be_left_out_where_there_is_one(norm: str, build: Any) -> None:
    if norm == "instance":
        return
    if norm not in BIASED:
        with pytest.raises(ValueError, match=f"'{norm}' has no bias .* choose from {', '.join(BIASED)}"):
            build(norm=norm, hidden_bias=False)
        return
    *hidden, last = [m for m in build(norm=norm, hidden_bias=False) if hasattr(m, "weight")]
    assert hidden
    assert all(layer.bias is None for layer in hidden)
    assert last.bias is not None
    assert all(m.bias is not None for m in build(norm=norm) if hasattr(m, "weight"))


@pytest.mark.parametrize("build", [lambda **o: mlp(SIZES, **o), lambda **o: convnet(size=8, **o)])
def test_the_bias_of_the_output_layer_can_be_left_out(build: Any) -> None:
    *hidden, last = build(norm="none", output_bias=False)
    assert last.bias is None
    assert all(m.bias is not None for m in hidden if hasattr(m, "weight"))
