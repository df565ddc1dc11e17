"""The network of TensorFlow's tutorial, against NumPy and against the numbers of its source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training import problems
from training.problems import assert_close, outcome, pictures
from training.test_resume import same_bits

from cosnorm import experiments
from cosnorm.networks import (
    FIRST_DECAY,
    NORMS,
    HiddenDecay,
    ResponseNorm,
    convnet,
    find_recipe,
    mlp,
    tutorial_network,
    update_rule,
)
from cosnorm.training import ImageSettings, Replica, train
from cosnorm.training.cost import operations

SMALL = Replica(
    (2 * 36, 6, 5, 3),
    "tutorial",
    0.5,
    batch_size=8,
    epochs=3,
    seed=0,
    channels=(4, 3),
    kernel_size=3,
    images=ImageSettings(crop=6, whiten=True, augment=True),
    average=0.9,
)


@pytest.fixture
def float64() -> Iterator[None]:
    with problems.default_dtype():
        yield


def lrn(values: np.ndarray, radius: int, bias: float, alpha: float, beta: float) -> np.ndarray:
    """tf.nn.lrn by its documentation, channel by channel; ``values`` are ``(N, C, H, W)``."""
    result = np.empty_like(values)
    for channel in range(values.shape[1]):
        near = values[:, max(0, channel - radius) : channel + radius + 1]
        result[:, channel] = values[:, channel] / (bias + alpha * (near**2).sum(1)) ** beta
    return result


@pytest.mark.parametrize(
    ("channels", "settings"),
    [(64, {}), (3, {}), (12, {"radius": 2, "bias": 0.5, "alpha": 0.3, "beta": 0.6}), (5, {"radius": 0})],
)
def test_response_normalization_is_tensorflows(channels: int, settings: dict[str, float]) -> None:
    values = np.random.default_rng(0).normal(0, 30, (2, channels, 4, 3))
    expected = lrn(values, **{"radius": 4, "bias": 1.0, "alpha": 0.001 / 9, "beta": 0.75, **settings})
    layer = ResponseNorm(channels, **settings).double()  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(layer(torch.from_numpy(values)).numpy(), expected, rtol=1e-12)
    assert not np.allclose(values, expected, rtol=0.05), "it does something to these values"


def test_response_normalization_is_torchs_with_a_sum_in_place_of_a_mean() -> None:
    values = torch.randn(2, 16, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 50
    theirs = nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0)
    torch.testing.assert_close(ResponseNorm(16).double()(values), theirs(values))
    assert torch.autograd.gradcheck(
        ResponseNorm(5).double(), torch.rand(1, 5, 2, 2).double().requires_grad_()
    )


def forward(network: nn.Sequential, images: np.ndarray) -> np.ndarray:
    """The whole network written again, for two convolutions and two dense hidden layers."""
    layers = [m for m in network if isinstance(m, nn.Conv2d | nn.Linear)]
    weights = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in layers]  # pyright: ignore
    numbers = {"radius": 4, "bias": 1.0, "alpha": 0.001 / 9, "beta": 0.75}
    first = np.maximum(convolved(images, *weights[0]), 0)
    values = lrn(pooled(first), **numbers)
    values = pooled(lrn(np.maximum(convolved(values, *weights[1]), 0), **numbers))
    values = values.reshape(len(values), -1)
    for weight, bias in weights[2:-1]:
        values = np.maximum(values @ weight.T + bias, 0)
    return values @ weights[-1][0].T + weights[-1][1]


def convolved(images: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A convolution that keeps the size, position by position."""
    size, half = images.shape[2], weight.shape[2] // 2
    padded = np.pad(images, ((0, 0), (0, 0), (half, half), (half, half)))
    result = np.empty((len(images), len(weight), size, size))
    for row in range(size):
        for column in range(size):
            window = padded[:, :, row : row + 2 * half + 1, column : column + 2 * half + 1]
            result[:, :, row, column] = np.tensordot(window, weight, ((1, 2, 3), (1, 2, 3))) + bias
    return result


