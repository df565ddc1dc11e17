"""The sparse first layers against the ordinary ones on the same documents made dense."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from training.problems import default_dtype

from cosnorm import CosineLinear
from cosnorm.data.rows import SparseRows
from cosnorm.networks import mlp, update_rule
from cosnorm.relatives import Standardize, WeightNormLinear
from cosnorm.techniques import RADIUS, TECHNIQUES
from cosnorm.training.sparse import (
    RANGE,
    SparseBatch,
    SparseExamples,
    SparseLayer,
    TrackedTable,
    sparse_layer,
    sparse_techniques,
)

WIDTH, UNITS, CLASSES, BATCH = 40, 9, 4, 8

#: Technique, constant and a rate at which the small problem below is learned.
CASES = [
    ("none", 0.0, 0.5),
    ("max_norm", 0.0, 0.5),
    ("weight", 0.0, 0.5),
    ("weight_learned", 0.0, 0.5),
    ("batch", 0.0, 0.5),
    ("layer", 0.0, 0.5),
    ("cosine", 1e-4, 2.0),
    ("cosine", 0.0, 2.0),
    ("cosine", 0.5, 2.0),
    ("centered", 1e-4, 2.0),
    ("centered", 0.0, 2.0),
    ("centered", 0.5, 2.0),
]


def documents(count: int = 45, width: int = WIDTH, seed: int = 0) -> tuple[SparseRows, np.ndarray]:
    """Few words of each class's own, frequent ones for all; some documents empty, one there twice."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, CLASSES, count)
    dense = np.zeros((count, width), np.float32)
    for row, target in zip(dense, targets, strict=True):
        words = np.concatenate(
            [rng.integers(0, 6, 3), rng.integers(6, width, 4) // CLASSES * CLASSES + target]
        )
        row[words[words < width]] = rng.random(int((words < width).sum())) + 0.1
    dense[[1, 5, -1]] = 0.0
    dense[4] = dense[3]
    return rows_of(dense), targets


def rows_of(dense: np.ndarray) -> SparseRows:
    rows, columns = np.nonzero(dense)
    return SparseRows.from_entries(rows, columns, dense[rows, columns], shape=dense.shape)


def whole(rows: SparseRows) -> SparseBatch:
    examples = SparseExamples(rows, np.zeros(len(rows), np.int64), "cpu")
    return examples.batch(torch.arange(len(rows)))


def dense_inputs(rows: SparseRows) -> Tensor:
    return torch.from_numpy(rows.dense()).to(torch.get_default_dtype())


def orders(count: int, epochs: int) -> list[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randperm(count, generator=generator).split(BATCH) for _ in range(epochs)]


def network_of(norm: str, constant: float, std: float = 0.6) -> Any:
    return mlp((WIDTH, UNITS, UNITS, CLASSES), norm, constant=constant, std=std, seed=1)


def descend(parameters: Sequence[Tensor], gradients: Sequence[Tensor], rate: float) -> None:
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(gradient, alpha=rate)


def train_dense(network: nn.Sequential, norm: str, rate: float, epochs: int) -> list[float]:
    rows, targets = documents()
    inputs, classes = dense_inputs(rows), torch.from_numpy(targets)
    rule, parameters, losses = update_rule(norm, network), list(network.parameters()), []
    for indices in (part for order in orders(len(rows), epochs) for part in order):
        loss = F.cross_entropy(network(inputs[indices]), classes[indices])
        descend(parameters, torch.autograd.grad(loss, parameters), rate)
        rule.step()
        losses.append(loss.item())
    return losses


class SparseTraining:
    """The same network and course with the first layer taken over."""

    def __init__(self, network: nn.Sequential, norm: str) -> None:
        first, *rest = copy.deepcopy(network)
        self.layer = sparse_layer(first, TECHNIQUES[norm].settings.get("radius"))
        self.rest = nn.Sequential(*rest)
        self.rule = update_rule(norm, self.rest)
        self.examples = SparseExamples(*documents(), "cpu")
        self.parameters: list[Tensor] = [*self.layer.parameters(), *self.rest.parameters()]

    def step(self, indices: Tensor, rate: float) -> float:
        before = self.layer(self.examples.batch(indices))
        loss = F.cross_entropy(self.rest(before), self.examples.targets[indices])
        gradient, *gradients = torch.autograd.grad(loss, [before, *self.parameters])
        descend(self.parameters, gradients, rate)
        self.layer.descend(gradient, rate)
        self.rule.step()
        return loss.item()

    def train(self, rate: float, epochs: int, *, resync: bool) -> list[float]:
        losses = []
        for order in orders(len(self.examples), epochs):
            if resync:
                self.layer.resync()
            losses += [self.step(indices, rate) for indices in order]
        return losses


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("resync", [True, False])
@pytest.mark.parametrize(("norm", "constant", "rate"), CASES)
def test_descends_as_the_dense_network(norm: str, constant: float, rate: float, resync: bool) -> None:
    network = network_of(norm, constant)
    training = SparseTraining(network, norm)
    losses = training.train(rate, epochs=6, resync=resync)
    expected = train_dense(network, norm, rate, epochs=6)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    assert np.mean(expected[-6:]) < 0.95 * np.mean(expected[:6])
    layer, first = training.layer.dense(), network[0]
    assert type(layer) is type(first)
    for name, values in first.state_dict().items():
        torch.testing.assert_close(layer.state_dict()[name], values, rtol=1e-8, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("norm", "constant", "rate"), CASES)
def test_the_dense_layer_maps_as_the_sparse_one(norm: str, constant: float, rate: float) -> None:
    training = SparseTraining(network_of(norm, constant), norm)
    training.train(rate, epochs=1, resync=False)
    rows, _ = documents(seed=1)
    with torch.inference_mode():
        output = training.layer(whole(rows))
    torch.testing.assert_close(output, training.layer.dense()(dense_inputs(rows)), rtol=1e-10, atol=1e-12)
    assert not output.requires_grad


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("norm", "constant", "rate"), CASES)
def test_tracks_the_moments_of_the_weights(norm: str, constant: float, rate: float) -> None:
    training = SparseTraining(network_of(norm, constant), norm)
    training.train(rate, epochs=4, resync=False)
    table = training.layer.table
    assert isinstance(table, TrackedTable) == (norm not in ("none", "batch", "layer"))
    if not isinstance(table, TrackedTable):
        return
    (mean, spread), weight = table.moments(), table.weight()
    torch.testing.assert_close(mean, weight.mean(1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(spread, weight.var(1, correction=0) * WIDTH, rtol=1e-10, atol=1e-12)


def test_rounding_in_float32_does_not_add_up() -> None:
    network = network_of("cosine", 1e-4)
    training = SparseTraining(network, "cosine")
    training.train(2.0, epochs=100, resync=False)  # 600 steps
    table: Any = training.layer.table
    tracked = copy.deepcopy(table)
    table.resync()
    torch.testing.assert_close(tracked.spread, table.spread, rtol=2e-5, atol=0.0)
    torch.testing.assert_close(tracked.mean, table.mean, rtol=0.0, atol=2e-5)
    assert (tracked.spread / (0.36 * WIDTH)).max() > 1.5  # or nothing has moved


@pytest.mark.usefixtures("float64")
def test_max_norm_keeps_every_vector_in_the_ball() -> None:
    training = SparseTraining(network_of("max_norm", 0.0), "max_norm")
    touched = []
    for indices in orders(45, 2)[0] + orders(45, 2)[1]:
        training.step(indices, 0.5)
        lengths = training.layer.table.weight().norm(dim=1)
        assert (lengths <= RADIUS).all()
        touched.append((lengths > RADIUS - 1e-9).sum())
    assert 0 < sum(touched) < UNITS * len(touched)  # some are projected, some are inside


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("norm", "constant"), [("cosine", 1e-4), ("centered", 0.3), ("weight", 0.0)])
def test_vectors_that_grow_without_end(norm: str, constant: float) -> None:
    """Each step multiplies the vectors' lengths, until the multiplier has to be folded into the table."""
    layer: Any = network_of(norm, constant)[0]
    sparse: Any = sparse_layer(layer)
    rows, _ = documents()
    generator = torch.Generator().manual_seed(5)
    stretches = torch.ones(UNITS)
    for indices in (*orders(45, 1)[0], *orders(45, 1)[0]):
        gradient = torch.randn(len(indices), UNITS, generator=generator)
        expected = layer(dense_inputs(rows)[indices])
        (change,) = torch.autograd.grad(expected, layer.weight, gradient)
        torch.testing.assert_close(sparse(whole(rows[indices.numpy()])), expected, rtol=0.0, atol=1e-9)
        rate = 10 * float(layer.weight.norm(dim=1).mean().detach()) ** 2
        before = sparse.table.multiplier.clone()
        sparse.descend(gradient, rate)
        descend([layer.weight], [change], rate)
        folded = bool((sparse.table.multiplier == 1).all())
        stretches = stretches if folded else stretches * sparse.table.multiplier / before
    length = float(layer.weight.detach().norm())
    torch.testing.assert_close(sparse.dense().weight, layer.weight, rtol=0.0, atol=1e-9 * length)
    assert length > 1e9
    assert stretches.abs().max() > RANGE[1] >= sparse.table.multiplier.abs().max()


@pytest.mark.usefixtures("float64")
def test_a_multiplier_of_zero_is_folded() -> None:
    table = TrackedTable(torch.randn(2, 5))
    table.scale(torch.tensor([0.0, 2.0]))
    batch = SparseBatch(torch.tensor([1, 4]), torch.tensor([1.0, 2.0]), torch.tensor([0, 2]), 5)
    table.move(batch, torch.tensor([[1.0, 0.0]]), table.products(batch))
    assert table.weight()[0].tolist() == [0.0, -1.0, 0.0, 0.0, -2.0]
    torch.testing.assert_close(table.moments().mean[0], torch.tensor(-0.6))
    torch.testing.assert_close(table.moments().spread[0], torch.tensor(5 - 5 * 0.36))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("constant", [0.0, 1e-4])
def test_vectors_without_a_direction(centered: bool, constant: float, dtype: torch.dtype) -> None:
    """Zero and constant documents and weights: the values and gradients of the functional, none NaN."""
    with default_dtype(dtype):
        inputs = np.zeros((5, 7), np.float32)
        inputs[1], inputs[2], inputs[3, 2:4], inputs[4] = 0.3, 1e-3, (0.2, 0.9), np.arange(7)
        layer = CosineLinear(7, 4, centered=centered, constant=constant)
        with torch.no_grad():
            layer.weight[0], layer.weight[1] = 0.0, 0.7
        sparse, rows = sparse_layer(layer), rows_of(inputs)
        gradient = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
        output, expected = sparse(whole(rows)), layer(dense_inputs(rows))
        (change,) = torch.autograd.grad(expected, layer.weight, gradient)
        tolerance = 1e-4 if dtype == torch.float32 else 1e-10
        torch.testing.assert_close(output, expected, rtol=0.0, atol=tolerance)
        rate = 1e-3 / float(change.abs().max())
        sparse.descend(gradient, rate)
        moved = (layer.weight - sparse.dense().weight) / rate
        torch.testing.assert_close(moved, change, rtol=1e-3, atol=tolerance * float(change.abs().max()))
        if not constant:
            assert (output[0] == 0).all()
            assert (output[:, 0] == 0).all()
            assert not moved[0].any()
        if centered and not constant:
            assert (output[1:3] == 0).all()
            assert (output[:, 1] == 0).all()


def test_cosines_never_leave_their_bounds() -> None:
    inputs = np.random.default_rng(0).random((200, 7)).astype(np.float32)
    layer = CosineLinear(7, 200)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(inputs) * 3)
    output = sparse_layer(layer)(whole(rows_of(inputs))).detach()
    assert (output.abs() <= 1).all()
    torch.testing.assert_close(output.diagonal(), torch.ones(200))
    assert (output.diagonal() == 1).sum() > 50  # rounding would take some of them beyond


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scale", [None, 3.0, "learnable"])
def test_the_scale_of_a_cosine_layer(scale: Any) -> None:
    layer = CosineLinear(WIDTH, UNITS, scale=scale, constant=1e-3)
    sparse, (rows, _) = sparse_layer(layer), documents()
    output, expected = sparse(whole(rows)), layer(dense_inputs(rows))
    torch.testing.assert_close(output, expected)
    learned = list(sparse.parameters())
    gradient, *gradients = torch.autograd.grad(output.sin().sum(), [output, *learned])
    weight, *others = torch.autograd.grad(expected.sin().sum(), [layer.weight, *list(layer.parameters())[1:]])
    assert len(others) == (scale == "learnable")
    torch.testing.assert_close(gradients, others)
    descend(learned, gradients, 0.1)  # before the weights: they must use the scale of the forward pass
    sparse.descend(gradient, 0.1)
    torch.testing.assert_close(sparse.dense().weight, layer.weight - 0.1 * weight)


