"""Replicas of one shape trained together: each tensor holds one row a replica, and vmap does the rest."""

from __future__ import annotations

from dataclasses import fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from cosnorm.training.images import Distortions
from cosnorm.training.loop import move_averages
from cosnorm.training.splits import Split, Variation
from cosnorm.training.trainee import Trainee


class _Objective(nn.Module):
    """What is descended, as one module, so that vmap can swap the parameters of rule and network alike."""

    def __init__(self, trainee: Trainee) -> None:
        super().__init__()
        self.network = trainee.network
        self.rule = trainee.rule

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Penalized loss, loss and number of errors of one replica's minibatch."""
        logits = self.network(inputs)
        loss = F.cross_entropy(logits, targets)
        return loss + self.rule.penalty(), loss.detach(), (logits.argmax(1) != targets).sum()


class Stack:
    """The steps of gradient descent of several replicas at once.

    Each trainee's network keeps working by itself: its parameters and buffers are views of the stack.

    Parameters
    ----------
    trainees
        Replicas that differ in seed and learning rate only.
    training
        Their training examples.
    """

    def __init__(self, trainees: list[Trainee], training: Split) -> None:
        self.trainees, self.training = trainees, training
        self._build()

    def _build(self) -> None:
        device = self.trainees[0].device
        objectives = [_Objective(trainee) for trainee in self.trainees]
        self.template = objectives[0]
        self.parameters = _stacked([dict(o.named_parameters()) for o in objectives])
        self.buffers = _stacked([dict(o.named_buffers()) for o in objectives])
        # The template's own tensors are swapped out during a call; the views must not be.
        self._leaves = [p.detach().requires_grad_() for p in self.parameters.values()]
        self.rates = [
            self._rates(name).to(p.dtype).view(-1, *[1] * (p.dim() - 1))
            for name, p in self.parameters.items()
        ]
        self.losses = torch.zeros(len(self.trainees), dtype=torch.float64, device=device)
        self.errors = torch.zeros(len(self.trainees), dtype=torch.int64, device=device)
        self.variation: Variation | None = None

    def _rates(self, name: str) -> Tensor:
        """Each replica's learning rate for the parameter of this name."""
        first = self.trainees[0]
        factor = first.replica.gain_rate if id(self.template.get_parameter(name)) in first.gains else 1.0
        rates = [trainee.replica.learning_rate * factor for trainee in self.trainees]
        return torch.tensor(rates, device=first.device)

    def begin_epoch(self) -> Tensor:
        """Draw an epoch; returns the order of the examples, ``(R, N)``."""
        drawn = [trainee.draw_epoch(self.training) for trainee in self.trainees]
        variation = _stacked_variation([variation for _, variation in drawn])
        if self.variation is None:
            self.variation = variation
        else:  # in place, where a CUDA graph looks for it
            for old, new in zip(_tensors_of(self.variation), _tensors_of(variation), strict=True):
                old.copy_(new)
        for trainee in self.trainees:
            trainee.network.train()
        self.losses.zero_()
        self.errors.zero_()
        return torch.stack([order for order, _ in drawn])

    def step(self, indices: Tensor) -> None:
        """One step on the examples ``indices``, ``(R, B)``; adds to the sums of losses and errors."""
        assert self.variation is not None
        inputs = self.training.inputs_of(indices, self.variation)
        targets = self.training.targets[indices]
        for trainee in self.trainees:
            trainee.draw_masks()
        named = dict(zip(self.parameters, self._leaves, strict=True))
        objectives, losses, errors = vmap(self._objective)(named, self.buffers, inputs, targets)
        gradients = torch.autograd.grad(objectives.sum(), self._leaves)
        with torch.no_grad():
            for parameter, gradient, rate in zip(self._leaves, gradients, self.rates, strict=True):
                parameter.addcmul_(gradient, rate, value=-1)
            for trainee in self.trainees:
                trainee.rule.step()
                move_averages(trainee)
            self.losses += losses.double() * indices.shape[1]
            self.errors += errors

    def _objective(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return functional_call(self.template, (parameters, buffers), (inputs, targets))

    def retain(self, keep: list[int]) -> None:
        """Go on with the replicas at these places only: the others cost nothing any more."""
        for place, trainee in enumerate(self.trainees):
            if place not in keep:
                _own(trainee.network)
        self.trainees = [self.trainees[place] for place in keep]
        if self.trainees:
            self._build()

    def tensors(self) -> list[Tensor]:
        """All that a step changes in place."""
        averages = [a for trainee in self.trainees for a in (*trainee.averages.values(), trainee.steps)]
        return [*self._leaves, *self.buffers.values(), *averages, self.losses, self.errors]


def _stacked(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One tensor a name, a replica a row; each replica's own tensor becomes a view of its row."""
    # Contiguous, for vmap has no group norm of images that are stored channels last.
    stacked = {
        name: torch.stack([state[name].detach() for state in states]).contiguous() for name in states[0]
    }
    for row, state in enumerate(states):
        for name, tensor in state.items():
            tensor.data = stacked[name][row]
    return stacked


def _own(network: nn.Module) -> None:
    """Give a network tensors of its own again."""
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.clone()


def _stacked_variation(variations: list[Variation]) -> Variation:
    distortions, factors = None, None
    if variations[0].distortions is not None:
        drawn = [v.distortions for v in variations if v.distortions is not None]
        columns = {f.name: torch.stack([getattr(d, f.name) for d in drawn]) for f in fields(Distortions)}
        distortions = Distortions(**columns)
    if variations[0].factors is not None:
        factors = torch.stack([v.factors for v in variations if v.factors is not None])
    return Variation(distortions, factors)


def _tensors_of(variation: Variation) -> list[Tensor]:
    found = [] if variation.factors is None else [variation.factors]
    if variation.distortions is not None:
        found += [getattr(variation.distortions, f.name) for f in fields(Distortions)]
    return found
