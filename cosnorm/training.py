"""The engine: settings in, learning curves out.

A first, plain engine: replicas are trained one after the other. The data lives on the device as
bytes, minibatches are drawn from it by index, and nothing is copied back inside an epoch.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.networks import fit_inputs, mlp, update_rule
from cosnorm.relatives import UpdateRule
from cosnorm.techniques import TECHNIQUES

#: Examples evaluated at once; bounds the memory of an evaluation, never its result by more than rounding.
EVALUATION_CHUNK = 2000


class Examples(Protocol):
    """What the engine needs of a dataset; :class:`cosnorm.data.Dataset` has it."""

    @property
    def train_inputs(self) -> np.ndarray:
        """Bytes, ``(N, *shape)``."""
        ...

    @property
    def train_targets(self) -> np.ndarray:
        """Classes, ``(N,)``, int64."""
        ...

    @property
    def test_inputs(self) -> np.ndarray:
        """Bytes, ``(M, *shape)``."""
        ...

    @property
    def test_targets(self) -> np.ndarray:
        """Classes, ``(M,)``, int64."""
        ...

    @property
    def maximum(self) -> float:
        """Largest value that an input can take."""
        ...


@dataclass(frozen=True)
class Replica:
    """One network to train, completely described: two equal replicas give equal curves.

    Attributes
    ----------
    sizes, norm, constant, std
        As for :func:`cosnorm.networks.mlp`.
    learning_rate
        Constant step size of plain gradient descent.
    batch_size
        Examples a step; the last step of an epoch takes what is left.
    epochs
        Passes over the training set.
    seed
        Seeds the initial weights and, with a generator of its own, the order of the examples. Both
        are the same for every technique, so results with one seed can be compared in pairs.
    """

    sizes: tuple[int, ...]
    norm: str
    learning_rate: float
    batch_size: int
    epochs: int
    seed: int
    constant: float = 1e-4
    std: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be a positive number, got {self.learning_rate}")
        for name in ("batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")


@dataclass
class Curves:
    """What was seen of one replica, one entry an epoch.

    Attributes
    ----------
    train_loss, train_error
        Mean cross-entropy in nats and number of misclassified examples of the training set, each
        example counted when its minibatch came up (before that step's update).
    test_loss, test_error
        The same over the test set after the epoch's last update.
    diverged_epoch
        Epoch (from 1) in which a loss became infinite or not a number; training stopped there, and
        the curves hold the epochs before it. ``None`` if all went well.
    seconds
        Wall time of training and evaluation.
    """

    train_loss: list[float] = field(default_factory=list)
    train_error: list[int] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_error: list[int] = field(default_factory=list)
    diverged_epoch: int | None = None
    seconds: float = 0.0


#: Called after every epoch with the replica and its curves so far.
Watcher = Callable[[Replica, Curves], None]


@dataclass(frozen=True)
class _Split:
    """Examples on the device: inputs as stored, ``(N, features)``, and targets ``(N,)``."""

    inputs: Tensor
    targets: Tensor
    maximum: float

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self.inputs.index_select(0, indices).to(torch.get_default_dtype())
        return inputs.div_(self.maximum), self.targets.index_select(0, indices)

    def all_inputs(self) -> Tensor:
        return self.inputs.to(torch.get_default_dtype()).div_(self.maximum)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in zip(self.inputs.split(size), self.targets.split(size), strict=True):
            yield inputs.to(torch.get_default_dtype()).div_(self.maximum), targets


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """``"auto"`` is the first CUDA device if there is one, else the CPU.

    Raises
    ------
    ValueError
        If the name is not a device, or names a CUDA device that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise ValueError(f"unknown device {device!r}; use auto, cpu or cuda") from None
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(device)!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA "
            "device(s); use cpu, or auto to take whatever there is"
        )
    return resolved


def train(
    replicas: Sequence[Replica],
    dataset: Examples,
    *,
    device: str | torch.device = "auto",
    on_epoch: Watcher | None = None,
) -> list[Curves]:
    """Train every replica by plain gradient descent on the cross-entropy, evaluating after each epoch.

    A replica's curves depend on its own settings only, not on the others in the list. On a CPU, with
    the same number of threads, they are the same to the last bit each time.

    Parameters
    ----------
    replicas
        The networks to train.
    dataset
        Training and test examples; inputs of any shape ``(N, *shape)`` are flattened and divided by
        ``maximum``, so that they lie in [0, 1].
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or a torch device.
    on_epoch
        Called after each epoch with the replica and its curves so far.

    Raises
    ------
    ValueError
        If the sizes do not fit the dataset, or batch normalization would meet a batch of one example.

    Examples
    --------
    >>> from cosnorm import data
    >>> replica = Replica((64, 30, 10), "cosine", 2.0, batch_size=50, epochs=3, seed=0)
    >>> curves, = train([replica], data.load("digits"), device="cpu")
    >>> len(curves.test_error)
    3
    """
    for replica in replicas:
        _check(replica, dataset)
    where = resolve_device(device)
    training = _split(dataset.train_inputs, dataset.train_targets, dataset.maximum, where)
    testing = _split(dataset.test_inputs, dataset.test_targets, dataset.maximum, where)
    return [_train_one(replica, training, testing, where, on_epoch) for replica in replicas]


