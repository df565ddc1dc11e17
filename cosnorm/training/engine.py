"""From replicas to learning curves: the loop over the epochs, for stacks of replicas and in threads."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from cosnorm.data.rows import SparseRows
from cosnorm.networks import find_recipe
from cosnorm.training.cuda_graph import CapturedStep
from cosnorm.training.inputs import Examples, SparseSplit, Split, place
from cosnorm.training.observers import OBSERVERS, watch_preactivations
from cosnorm.training.replica import Curves, Replica
from cosnorm.training.sparse import sparse_techniques
from cosnorm.training.state import TrainingState, evaluate
from cosnorm.training.step import SingleSteps, StackedSteps, Steps

#: Called after every epoch with the replica and its curves so far.
Watcher = Callable[[Replica, Curves], None]
#: Maximal number of replicas in one stack; larger stacks are not faster and need more memory.
LARGEST_STACK = 64


class Checkpoint(Protocol):
    """Where one replica's state is saved between epochs."""

    def load(self) -> dict[str, Any] | None:
        """The saved state, if there is one."""

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save what ``state()`` returns, unless the last checkpoint is recent enough."""


class Hooks:
    """What :func:`train_with` calls, from one thread at a time; the base class does nothing."""

    def start(self, index: int) -> bool:
        """Whether to train replica ``index`` now, rather than skip it."""
        return True

    def stopping(self) -> bool:
        """Whether to save and leave every replica after its current epoch."""
        return False

    def checkpoint(self, index: int) -> Checkpoint | None:
        """Where replica ``index`` saves its state."""
        return None

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        """Called after each epoch of a replica."""

    def finish(self, index: int, curves: Curves) -> None:
        """Called after a replica's last epoch, or when it has diverged."""


def train(
    replicas: Sequence[Replica],
    dataset: Examples,
    *,
    device: str | torch.device = "auto",
    on_epoch: Watcher | None = None,
    parallel: int = 1,
    stacked: bool | None = None,
) -> list[Curves]:
    """Train every replica by plain gradient descent on the cross-entropy, evaluating after each epoch.

    A replica's curves depend on its own settings only, not on the others in the list. On a CPU with
    the same number of threads they repeat to the last bit; training in a stack changes only rounding.

    Parameters
    ----------
    replicas
        The networks to train.
    dataset
        Training and test examples; inputs are bytes of any shape ``(N, *shape)``, divided by
        ``maximum`` so that they lie in [0, 1], or sparse rows.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or a torch device.
    on_epoch
        Called after each epoch with the replica and its curves so far.
    parallel
        Number of threads. Each trains one replica on a CPU, where torch should then use one thread
        (:func:`torch.set_num_threads`), and one stack of replicas on a CUDA device.
    stacked
        Whether replicas that differ only in seed and learning rate are trained as one stack of tensors;
        ``None`` stacks them on a CUDA device. Sparse inputs and ``"online"`` are never stacked.

    Examples
    --------
    >>> from cosnorm import data
    >>> replica = Replica((64, 30, 10), "cosine", 2.0, batch_size=50, epochs=3, seed=0)
    >>> curves, = train([replica], data.load("digits"), device="cpu")
    >>> len(curves.test_error)
    3
    """
    hooks = _Watching(on_epoch)
    train_with(hooks, replicas, dataset, device=device, parallel=parallel, stacked=stacked)
    return [hooks.finished[index] for index in range(len(replicas))]


class _Watching(Hooks):
    def __init__(self, watcher: Watcher | None) -> None:
        self.watcher = watcher
        self.finished: dict[int, Curves] = {}

    def epoch(self, index: int, replica: Replica, curves: Curves) -> None:
        if self.watcher is not None:
            self.watcher(replica, curves)

    def finish(self, index: int, curves: Curves) -> None:
        self.finished[index] = curves


