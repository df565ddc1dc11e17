"""What varies between epochs or follows the steps: dropped units, magnitudes, averages."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training.problems import outcome, replica, tiny, vectors

from cosnorm.networks import mlp
from cosnorm.training import train
from cosnorm.training.inputs import DenseSplit, Dropout, Variation, with_dropout
from cosnorm.training.state import TrainingState
from cosnorm.training.step import SingleSteps, StackedSteps

RATES = (0.2, 0.5)


def split(count: int = 4000) -> DenseSplit:
    """Examples that only their number matters of."""
    return DenseSplit(torch.zeros(count, 6, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64), 1.0)


def state(**changes: Any) -> TrainingState:
    return TrainingState(replica(**changes), split(), torch.device("cpu"))


def test_dropout_stands_before_every_linear_layer() -> None:
    network = with_dropout(mlp((6, 8, 5, 3), "batch", seed=0), RATES, batch_size=10)
    kinds = [type(module).__name__ for module in network]
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds == ["Dropout", *hidden, "Dropout", *hidden, "Dropout", "Linear"]
    assert [(m.p, tuple(m.mask.shape)) for m in network if isinstance(m, Dropout)] == [
        (0.2, (10, 6)),
        (0.5, (10, 8)),
        (0.5, (10, 5)),
    ]


@pytest.mark.parametrize(("rates", "count"), [((0.0, 0.5), 2), ((0.2, 0.0), 1), ((0.0, 0.0), 0)])
def test_a_rate_of_zero_adds_nothing(rates: tuple[float, float], count: int) -> None:
    network = with_dropout(mlp((6, 8, 5, 3), seed=0), rates, batch_size=10)
    assert sum(isinstance(module, nn.Dropout) for module in network) == count


def test_dropout_multiplies_and_keeps_the_mean() -> None:
    layer = Dropout(7, 0.3, batch_size=5)
    layer.draw(torch.Generator().manual_seed(0))
    inputs = torch.rand(3, 7)
    dropped = layer(inputs)
    kept = dropped != 0
    assert 0 < int(kept.sum()) < 21
    torch.testing.assert_close(dropped[kept], inputs[kept] / 0.7)
    assert layer.eval()(inputs) is inputs


@pytest.mark.parametrize("norm", ["cosine", "batch", "scaling"])
def test_units_are_dropped_at_their_rates_anew_at_every_step(norm: str) -> None:
    made = state(norm=norm, sizes=(6, 40, 40, 3), batch_size=100, dropout=RATES)
    seen: list[list[torch.Tensor]] = []
    for _ in range(20):
        made.draw_masks()
        seen.append([dropout.mask.clone() for dropout in made.dropouts])
    assert not torch.equal(seen[0][1], seen[1][1])
    for place, rate in enumerate((0.2, 0.5, 0.5)):
        masks = torch.stack([masks[place] for masks in seen])
        # Four standard deviations of a mean of so many draws.
        bound = 4 * math.sqrt(rate * (1 - rate) / masks.numel())
        assert (masks == 0).double().mean().item() == pytest.approx(rate, abs=bound)
        assert masks.unique().tolist() == pytest.approx([0, 1 / (1 - rate)])
        by_unit = (masks == 0).double().mean((0, 1))
        assert by_unit.min() > rate - 0.1
        assert by_unit.max() < rate + 0.1


def test_the_two_conventions_of_dropout_agree_in_expectation() -> None:
    """Of a layer that is linear in its inputs: one scales up what is kept, the other all down in testing."""
    rate, generator = 0.3, torch.Generator().manual_seed(1)
    inputs, linear = torch.rand(1, 7), nn.Linear(7, 2)
    means = {}
    for scaled in (True, False):
        layer = Dropout(7, rate, batch_size=20_000, scaled=scaled)
        layer.draw(generator)
        many = inputs.expand(20_000, 7)
        dropped = layer(many)
        assert layer.mask.unique().tolist() == pytest.approx([0.0, 1 / 0.7 if scaled else 1.0])
        means[scaled] = linear(dropped).mean(0)
        tested = linear(layer.eval()(inputs))[0]
        torch.testing.assert_close(means[scaled], tested, rtol=0, atol=0.02)
    assert (means[True] - means[False]).abs().max() > 0.05, "only each with its own way of testing"


def test_without_scaling_in_training_the_inputs_of_every_layer_are_scaled_in_testing() -> None:
    """A network that does not move is evaluated with the smaller weights of Srivastava et al. (2014)."""
    settings = replica("none", std=1.0, sizes=(6, 12, 9, 3), learning_rate=1e-12, dropout=RATES)
    still = dataclasses.replace(settings, dropout_convention="testing")
    (curves,) = train([still], tiny(), device="cpu")
    network = mlp(still.sizes, "none", std=1.0, seed=0)
    layers = [module for module in network if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for layer, rate in zip(layers, (RATES[0], RATES[1], RATES[1]), strict=True):
            layer.weight.mul_(1 - rate)
        logits = network(vectors(tiny().test_inputs))
        loss = F.cross_entropy(logits, torch.from_numpy(tiny().test_targets)).item()
    assert curves.test_loss[0] == pytest.approx(loss, rel=1e-5)
    (usual,) = train([settings], tiny(), device="cpu")
    assert usual.test_loss[0] != pytest.approx(loss, rel=1e-2)


@pytest.mark.parametrize("norm", ["cosine_affine", "batch"])
def test_a_factor_on_the_learning_rate_is_for_scales_and_shifts_alone(norm: str) -> None:
    """With a tiny factor they stay where they started, and all else moves."""
    made, examples = state(norm=norm, gain_rate=1e-30), split(40)
    examples.inputs.random_(0, 2, generator=torch.Generator().manual_seed(3))
    examples.targets.random_(0, 3, generator=torch.Generator().manual_seed(4))
    steps = SingleSteps([made], examples)
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    steps.step(steps.begin_epoch())
    moved = {n for n, p in made.network.named_parameters() if (p - before[n]).abs().max() > 1e-12}
    assert moved == {"0.weight", "3.weight", "3.bias"}
    assert before.keys() - moved == {"1.weight", "1.bias"}


def test_a_factor_of_one_is_no_factor_and_another_is_one() -> None:
    plain, one, three = (
        outcome(train([replica("cosine_affine", **changes)], tiny(), device="cpu")[0])
        for changes in ({}, {"gain_rate": 1.0}, {"gain_rate": 3.0})
    )
    assert plain == one
    assert plain["train_loss"][-1] != three["train_loss"][-1]


def test_scales_and_shifts_descend_at_their_own_rate(float64: None) -> None:
    """Against gradient descent by torch's optimizer with two groups of parameters."""
    settings = replica("cosine_affine", batch_size=40, epochs=3, gain_rate=0.2)
    (curves,) = train([settings], tiny(), device="cpu")
    network = mlp(settings.sizes, "cosine_affine", seed=0)
    groups = [
        {"params": [p for name, p in network.named_parameters() if not name.startswith("1.")]},
        {"params": list(network[1].parameters()), "lr": 0.1},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    inputs = vectors(tiny().train_inputs)
    targets = torch.from_numpy(tiny().train_targets)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(network(inputs), targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert curves.train_loss == pytest.approx(losses, rel=1e-9)


def test_a_factor_without_scales_and_shifts_is_refused() -> None:
    with pytest.raises(ValueError, match="'cosine' learns no scale or shift; leave gain_rate at 1"):
        train([replica("cosine", gain_rate=2.0)], tiny(), device="cpu")


def test_techniques_share_the_masks_of_a_seed() -> None:
    def masks(**changes: Any) -> torch.Tensor:
        made = state(dropout=RATES, **changes)
        made.draw_masks()
        return torch.cat([dropout.mask.flatten() for dropout in made.dropouts])

    assert torch.equal(masks(norm="cosine"), masks(norm="none"))
    assert not torch.equal(masks(norm="none"), masks(norm="none", seed=1))


@pytest.mark.parametrize("changes", [{"dropout": RATES}, {"magnitude": 4.0}])
def test_dropout_and_magnitudes_change_training_but_not_evaluation(changes: dict[str, Any]) -> None:
    """The network does not move, so only what is drawn in training can change a loss."""
    settings = replica("none", learning_rate=1e-30, epochs=2, std=1.0)
    (plain,), (varied,) = (
        train([each], tiny(), device="cpu") for each in (settings, dataclasses.replace(settings, **changes))
    )
    assert varied.test_loss == plain.test_loss
    assert abs(varied.train_loss[0] - plain.train_loss[0]) > 0.01
    assert varied.train_loss[0] != varied.train_loss[1]


@pytest.mark.parametrize("average", [0.0, 0.15, 0.9])
def test_averages_follow_their_formula(average: float, float64: None) -> None:
    """Full batches, so that NumPy needs no order; 0.15 is reached by the ramp in its first steps."""
    dataset = tiny()
    settings = replica("none", batch_size=40, epochs=6, average=average, learning_rate=2.0, std=0.7)
    (curves,) = train([settings], dataset, device="cpu")
    network = mlp(settings.sizes, "none", std=settings.std, seed=settings.seed)
    inputs, tests = vectors(dataset.train_inputs), vectors(dataset.test_inputs)
    means = [p.detach().numpy().copy() for p in network.parameters()]
    losses = []
    for step in range(1, 7):
        loss = F.cross_entropy(network(inputs), torch.from_numpy(dataset.train_targets))
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        decay = min(average, (1 + step) / (10 + step))
        with torch.no_grad():
            for place, (p, gradient) in enumerate(zip(network.parameters(), gradients, strict=True)):
                p -= settings.learning_rate * gradient
                means[place] = decay * means[place] + (1 - decay) * p.numpy()
        losses.append(loss_with(means, tests.numpy(), dataset.test_targets))
    np.testing.assert_allclose(curves.test_loss, losses, rtol=1e-9)


def loss_with(parameters: list[np.ndarray], inputs: np.ndarray, targets: np.ndarray) -> float:
    w, b, v, c = parameters
    logits = np.maximum(inputs @ w.T + b, 0) @ v.T + c
    logits = logits - logits.max(1, keepdims=True)
    chosen = logits[np.arange(len(targets)), targets]
    return float((np.log(np.exp(logits).sum(1)) - chosen).mean())


def test_averages_leave_the_descent_alone() -> None:
    (plain,), (averaged,) = (
        train([replica("batch", average=average)], tiny(), device="cpu") for average in (None, 0.9)
    )
    assert averaged.train_loss == plain.train_loss
    assert averaged.test_loss != plain.test_loss


def test_an_average_that_forgets_at_once_is_no_average() -> None:
    (plain,), (averaged,) = (
        train([replica("none", average=average)], tiny(), device="cpu") for average in (None, 0.0)
    )
    assert outcome(averaged) == outcome(plain)


def test_magnitudes_are_drawn_anew_with_uniform_logarithms() -> None:
    made = state(magnitude=3.0)
    drawn = [made.draw_epoch(split())[1].factors for _ in range(3)]
    for factors in drawn:
        assert factors is not None
        assert factors.shape == (4000,)
        assert 1 / 3 <= factors.min() < 0.34
        assert 2.95 < factors.max() <= 3
        # Uniform on [-1, 1]: the share below each tenth, to four standard deviations.
        scaled = factors.log() / math.log(3)
        for bound in np.linspace(-0.8, 0.8, 9):
            share = (scaled < bound).double().mean().item()
            assert share == pytest.approx((bound + 1) / 2, abs=4 * 0.5 / math.sqrt(4000))
    assert not torch.equal(drawn[0], drawn[1])


def test_a_magnitude_of_one_draws_nothing() -> None:
    order, variation = state().draw_epoch(split())
    assert variation == Variation(None, None)
    assert torch.equal(order, state(magnitude=3.0).draw_epoch(split())[0]), "the seed's order"


def test_a_new_epochs_factors_are_written_where_a_recorded_step_reads_them() -> None:
    examples = split(40)
    for steps in (
        SingleSteps([state(magnitude=3.0)], examples),
        StackedSteps([state(magnitude=3.0, seed=seed) for seed in (0, 1)], examples),
    ):
        steps.begin_epoch()
        (factors,) = steps.variation.tensors()
        first, address = factors.clone(), factors.data_ptr()
        steps.begin_epoch()
        (factors,) = steps.variation.tensors()
        assert factors.data_ptr() == address
        assert not torch.equal(factors, first)


def test_each_training_input_is_multiplied_by_its_own_factor() -> None:
    inputs = torch.randint(256, (5, 2, 3), dtype=torch.uint8)
    examples = DenseSplit(inputs, torch.arange(5), 255.0)
    factors = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [0.1, 0.2, 0.3, 0.4, 0.5]])
    indices = torch.tensor([[4, 0], [2, 2]])
    got = examples.inputs_of(indices, Variation(factors=factors))
    for row, column in np.ndindex(2, 2):
        which = indices[row, column]
        torch.testing.assert_close(got[row, column], inputs[which] / 255.0 * factors[row, which])


@pytest.mark.usefixtures("float64")
def test_a_cosine_net_ignores_magnitudes() -> None:
    """Without the constant the first layer sees directions only."""
    runs = [
        train([replica("cosine", constant=0.0, magnitude=magnitude)], tiny(), device="cpu")[0]
        for magnitude in (1.0, 5.0)
    ]
    np.testing.assert_allclose(runs[0].train_loss, runs[1].train_loss, rtol=1e-9)
