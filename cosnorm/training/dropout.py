"""Dropout whose masks come from each replica's own generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """Multiplies the first ``B`` rows of a mask onto an input ``(B, features)`` in training.

    The mask is a buffer that :meth:`draw` fills: so a stack of replicas can hand each its own, a CUDA
    graph finds it at a fixed address, and a replica's masks do not depend on its company.

    Parameters
    ----------
    features
        Width of the input.
    rate
        Share of the entries that is set to 0.
    batch_size
        Largest number of rows.
    scaled
        Whether the other entries are divided by ``1 - rate`` in training. If not, the whole input is
        multiplied by ``1 - rate`` in evaluation.
    """

    mask: Tensor

    def __init__(self, features: int, rate: float, batch_size: int, scaled: bool = True) -> None:
        super().__init__(rate)
        self.scaled = scaled
        self.register_buffer("mask", torch.ones(batch_size, features), persistent=False)

    def draw(self, generator: torch.Generator) -> None:
        """Draw a new mask in place."""
        self.mask.bernoulli_(1 - self.p, generator=generator)
        if self.scaled:
            self.mask.div_(1 - self.p)

    def forward(self, input: Tensor) -> Tensor:
        """Drop entries in training; in evaluation keep them all, scaled where training did not scale them."""
        if self.training:
            return input * self.mask[: len(input)]
        return input if self.scaled else input * (1 - self.p)


def with_dropout(
    network: nn.Sequential, rates: tuple[float, float], batch_size: int, scaled: bool = True
) -> nn.Sequential:
    """The same layers with dropout before the first linear one and before every other.

    Parameters
    ----------
    rates
        Of the input and of the hidden layers; 0 adds nothing.
    batch_size, scaled
        As for :class:`Dropout`.
    """
    modules: list[nn.Module] = []
    first = True
    for module in network:
        if isinstance(module, nn.Linear):
            rate = rates[0] if first else rates[1]
            modules += [Dropout(module.in_features, rate, batch_size, scaled)] if rate else []
            first = False
        modules.append(module)
    return nn.Sequential(*modules)
