"""Float64 NumPy oracles for the relatives that normalize by statistics: literal loops, no package code."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class Stream:
    """Online normalization of one feature, example by example (Chiley et al. 2019)."""

    alpha_forward: float
    alpha_backward: float
    eps: float
    mean: float = 0.0
    var: float = 1.0
    error_y: float = 0.0
    error_1: float = 0.0
    seen: list[tuple[Array, float]] = field(default_factory=list)

    def forward(self, example: Array) -> Array:
        """The positions of one example, normalized by what was known before it."""
        scale = math.sqrt(self.var + self.eps)
        y = (example - self.mean) / scale
        self.seen.append((y, scale))
        center = float(np.sum(example)) / example.size
        spread = float(np.sum((example - center) ** 2)) / example.size
        a = self.alpha_forward
        self.var = a * self.var + (1 - a) * spread + a * (1 - a) * (center - self.mean) ** 2
        self.mean = a * self.mean + (1 - a) * center
        return y

    def backward(self, gradient: Array) -> Array:
        """The gradient for the oldest example that has not been through."""
        y, scale = self.seen.pop(0)
        tilted = gradient - (1 - self.alpha_backward) * self.error_y * y
        self.error_y += float(np.mean(tilted * y))
        result = tilted / scale - (1 - self.alpha_backward) * self.error_1
        self.error_1 += float(np.mean(result))
        return result


@dataclass
class Streams:
    """Online normalization of batches ``(N, C, *positions)``, one stream a feature."""

    features: list[Stream]

    @classmethod
    def start(cls, count: int, forward: float, backward: float, eps: float) -> Streams:
        """Streams that have seen nothing."""
        return cls([Stream(forward, backward, eps) for _ in range(count)])

    def _through(self, batch: Array, step: Callable[[Stream, Array], Array]) -> Array:
        result = np.empty_like(batch)
        for t in range(batch.shape[0]):
            for c, feature in enumerate(self.features):
                result[t, c] = step(feature, np.atleast_1d(batch[t, c])).reshape(batch[t, c].shape)
        return result

    def forward(self, batch: Array) -> Array:
        """All examples in order."""
        return self._through(batch, Stream.forward)

    def backward(self, batch: Array) -> Array:
        """All gradients in the same order."""
        return self._through(batch, Stream.backward)

    def state(self, name: str) -> Array:
        """One number a feature."""
        return np.array([getattr(feature, name) for feature in self.features])


def over_slices(values: Array, dims: int, of_slice: Callable[..., Array], *others: Array) -> Array:
    """Apply a function of flat vectors to the last ``dims`` dimensions of arrays of one shape."""
    size = math.prod(values.shape[values.ndim - dims :])
    flat = [array.reshape(-1, size) for array in (values, *others)]
    return np.array([of_slice(*rows) for rows in zip(*flat, strict=True)]).reshape(values.shape)


def layer_norm(x: Array, eps: float, *, unbiased: bool = False) -> Array:
    """One vector less its mean, over its deviation, with sums written out."""
    n = len(x)
    mean = sum(x) / n
    variance = sum((component - mean) ** 2 for component in x) / (n - 1 if unbiased else n)
    return np.array([(component - mean) / math.sqrt(variance + eps) for component in x])


def layer_norm_gradient(
    x: Array, g: Array, eps: float, *, mean: bool = True, std: bool = True, unbiased: bool = False
) -> Array:
    """The chain rule over all pairs of components, with the mean or the deviation held fixed if asked."""
    n = len(x)
    center = sum(x) / n
    divisor = n - 1 if unbiased else n
    root = math.sqrt(sum((component - center) ** 2 for component in x) / divisor + eps)
    jacobian = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            jacobian[i, j] = float(i == j) / root
            if mean:
                jacobian[i, j] -= 1 / (n * root)
            if std:
                jacobian[i, j] -= (x[i] - center) * (x[j] - center) / (divisor * root**3)
    return jacobian.T @ g


def adanorm(x: Array, k: float, scale: float, eps: float, *, unbiased: bool = False) -> Array:
    """AdaNorm of one vector."""
    y = layer_norm(x, eps, unbiased=unbiased)
    return scale * (1 - k * y) * y


def adanorm_gradient(
    x: Array, g: Array, k: float, scale: float, eps: float, *, unbiased: bool = False
) -> Array:
    """The factor in front of the second y is a number."""
    factor = scale * (1 - k * layer_norm(x, eps, unbiased=unbiased))
    return layer_norm_gradient(x, factor * g, eps, unbiased=unbiased)


def feature_mean(x: Array) -> Array:
    """Mean over all but the second dimension, added up number by number."""
    total, count = np.zeros(x.shape[1]), 0
    for example in x:
        for position in np.ndindex(x.shape[2:]):
            total += example[(slice(None), *position)]
            count += 1
    return total / count


def feature_variance(x: Array) -> Array:
    """Mean squared deviation over all but the second dimension."""
    return feature_mean(np.square(x - spread(feature_mean(x), x.ndim)))


def spread(features: Array | Sequence[float], ndim: int) -> Array:
    """One number a feature, with the dimensions of ``(N, C, *positions)``."""
    return np.asarray(features, float).reshape(1, -1, *(1,) * (ndim - 2))
