"""Float64 NumPy oracles of the layers: slow, literal, and independent of torch.

Every vector is written out (patches are gathered by index), its mean is literally subtracted, the paper's
constant is literally appended after that, and the quotient of Equation 3 is formed. Gradients are Equations
11 and 12 of Luo et al. (arXiv:1702.05870), summed over the pairs a vector takes part in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Numbers = int | Sequence[int]

PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def extended(vectors: ArrayLike, *, centered: bool, constant: float) -> Array:
    """Subtract its mean from each row of ``(..., d)`` if centered, then append ``constant`` (if not 0).

    A row whose entries are all equal is centered to exactly 0, as it is in exact arithmetic.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if centered and rows.shape[-1] > 0:
        flat = np.ptp(rows, axis=-1, keepdims=True) == 0
        once = rows - rows.mean(axis=-1, keepdims=True)
        twice = once - once.mean(axis=-1, keepdims=True)
        rows = np.where(flat, 0.0, twice)
    if constant == 0:
        return rows
    return np.concatenate([rows, np.full((*rows.shape[:-1], 1), constant)], axis=-1)


def lengths(vectors: Array) -> Array:
    """Euclidean norm of each row of ``(..., d)``, scaled by the largest entry so that nothing overflows."""
    largest = np.abs(vectors).max(axis=-1, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)
    return largest * np.sqrt(np.square(vectors / safe[..., None]).sum(axis=-1))


def directions(vectors: Array) -> Array:
    """Unit vectors of the rows; a zero row stays 0, the package's definition of its cosine."""
    norm = lengths(vectors)
    return vectors / np.where(norm > 0, norm, 1.0)[..., None]


def cosines(inputs: ArrayLike, weights: ArrayLike, *, centered: bool = False, constant: float = 0.0) -> Array:
    """Equation 3 (17 if centred) for every pair: ``(..., B, d)``, ``(..., m, d)`` -> ``(..., B, m)``."""
    x = directions(extended(inputs, centered=centered, constant=constant))
    w = directions(extended(weights, centered=centered, constant=constant))
    return x @ np.swapaxes(w, -1, -2)


def cosine_gradients(
    inputs: ArrayLike,
    weights: ArrayLike,
    upstream: ArrayLike,
    *,
    centered: bool = False,
    constant: float = 0.0,
) -> tuple[Array, Array]:
    """Gradients of ``(upstream * cosines).sum()`` for inputs and weights: Equations 12 and 11, summed."""
    g = np.asarray(upstream, dtype=np.float64)
    x = extended(inputs, centered=centered, constant=constant)
    w = extended(weights, centered=centered, constant=constant)
    c = directions(x) @ np.swapaxes(directions(w), -1, -2)
    dx = _projected(x, g @ directions(w), (g * c).sum(axis=-1))
    dw = _projected(w, np.swapaxes(g, -1, -2) @ directions(x), (g * c).sum(axis=-2))
    size = np.shape(inputs)[-1]
    return _through_extension(dx, size, centered), _through_extension(dw, size, centered)


def _projected(vectors: Array, towards: Array, overlap: Array) -> Array:
    """(towards - overlap * direction) / length, and 0 for a zero vector."""
    norm = lengths(vectors)[..., None]
    pulled = towards - overlap[..., None] * directions(vectors)
    return np.where(norm > 0, pulled / np.where(norm > 0, norm, 1.0), 0.0)


def _through_extension(gradient: Array, size: int, centered: bool) -> Array:
    """Transpose of ``extended``: drop the appended component, then remove the mean of the others."""
    gradient = gradient[..., :size]
    if centered and size > 0:
        gradient = gradient - gradient.mean(axis=-1, keepdims=True)
    return gradient


def linear(inputs: ArrayLike, weight: ArrayLike, *, centered: bool = False, constant: float = 0.0) -> Array:
    """``(..., d)``, ``(m, d)`` -> ``(..., m)``."""
    x = np.asarray(inputs, dtype=np.float64)
    y = cosines(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), weight, centered=centered, constant=constant)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def linear_gradients(
    inputs: ArrayLike,
    weight: ArrayLike,
    upstream: ArrayLike,
    *,
    centered: bool = False,
    constant: float = 0.0,
) -> tuple[Array, Array]:
    """Gradients of :func:`linear`, shaped as ``inputs`` and ``weight``."""
    x, g = np.asarray(inputs, dtype=np.float64), np.asarray(upstream, dtype=np.float64)
    count = math.prod(x.shape[:-1])
    dx, dw = cosine_gradients(
        x.reshape(count, x.shape[-1]),
        weight,
        g.reshape(count, g.shape[-1]),
        centered=centered,
        constant=constant,
    )
    return dx.reshape(x.shape), dw


