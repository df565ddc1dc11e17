r"""The cost of a run by arithmetic: operations of its products, and bytes of the weights they move.

A layer with :math:`n` inputs and :math:`m` units needs :math:`F = 2nm` operations per example, one
multiplication and one addition for each weight. A convolution with a window of :math:`k \times k`, :math:`c`
input channels and an output of :math:`h \times w` needs :math:`F = 2 k^2 c\, m\, hw`. Training makes three
such products per example: forward, the gradient of the weights, and the gradient of the layer's input, which
the first layer does not need. Evaluation makes only the forward product. With :math:`N` training examples,
:math:`M` test examples and :math:`E` epochs this is

.. math:: E\, \Big( N \big(3 \textstyle\sum_l F_l - F_1\big) + M \sum_l F_l \Big).

Normalization, activations, pooling, random numbers and updates are left out, because they grow with the
numbers of units and not with their product. They are a few percent in the networks of the paper, except for
the norms of the patches in a cosine convolution with few channels and filters.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from cosnorm.training.replica import Replica

_FLOAT = 4  # bytes of a float32


class _Layer(NamedTuple):
    weights: int
    operations: float  # for one example


def operations(
    replica: Replica, train_examples: int, test_examples: int, nonzeros: float | None = None
) -> float:
    """Floating-point operations of a run's matrix products and convolutions, as derived above.

    Parameters
    ----------
    replica
        The run. A run that diverges stops earlier and costs less.
    train_examples, test_examples
        Examples trained on in an epoch, and evaluated after it.
    nonzeros
        Mean number of entries per example if the inputs are sparse: the first layer multiplies no others.

    Examples
    --------
    >>> replica = Replica((784, 1000, 1000, 10), "cosine", 10.0, batch_size=100, epochs=1, seed=0)
    >>> f"{operations(replica, 60_000, 10_000):.4g}"
    '5.876e+11'
    """
    first, *others = _layers(replica, nonzeros)
    forward = first.operations + sum(layer.operations for layer in others)
    return replica.epochs * (train_examples * (3 * forward - first.operations) + test_examples * forward)


def weight_bytes(replica: Replica) -> int:
    r"""Bytes of weights and their gradients that one training step moves, if none stay in a cache.

    A float32 weight is read in the forward product and read for the gradient of the layer's input (which the
    first layer does not need); its gradient is written; and the update reads both and writes the weight. With
    :math:`W_l` weights in a layer these are :math:`4\,(6 \sum_l W_l - W_1)` bytes, whatever the batch size.
    The products' operations divided by it bound the speed of small batches.

    Examples
    --------
    >>> weight_bytes(Replica((784, 1000, 1000, 10), "none", 0.1, batch_size=100, epochs=1, seed=0))
    39920000
    """
    first, *others = _layers(replica, None)
    return _FLOAT * (5 * first.weights + 6 * sum(layer.weights for layer in others))


def _layers(replica: Replica, nonzeros: float | None) -> list[_Layer]:
    if not replica.channels:
        return _dense(replica.sizes, nonzeros)
    inputs, side = _image(replica)
    found: list[_Layer] = []
    for before, after in itertools.pairwise((inputs, *replica.channels)):
        weights = before * after * replica.kernel_size**2
        found.append(_Layer(weights, 2 * weights * side**2))
        side = (side + 1) // 2  # the pooling after each convolution
    return found + _dense((replica.channels[-1] * side**2, *replica.sizes[1:]), None)


def _dense(sizes: tuple[int, ...], nonzeros: float | None) -> list[_Layer]:
    read = (sizes[0] if nonzeros is None else nonzeros, *sizes[1:])
    return [
        _Layer(inputs * units, 2 * seen * units)
        for (inputs, units), seen in zip(itertools.pairwise(sizes), read, strict=False)
    ]


def _image(replica: Replica) -> tuple[int, int]:
    # No number is both a square and three times a square.
    for channels in (1, 3):
        side = math.isqrt(replica.sizes[0] // channels)
        if channels * side**2 == replica.sizes[0]:
            return channels, side
    raise ValueError(
        f"sizes start with {replica.sizes[0]}; no square image of one or three channels has so many values"
    )