def train_with(
    hooks: Hooks,
    replicas: Sequence[Replica],
    dataset: Examples,
    *,
    device: str | torch.device = "auto",
    parallel: int = 1,
    stacked: bool | None = None,
) -> None:
    """As :func:`train`, but report to ``hooks``, which may skip replicas and save their states."""
    for replica in replicas:
        check(replica, dataset)
    where = resolve_device(device)
    stacked = where.type == "cuda" if stacked is None else stacked
    stacked = stacked and not isinstance(dataset.train_inputs, SparseRows)
    units = _stacks(replicas) if stacked else [[index] for index in range(len(replicas))]
    _Session(hooks, replicas, dataset, where, parallel).train(units)


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The torch device; ``"auto"`` is the first CUDA device if there is one, else the CPU."""
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


def _stacks(replicas: Sequence[Replica]) -> list[list[int]]:
    # By index into ``replicas``, in the order of the first replica of each stack.
    groups: dict[object, list[int]] = {}
    for index, replica in enumerate(replicas):
        alike = dataclasses.replace(replica, seed=0, learning_rate=1.0)
        recipe = find_recipe(replica.norm)
        stackable = recipe is not None and recipe.stackable
        groups.setdefault(alike if stackable else index, []).append(index)
    return [
        group[begin : begin + LARGEST_STACK]
        for group in groups.values()
        for begin in range(0, len(group), LARGEST_STACK)
    ]


class _Session:
    """One call of the engine: the dataset on the device, and the units that are trained on it."""

    def __init__(
        self,
        hooks: Hooks,
        replicas: Sequence[Replica],
        dataset: Examples,
        device: torch.device,
        parallel: int,
    ) -> None:
        self.hooks, self.replicas, self.dataset, self.device = hooks, replicas, dataset, device
        self.parallel = parallel
        self._splits: dict[object, tuple[Split, Split]] = {}
        # Held during calls of hooks and while torch's global random numbers are used.
        self._lock = threading.RLock()
        self.stopped = threading.Event()

    def train(self, units: list[list[int]]) -> None:
        self.parallel = min(self.parallel, len(units))
        if self.parallel <= 1:
            for unit in units:
                self._train(unit)
            return
        with ThreadPoolExecutor(self.parallel) as pool:
            try:
                for done in [pool.submit(self._train_in_thread, unit) for unit in units]:
                    done.result()
            except BaseException:  # one error ends all units
                self.stopped.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _train_in_thread(self, unit: list[int]) -> None:
        # A stream of its own, so that units share the device instead of queueing.
        cuda = self.device.type == "cuda"
        with torch.cuda.stream(torch.cuda.Stream(self.device)) if cuda else nullcontext():
            self._train(unit)

    def _train(self, unit: list[int]) -> None:
        try:
            with self._lock:
                unit = [index for index in unit if not self.stopped.is_set() and self.hooks.start(index)]
            # Replicas that were stopped after different numbers of epochs can no longer share a stack.
            by_epoch: dict[int, list[TrainingState]] = {}
            for state in map(self._make_state, unit):
                by_epoch.setdefault(state.epoch, []).append(state)
            for states in by_epoch.values():
                _Unit(self, states).train()
        except _StoppedError:
            return
        except BaseException:
            self.stopped.set()
            raise

    def _make_state(self, index: int) -> TrainingState:
        training, _ = self.splits(self.replicas[index])
        with self._lock:
            state = TrainingState(self.replicas[index], training, self.device, index)
            checkpoint = self.hooks.checkpoint(index)
        saved = None if checkpoint is None else checkpoint.load()
        if saved is not None:
            state.restore(saved)
        return state

    def splits(self, replica: Replica) -> tuple[Split, Split]:
        flat = not replica.channels
        with self._lock:
            if (replica.images, flat) not in self._splits:
                still = None if replica.images is None else dataclasses.replace(replica.images, augment=False)
                self._splits[replica.images, flat] = (
                    place(self.dataset, "train", self.device, replica.images, flat),
                    place(self.dataset, "test", self.device, still, flat),
                )
            return self._splits[replica.images, flat]

    def report_epoch(self, state: TrainingState) -> None:
        with self._lock:
            self.hooks.epoch(state.index, state.replica, state.curves)
        if state.epoch < state.replica.epochs:
            self.save(state)

    def save(self, state: TrainingState) -> None:
        with self._lock:
            checkpoint = self.hooks.checkpoint(state.index)
        if checkpoint is not None:
            checkpoint.save(state.save)

    def finish(self, state: TrainingState) -> None:
        with self._lock:
            self.hooks.finish(state.index, state.curves)


class _StoppedError(RuntimeError):
    """Another unit failed, or training is to end."""


class _Unit:
    """Replicas that are trained together, as one stack or alone."""

    def __init__(self, session: _Session, states: list[TrainingState]) -> None:
        self.session = session
        self.training, self.testing = session.splits(states[0].replica)
        for state in states:
            state.started = time.perf_counter() - state.curves.seconds
        self.steps: Steps = (StackedSteps if len(states) > 1 else SingleSteps)(states, self.training)
        self.captured: CapturedStep | None = None

    def train(self) -> None:
        first = self.steps.states[0].epoch
        epochs = self.steps.states[0].replica.epochs
        while self.steps.states and self.steps.states[0].epoch < epochs:
            if self.session.hooks.stopping():
                if self.steps.states[0].epoch > first:
                    for state in self.steps.states:
                        self.session.save(state)
                raise _StoppedError
            self._train_epoch()
            rows = [row for row, state in enumerate(self.steps.states) if self._end_epoch(row, state)]
            if len(rows) < len(self.steps.states):
                self.captured = None
                self.steps.retain(rows)
        for state in self.steps.states:
            self.session.finish(state)

    def _train_epoch(self) -> None:
        order = self.steps.begin_epoch()
        replica, epoch = self.steps.states[0].replica, self.steps.states[0].epoch
        batches = order.split(replica.batch_size, dim=1)
        for state in self.steps.states:
            state.step_errors = []
        for number, indices in enumerate(batches, start=1):
            if self.session.stopped.is_set():
                raise _StoppedError
            if self._capturable(indices, replica.batch_size):
                self.captured = self.captured or CapturedStep(self.steps, indices)
                self.captured(indices)
            else:
                self.steps.step(indices)
            # The epoch's last step is evaluated in _end_epoch.
            if number < len(batches) and _counts_errors(replica, epoch * len(batches) + number):
                for state in self.steps.states:
                    state.step_errors.append(evaluate(state, self.testing)[1])
                    state.network.train()

    def _capturable(self, indices: Tensor, size: int) -> bool:
        # A CUDA graph is recorded for one batch size, and sparse batches have no fixed size.
        dense = not isinstance(self.training, SparseSplit)
        return dense and self.session.device.type == "cuda" and indices.shape[1] == size

    def _end_epoch(self, row: int, state: TrainingState) -> bool:
        """Evaluate a replica after an epoch; returns whether it goes on."""
        replica, curves, count = state.replica, state.curves, len(self.training.targets)
        train_loss = self.steps.losses[row].item() / count
        with watch_preactivations(state) as seen:
            test_loss, test_error = evaluate(state, self.testing)
        state.epoch += 1
        curves.seconds = time.perf_counter() - state.started
        curves.at_once = len(self.steps.states) * self.session.parallel
        if not (math.isfinite(train_loss) and math.isfinite(test_loss)):
            curves.diverged_epoch = state.epoch
            self.session.finish(state)
            return False
        curves.train_loss.append(train_loss)
        curves.train_error.append(int(self.steps.errors[row].item()))
        curves.test_loss.append(test_loss)
        curves.test_error.append(test_error)
        observed: dict[str, Any] = {}
        for name in replica.observe:
            observed |= OBSERVERS[name](state, self.testing, seen)
        if replica.error_steps is not None:
            if _counts_errors(replica, state.epoch * math.ceil(count / replica.batch_size)):
                state.step_errors.append(test_error)
            observed["test_error_steps"] = state.step_errors
        for curve, value in observed.items():
            curves.observed.setdefault(curve, []).append(value)
        self.session.report_epoch(state)
        return True


def _counts_errors(replica: Replica, steps: int) -> bool:
    return replica.error_steps is not None and steps % replica.error_steps == 0


def check(replica: Replica, dataset: Examples) -> None:
    """Raise ValueError if a replica cannot be trained on a dataset."""
    if isinstance(dataset.train_inputs, SparseRows):
        _check_sparse(replica)
        features = dataset.train_inputs.width
    else:
        features = _features(replica, dataset.train_inputs.shape[1:])
    classes = int(dataset.train_targets.max()) + 1
    if replica.sizes[0] != features or replica.sizes[-1] < classes:
        raise ValueError(
            f"sizes {replica.sizes} do not fit the dataset: it has {features} features and {classes} classes"
        )
    unknown = [name for name in replica.observe if name not in OBSERVERS]
    if unknown:
        raise ValueError(f"nothing observes {', '.join(unknown)}; choose from {', '.join(OBSERVERS)}")
    _check_last_batch(replica, len(dataset.train_targets))


def _features(replica: Replica, shape: tuple[int, ...]) -> int:
    if (replica.channels or replica.images is not None) and len(shape) not in (2, 3):
        raise ValueError(
            f"the dataset's inputs have the shape {shape} and are no images; leave out images and channels"
        )
    crop = None if replica.images is None else replica.images.crop
    if crop is not None:
        if min(shape[-2:]) < crop:
            raise ValueError(f"images of {shape[-2]}x{shape[-1]} cannot be cropped to {crop}x{crop}")
        shape = (*shape[:-2], crop, crop)
    return math.prod(shape)


def _check_sparse(replica: Replica) -> None:
    asked = {
        "channels": bool(replica.channels),
        "images": replica.images is not None,
        "dropout": any(replica.dropout),
        "magnitude": replica.magnitude != 1,
        "average": replica.average is not None,
        "observe scaled_inputs": "scaled_inputs" in replica.observe,
        "observe lengths": "lengths" in replica.observe,
    }
    refused = [name for name, present in asked.items() if present]
    if refused:
        raise ValueError(f"sparse inputs cannot be trained with {', '.join(refused)}; leave that out")
    if find_recipe(replica.norm) is not None and replica.norm not in sparse_techniques():
        # Otherwise weight decay and scaling would silently skip the first layer.
        able = ", ".join(sparse_techniques())
        raise ValueError(f"{replica.norm!r} cannot be trained on sparse inputs; these can: {able}")


def _check_last_batch(replica: Replica, examples: int) -> None:
    last = examples % replica.batch_size
    recipe = find_recipe(replica.norm)  # an unknown name is refused where the network is built
    if recipe is not None and recipe.needs_batch and 1 in (last, replica.batch_size):
        raise ValueError(
            "batch normalization cannot be trained on a batch of one example, and batch_size "
            f"{replica.batch_size} leaves one of {examples}; choose another batch_size"
        )
