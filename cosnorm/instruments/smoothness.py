"""How smooth the loss is along its gradient, after Santurkar et al. (2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cosnorm.instruments._probe import Loss, checked_rate, evaluate, trainable

__all__ = ["Smoothness", "smoothness"]


@dataclass(frozen=True)
class Smoothness:
    r"""Loss and gradient at the ends of steps of several sizes along one gradient.

    Attributes
    ----------
    rates
        The step sizes :math:`\eta`.
    loss
        Before any step.
    losses
        After each step.
    length
        Length of the gradient before any step, over all parameters.
    changes
        :math:`\lVert \nabla - \nabla' \rVert` for each step: what Santurkar et al. call gradient
        predictiveness (small is predictable).
    """

    rates: tuple[float, ...]
    loss: float
    losses: tuple[float, ...]
    length: float
    changes: tuple[float, ...]

    @property
    def distances(self) -> tuple[float, ...]:
        r"""How far each step went: :math:`\eta \lVert \nabla \rVert`."""
        return tuple(rate * self.length for rate in self.rates)

    @property
    def loss_range(self) -> tuple[float, float]:
        """The smallest and the largest loss after a step."""
        return min(self.losses), max(self.losses)

    @property
    def change_range(self) -> tuple[float, float]:
        """The smallest and the largest change of the gradient."""
        return min(self.changes), max(self.changes)

    @property
    def beta(self) -> float:
        r"""Effective smoothness: the largest change of the gradient over the distance moved.

        .. math:: \max_\eta \frac{\lVert \nabla - \nabla' \rVert}{\eta\, \lVert \nabla \rVert}

        0 where the gradient is zero and there is no direction to go.
        """
        if not self.length:
            return 0.0
        return max(change / distance for change, distance in zip(self.changes, self.distances, strict=True))


def smoothness(
    network: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor, rates: Sequence[float]
) -> Smoothness:
    r"""Loss and gradient at the ends of steps of several sizes along the gradient.

    Section 3.1 of Santurkar et al. (2018, arXiv:1805.11604): with :math:`\nabla` the gradient at the
    parameters :math:`W`, the loss and the gradient :math:`\nabla'` at :math:`W - \eta \nabla` for a range of
    :math:`\eta` around the learning rate, on the same batch. Their "effective" :math:`\beta`-smoothness is
    the largest difference of gradients over the distance moved; we read this as the largest of the ratios.
    For a quadratic loss it lies between the smallest and the largest curvature, whatever the rates.

    It is not comparable between networks as it stands. Where the loss does not change when a weight matrix
    is multiplied by :math:`\alpha`, as before a batch norm, gradients are divided by :math:`\alpha` and
    :math:`\beta` by :math:`\alpha^2`: the same function, any smoothness you like.

    Parameters
    ----------
    network
        Any module of one input; it is left as it is. It runs in the mode it is in.
    loss
        ``loss(outputs, targets)``, one number.
    inputs, targets
        The batch.
    rates
        Step sizes, in the order in which the results are wanted.

    Raises
    ------
    ValueError
        If nothing learns, the loss is not one number, there are no rates, or a rate is not positive.

    Examples
    --------
    The loss :math:`2 w^2` has curvature 4 everywhere.

    >>> network = nn.Linear(1, 1, bias=False)
    >>> seen = smoothness(network, lambda o, t: 2 * (o - t).square().sum(), torch.ones(1, 1),
    ...                   torch.zeros(1, 1), rates=(0.1, 0.2))
    >>> round(seen.beta, 4)
    4.0
    """
    steps = tuple(checked_rate("each of rates", rate) for rate in rates)
    if not steps:
        raise ValueError("rates needs at least one step size, such as (0.05, 0.1, 0.4)")
    start = trainable(network)
    first, gradient = evaluate(network, loss, inputs, targets)
    losses, changes = [], []
    for rate in steps:
        moved = {name: value - rate * gradient[name] for name, value in start.items()}
        there, then = evaluate(network, loss, inputs, targets, moved)
        losses.append(there)
        changes.append(_length([gradient[name].double() - then[name].double() for name in start]))
    length = _length([g.double() for g in gradient.values()])
    return Smoothness(steps, first, tuple(losses), length, tuple(changes))


def _length(parts: Sequence[Tensor]) -> float:
    return torch.stack([part.norm() for part in parts]).norm().item()
