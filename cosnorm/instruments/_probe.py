"""Loss and gradients of a copy of a network, so that the network itself is never touched."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real

import torch
from torch import Tensor, nn

#: Maps the network's outputs and the targets to a number, such as ``torch.nn.functional.cross_entropy``.
Loss = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def private_copy(network: nn.Module) -> Iterator[nn.Module]:
    """A copy to run, and random numbers that start the same each time and are the caller's again afterwards.

    A second copy of a network with dropout thus drops the same units.
    """
    devices = {p.device.index for p in network.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(d for d in devices if d is not None)):
        yield copy.deepcopy(network)


def trainable(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn, by name, as constants.

    Raises
    ------
    ValueError
        If there are none.
    """
    found = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    if not found:
        raise ValueError(
            "the network has no parameter with requires_grad=True, so it has no gradient to measure"
        )
    return found


def evaluate(
    network: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    values: Mapping[str, Tensor] | None = None,
) -> tuple[float, dict[str, Tensor]]:
    """The loss on one batch and its gradient, with ``values`` in the place of the parameters of these names.

    Raises
    ------
    ValueError
        If no parameter learns, or the loss is not one number.
    """
    names = list(trainable(network))
    with private_copy(network) as probe, torch.enable_grad():
        with torch.no_grad():
            for name, value in (values or {}).items():
                probe.get_parameter(name).copy_(value)
        outcome = checked_loss(loss(probe(inputs), targets))
        gradients = torch.autograd.grad(
            outcome, [probe.get_parameter(name) for name in names], materialize_grads=True
        )
    return outcome.item(), dict(zip(names, gradients, strict=True))


def checked_loss(outcome: Tensor) -> Tensor:
    """Refuse a loss that is not one number."""
    if outcome.dim():
        raise ValueError(
            f"the loss must be one number, got a tensor of shape {tuple(outcome.shape)}; take its mean, "
            "for example F.cross_entropy(outputs, targets)"
        )
    return outcome


def checked_rate(name: str, rate: float) -> float:
    """Refuse a step size that is not a positive number."""
    if isinstance(rate, bool) or not isinstance(rate, Real) or not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"{name} must be a positive number, got {rate!r}")
    return float(rate)