def _check(replica: Replica, dataset: Examples) -> None:
    features = math.prod(dataset.train_inputs.shape[1:])
    classes = int(dataset.train_targets.max()) + 1
    if replica.sizes[0] != features or replica.sizes[-1] < classes:
        raise ValueError(
            f"sizes {replica.sizes} do not fit the dataset: it has {features} features and {classes} classes"
        )
    last = len(dataset.train_targets) % replica.batch_size
    recipe = TECHNIQUES.get(replica.norm)  # an unknown name is refused where the network is built
    if recipe is not None and recipe.needs_batch and 1 in (last, replica.batch_size):
        raise ValueError(
            "batch normalization cannot be trained on a batch of one example, and batch_size "
            f"{replica.batch_size} leaves one of {len(dataset.train_targets)}; choose another batch_size"
        )


def _split(inputs: np.ndarray, targets: np.ndarray, maximum: float, device: torch.device) -> _Split:
    flat = torch.from_numpy(np.array(inputs.reshape(len(inputs), -1)))
    return _Split(flat.to(device), torch.from_numpy(np.array(targets)).to(device), float(maximum))


def _order_generator(seed: int) -> torch.Generator:
    """A stream for the order of examples, unrelated to the one that the initial weights come from."""
    digest = hashlib.sha256(f"order of examples {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _train_one(
    replica: Replica, training: _Split, testing: _Split, device: torch.device, on_epoch: Watcher | None
) -> Curves:
    begin = time.perf_counter()
    network = mlp(
        replica.sizes, replica.norm, constant=replica.constant, std=replica.std, seed=replica.seed
    ).to(device)
    if TECHNIQUES[replica.norm].standardized:
        fit_inputs(network, training.all_inputs())
    rule = update_rule(replica.norm, network)
    generator = _order_generator(replica.seed)
    curves = Curves()
    for epoch in range(1, replica.epochs + 1):
        # Drawn on the CPU, so that one seed means one order on every device.
        order = torch.randperm(len(training.targets), generator=generator).to(device)
        train_loss, train_error = _epoch(network, rule, training, order, replica)
        test_loss, test_error = _evaluate(network, testing)
        curves.seconds = time.perf_counter() - begin
        if not (math.isfinite(train_loss) and math.isfinite(test_loss)):
            curves.diverged_epoch = epoch
            break
        curves.train_loss.append(train_loss)
        curves.train_error.append(train_error)
        curves.test_loss.append(test_loss)
        curves.test_error.append(test_error)
        if on_epoch is not None:
            on_epoch(replica, curves)
    return curves


def _epoch(
    network: nn.Module, rule: UpdateRule, training: _Split, order: Tensor, replica: Replica
) -> tuple[float, int]:
    """One pass of gradient descent; mean loss and number of errors, both before each step's update."""
    network.train()
    parameters: list[Tensor] = list(network.parameters())
    total_loss = torch.zeros((), dtype=torch.float64, device=order.device)
    total_error = torch.zeros((), dtype=torch.int64, device=order.device)
    for indices in order.split(replica.batch_size):
        inputs, targets = training.batch(indices)
        logits = network(inputs)
        loss = F.cross_entropy(logits, targets)
        gradients = torch.autograd.grad(loss + rule.penalty(), parameters)
        with torch.no_grad():
            torch._foreach_add_(  # pyright: ignore[reportPrivateImportUsage]
                parameters, gradients, alpha=-replica.learning_rate
            )
            rule.step()
            total_loss += loss.detach().double() * len(indices)
            total_error += (logits.argmax(1) != targets).sum()
    return total_loss.item() / len(order), int(total_error.item())


@torch.inference_mode()
def _evaluate(network: nn.Module, examples: _Split) -> tuple[float, int]:
    """Mean loss and number of errors; batch normalization uses its running averages here."""
    network.eval()
    total_loss = torch.zeros((), dtype=torch.float64, device=examples.targets.device)
    total_error = torch.zeros((), dtype=torch.int64, device=examples.targets.device)
    for inputs, targets in examples.chunks(EVALUATION_CHUNK):
        logits = network(inputs)
        total_loss += F.cross_entropy(logits, targets, reduction="sum").double()
        total_error += (logits.argmax(1) != targets).sum()
    return total_loss.item() / len(examples.targets), int(total_error.item())
