"""Float64 NumPy oracles of the relatives that normalize weights: literal, and independent of torch.

``x`` has shape ``(B, d)`` or ``(N, C, *spatial)``, ``w`` that of the layer's weight, ``gain`` and
``bias`` one number a unit. Every ``*_gradients`` returns the derivatives of ``(upstream * output).sum()``
for input, weight, gain and bias, written out by hand. A zero weight vector has direction 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from oracles import Patches, directions, lengths
from scipy import integrate

Array = NDArray[np.float64]
Gradients = tuple[Array, Array, Array, Array]


def array(values: ArrayLike) -> Array:
    """As float64."""
    return np.asarray(values, dtype=np.float64)


def per_unit(values: ArrayLike, units: int) -> Array:
    """One number for all units, or one each, as ``(units,)``."""
    return np.broadcast_to(array(values), (units,))


def weight_norm(x: ArrayLike, w: ArrayLike, gain: ArrayLike = 1.0, bias: ArrayLike = 0.0) -> Array:
    """Equation 14 before the activation: ``g (w . x) / |w| + b``, one unit and example after the other."""
    x, w = array(x), array(w)
    gain, bias = per_unit(gain, len(w)), per_unit(bias, len(w))
    output = np.empty((len(x), len(w)))
    for b, j in itertools.product(range(len(x)), range(len(w))):
        length = math.sqrt(sum(v * v for v in w[j]))
        product = sum(u * v for u, v in zip(x[b], w[j], strict=True))
        output[b, j] = (gain[j] * product / length if length else 0.0) + bias[j]
    return output


def weight_norm_gradients(
    x: ArrayLike, w: ArrayLike, gain: ArrayLike, bias: ArrayLike, upstream: ArrayLike
) -> Gradients:
    """Equation 3 of Salimans and Kingma: for the weights, the plain gradient less its part along them."""
    x, w, g = array(x), array(w), array(upstream)
    gain = per_unit(gain, len(w))[:, None]
    unit, norm = directions(w), lengths(w)[:, None]
    plain = g.T @ x  # the gradient for the weights that are really used
    for_gain = (plain * unit).sum(axis=1)
    tangent = plain - for_gain[:, None] * unit
    for_weight = np.where(norm > 0, gain / np.where(norm > 0, norm, 1.0) * tangent, 0.0)
    return g @ (gain * unit), for_weight, for_gain, g.sum(axis=0)


MEAN = integrate.quad(lambda z: z * math.exp(-z * z / 2), 0, np.inf)[0] / math.sqrt(2 * math.pi)
SQUARE = integrate.quad(lambda z: z * z * math.exp(-z * z / 2), 0, np.inf)[0] / math.sqrt(2 * math.pi)
DEVIATION = math.sqrt(SQUARE - MEAN**2)


def propagation(x: ArrayLike, w: ArrayLike, gain: ArrayLike = 1 / 1.21, bias: ArrayLike = 0.0) -> Array:
    """Weight norm, ReLU, and the ReLU's mean and deviation for a standard normal, by quadrature."""
    return (np.maximum(weight_norm(x, w, gain, bias), 0.0) - MEAN) / DEVIATION


def propagation_gradients(
    x: ArrayLike, w: ArrayLike, gain: ArrayLike, bias: ArrayLike, upstream: ArrayLike
) -> Gradients:
    """What passes the ReLU, divided by the deviation, goes through weight norm."""
    active = weight_norm(x, w, gain, bias) > 0
    return weight_norm_gradients(x, w, gain, bias, np.where(active, array(upstream), 0.0) / DEVIATION)


def convolution(
    layer: Callable[..., Array],
    x: ArrayLike,
    w: ArrayLike,
    gain: ArrayLike = 1.0,
    bias: ArrayLike = 0.0,
    *,
    groups: int = 1,
    **geometry: Any,
) -> Array:
    """One of the layers above on every patch, gathered by index; all filters of a group at once."""
    x, w = array(x), array(w)
    gain, bias = per_unit(gain, len(w)), per_unit(bias, len(w))
    places = Patches(x.shape[2:], w.shape[2:], **geometry)
    patches = places.gather(x, groups)
    output = np.empty((len(x), len(w), len(places.index)))
    for n, (group, filters) in itertools.product(range(len(x)), enumerate(_by_group(len(w), groups))):
        rows = w[filters].reshape(len(w[filters]), -1)
        output[n, filters] = layer(patches[n, group], rows, gain[filters], bias[filters]).T
    return output.reshape(len(x), len(w), *places.output)


def convolution_gradients(
    layer_gradients: Callable[..., Gradients],
    x: ArrayLike,
    w: ArrayLike,
    gain: ArrayLike,
    bias: ArrayLike,
    upstream: ArrayLike,
    *,
    groups: int = 1,
    **geometry: Any,
) -> Gradients:
    """Gradients of :func:`convolution`: what each patch gets goes back to where it came from."""
    x, w = array(x), array(w)
    gain, bias = per_unit(gain, len(w)), per_unit(bias, len(w))
    places = Patches(x.shape[2:], w.shape[2:], **geometry)
    patches = places.gather(x, groups)
    g = array(upstream).reshape(len(x), len(w), -1)
    for_patches, for_weight = np.zeros_like(patches), np.zeros_like(w)
    for_gain, for_bias = np.zeros(len(w)), np.zeros(len(w))
    for n, (group, filters) in itertools.product(range(len(x)), enumerate(_by_group(len(w), groups))):
        rows = w[filters].reshape(len(w[filters]), -1)
        found = layer_gradients(patches[n, group], rows, gain[filters], bias[filters], g[n, filters].T)
        for_patches[n, group] = found[0]
        for_weight[filters] += found[1].reshape(w[filters].shape)
        for_gain[filters] += found[2]
        for_bias[filters] += found[3]
    return places.scatter(for_patches, x.shape), for_weight, for_gain, for_bias


def _by_group(filters: int, groups: int) -> list[slice]:
    size = filters // groups
    return [slice(start, start + size) for start in range(0, filters, size)]
