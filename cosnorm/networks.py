"""The fully connected networks of the paper's experiments (§5.1): one function, one technique a name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

from cosnorm.layers import CosineLinear

#: What may follow a hidden layer's weights, by the name used in records, plots and on the command line.
NORMS = ("none", "cosine", "centered", "batch")


def mlp(
    sizes: Sequence[int],
    norm: str = "cosine",
    *,
    constant: float = 1e-4,
    std: float = 0.1,
    seed: int | None = None,
) -> nn.Sequential:
    r"""A multi-layer perceptron with ReLU, its hidden pre-activations normalized by one technique.

    With :math:`\hat v = v / \lVert v \rVert`, a hidden unit with weights :math:`w` computes from its
    input :math:`x`

    - ``"none"``: :math:`f(w \cdot x + b)`, the ordinary network (Eq. 1), :math:`b` starting at 0;
    - ``"cosine"``: :math:`f(\hat w \cdot \hat x)` (Eq. 3 and 4), ``constant`` appended to both vectors;
    - ``"centered"``: the same after subtracting each vector's own mean (Eq. 17), likewise appended;
    - ``"batch"``: :math:`f(\gamma\, (w \cdot x - \mu) / \sigma + \beta)` (Eq. 15 and 16), with the
      minibatch's :math:`\mu` and :math:`\sigma` in training and running averages in evaluation.

    The output layer is linear with a bias, and is not normalized, as in the paper.

    Parameters
    ----------
    sizes
        Numbers of units from input to output, such as ``(784, 1000, 1000, 10)``.
    norm
        One of :data:`NORMS`.
    constant
        :math:`\kappa`, the paper's bias :math:`x_0 = w_0 = 10^{-4}`; used by the two cosines only.
    std
        Standard deviation :math:`\sigma` of the normal distribution, mean 0, of all weights. The paper
        states "0.1 variance"; 0.1 as a standard deviation is the reading under which its baseline trains.
    seed
        Draw the weights from a generator of their own with this seed: the same matrices for every
        technique, whatever else uses random numbers. ``None`` draws from torch's global generator.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(B, sizes[0])`` to logits ``(B, sizes[-1])``, on the CPU in torch's default dtype.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, a size is not a positive integer, the technique is unknown,
        or ``std`` is negative or not finite.

    Examples
    --------
    >>> mlp((64, 30, 10), "cosine", seed=0)(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """
    sizes = _checked_sizes(sizes)
    if norm not in NORMS:
        raise ValueError(f"unknown normalization {norm!r}; choose one of {', '.join(NORMS)}")
    if not (math.isfinite(std) and std >= 0):
        raise ValueError(f"std must be a finite number, 0 or more, got {std}")
    if seed is None:
        return _build(sizes, norm, constant, std, None)
    # torch's layers draw first weights of their own, which must not disturb the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        return _build(sizes, norm, constant, std, torch.Generator().manual_seed(seed))


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    if len(sizes) < 2:
        raise ValueError(f"sizes needs at least an input and an output, such as (784, 10), got {sizes!r}")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"every size must be a positive integer, got {size!r} in {sizes!r}")
    return tuple(sizes)


def _build(
    sizes: tuple[int, ...], norm: str, constant: float, std: float, generator: torch.Generator | None
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, units in itertools.pairwise(sizes[:-1]):
        layers += [*_hidden(inputs, units, norm, constant), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))
    _initialize(network, std, generator)
    return network


def _hidden(inputs: int, units: int, norm: str, constant: float) -> list[nn.Module]:
    if norm == "none":
        return [nn.Linear(inputs, units)]
    if norm == "batch":
        # The shift of batch normalization takes the bias's place; a bias before it would cancel.
        return [nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units)]
    return [CosineLinear(inputs, units, centered=norm == "centered", constant=constant)]


@torch.no_grad()
def _initialize(network: nn.Sequential, std: float, generator: torch.Generator | None) -> None:
    """Weights from N(0, std²) in the order of the layers, biases 0; batch norm keeps scale 1, shift 0."""
    for layer in network:
        if isinstance(layer, nn.Linear):  # CosineLinear is one as well, without a bias
            layer.weight.normal_(0.0, std, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
