"""The engine against a float64 NumPy descent, alone and in company, and when things go wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training.problems import conv_replica, documents, outcome, pictures, replica, tiny, vectors

from cosnorm import data
from cosnorm.networks import mlp
from cosnorm.techniques import STRENGTH
from cosnorm.training import Curves, ImageSettings, Replica, engine, inputs, resolve_device, step, train

#: The paper's, and of the rest one each of a rule, of statistics kept between batches, and of fixed ones.
NORMS = ("none", "cosine", "centered", "batch", "weight_learned", "max_norm", "online", "propagation")


def numpy_losses(dataset: SimpleNamespace, settings: Replica) -> list[float]:
    """Full-batch descent on a one-hidden-layer cosine net with Eq. 11 and 12 in the backward."""
    first, _, last = mlp(settings.sizes, constant=settings.constant, std=settings.std, seed=settings.seed)
    w, v, b = (p.detach().numpy().copy() for p in (first.weight, last.weight, last.bias))
    x = dataset.train_inputs.reshape(len(dataset.train_inputs), -1) / dataset.maximum
    x = np.hstack([x, np.full((len(x), 1), settings.constant)])
    onehot = np.eye(len(v))[dataset.train_targets]
    losses = []
    for _ in range(settings.epochs):
        wk = np.hstack([w, np.full((len(w), 1), settings.constant)])
        nx, nw = np.linalg.norm(x, axis=1)[:, None], np.linalg.norm(wk, axis=1)
        c = x @ wk.T / (nx * nw)
        h = np.maximum(c, 0)
        z = h @ v.T + b
        z = z - z.max(1, keepdims=True)
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        losses.append(-np.log((p * onehot).sum(1)).mean())
        dz = (p - onehot) / len(x)
        g = (dz @ v) * (c > 0)
        dw = (g / nx).T @ x / nw[:, None] - (g * c).sum(0)[:, None] * wk / nw[:, None] ** 2
        w = w - settings.learning_rate * dw[:, :-1]
        v = v - settings.learning_rate * dz.T @ h
        b = b - settings.learning_rate * dz.sum(0)
    return losses


@pytest.mark.usefixtures("float64")
def test_descends_as_a_numpy_descent_with_the_papers_gradients() -> None:
    dataset = tiny()
    settings = replica(batch_size=40, epochs=30, constant=0.01, std=0.7)
    (curves,) = train([settings], dataset, device="cpu")
    np.testing.assert_allclose(curves.train_loss, numpy_losses(dataset, settings), rtol=1e-9)
    assert curves.train_loss[-1] < 0.9 * curves.train_loss[0]


@pytest.mark.parametrize("norm", ["none", "cosine", "centered", "batch"])
def test_learns_the_digits(norm: str) -> None:
    digits = data.load("digits")
    rate = {"none": 0.5, "batch": 1.0}.get(norm, 3.0)
    (curves,) = train([Replica((64, 50, 10), norm, rate, 50, 6, seed=0)], digits, device="cpu")
    chance = 0.9 * len(digits.test_targets)
    assert curves.test_error[-1] < 0.15 * chance
    assert curves.train_loss[-1] < 0.3 * curves.train_loss[0]
    assert len(curves.test_error) == 6
    assert curves.diverged_epoch is None


@pytest.mark.parametrize("norm", NORMS)
def test_same_settings_same_bits(norm: str) -> None:
    one, two = (train([replica(norm)], tiny(), device="cpu")[0] for _ in range(2))
    assert outcome(one) == outcome(two)


def test_company_does_not_matter() -> None:
    replicas = [replica("batch", seed=1), replica("cosine", learning_rate=3.0), replica("none", epochs=2)]
    together = train(replicas, tiny(), device="cpu")
    alone = [train([one], tiny(), device="cpu")[0] for one in reversed(replicas)]
    assert [outcome(c) for c in together] == [outcome(c) for c in reversed(alone)]


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 0.6}, {"batch_size": 11}, {"std": 0.2}])
def test_every_setting_has_an_effect(change: dict[str, float]) -> None:
    (before,), (after,) = (train([r], tiny(), device="cpu") for r in (replica(), replica(**change)))
    assert outcome(before) != outcome(after)


def orders(monkeypatch: pytest.MonkeyPatch, settings: Replica) -> list[np.ndarray]:
    """The indices of each minibatch in the order in which they were trained on."""
    seen: list[np.ndarray] = []
    take_step = step.SingleSteps.step

    def spy(steps: step.SingleSteps, indices: Tensor) -> None:
        seen.append(indices[0].numpy().copy())
        take_step(steps, indices)

    with monkeypatch.context() as patch:
        patch.setattr(step.SingleSteps, "step", spy)
        train([settings], tiny(), device="cpu")
    return seen


def test_an_epoch_is_every_example_once_in_a_new_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = orders(monkeypatch, replica(batch_size=16, epochs=2))
    assert [len(indices) for indices in seen] == [16, 16, 8] * 2
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert sorted(first) == sorted(second) == list(range(40))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("norm", ["none", "cosine", "layer", "batch", "online"])
@pytest.mark.parametrize("size", [1, 16])
def test_steps_are_those_of_torchs_own_optimizer(
    norm: str, size: int, float64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of one example, and a last batch that is smaller than the others."""
    if norm == "batch" and size == 1:
        pytest.skip("refused, as a test below shows")
    dataset, settings = tiny(), replica(norm, batch_size=size, learning_rate=0.05, epochs=2)
    (curves,) = train([settings], dataset, device="cpu")
    network = mlp(settings.sizes, norm, constant=settings.constant, std=settings.std, seed=settings.seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=settings.learning_rate)
    inputs = vectors(dataset.train_inputs)
    targets = torch.from_numpy(dataset.train_targets)
    total = 0.0
    for indices in map(torch.from_numpy, orders(monkeypatch, settings)):
        loss = F.cross_entropy(network(inputs[indices]), targets[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(indices)
    assert sum(curves.train_loss) * 40 == pytest.approx(total, rel=1e-10)


def test_techniques_share_the_order_of_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {norm: np.concatenate(orders(monkeypatch, replica(norm))) for norm in NORMS}
    for norm in NORMS:
        np.testing.assert_array_equal(runs[norm], runs["none"])
    assert not np.array_equal(np.concatenate(orders(monkeypatch, replica(seed=1))), runs["none"])


def test_errors_are_counted_over_all_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a step worth the name the counts are those of the initial network."""
    dataset = tiny()
    settings = replica("none", learning_rate=1e-30, epochs=1, std=1.0)
    (curves,) = train([settings], dataset, device="cpu")
    network = mlp(settings.sizes, "none", std=1.0, seed=0)
    for values, targets, counted in (
        (dataset.train_inputs, dataset.train_targets, curves.train_error),
        (dataset.test_inputs, dataset.test_targets, curves.test_error),
    ):
        logits = network(vectors(values))
        assert counted == [int((logits.argmax(1).numpy() != targets).sum())]
    assert 0 < curves.test_error[0] < 30


@pytest.mark.parametrize("norm", NORMS)
def test_evaluation_does_not_depend_on_its_chunks(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For batch normalization this fails unless the running averages are used."""
    (whole,) = train([replica(norm)], tiny(), device="cpu")
    monkeypatch.setattr(inputs, "EVALUATION_CHUNK", 7)
    (chunked,) = train([replica(norm)], tiny(), device="cpu")
    assert chunked.test_error == whole.test_error
    assert chunked.test_loss == pytest.approx(whole.test_loss, rel=1e-5)


def test_divergence_stops_a_replica_and_spares_the_rest() -> None:
    good = replica("none")
    lost, kept = train([replica("none", learning_rate=1e30), good], tiny(), device="cpu")
    assert lost.diverged_epoch == 1
    assert lost.test_error == lost.train_loss == []
    assert outcome(kept) == outcome(train([good], tiny(), device="cpu")[0])


def test_epochs_before_a_divergence_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = engine.evaluate
    losses = iter([1.0, 2.0, float("nan")])
    monkeypatch.setattr(engine, "evaluate", lambda *a: (next(losses), evaluate(*a)[1]))
    (curves,) = train([replica()], tiny(), device="cpu")
    assert curves.diverged_epoch == 3
    assert curves.test_loss == [1.0, 2.0]
    assert len(curves.train_loss) == 2


@pytest.mark.parametrize(
    ("norm", "follows"),
    [
        ("max_norm", lambda network: max(w.norm(dim=1).max() for w in weights(network)) <= 2 * (1 + 1e-6)),
        ("scaling", lambda network: torch.allclose(lengths_with_bias(network[0]), torch.ones(8))),
        ("none", lambda network: max(w.norm(dim=1).max() for w in weights(network)) > 2),
    ],
)
def test_the_rule_of_a_technique_is_applied_after_every_update(
    norm: str, follows: Callable[[nn.Sequential], bool], networks: list[nn.Sequential]
) -> None:
    train([replica(norm, std=1.0)], tiny(), device="cpu")
    assert follows(networks[0])


def weights(network: nn.Sequential) -> list[Tensor]:
    return [layer.weight.detach() for layer in network if isinstance(layer, nn.Linear)]


def lengths_with_bias(layer: nn.Linear) -> Tensor:
    return torch.cat([layer.weight, layer.bias[:, None]], dim=1).norm(dim=1)


def test_weight_decay_descends_the_penalized_loss_and_reports_the_plain_one(float64: None) -> None:
    dataset, strength = tiny(), STRENGTH
    settings = replica("weight_decay", batch_size=40, epochs=2, learning_rate=3.0)
    (curves,) = train([settings], dataset, device="cpu")
    network = mlp(settings.sizes, std=settings.std, norm="none", seed=settings.seed)
    inputs = vectors(dataset.train_inputs)
    losses = []
    for _ in range(2):
        loss = F.cross_entropy(network(inputs), torch.from_numpy(dataset.train_targets))
        network.zero_grad()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for name, p in network.named_parameters():
                decay = strength * p if name.endswith("weight") else 0.0
                p -= settings.learning_rate * (p.grad + decay)
    np.testing.assert_allclose(curves.train_loss, losses, rtol=1e-12)


def test_fixed_statistics_are_those_of_the_training_set(networks: list[nn.Sequential]) -> None:
    dataset = tiny()
    train([replica("propagation")], dataset, device="cpu")
    seen = networks[0][0](vectors(dataset.train_inputs))
    np.testing.assert_allclose(seen.mean(0), np.zeros(6), atol=1e-6)
    assert seen.square().mean().item() == pytest.approx(1, rel=1e-3)


def test_the_watcher_sees_every_epoch() -> None:
    seen: list[tuple[str, int]] = []

    def watch(settings: Replica, curves: Curves) -> None:
        seen.append((settings.norm, len(curves.test_error)))

    train([replica("none"), replica()], tiny(), device="cpu", on_epoch=watch)
    assert seen == [(norm, epoch) for norm in ("none", "cosine") for epoch in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": (5, 8, 3)}, "6 features and 3 classes"),
        ({"sizes": (6, 8, 2)}, "6 features and 3 classes"),
        ({"norm": "batch", "batch_size": 13}, "batch of one example.*another batch_size"),
        ({"norm": "batch", "batch_size": 1}, "batch of one example"),
        ({"observe": ("lengths", "colors")}, "nothing observes colors; choose from preactivation, "),
        ({"images": ImageSettings(crop=3)}, "2x3 cannot be cropped to 3x3"),
    ],
)
@pytest.mark.parametrize("stacked", [False, True])
def test_misfits_are_explained_before_training(changes: dict, message: str, stacked: bool) -> None:
    refused(tiny(), [replica(), replica(**changes)], message, stacked)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"norm": "weight_decay"}, "'weight_decay' cannot be trained on sparse inputs; these can: none, "),
        ({"norm": "scaling"}, "'scaling' cannot be trained on sparse inputs"),
        ({"norm": "propagation"}, "'propagation' cannot be trained on sparse inputs"),
        ({"channels": (2, 2)}, "sparse inputs cannot be trained with channels; leave that out"),
        ({"images": ImageSettings()}, "with images"),
        ({"dropout": (0.2, 0.0)}, "with dropout"),
        ({"magnitude": 2.0, "average": 0.9}, "with magnitude, average"),
        ({"observe": ("scaled_inputs", "lengths")}, "with observe scaled_inputs, observe lengths"),
        ({"sizes": (23, 8, 3)}, "24 features and 3 classes"),
    ],
)
def test_what_sparse_inputs_cannot_do_is_explained(changes: dict, refusal: str) -> None:
    sparse, _ = documents()
    refused(sparse, [replica(**{"sizes": (24, 8, 3), **changes})], refusal)