def pooled(values: np.ndarray) -> np.ndarray:
    """TensorFlow's "SAME": ceil(n / 2) windows, padding as equal as may be, the larger part at the end."""
    size = values.shape[2]
    count = -(-size // 2)
    total = max((count - 1) * 2 + 3 - size, 0)
    before = total // 2
    sides = (before, total - before)
    padded = np.pad(values, ((0, 0), (0, 0), sides, sides), constant_values=-np.inf)
    result = np.empty((*values.shape[:2], count, count))
    for row in range(count):
        for column in range(count):
            window = padded[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            result[:, :, row, column] = window.max((2, 3))
    return result


@pytest.mark.parametrize("size", [8, 7, 6, 5])
def test_the_network_computes_what_the_tutorial_says(size: int) -> None:
    network = tutorial_network(
        in_channels=2, size=size, num_classes=3, channels=(6, 5), hidden=(7, 4), kernel_size=3, seed=1
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(20)  # so that response normalization counts
    images = np.random.default_rng(1).normal(0, 1, (3, 2, size, size))
    logits = network(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(logits, forward(network, images), rtol=1e-9)
    assert np.abs(logits).max() > 1


def test_shapes_starts_and_decay_are_those_of_the_source() -> None:
    network = tutorial_network(seed=0)
    kinds = [type(module).__name__ for module in network]
    assert kinds == [
        *("Conv2d", "ReLU", "MaxPool2d", "ResponseNorm", "Conv2d", "ReLU", "ResponseNorm", "MaxPool2d"),
        *("Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"),
    ]
    layers = [module for module in network if isinstance(module, nn.Conv2d | nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [
        (64, 3, 5, 5),
        (64, 64, 5, 5),
        (384, 2304),
        (192, 384),
        (10, 192),
    ]
    truncated = math.sqrt(1 - 2 * 2 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))
    for layer, std, bias in zip(
        layers, (0.05, 0.05, 0.04, 0.04, 1 / 192), (0.0, 0.1, 0.1, 0.1, 0.0), strict=True
    ):
        weight = layer.weight.detach()
        assert weight.abs().max().item() <= 2 * std * (1 + 1e-6)
        assert weight.std().item() == pytest.approx(truncated * std, rel=0.05)
        assert weight.mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(weight.numel()))
        assert layer.bias is not None
        assert torch.equal(layer.bias, torch.full_like(layer.bias, bias))
    rule = update_rule("tutorial", network)
    squares = sum(layer.weight.double().square().sum().item() for layer in layers[2:4])
    assert rule.penalty().item() == pytest.approx(0.004 * squares / 2, rel=1e-5)
    before = [p.clone() for p in network.parameters()]
    rule.step()
    assert all(torch.equal(one, two) for one, two in zip(before, network.parameters(), strict=True))


def test_the_experiment_is_the_tutorial() -> None:
    paper = experiments.get("tutorial").replica("tutorial", "paper", 0)
    assert (paper.batch_size, paper.learning_rate, paper.average) == (128, 0.1, 0.9999)
    assert paper.sizes[1:] == (384, 192, 10)
    assert (paper.channels, paper.kernel_size) == ((64, 64), 5)
    assert paper.images == ImageSettings(crop=24, whiten=True, augment=True)
    steps = paper.epochs * math.ceil(50_000 / 128)
    assert (steps, paper.error_steps) == (100_096, 1000)
    assert steps < FIRST_DECAY == 136_718, "the learning rate never falls"
    assert math.ceil(10_000 / 128) * 128 - 10_000 == 112, "what the observer counts by itself"
    assert paper.observe == ("first_112",)


def test_a_seed_neither_uses_nor_disturbs_the_global_random_numbers() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    one = tutorial_network(seed=5)
    assert torch.equal(torch.rand(3), expected)
    two, other = tutorial_network(seed=5), tutorial_network(seed=6)
    weights = [next(network.parameters()) for network in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_descent_is_that_of_the_decayed_loss(float64: None) -> None:
    """One step against autograd on the loss with the penalty written out."""
    settings = dataclasses.replace(SMALL, images=ImageSettings(crop=6, whiten=True), batch_size=20, epochs=2)
    settings = dataclasses.replace(settings, average=None)
    (curves,) = train([settings], pictures(), device="cpu")
    network = tutorial_network(
        in_channels=2, size=6, num_classes=3, channels=(4, 3), hidden=(6, 5), kernel_size=3, seed=0
    )
    raw = pictures().train_inputs[:, :, 1:7, 1:7].astype(np.float64)
    means, stds = raw.mean((1, 2, 3), keepdims=True), raw.std((1, 2, 3), keepdims=True)
    inputs, targets = torch.from_numpy((raw - means) / stds), torch.from_numpy(pictures().train_targets)
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(network(inputs), targets)
        losses.append(loss.item())
        dense = [m.weight for m in network if isinstance(m, nn.Linear)]
        decay = 0.004 * sum((w.square().sum() / 2 for w in dense[:-1]), start=torch.zeros(()))
        gradients = torch.autograd.grad(loss + decay, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.sub_(gradient, alpha=0.5)
    assert curves.train_loss == pytest.approx(losses, rel=1e-9)


def test_it_resumes_to_the_same_bits() -> None:
    same_bits(dataclasses.replace(SMALL, error_steps=2, observe=("first_112",)), pictures())


def test_a_stack_gives_the_same(float64: None) -> None:
    replicas = [dataclasses.replace(SMALL, seed=seed, error_steps=2) for seed in range(3)]
    together = train(replicas, pictures(), device="cpu", stacked=True)
    for each, stacked in zip(replicas, together, strict=True):
        (alone,) = train([each], pictures(), device="cpu")
        seen = stacked.observed.pop("test_error_steps"), alone.observed.pop("test_error_steps")
        assert seen[0] == seen[1]
        assert_close(alone, stacked)
    assert outcome(together[0])["train_loss"] != outcome(together[1])["train_loss"]


def test_its_cost_is_that_of_the_plain_network_but_for_the_neighbors() -> None:
    paper = experiments.get("tutorial").replica("tutorial", "paper", 0)
    plain = dataclasses.replace(paper, norm="none")
    assert operations(paper, 100, 10) == operations(plain, 100, 10)
    with FlopCounterMode(display=False) as counter:
        tutorial_network(seed=0)(torch.zeros(2, 3, 24, 24))
    by_formula = operations(dataclasses.replace(paper, epochs=1), 0, 2)
    assert by_formula <= counter.get_total_flops() < 1.1 * by_formula


def test_it_is_no_technique() -> None:
    assert "tutorial" not in NORMS
    assert find_recipe("tutorial") is not None
    assert find_recipe("tutorail") is None
    for build in (lambda: mlp((4, 3, 2), "tutorial"), lambda: convnet("tutorial")):
        with pytest.raises(ValueError, match="unknown normalization 'tutorial'"):
            build()
    with pytest.raises(ValueError, match="at least one convolution and one dense hidden layer"):
        tutorial_network(hidden=())
    dense = Replica((2 * 64, 6, 3), "tutorial", 0.1, 8, 1, 0)
    with pytest.raises(ValueError, match="'tutorial' is a convolutional network; give it channels"):
        train([dense], pictures(), device="cpu")
    assert isinstance(update_rule("tutorial", tutorial_network(seed=0)), HiddenDecay)
