"""Rules that act on the weights during training: a term of the loss, or a step after every update."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from cosnorm._kernels.vectors import accumulation_dtype

__all__ = ["MaxNorm", "UpdateRule", "WeightDecay"]

#: Layers whose ``weight[j]`` is the incoming weight vector of unit j; cosine layers are among them.
LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class UpdateRule:
    """The rule that changes nothing, and the base of those that do.

    Like an optimizer, it acts on the layers of the network that it is given.
    A training step is: backward on the loss plus :meth:`penalty`, the optimizer's step, :meth:`step`.

    Examples
    --------
    >>> network = nn.Linear(3, 2)
    >>> rule = UpdateRule(network)
    >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> handle = rule.attach(optimizer)  # step() now follows every optimizer.step()
    >>> loss = network(torch.ones(5, 3)).sum() + rule.penalty()
    """

    def __init__(self, network: nn.Module) -> None:
        if not isinstance(network, nn.Module):
            raise TypeError(f"{type(self).__name__} is made from a network, got {type(network).__name__}")
        self.network = network

    def penalty(self) -> Tensor:
        """What to add to the loss: a scalar tensor on the device of the network."""
        like = next(self.network.parameters(), None)
        return torch.zeros(()) if like is None else torch.zeros((), dtype=like.dtype, device=like.device)

    def step(self) -> None:
        """Change the weights; to be called after every update."""

    def attach(self, optimizer: Optimizer) -> RemovableHandle:
        """Let :meth:`step` follow every step of ``optimizer``; ``remove()`` of the handle ends that."""

        def after(*_: Any) -> None:
            self.step()

        return optimizer.register_step_post_hook(after)


class WeightRule(UpdateRule):
    """A rule about the weight vectors of every linear and convolutional layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        if next(self.weights(), None) is None:
            raise ValueError(f"{type(self).__name__}: the network has no linear or convolutional layer")

    def weights(self) -> Iterator[nn.Parameter]:
        """The weights of the layers, each once, in the order of the network."""
        seen: set[int] = set()
        for module in self.network.modules():
            if isinstance(module, LAYERS) and id(module.weight) not in seen:
                weight: Any = module.weight
                seen.add(id(weight))
                yield weight


def check_strength(name: str, role: str, value: float, *, zero: bool) -> float:
    """A finite number above 0, or 0 where that is allowed, as a float."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not zero):
        limit = "of at least 0" if zero else "above 0"
        raise ValueError(f"{name}: {role} must be a finite number {limit}, got {value!r}")
    return float(value)


class MaxNorm(WeightRule):
    r"""After each update, projects every incoming weight vector onto the ball of a fixed radius.

    .. math:: w \leftarrow w \cdot \min\left(1, \frac{r}{\lVert w \rVert}\right)

    with the ``radius`` :math:`r > 0`, for each row of a linear layer and each filter of a convolution, the
    output layer included, as in Section 5.1 of Luo et al. 2017 (radius 2); the constraint is that of
    Srivastava et al. 2014. The bias is not part of the vector.

    A longer vector is shortened to slightly less than the radius, by a few roundings, so that it counts as
    inside afterwards: a second projection changes nothing, and vectors inside keep every bit.

    Examples
    --------
    >>> network = nn.Linear(2, 2, bias=False)
    >>> _ = network.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.6, 0.8]]))
    >>> MaxNorm(network, radius=2.0).step()
    >>> network.weight.data
    tensor([[1.2000, 1.6000],
            [0.6000, 0.8000]])
    """

    RADIUS: ClassVar[float] = 2.0

    def __init__(self, network: nn.Module, radius: float = RADIUS) -> None:
        super().__init__(network)
        self.radius = check_strength("MaxNorm", "radius", radius, zero=False)

    @torch.no_grad()
    def step(self) -> None:
        """Project the weights in place."""
        for weight in self.weights():
            project(weight, self.radius)


def project(weight: Tensor, radius: float) -> None:
    """Shorten each ``weight[j]`` that is longer than ``radius``, in place."""
    rows = weight.flatten(1)
    lengths = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    # Largest errors: one rounding of the factor and one of each product, and those of the length itself.
    margin = torch.finfo(weight.dtype).eps + rows.shape[1] * torch.finfo(torch.float64).eps
    factors = torch.where(lengths > radius, radius * (1 - margin) / lengths, 1.0)
    # In the type of the weights, because with another the product would copy them all. A pass over all rows
    # costs less than one over a few rows by their indices.
    weight.mul_(factors.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1)))


class WeightDecay(WeightRule):
    r"""Adds a penalty to the loss that pulls every weight towards 0 (Krogh and Hertz 1991).

    .. math:: L + \frac\lambda2 \sum_j \lVert w_j \rVert^2

    with the ``strength`` :math:`\lambda \ge 0`, over the weights of all linear, convolutional and cosine
    layers, the output layer included. Biases and the parameters of normalizations are left out.

    This is the coupled form: the penalty's gradient :math:`\lambda w` goes through the optimizer with
    the rest. Plain gradient descent with rate :math:`\eta` then shrinks the weights by the factor
    :math:`1 - \eta\lambda` and adds the usual step, so there the decoupled form, which multiplies by
    that factor, is the same. With momentum or Adam it is not.

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
