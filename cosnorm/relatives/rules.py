"""What a technique does besides the forward pass: a term of the loss, and a step after every update."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

__all__ = ["UpdateRule"]

#: Layers whose ``weight[j]`` is the incoming weight vector of unit j; cosine layers are among them.
LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class UpdateRule:
    """The rule that changes nothing, and the base of those that do.

    Made from a network, in the manner of an optimizer; it goes on acting on that network's layers.
    A training step is: backward on the loss plus :meth:`penalty`, the optimizer's step, :meth:`step`.

    Parameters
    ----------
    network
        The network whose weights the rule is about.

    Raises
    ------
    TypeError
        If ``network`` is no module.

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
        """What to add to the loss: a tensor without dimensions, on the device of the network."""
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

    layers: ClassVar[tuple[type[nn.Module], ...]] = LAYERS

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        if next(self.weights(), None) is None:
            raise ValueError(f"{type(self).__name__}: the network has no linear or convolutional layer")

    def weights(self) -> Iterator[nn.Parameter]:
        """The weights of the layers, each once, in the order of the network."""
        seen: set[int] = set()
        for module in self.network.modules():
            if isinstance(module, self.layers) and id(module.weight) not in seen:
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
