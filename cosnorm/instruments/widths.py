"""How wide the pre-activations of each layer are over a set of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cosnorm.instruments._probe import private_copy

__all__ = ["Width", "widths"]

#: What takes pre-activations as its input.
ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardswish,
)


@dataclass(frozen=True)
class Width:
    """The distribution of one layer's pre-activations over all examples and units.

    Attributes
    ----------
    layer
        Name of the activation whose input it is, or of the module that was named.
    mean, std
        Mean and standard deviation of all of them together.
    std_over_examples
        The typical unit's own: the root of the mean over units of its variance over the examples. Units
        whose means differ make ``std`` larger, and this one not.
    percentiles
        By the percent asked for.
    """

    layer: str
    mean: float
    std: float
    std_over_examples: float
    percentiles: dict[float, float]


def widths(
    network: nn.Module,
    inputs: Tensor | Iterable[Tensor],
    *,
    layers: Sequence[str] | None = None,
    percents: Sequence[float] = (1, 25, 50, 75, 99),
) -> list[Width]:
    """The spread of the pre-activations of every layer, in the order in which the network runs them.

    Pre-activations are what the activation functions receive, behind a normalization if there is one.

    Parameters
    ----------
    network
        Any module of one input; it is left as it is. It runs in the mode it is in: in training mode batch
        norm uses the statistics of each batch.
    inputs
        One batch, or several with the examples in front.
    layers
        Names of modules whose *output* is reported instead, for networks that call their activations as
        functions or have them inside a layer.
    percents
        Which percentiles to give. They are exact, which takes all the pre-activations into memory, as
        float64.

    Raises
    ------
    ValueError
        If no activation module runs, a name is not that of a module that runs, or there is no example.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> (width,) = widths(network, torch.zeros(5, 3))
    >>> width.layer, width.std_over_examples  # equal examples do not differ
    ('1', 0.0)
    """
    batches = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not any(len(batch) for batch in batches):
        raise ValueError("there is no example to run the network on")
    seen: dict[str, list[Tensor]] = {}
    with private_copy(network) as probe, torch.no_grad():
        _listen(probe, layers, seen)
        for batch in batches:
            if len(batch):
                probe(batch)
    missing = [name for name in layers or () if name not in seen]
    if missing:
        raise ValueError(f"no module called {missing[0]!r} runs; names are as in network.named_modules()")
    if not seen:
        raise ValueError(
            "the network runs no activation module such as nn.ReLU; name modules to take outputs of"
        )
    return [_width(name, torch.cat(parts).cpu().numpy(), percents) for name, parts in seen.items()]


def _listen(probe: nn.Module, names: Sequence[str] | None, seen: dict[str, list[Tensor]]) -> None:
    """Note the inputs of activations, or the outputs of named modules, as they come."""

    def keep(name: str, values: Tensor) -> None:
        seen.setdefault(name, []).append(values.detach().to(torch.float64, copy=True))

    def keep_input(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda _, inputs: keep(name, inputs[0])

    def keep_output(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _, __, output: keep(name, output)

    for name, module in probe.named_modules():
        if names is None and isinstance(module, ACTIVATIONS):
            module.register_forward_pre_hook(keep_input(name))
        elif names is not None and name in names:
            module.register_forward_hook(keep_output(name))


def _width(name: str, values: np.ndarray, percents: Sequence[float]) -> Width:
    cuts = np.percentile(values, percents)
    return Width(
        name,
        float(values.mean()),
        float(values.std()),
        float(np.sqrt(values.var(axis=0).mean())),
        dict(zip(percents, cuts.tolist(), strict=True)),
    )