@pytest.mark.parametrize("changes", [{"channels": (2, 2)}, {"images": ImageSettings(whiten=True)}])
def test_vectors_are_no_images(changes: dict) -> None:
    _, vectors = documents()
    refused(vectors, [replica(sizes=(24, 8, 3), **changes)], r"shape \(24,\) and are no images")


def test_the_convolutional_network_asks_for_squares() -> None:
    refused(tiny(), [replica(channels=(2, 2))], "takes square images, got 2x3")


@pytest.mark.parametrize("stacked", [False, True])
def test_an_unknown_technique_is_named(stacked: bool) -> None:
    refused(tiny(), [replica("cosin")], "unknown normalization 'cosin'", stacked)


def test_a_technique_without_a_relu_shows_no_preactivations() -> None:
    dataset = tiny()
    refused(dataset, [replica("propagation", observe=("preactivation",))], "pre-activations are not seen")


def refused(dataset: Any, replicas: list[Replica], message: str, stacked: bool | None = None) -> None:
    seen: list[Replica] = []
    with pytest.raises(ValueError, match=message):
        train(replicas, dataset, device="cpu", on_epoch=lambda r, _: seen.append(r), stacked=stacked)
    assert not seen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"dropout": (0.2, 1.0)}, "dropout must be two rates"),
        ({"dropout": (-0.1, 0.5)}, "dropout must be two rates"),
        ({"dropout": (0.5,)}, "dropout must be two rates"),
        ({"average": 1.0}, "average must be a decay from 0 to below 1, or None"),
        ({"magnitude": 0.5}, "magnitude must be a factor of at least 1"),
        ({"magnitude": float("inf")}, "magnitude"),
        ({"channels": (2,), "dropout": (0.0, 0.5)}, "dropout is for dense networks"),
        ({"gain_rate": 0.0}, "gain_rate must be a positive number"),
        ({"gain_rate": float("inf")}, "gain_rate must be a positive number"),
        ({"error_steps": 0}, "error_steps must be at least 1, or None"),
        ({"dropout_convention": "inverted"}, "must be 'training' or 'testing', got 'inverted'"),
    ],
)
def test_wrong_settings_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replica(**change)