@pytest.mark.parametrize("norm", ["none", "max_norm", "cosine", "centered", "weight_learned"])
def test_a_resumed_run_goes_on_to_the_last_bit(norm: str) -> None:
    one = SparseTraining(network_of(norm, 1e-4), norm)
    one.train(1.0, epochs=2, resync=True)
    two = SparseTraining(mlp((WIDTH, UNITS, UNITS, CLASSES), norm, constant=1e-4, seed=9), norm)
    two.layer.load_state_dict(copy.deepcopy(one.layer.state_dict()))
    two.rest.load_state_dict(copy.deepcopy(one.rest.state_dict()))
    # Without a new start from the table: its multipliers and moments must have come along.
    assert one.train(1.0, epochs=2, resync=False) == two.train(1.0, epochs=2, resync=False)
    for name, values in one.layer.state_dict().items():
        assert torch.equal(two.layer.state_dict()[name], values), name


class Sizes(TorchDispatchMode):
    """Notes the largest tensor that comes out of an operation, other than from those that touch rows."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # index_add_ gives back the whole table, of which it changed the rows it was told to.
        if func._schema.name not in ("aten::index_add_", "aten::detach"):
            results = result if isinstance(result, tuple | list) else (result,)
            sizes = [tensor.numel() for tensor in results if isinstance(tensor, Tensor)]
            self.largest = max(self.largest, *sizes, 0)
        return result


@pytest.mark.parametrize("norm", ["none", "max_norm", "weight", "cosine", "centered"])
def test_a_step_touches_the_batchs_features_only(norm: str) -> None:
    width, units = 5000, 3
    layer = sparse_layer(mlp((width, units, 2), norm, seed=0)[0], 2.0 if norm == "max_norm" else None)
    rows, targets = documents(10)
    wide = SparseRows(rows.values, rows.columns * 100, rows.offsets, width)
    examples = SparseExamples(wide, targets, "cpu")
    before = layer.table.weight()
    with Sizes() as sizes:
        output = layer(examples.batch(torch.arange(10)))
        layer.descend(torch.ones_like(output), 0.1)
    assert sizes.largest < 500
    moved = (layer.table.weight() != before).any(0)
    assert moved[wide.columns].all()


def test_batches_are_the_rows_asked_for() -> None:
    rows, targets = documents()
    examples = SparseExamples(rows, targets, "cpu")
    indices = torch.tensor([3, 5, 0, 5, 44, 3])
    batch = examples.batch(indices)
    dense = torch.zeros(len(batch), batch.width)
    dense[batch.rows, batch.columns] = batch.values
    np.testing.assert_array_equal(dense, rows.dense()[indices.numpy()])
    assert batch.columns.dtype == batch.offsets.dtype == torch.int64
    assert batch.values.dtype == torch.get_default_dtype()
    assert batch.offsets.tolist() == [0, *np.cumsum((rows.dense()[indices.numpy()] != 0).sum(1))]
    assert examples.targets.tolist() == targets.tolist()
    assert len(examples) == 45


@pytest.mark.usefixtures("float64")
def test_moments_of_the_rows_count_their_zeros() -> None:
    rows, _ = documents()
    mean, spread = whole(rows).moments
    dense = dense_inputs(rows)
    torch.testing.assert_close(mean, dense.mean(1))
    torch.testing.assert_close(spread, dense.var(1, correction=0) * WIDTH)


@pytest.mark.parametrize("norm", ["none", "cosine", "centered", "weight", "max_norm"])
def test_batches_of_empty_documents_and_of_none(norm: str) -> None:
    network = network_of(norm, 1e-2)
    layer = sparse_layer(network[0], TECHNIQUES[norm].settings.get("radius"))
    for count in (3, 0):
        rows = rows_of(np.zeros((count, WIDTH), np.float32))
        output = layer(whole(rows))
        expected = network[0](dense_inputs(rows))
        torch.testing.assert_close(output, expected)
        (change,) = torch.autograd.grad(expected, network[0].weight, torch.ones_like(expected))
        layer.descend(torch.ones_like(output), 0.1)
        descend([network[0].weight], [change], 0.1)
        update_rule(norm, network).step()
        torch.testing.assert_close(layer.dense().weight, network[0].weight)


def test_evaluation_between_a_pass_and_its_step_changes_nothing() -> None:
    rows, _ = documents()
    one, two = (sparse_layer(network_of("cosine", 1e-4)[0]) for _ in range(2))
    for layer in (one, two):
        output = layer(whole(rows))
        if layer is two:
            with torch.no_grad():
                layer(whole(rows[:3]))
        layer.descend(torch.ones_like(output), 0.1)
    assert torch.equal(one.dense().weight, two.dense().weight)


def test_a_step_needs_a_pass_of_its_own() -> None:
    rows, _ = documents()
    layer = sparse_layer(nn.Linear(WIDTH, 2))
    with torch.no_grad():
        output = layer(whole(rows))
    with pytest.raises(RuntimeError, match="follows a forward pass"):
        layer.descend(output, 0.1)
    layer.descend(layer(whole(rows)).detach(), 0.1)
    with pytest.raises(RuntimeError, match="follows a forward pass"):
        layer.descend(output, 0.1)


def test_neither_makes_nor_uses_random_numbers() -> None:
    state = torch.get_rng_state()
    layers = [nn.Linear(6, 3), CosineLinear(6, 3), WeightNormLinear(6, 3)]
    torch.set_rng_state(state)
    for module in layers:
        sparse_layer(module).dense()
    assert torch.equal(torch.get_rng_state(), state)


def test_copies_the_ordinary_layer() -> None:
    module = WeightNormLinear(6, 3, gain="learnable")
    before = copy.deepcopy(module.state_dict())
    layer = sparse_layer(module)
    layer(SparseBatch(torch.tensor([2]), torch.tensor([1.0]), torch.tensor([0, 1]), 6))
    layer.descend(torch.ones(1, 3), 0.5)
    descend(list(layer.parameters()), [torch.ones(3), torch.ones(3)], 0.5)
    for name, values in module.state_dict().items():
        assert torch.equal(values, before[name])
    assert sorted(name for name, _ in layer.named_parameters()) == ["bias", "gain"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sparse_layer(Standardize((4,))), "these techniques can: none, cosine, centered, weight,"),
        (
            lambda: sparse_layer(nn.Linear(4, 2), max_norm=0.0),
            "max_norm: radius must be a finite number above 0",
        ),
        (
            lambda: sparse_layer(CosineLinear(4, 2), max_norm=2.0),
            "goes with nn.Linear, not with CosineLinear",
        ),
        (
            lambda: SparseExamples(documents()[0], np.zeros(3), "cpu"),
            r"each of the 45 rows, got shape \(3,\)",
        ),
        (lambda: sparse_layer(nn.Linear(4, 2))(whole(documents()[0])), "has 40 features and the layer 4"),
        (
            lambda: sparse_layer(nn.Linear(WIDTH, 2).double())(whole(documents()[0])),
            "the batch is torch.float32 and the weights are torch.float64",
        ),
    ],
)
def test_refuses_what_it_cannot_do(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("norm", [name for name, recipe in TECHNIQUES.items() if not recipe.needs_positions])
def test_names_the_techniques_it_can_train(norm: str) -> None:
    network = mlp((WIDTH, UNITS, UNITS, CLASSES), norm, seed=0)
    if norm in sparse_techniques():
        assert isinstance(sparse_layer(network[0], TECHNIQUES[norm].settings.get("radius")), SparseLayer)
    else:
        assert norm in ("weight_decay", "scaling", "propagation")
