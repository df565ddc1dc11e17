"""Observers record more after an epoch: pre-activations, errors on scaled inputs, norms of weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from cosnorm.training.inputs import Split, chunks
from cosnorm.training.state import TrainingState, evaluated_network

#: Percentiles of the paper's Figure 3, and the number of units of the last hidden layer for which they are
#: recorded. These are the first units, which excludes selection.
PERCENTILES = (15, 50, 85)
UNITS = 5
#: Factors that test inputs are multiplied by.
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)

#: Test images that the evaluation of TensorFlow's tutorial counts twice: it takes ceil(10,000 / 128) = 79
#: batches of 128 images, 10,112 in all, and its queue begins again after the last image.
TWICE = 112

#: One epoch's entry for each curve, by the curve's name.
Observation = dict[str, list[float] | float]


@contextmanager
def watch_preactivations(state: TrainingState) -> Iterator[list[Tensor]]:
    """Collect the inputs of the last ReLU in an evaluation, if the replica observes them, ``(units, N)``."""
    seen: list[Tensor] = []
    if "preactivation" not in state.replica.observe:
        yield seen
        return
    relus = [module for module in state.network.modules() if isinstance(module, nn.ReLU)]
    if not relus:
        raise ValueError(f"{state.replica.norm!r} has its ReLU inside a layer; pre-activations are not seen")

    def collect(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].flatten(1).T.clone(memory_format=torch.contiguous_format))

    handle = relus[-1].register_forward_pre_hook(collect)
    try:
        yield seen
    finally:
        handle.remove()


@torch.inference_mode()
def preactivation(state: TrainingState, testing: Split, seen: Sequence[Tensor]) -> Observation:
    """Percentiles over the test examples of the inputs of the last ReLU, ``UNITS`` lists of three.

    ``preactivation_spread`` is the median over all units of the distance from the 15th to the 85th
    percentile, and ``preactivation_scale`` the median of the root mean square.
    """
    values = torch.cat(list(seen), 1)
    # Float64, because squares overflow in a network about to diverge, and a record cannot hold infinity.
    scale = torch.linalg.vector_norm(values, dim=1, dtype=torch.float64) / math.sqrt(values.shape[1])
    percentiles = percentiles_of(values)
    spread = percentiles[:, -1].double() - percentiles[:, 0].double()
    return {
        "preactivation": percentiles[:UNITS].tolist(),
        "preactivation_spread": spread.median().item(),
        "preactivation_scale": scale.median().item(),
    }


def percentiles_of(values: Tensor) -> Tensor:
    """:data:`PERCENTILES` of each row, as from :func:`torch.quantile`, which takes five times as long."""
    ordered = torch.from_numpy(np.sort(values.cpu().numpy(), axis=1))
    ranks = torch.tensor(PERCENTILES, dtype=values.dtype) / 100 * (values.shape[1] - 1)
    below, above = ordered[:, ranks.long()], ordered[:, ranks.ceil().long()]
    return below.lerp(above, ranks.frac()).masked_fill(ordered[:, -1:].isnan(), math.nan)


@torch.inference_mode()
def scaled_inputs(state: TrainingState, testing: Split, seen: Sequence[Tensor]) -> Observation:
    """Errors on the test set when every input is multiplied by each of :data:`FACTORS`."""
    network = evaluated_network(state)
    errors = torch.zeros(len(FACTORS), dtype=torch.int64, device=state.device)
    for inputs, targets in chunks(testing):
        for column, factor in enumerate(FACTORS):
            errors[column] += (network(inputs * factor).argmax(1) != targets).sum()
    return {"test_error_scaled": errors.tolist()}


@torch.inference_mode()
def lengths(state: TrainingState, testing: Split, seen: Sequence[Tensor]) -> Observation:
    """Median norm of the weight vectors of each layer, from the input to the output."""
    layers = [m for m in state.network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    weights = [layer.weight.detach().flatten(1) for layer in layers]
    norms = [torch.linalg.vector_norm(weight, dim=1, dtype=torch.float64) for weight in weights]
    return {"weight_length": [norm.median().item() for norm in norms]}


@torch.inference_mode()
def first_112(state: TrainingState, testing: Split, seen: Sequence[Tensor] = ()) -> Observation:
    """Errors among the first :data:`TWICE` test examples.

    Added to the errors of CIFAR-10's 10,000 test images they give the errors of the 10,112 that
    the evaluation of TensorFlow's tutorial counts.
    """
    network = evaluated_network(state)
    targets = testing.targets[:TWICE]
    indices = torch.arange(len(targets), device=targets.device)
    wrong = network(testing.inputs_of(indices)).argmax(1) != targets
    return {"test_error_first_112": int(wrong.sum())}


#: By name, as in :attr:`cosnorm.training.Replica.observe`; the last argument is what
#: :func:`watch_preactivations` collected.
OBSERVERS: dict[str, Callable[[TrainingState, Split, Sequence[Tensor]], Observation]] = {
    "preactivation": preactivation,
    "scaled_inputs": scaled_inputs,
    "lengths": lengths,
    "first_112": first_112,
}
