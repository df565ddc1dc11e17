"""Weight decay: a penalty on the squared length of the weights (Krogh and Hertz 1991)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cosnorm._vectors import accumulation_dtype
from cosnorm.relatives.rules import WeightRule, check_strength

__all__ = ["WeightDecay"]


class WeightDecay(WeightRule):
    r"""Adds a penalty to the loss that pulls every weight towards 0 (Krogh and Hertz 1991).

    .. math:: L + \frac\lambda2 \sum_j \lVert w_j \rVert^2

    over the weights of all linear, convolutional and cosine layers, the output layer included.
    Biases and the parameters of normalizations are left out.

    This is the coupled form: the penalty's gradient :math:`\lambda w` goes through the optimizer with
    the rest. Plain gradient descent with rate :math:`\eta` then shrinks the weights by the factor
    :math:`1 - \eta\lambda` and adds the usual step, so there the decoupled form, which multiplies by
    that factor, is the same. With momentum or Adam it is not.

    Parameters
    ----------
    network
        The network whose weights are penalized.
    strength
        :math:`\lambda`, at least 0.

    Raises
    ------
    ValueError
        If ``strength`` is negative or not finite, or the network has no such layer.

    Examples
    --------
    >>> import torch
    >>> network = nn.Linear(2, 1)
    >>> _ = network.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> WeightDecay(network, strength=0.1).penalty()
    tensor(1.2500, grad_fn=<MulBackward0>)
    """

    STRENGTH: ClassVar[float] = 1e-4

    def __init__(self, network: nn.Module, strength: float = STRENGTH) -> None:
        super().__init__(network)
        self.strength = check_strength("WeightDecay", "strength", strength, zero=True)

    def penalty(self) -> Tensor:
        """Half the strength times the sum of all squared weights; in float32 for half precision."""
        total = super().penalty()
        total = total.to(accumulation_dtype(total.dtype))
        for weight in self.weights():
            total = total + weight.to(accumulation_dtype(weight.dtype)).square().sum()
        return total * (self.strength / 2)
