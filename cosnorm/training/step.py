"""How a network is trained: one step of gradient descent.

Every replica is trained by plain minibatch gradient descent on the cross-entropy. One epoch is::

    for indices in order.split(batch_size):
        logits = network(inputs[indices])
        loss = F.cross_entropy(logits, targets[indices])
        gradients = torch.autograd.grad(loss + rule.penalty(), parameters)
        for parameter, gradient in zip(parameters, gradients):
            parameter -= learning_rate * gradient
        rule.step()

The rule belongs to the technique: weight decay has a penalty, and max norm projects the weights after each
update. :meth:`SingleSteps.step` is the body of this loop for one replica. :meth:`StackedSteps.step` makes the
same step for several replicas at once: each tensor holds one row per replica, and :func:`torch.func.vmap`
does the rest. The loop itself, with the evaluation after each epoch, is in :mod:`cosnorm.training.engine`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from cosnorm.training.fused_sgd import fuse
from cosnorm.training.inputs import UNVARIED, Split, Variation
from cosnorm.training.state import SparseNetwork, TrainingState


class Steps(ABC):
    """The training steps of one replica, or of several that differ in seed and learning rate only.

    ``losses`` and ``errors``, ``(R,)``, are the epoch's sums over the examples seen so far.
    """

    def __init__(self, states: list[TrainingState], training: Split) -> None:
        self.states, self.training = states, training
        self._reset()

    def _reset(self) -> None:
        device = self.states[0].device
        self.variation = UNVARIED
        self.losses = torch.zeros(len(self.states), dtype=torch.float64, device=device)
        self.errors = torch.zeros(len(self.states), dtype=torch.int64, device=device)

    def begin_epoch(self) -> Tensor:
        """Draw the variation and the order of the examples, ``(R, N)``, which is returned."""
        drawn = [state.draw_epoch(self.training) for state in self.states]
        variation = self._combine([variation for _, variation in drawn])
        if self.variation is UNVARIED:
            self.variation = variation
        else:  # in place, because a CUDA graph reads the tensors of the first epoch
            for old, new in zip(self.variation.tensors(), variation.tensors(), strict=True):
                old.copy_(new)
        for state in self.states:
            state.network.train()
        self.losses.zero_()
        self.errors.zero_()
        return torch.stack([order for order, _ in drawn])

    @abstractmethod
    def _combine(self, variations: Sequence[Variation]) -> Variation: ...

    @abstractmethod
    def step(self, indices: Tensor) -> None:
        """One step on the examples ``indices``, ``(R, B)``."""

    @abstractmethod
    def retain(self, rows: list[int]) -> None:
        """Keep only the replicas in these rows."""

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """Everything that a step changes in place."""


class SingleSteps(Steps):
    """One replica: the default on a CPU, and necessary for techniques that cannot be stacked."""

    def __init__(self, states: list[TrainingState], training: Split) -> None:
        super().__init__(states, training)
        (self.state,) = states
        self.network, replica = self.state.network, self.state.replica
        anchor, fused = fuse(self.network, self.state.rule, replica.learning_rate)
        self.anchors = [] if anchor is None else [anchor]
        rest = [p for p in self.network.parameters() if id(p) not in fused]
        self.plain: list[Tensor] = [p for p in rest if id(p) not in self.state.gains]
        self.gains: list[Tensor] = [p for p in rest if id(p) in self.state.gains]

    def step(self, indices: Tensor) -> None:
        """One step on the examples ``indices``, ``(1, B)``."""
        indices = indices[0]
        inputs = self.training.inputs_of(indices, self.variation)
        targets = self.training.targets.index_select(0, indices)
        self.state.draw_masks()

        logits, first_outputs = self._forward(inputs)
        loss = F.cross_entropy(logits, targets)

        # The backward pass also updates the weights of fused layers.
        wanted = [*self.plain, *self.gains, *self.anchors, *first_outputs]
        gradients = torch.autograd.grad(loss + self.state.rule.penalty(), wanted)

        with torch.no_grad():
            self._update(gradients)
            self.state.rule.step()
            self.state.update_averages()
            self.losses += loss.detach().double() * len(indices)
            self.errors += (logits.argmax(1) != targets).sum()

    def _forward(self, inputs: Any) -> tuple[Tensor, list[Tensor]]:
        # Also returns the output of a sparse first layer, which updates its weights from that gradient.
        if not isinstance(self.network, SparseNetwork):
            return self.network(inputs), []
        output = self.network.first(inputs)
        return self.network.rest(output), [output]

    def _update(self, gradients: tuple[Tensor, ...]) -> None:
        replica, count = self.state.replica, len(self.plain)
        rate = replica.learning_rate
        if isinstance(self.network, SparseNetwork):
            self.network.first.descend(gradients[-1], rate)
        _subtract(self.plain, gradients[:count], rate)
        _subtract(self.gains, gradients[count : count + len(self.gains)], rate * replica.gain_rate)

    def begin_epoch(self) -> Tensor:
        """Draw the variation and the order of the examples, ``(1, N)``, which is returned."""
        if isinstance(self.network, SparseNetwork):
            self.network.first.resync()
        return super().begin_epoch()

    def _combine(self, variations: Sequence[Variation]) -> Variation:
        return variations[0]

    def retain(self, rows: list[int]) -> None:
        """Keep only the replicas in these rows."""
        self.states = [self.states[row] for row in rows]

    def tensors(self) -> list[Tensor]:
        """Everything that a step changes in place."""
        state = [*self.network.parameters(), *self.network.buffers(), *self.state.averages.values()]
        return [*state, self.state.steps, self.losses, self.errors]


def _subtract(parameters: list[Tensor], gradients: tuple[Tensor, ...], rate: float) -> None:
    if parameters:  # a network without biases may consist of fused layers alone
        torch._foreach_add_(parameters, gradients, alpha=-rate)  # pyright: ignore[reportPrivateImportUsage]


class StackedSteps(Steps):
    """Several replicas at once; the parameters and buffers of their networks are views of the stack."""

    def _reset(self) -> None:
        super()._reset()
        objectives = [_Objective(state) for state in self.states]
        self.template = objectives[0]
        self.parameters = _stack_rows([dict(o.named_parameters()) for o in objectives])
        self.buffers = _stack_rows([dict(o.named_buffers()) for o in objectives])
        # The template's own tensors are swapped out during a call; the views must not be.
        self._leaves = [p.detach().requires_grad_() for p in self.parameters.values()]
        self.rates = [
            self._rates(name).to(p.dtype).view(-1, *[1] * (p.dim() - 1))
            for name, p in self.parameters.items()
        ]

    def _rates(self, name: str) -> Tensor:
        first = self.states[0]
        factor = first.replica.gain_rate if id(self.template.get_parameter(name)) in first.gains else 1.0
        rates = [state.replica.learning_rate * factor for state in self.states]
        return torch.tensor(rates, device=first.device)

    def step(self, indices: Tensor) -> None:
        """One step on the examples ``indices``, ``(R, B)``."""
        inputs = self.training.inputs_of(indices, self.variation)
        targets = self.training.targets[indices]
        for state in self.states:
            state.draw_masks()

        named = dict(zip(self.parameters, self._leaves, strict=True))
        objectives, losses, errors = vmap(self._objective)(named, self.buffers, inputs, targets)
        gradients = torch.autograd.grad(objectives.sum(), self._leaves)

        with torch.no_grad():
            for parameter, gradient, rate in zip(self._leaves, gradients, self.rates, strict=True):
                parameter.addcmul_(gradient, rate, value=-1)
            for state in self.states:
                state.rule.step()
                state.update_averages()
            self.losses += losses.double() * indices.shape[1]
            self.errors += errors

    def _objective(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return functional_call(self.template, (parameters, buffers), (inputs, targets))

    def _combine(self, variations: Sequence[Variation]) -> Variation:
        return Variation.stack(variations)

    def retain(self, rows: list[int]) -> None:
        """Keep only the replicas in these rows; the others take no more time or memory."""
        for row, state in enumerate(self.states):
            if row not in rows:
                _detach_from_stack(state.network)
        self.states = [self.states[row] for row in rows]
        if self.states:
            self._reset()

    def tensors(self) -> list[Tensor]:
        """Everything that a step changes in place."""
        averages = [a for state in self.states for a in (*state.averages.values(), state.steps)]
        return [*self._leaves, *self.buffers.values(), *averages, self.losses, self.errors]


class _Objective(nn.Module):
    """Loss and errors as one module, so that vmap can swap the parameters of rule and network alike."""

    def __init__(self, state: TrainingState) -> None:
        super().__init__()
        self.network = state.network
        self.rule = state.rule

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # The penalized loss, the loss and the number of errors of one replica's minibatch.
        logits = self.network(inputs)
        loss = F.cross_entropy(logits, targets)
        return loss + self.rule.penalty(), loss.detach(), (logits.argmax(1) != targets).sum()


def _stack_rows(tensors: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    # Each replica's own tensor becomes a view of its row.
    # Contiguous, because vmap has no group norm of images that are stored channels last.
    stacked = {
        name: torch.stack([named[name].detach() for named in tensors]).contiguous() for name in tensors[0]
    }
    for row, named in enumerate(tensors):
        for name, tensor in named.items():
            tensor.data = stacked[name][row]
    return stacked


def _detach_from_stack(network: nn.Module) -> None:
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.clone()