def test_images_of_a_dense_network_are_the_flattened_ones_of_a_convolutional_one() -> None:
    """Both see the same pixels in the same order: the split hands out one view or the other."""
    dataset, indices = pictures(), torch.tensor([[3, 0, 3]])
    for settings in (None, ImageSettings(crop=5, whiten=True)):
        flat, square = (
            inputs.place(dataset, "train", torch.device("cpu"), settings, way) for way in (True, False)
        )
        side = 8 if settings is None else 5
        assert square.shape == (2, side, side)
        assert flat.shape == (2 * side * side,)
        torch.testing.assert_close(
            flat.inputs_of(indices), square.inputs_of(indices).flatten(2), rtol=0, atol=0
        )


def test_test_images_are_not_distorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A net that does not move errs on central crops alike, whatever was done to the training images."""
    still, distorted = (
        conv_replica(
            sizes=(72, 6, 3), learning_rate=1e-30, images=ImageSettings(crop=6, whiten=True, augment=augment)
        )
        for augment in (False, True)
    )
    one, two = train([still, distorted], pictures(), device="cpu")
    assert one.test_loss == two.test_loss
    assert one.train_loss[0] == pytest.approx(one.train_loss[1], rel=1e-6)
    assert two.train_loss[0] != pytest.approx(two.train_loss[1], rel=1e-6), "anew in every epoch"


def test_a_callers_random_numbers_are_not_disturbed() -> None:
    torch.manual_seed(5)
    rng = np.random.get_state()  # noqa: NPY002
    before = torch.get_rng_state()
    noisy = replica(dropout=(0.2, 0.5), magnitude=2.0)
    train([noisy, replica("online"), replica("batch")], tiny(), device="cpu")
    distorted = conv_replica(sizes=(72, 6, 3), images=ImageSettings(crop=6, augment=True))
    train([distorted], pictures(), device="cpu")
    train([noisy, replica(seed=2)], tiny(), device="cpu", stacked=True, parallel=2)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], rng[1])  # noqa: NPY002


def test_nothing_depends_on_a_callers_random_numbers() -> None:
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        runs.append(outcome(train([replica(dropout=(0.2, 0.5), magnitude=2.0)], tiny(), device="cpu")[0]))
    assert runs[0] == runs[1]


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="unknown device 'gpu'; use auto, cpu or cuda"):
        resolve_device("gpu")
    with pytest.raises(ValueError, match=r"torch sees \d+ CUDA"):
        resolve_device("cuda:99")
