"""A replica trained by itself: the strategy for processors, and for what cannot be stacked."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cosnorm.training.descent import descending
from cosnorm.training.splits import Split
from cosnorm.training.trainee import SparseNetwork, Trainee


class Loop:
    """The steps of gradient descent of one replica.

    Parameters
    ----------
    trainees
        The replica, in a list as for :class:`cosnorm.training.stack.Stack`.
    training
        Its training examples.
    """

    def __init__(self, trainees: list[Trainee], training: Split) -> None:
        (self.trainee,) = self.trainees = trainees
        self.training = training
        self.network = self.trainee.network
        self.sparse = isinstance(self.network, SparseNetwork)
        anchor, themselves = descending(self.network, self.trainee.rule, self.trainee.replica.learning_rate)
        self.anchors = [] if anchor is None else [anchor]
        own = [p for p in self.network.parameters() if id(p) not in themselves]
        apart = self.trainee.gains
        self.plain: list[Tensor] = [p for p in own if id(p) not in apart]
        self.gains: list[Tensor] = [p for p in own if id(p) in apart]
        self.losses = torch.zeros(1, dtype=torch.float64, device=self.trainee.device)
        self.errors = torch.zeros(1, dtype=torch.int64, device=self.trainee.device)

    def begin_epoch(self) -> Tensor:
        """Draw an epoch; returns the order of the examples, ``(1, N)``."""
        order, self.variation = self.trainee.draw_epoch(self.training)
        self.network.train()
        if isinstance(self.network, SparseNetwork):
            self.network.first.resync()
        self.losses.zero_()
        self.errors.zero_()
        return order.unsqueeze(0)

    def step(self, indices: Tensor) -> None:
        """One step on the examples ``indices``, ``(1, B)``; adds to the sums of losses and errors."""
        indices = indices[0]
        inputs = self.training.inputs_of(indices, self.variation)
        targets = self.training.targets.index_select(0, indices)
        self.trainee.draw_masks()
        logits, layer_output = self._forward(inputs)
        loss = F.cross_entropy(logits, targets)
        outputs = [] if layer_output is None else [layer_output]
        wanted = [*self.plain, *self.gains, *self.anchors, *outputs]
        gradients = torch.autograd.grad(loss + self.trainee.rule.penalty(), wanted)
        with torch.no_grad():
            self._update(gradients)
            self.losses += loss.detach().double() * len(indices)
            self.errors += (logits.argmax(1) != targets).sum()

    def _forward(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        """Logits, and a sparse first layer's output, whose gradient that layer needs for its update."""
        if not isinstance(self.network, SparseNetwork):
            return self.network(inputs), None
        output = self.network.first(inputs)
        return self.network.rest(output), output

    def _update(self, gradients: tuple[Tensor, ...]) -> None:
        rate, factor = self.trainee.replica.learning_rate, self.trainee.replica.gain_rate
        if isinstance(self.network, SparseNetwork):
            self.network.first.descend(gradients[-1], rate)
        count = len(self.plain)
        _descend(self.plain, gradients[:count], rate)
        _descend(self.gains, gradients[count : count + len(self.gains)], rate * factor)
        self.trainee.rule.step()
        move_averages(self.trainee)

    def retain(self, keep: list[int]) -> None:
        """Go on with the replicas at these places only."""
        self.trainees = [self.trainees[place] for place in keep]

    def tensors(self) -> list[Tensor]:
        """All that a step changes in place."""
        trainee = self.trainee
        state = [*self.network.parameters(), *self.network.buffers(), *trainee.averages.values()]
        return [*state, trainee.steps, self.losses, self.errors]


def _descend(parameters: list[Tensor], gradients: tuple[Tensor, ...], rate: float) -> None:
    if parameters:  # without biases, all may descend in the backward pass
        torch._foreach_add_(parameters, gradients, alpha=-rate)  # pyright: ignore[reportPrivateImportUsage]


def move_averages(trainee: Trainee) -> None:
    """Take the parameters into their moving average."""
    if trainee.averages:
        trainee.steps += 1
        ramp = (1 + trainee.steps) / (10 + trainee.steps)
        weight = 1 - ramp.clamp(max=trainee.replica.average)
        for name, parameter in trainee.network.named_parameters():
            trainee.averages[name].lerp_(parameter.detach(), weight.to(parameter.dtype))