class Patches:
    """Where each patch of a convolution lies: flat indices into the input, one past the end meaning padding.

    Parameters are those of torch's convolutions; ``spatial`` and ``window`` are the sizes of the input and of
    the kernel along the convolved dimensions. Attributes: ``index``, ``(positions, window entries)``; and
    ``output``, the sizes of the output.
    """

    def __init__(
        self,
        spatial: Sequence[int],
        window: Sequence[int],
        stride: Numbers = 1,
        padding: Numbers | str = 0,
        dilation: Numbers = 1,
        padding_mode: str = "zeros",
    ) -> None:
        dims = len(window)
        steps, gaps = per_dimension(stride, dims), per_dimension(dilation, dims)
        cells = np.arange(math.prod(spatial)).reshape(spatial)
        widths = pad_widths(padding, window, gaps)
        if padding_mode == "zeros":
            padded = np.pad(cells, widths, constant_values=cells.size)
        else:
            padded = np.pad(cells, widths, mode=PAD_MODES[padding_mode])
        self.output = tuple(
            (size - gap * (extent - 1) - 1) // step + 1
            for size, extent, step, gap in zip(padded.shape, window, steps, gaps, strict=True)
        )
        self.index = np.array(
            [
                [
                    padded[tuple(o * s + k * d for o, s, k, d in zip(out, steps, offset, gaps, strict=True))]
                    for offset in itertools.product(*map(range, window))
                ]
                for out in itertools.product(*map(range, self.output))
            ],
            dtype=np.int64,
        ).reshape(math.prod(self.output), math.prod(window))

    def gather(self, inputs: Array, groups: int) -> Array:
        """``(N, C, *spatial)`` -> ``(N, groups, positions, C / groups * window)``."""
        n, channels = inputs.shape[:2]
        flat = inputs.reshape(n, channels, math.prod(inputs.shape[2:]))
        flat = np.concatenate([flat, np.zeros((n, channels, 1))], axis=-1)
        found = flat[:, :, self.index].reshape(n, groups, channels // groups, *self.index.shape)
        return np.moveaxis(found, 2, 3).reshape(n, groups, len(self.index), -1)

    def scatter(self, patches: Array, shape: Sequence[int]) -> Array:
        """Transpose of :meth:`gather`: every patch entry is added where it came from."""
        n, channels = shape[:2]
        groups = patches.shape[1]
        split = patches.reshape(n, groups, len(self.index), channels // groups, self.index.shape[1])
        split = np.moveaxis(split, 3, 2).reshape(n, channels, *self.index.shape)
        flat = np.zeros((n, channels, math.prod(shape[2:]) + 1))
        np.add.at(flat, (slice(None), slice(None), self.index), split)
        return flat[:, :, :-1].reshape(shape)


def per_dimension(value: Numbers, dims: int) -> tuple[int, ...]:
    """One integer, or one a dimension, as a tuple."""
    if isinstance(value, int):
        return (value,) * dims
    return tuple(value) * dims if len(value) == 1 else tuple(value)


def pad_widths(
    padding: Numbers | str, window: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """(before, after) along each dimension; "same" puts an odd cell after, as torch does."""
    if padding == "valid":
        return [(0, 0)] * len(window)
    if isinstance(padding, str):
        totals = [gap * (extent - 1) for extent, gap in zip(window, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(width, width) for width in per_dimension(padding, len(window))]


def convolution(
    inputs: ArrayLike,
    weight: ArrayLike,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    centered: bool = False,
    constant: float = 0.0,
) -> Array:
    """Cosine of every filter with every patch in 1, 2 or 3 dimensions; a single example may lack ``N``."""
    x, w = np.asarray(inputs, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    if x.ndim == w.ndim - 1:
        options = {"padding_mode": padding_mode, "centered": centered, "constant": constant}
        return convolution(x[None], w, stride, padding, dilation, groups, **options)[0]
    places = Patches(x.shape[2:], w.shape[2:], stride, padding, dilation, padding_mode)
    filters = w.reshape(groups, w.shape[0] // groups, -1)
    y = cosines(places.gather(x, groups), filters, centered=centered, constant=constant)
    return np.swapaxes(y, -1, -2).reshape(x.shape[0], w.shape[0], *places.output)


def convolution_gradients(
    inputs: ArrayLike,
    weight: ArrayLike,
    upstream: ArrayLike,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    *,
    centered: bool = False,
    constant: float = 0.0,
) -> tuple[Array, Array]:
    """Gradients of :func:`convolution` for a batch ``(N, C, *spatial)``, zero padding."""
    x, w = np.asarray(inputs, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    places = Patches(x.shape[2:], w.shape[2:], stride, padding, dilation)
    filters = w.reshape(groups, w.shape[0] // groups, -1)
    g = np.asarray(upstream, dtype=np.float64).reshape(
        x.shape[0], groups, filters.shape[1], len(places.index)
    )
    dpatches, dfilters = cosine_gradients(
        places.gather(x, groups), filters, np.swapaxes(g, -1, -2), centered=centered, constant=constant
    )
    return places.scatter(dpatches, x.shape), dfilters.sum(axis=0).reshape(w.shape)
