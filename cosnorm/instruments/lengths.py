"""How long the weights are, what that makes of the learning rate, and what one step adds to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cosnorm.instruments._probe import Loss, checked_rate, evaluate

__all__ = ["LengthGrowth", "effective_rates", "length_growth", "weight_lengths"]


def weight_lengths(network: nn.Module) -> dict[str, Tensor]:
    r"""The length :math:`\lVert w \rVert` of every unit's weights, by the name of the parameter.

    A unit's weights are what is left of a parameter when its first dimension is fixed: a row of a matrix,
    a filter of a convolution. Parameters of fewer than two dimensions (biases, scales) are left out.

    Returns
    -------
    dict
        Float tensors of shape ``(units,)``, at least float32, by parameter name in the order of registration.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> {name: tuple(lengths.shape) for name, lengths in weight_lengths(network).items()}
    {'0.weight': (3,), '2.weight': (2,)}
    """
    return {name: _rows(p.detach()).norm(dim=1) for name, p in network.named_parameters() if p.dim() >= 2}


def effective_rates(network: nn.Module, rate: float) -> dict[str, Tensor]:
    r"""The effective rate :math:`\tilde\eta = \eta / \lVert w \rVert^2` of every unit, by parameter name.

    Where the loss depends on the direction of :math:`w` alone, as before a batch norm or in a cosine layer,
    it is the rate at which the direction learns (van Laarhoven 2017; Hoffer et al. 2018); elsewhere it
    is just a number. A unit with zero weights has an infinite one.

    Raises
    ------
    ValueError
        If the rate is not a positive number.

    Examples
    --------
    >>> layer = nn.Linear(4, 1, bias=False)
    >>> _ = nn.init.ones_(layer.weight)  # of length 2
    >>> effective_rates(layer, rate=1.0)
    {'weight': tensor([0.2500])}
    """
    rate = checked_rate("rate", rate)
    return {name: rate / lengths.square() for name, lengths in weight_lengths(network).items()}


@dataclass(frozen=True)
class LengthGrowth:
    r"""What a step of gradient descent adds to the squared length of each unit's weights.

    Attributes
    ----------
    weight
        Name of the parameter.
    radial
        :math:`-2 \eta\, w \cdot \nabla`, shape ``(units,)``: 0 where the loss depends on the direction alone.
    square
        :math:`\eta^2 \lVert \nabla \rVert^2`, shape ``(units,)``: never negative.
    """

    weight: str
    radial: Tensor
    square: Tensor

    @property
    def total(self) -> Tensor:
        r"""The change of :math:`\lVert w \rVert^2`."""
        return self.radial + self.square


def length_growth(
    network: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor, rate: float
) -> list[LengthGrowth]:
    r"""Split what one step of gradient descent would add to every unit's squared length.

    .. math:: \lVert w - \eta \nabla \rVert^2 - \lVert w \rVert^2
        = -2 \eta\, w \cdot \nabla + \eta^2 \lVert \nabla \rVert^2

    Parameters
    ----------
    network
        Any module of one input; it is left as it is, and takes no step.
    loss
        ``loss(outputs, targets)``, one number.
    inputs, targets
        The batch.
    rate
        :math:`\eta`.

    Returns
    -------
    list of LengthGrowth
        One for each parameter that learns and has two dimensions or more.

    Raises
    ------
    ValueError
        If nothing learns, the loss is not one number, or the rate is not positive.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.ones_(layer.weight)
    >>> total = lambda outputs, targets: outputs.sum()
    >>> (growth,) = length_growth(layer, total, torch.tensor([[1.0, -1.0]]), torch.zeros(1), rate=0.5)
    >>> growth.radial, growth.square  # the gradient (1, -1) is at right angles to the weights (1, 1)
    (tensor([-0.]), tensor([0.5000]))
    """
    rate = checked_rate("rate", rate)
    _, gradients = evaluate(network, loss, inputs, targets)
    parameters = dict(network.named_parameters())
    growth = []
    for name, gradient in gradients.items():
        if gradient.dim() >= 2:
            w, slope = _rows(parameters[name].detach()), _rows(gradient)
            radial = -2 * rate * (w * slope).sum(1)
            growth.append(LengthGrowth(name, radial, rate**2 * slope.square().sum(1)))
    return growth


def _rows(weight: Tensor) -> Tensor:
    """One unit a row, at least in float32."""
    return weight.flatten(1).to(torch.promote_types(weight.dtype, torch.float32))
