r"""What a run costs by arithmetic alone: operations of its products, and bytes of weights that they move.

A layer with :math:`n` inputs and :math:`m` units maps one example by :math:`F = 2nm` operations, a
multiplication and an addition for each weight; a convolution by :math:`F = 2 k^2 c\, m\, hw`, with a window
of :math:`k \times k`, :math:`c` input channels and an output of :math:`h \times w`. Training makes three such
products an example: forward, the gradient of the weights, and that of the layer's input, which the first
layer does not need. Evaluation makes the first alone. With :math:`N` training and :math:`M` test examples and
:math:`E` epochs,

.. math:: E\, \Big( N \big(3 \textstyle\sum_l F_l - F_1\big) + M \sum_l F_l \Big).

What normalizes, activates, pools, draws and updates is left out: it grows with the numbers of units, not with
their product. That is a few percent in the networks of the paper, but for the patches' lengths in a cosine
convolution with few channels and filters.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from cosnorm.training.replica import Replica

#: Bytes of a float32.
_FLOAT = 4


@dataclass(frozen=True)
class _Layer:
    """One layer's number of weights, and operations for one example."""

    weights: int
    operations: float


def operations(
    replica: Replica, train_examples: int, test_examples: int, nonzeros: float | None = None
) -> float:
    """Floating-point operations of a run's matrix products and convolutions, as derived above.

    Parameters
    ----------
    replica
        The run; one that diverges stops earlier.
    train_examples, test_examples
        Examples trained on in an epoch, and evaluated after it.
    nonzeros
        Mean number of entries of an example, for sparse inputs: the first layer multiplies no others.

    Raises
    ------
    ValueError
        If the replica is convolutional and its input is no square image of one or three channels.

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
    r"""Bytes of weights and their gradients that one step of training moves, if it keeps none in a cache.

    A float32 weight is read in the forward product, read for the gradient of the layer's input (the first
    layer's is not needed), its gradient is written, and the update reads both and writes the weight: with
    :math:`W_l` weights in a layer, :math:`4\,(6 \sum_l W_l - W_1)` bytes. However large the batch, it is
    the same; the products' operations divided by it bound the speed of small batches.

    Raises
    ------
    ValueError
        As for :func:`operations`.

    Examples
    --------
    >>> weight_bytes(Replica((784, 1000, 1000, 10), "none", 0.1, batch_size=100, epochs=1, seed=0))
    39920000
    """
    first, *others = _layers(replica, None)
    return _FLOAT * (5 * first.weights + 6 * sum(layer.weights for layer in others))


def _layers(replica: Replica, nonzeros: float | None) -> list[_Layer]:
    """The layers with weights, from the input to the output."""
    if not replica.channels:
        return _dense(replica.sizes, nonzeros)
    inputs, side = _image(replica)
    found: list[_Layer] = []
    for before, after in itertools.pairwise((inputs, *replica.channels)):
        weights = before * after * replica.kernel_size**2
        found.append(_Layer(weights, 2 * weights * side**2))
        side = (side + 1) // 2  # the pooling behind each convolution
    return found + _dense((replica.channels[-1] * side**2, *replica.sizes[1:]), None)


def _dense(sizes: tuple[int, ...], nonzeros: float | None) -> list[_Layer]:
    read = (sizes[0] if nonzeros is None else nonzeros, *sizes[1:])
    return [
        _Layer(inputs * units, 2 * seen * units)
        for (inputs, units), seen in zip(itertools.pairwise(sizes), read, strict=False)
    ]


def _image(replica: Replica) -> tuple[int, int]:
    """Channels and side of the images; no number is both a square and three times a square."""
    for channels in (1, 3):
        side = math.isqrt(replica.sizes[0] // channels)
        if channels * side**2 == replica.sizes[0]:
            return channels, side
    raise ValueError(
        f"sizes start with {replica.sizes[0]}; no square image of one or three channels has so many values"
    )
