"""Internal covariate shift after Santurkar et al. (2018): how earlier layers' steps move a gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cosnorm.instruments._layers import find_layers
from cosnorm.instruments._probe import Loss, checked_rate, evaluate, trainable

__all__ = ["LayerShift", "covariate_shift"]


@dataclass(frozen=True)
class LayerShift:
    r"""How one layer's gradient moved when the layers before it took their step.

    Attributes
    ----------
    layer
        Name of the module.
    distance
        :math:`\lVert \nabla_i - \nabla_i' \rVert`.
    cosine
        Of the angle between :math:`\nabla_i` and :math:`\nabla_i'`: 1 if both are zero, 0 if one of them is.
    length
        :math:`\lVert \nabla_i \rVert`.
    """

    layer: str
    distance: float
    cosine: float
    length: float

    @property
    def relative(self) -> float:
        """The distance in units of the gradient's own length; 0 if neither is more than 0."""
        if self.length:
            return self.distance / self.length
        return float("inf") if self.distance else 0.0


def covariate_shift(
    network: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    rate: float,
    *,
    layers: Sequence[str] | None = None,
) -> list[LayerShift]:
    r"""How far the update of the layers before it moves each layer's gradient.

    Definition 2.1 of Santurkar et al. (2018, arXiv:1805.11604): with :math:`W_i` the parameters of
    layer :math:`i` before a step and :math:`W_i^+` after it, on one batch,

    .. math::
        \nabla_i = \frac{\partial L}{\partial W_i}(W_1, \dots, W_k), \qquad
        \nabla_i' = \frac{\partial L}{\partial W_i}(W_1^+, \dots, W_{i-1}^+, W_i, \dots, W_k).

    A layer's own step and those of later layers are left out: what remains is what the layer could not
    know when it computed its gradient. The step is plain gradient descent,
    :math:`W^+ = W - \eta\, \partial L/\partial W`, of all parameters.

    Where the definition leaves room: the gradients compared are those of a layer's weights (parameters of
    two dimensions or more), so that layers with and without biases can be compared; scale and shift of a
    normalization are updated with the layer that they follow. The network runs in the mode it is in;
    training mode gives batch norm the statistics of the batch, as in their experiments. They published no
    code for it that we know of.

    Parameters
    ----------
    network
        Any module of one input; it is left as it is.
    loss
        ``loss(outputs, targets)``, one number.
    inputs, targets
        The batch.
    rate
        :math:`\eta`.
    layers
        Names of the modules to report, as in ``network.named_modules()``; without it, every module with
        weights. Between two of them all parameters count as the first one's.

    Returns
    -------
    list of LayerShift
        In the order in which the network runs the layers. Nothing learns before the first one, so its
        distance is 0 (unless layers are named, and others come before).

    Raises
    ------
    ValueError
        If a name is not that of a layer, nothing learns, the loss is not one number, or the rate is not
        positive.

    Examples
    --------
    For :math:`L = \frac12 (v u x - y)^2` everything can be done by hand: with :math:`u = v = x = 1` and
    :math:`y = 0`, :math:`\nabla_v = 1`; a step of 0.1 makes :math:`u = 0.9`, and then
    :math:`\nabla_v' = 0.81`.

    >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    >>> _ = [nn.init.ones_(weight) for weight in network.parameters()]
    >>> half_square = lambda outputs, targets: (outputs - targets).square().sum() / 2
    >>> shifts = covariate_shift(network, half_square, torch.ones(1, 1), torch.zeros(1, 1), rate=0.1)
    >>> [round(shift.distance, 4) for shift in shifts]
    [0.0, 0.19]
    """
    rate = checked_rate("rate", rate)
    values = trainable(network)
    _, before = evaluate(network, loss, inputs, targets)
    moved: dict[str, Tensor] = {}
    shifts: list[LayerShift] = []
    for layer in find_layers(network, inputs, layers):
        if layer.weights:
            after = evaluate(network, loss, inputs, targets, moved)[1] if moved else before
            shifts.append(_compare(layer.name, _flat(before, layer.weights), _flat(after, layer.weights)))
        moved |= {name: values[name] - rate * before[name] for name in layer.parameters}
    return shifts


def _flat(gradients: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    return torch.cat([gradients[name].double().flatten() for name in names])


def _compare(name: str, before: Tensor, after: Tensor) -> LayerShift:
    lengths = before.norm() * after.norm()
    cosine = (before @ after / lengths).item() if lengths else float(not before.any() and not after.any())
    return LayerShift(name, (before - after).norm().item(), cosine, before.norm().item())
