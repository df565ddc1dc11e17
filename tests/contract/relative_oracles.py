"""Float64 NumPy oracles of whole hidden layers, stage by stage, and their gradients by complex steps.

A stage is written with sums, products and roots alone, so that it takes complex numbers as well. Its
derivative along entry ``k`` is then the imaginary part of its value at ``z + i h e_k``, divided by ``h``,
exact to rounding because nothing is subtracted (Squire and Trapp 1998). No gradient is derived by hand, and
none can repeat a mistake of the package. What a technique holds fixed in its gradient is written
:func:`held`. Online normalization alone brings its own backward pass, which is no derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Self

import numpy as np
from oracles import Patches
from relatives.oracles_statistics import Stream, Streams

Array = np.ndarray[Any, Any]
State = Mapping[str, Array]

STEP = 1e-100


def held(z: Array) -> Array:
    """The same numbers, constant for the derivative."""
    return z.real


def pulled(function: Callable[[Array], Array], z: Array, g: Array) -> Array:
    """The gradient of ``(g * function(z)).sum()`` by one complex step an entry."""
    gradient = np.empty(z.shape)
    for place in np.ndindex(z.shape):
        moved = z.astype(complex)
        moved[place] += 1j * STEP
        gradient[place] = (g * function(moved).imag).sum() / STEP
    return gradient


@dataclass(frozen=True)
class Stage:
    """One step of a layer.

    Attributes
    ----------
    values
        ``(z, **parameters) -> y`` in training; the first stage of a layer takes ``(x, w, **parameters)``.
    parameters
        The argument of ``values`` that each learned entry of the module's state goes to.
    buffers
        The same for entries that are not learned.
    pull
        ``(z, g, **parameters and buffers) -> dz`` where the gradient is not that of ``values``.
    estimate
        ``(z, seen, **parameters and buffers) -> y`` in evaluation, after ``seen`` went through in training.
    """

    values: Callable[..., Array]
    parameters: Mapping[str, str] = field(default_factory=dict)
    buffers: Mapping[str, str] = field(default_factory=dict)
    pull: Callable[..., Array] | None = None
    estimate: Callable[..., Array] | None = None

    def at(self, place: int | None) -> Self:
        """With the names of a module that stands at ``place`` of an ``nn.Sequential``."""
        if place is None:
            return self
        parameters, buffers = (
            {argument: f"{place}.{entry}" for argument, entry in names.items()}
            for names in (self.parameters, self.buffers)
        )
        return replace(self, parameters=parameters, buffers=buffers)

    def arguments(self, state: State) -> dict[str, Array]:
        """What the stage takes from the module's state."""
        return {argument: state[entry] for argument, entry in {**self.parameters, **self.buffers}.items()}


@dataclass(frozen=True)
class Layer:
    """A hidden layer as stages; ``state`` holds every entry of the module's state but the weight."""

    stages: Sequence[Stage]
    state: State = field(default_factory=dict)

    def values(self, x: Array, w: Array) -> Array:
        """What the layer returns in training."""
        return self._forward(x, w)[-1]

    def gradients(self, x: Array, w: Array, dy: Array) -> tuple[Array, Array]:
        """For input and weight."""
        g = self._backward(x, w, dy)[0]
        first = self._function(0)
        return pulled(lambda z: first(z, w), x, g), pulled(lambda z: first(x, z), w, g)

    def state_gradients(self, x: Array, w: Array, dy: Array) -> dict[str, Array]:
        """For all that the layer learns besides its weight, by the name of the entry."""
        before, after = [(x, w), *((z,) for z in self._forward(x, w)[:-1])], self._backward(x, w, dy)
        found: dict[str, Array] = {}
        for stage, arguments, g in zip(self.stages, before, after, strict=True):
            taken = stage.arguments(self.state)
            for argument, entry in stage.parameters.items():

                def value(
                    z: Array,
                    stage: Stage = stage,
                    taken: Any = taken,
                    argument: Any = argument,
                    a: Any = arguments,
                ) -> Array:
                    return stage.values(*a, **{**taken, argument: z})

                found[entry] = pulled(value, taken[argument], g)
        return found

    def estimates(self, x: Array, w: Array, seen: Array) -> Array:
        """What the layer returns in evaluation, after ``seen`` went through it once in training."""
        z, seen = (self._function(0)(part, w) for part in (x, seen))
        for number, stage in enumerate(self.stages[1:], 1):
            function, arguments = self._function(number), stage.arguments(self.state)
            z = function(z) if stage.estimate is None else stage.estimate(z, seen, **arguments)
            seen = function(seen)
        return z

    def _function(self, number: int) -> Callable[..., Array]:
        stage = self.stages[number]
        return lambda *z: stage.values(*z, **stage.arguments(self.state))

    def _forward(self, x: Array, w: Array) -> list[Array]:
        outputs = [self._function(0)(x, w)]
        for number in range(1, len(self.stages)):
            outputs.append(self._function(number)(outputs[-1]))
        return outputs

    def _backward(self, x: Array, w: Array, dy: Array) -> list[Array]:
        """The gradient for each stage's output."""
        found = [dy]
        for number, z in reversed([*enumerate(self._forward(x, w)[:-1], 1)]):
            stage = self.stages[number]
            if stage.pull is None:
                found.insert(0, pulled(self._function(number), z, found[0]))
            else:
                found.insert(0, stage.pull(z, found[0], **stage.arguments(self.state)))
        return found


@cache
def places(
    spatial: tuple[int, ...], window: tuple[int, ...], geometry: tuple[tuple[str, Any], ...]
) -> Patches:
    """The patches of one geometry: worked out once, used at every complex step."""
    return Patches(spatial, window, **dict(geometry))


def product(x: Array, w: Array, bias: Array | float = 0.0, *, groups: int = 1, **geometry: Any) -> Array:
    """The dot product of every unit with every example, or of every filter with every patch, and a bias."""
    if w.ndim == 2:
        return x @ w.T + bias
    where = places(x.shape[2:], w.shape[2:], tuple(geometry.items()))
    filters = w.reshape(groups, len(w) // groups, -1)
    patches = where.gather(x, groups)
    y = np.swapaxes(patches @ np.swapaxes(filters, -1, -2), -1, -2).reshape(len(x), len(w), *where.output)
    return y + feature(bias, y)


def feature(numbers: Array | float, y: Array) -> Array:
    """One number a unit or channel, laid along the second dimension of ``y``."""
    return np.asarray(numbers).reshape(-1, *(1,) * (y.ndim - 2))


def unit(rows: Array) -> Array:
    """Each vector ``rows[j]`` over its length; a zero vector stays zero."""
    axes = tuple(range(1, rows.ndim))
    squares = (rows * rows).sum(axes, keepdims=True)
    return np.where(squares == 0, 0 * rows, rows / np.sqrt(np.where(squares == 0, 1.0, squares)))


def directed(
    x: Array, w: Array, gain: Array | float = 1.0, bias: Array | float = 0.0, **geometry: Any
) -> Array:
    """Equation 14 of Luo et al.: gain times direction instead of the weight."""
    gain = np.asarray(gain).reshape(-1, *(1,) * (w.ndim - 1))
    return product(x, gain * unit(w), bias, **geometry)


def cosine(x: Array, w: Array, *, constant: float, padding: int = 0) -> Array:
    """Equation 3 of Luo et al. with the constant appended to both vectors; convolved with stride 1."""
    appended = constant**2
    length = np.sqrt((w * w).sum(tuple(range(1, w.ndim))) + appended)
    if w.ndim == 2:
        sizes = np.sqrt((x * x).sum(1, keepdims=True) + appended)
        return (x @ w.T + appended) / (sizes * length)
    ones = np.ones((1, *w.shape[1:]))
    sizes = np.sqrt(product(x * x, ones, padding=padding) + appended)
    y = product(x, w, padding=padding) + appended
    return y / (sizes * feature(length, y))


def propagated(
    x: Array, w: Array, gain: Array | float = 1.0, bias: Array | float = 0.0, **geometry: Any
) -> Array:
    """Arpit et al.: weight norm, ReLU, then less the mean and over the deviation of a normal's ReLU."""
    z = directed(x, w, gain, bias, **geometry)
    active = np.where(z.real > 0, z, 0.0)
    return (active - 1 / np.sqrt(2 * np.pi)) / np.sqrt((1 - 1 / np.pi) / 2)


def affine(y: Array, gain: Array | float, shift: Array | float) -> Array:
    """Scale and shift of every feature."""
    return y * feature(gain, y) + feature(shift, y)


def moments(z: Array, axes: tuple[int, ...], correction: int = 0) -> tuple[Array, Array]:
    """Mean and variance over ``axes``, biased unless a correction is taken off the count."""
    count = np.prod([z.shape[axis] for axis in axes])
    mean = z.sum(axes, keepdims=True) / count
    return mean, ((z - mean) ** 2).sum(axes, keepdims=True) / (count - correction)


def over_batch(z: Array) -> tuple[int, ...]:
    """All dimensions but the features'."""
    return (0, *range(2, z.ndim))


def batch_norm(
    z: Array, gain: Array, shift: Array, running_mean: Array, running_var: Array, *, eps: float = 1e-5
) -> Array:
    """Ioffe and Szegedy: with the batch's own biased statistics; the running ones do not enter."""
    mean, variance = moments(z, over_batch(z))
    return affine((z - mean) / np.sqrt(variance + eps), gain, shift)


def batch_norm_estimate(
    z: Array,
    seen: Array,
    gain: Array,
    shift: Array,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float = 1e-5,
    momentum: float = 0.1,
) -> Array:
    """Running averages, the variance's unbiased, after one step of ``momentum`` towards ``seen``."""
    mean, variance = moments(seen, over_batch(seen), correction=1)
    mean = (1 - momentum) * feature(running_mean, z) + momentum * mean
    variance = (1 - momentum) * feature(running_var, z) + momentum * variance
    return affine((z - mean) / np.sqrt(variance + eps), gain, shift)


def mean_only(z: Array, shift: Array, running_mean: Array) -> Array:
    """Salimans and Kingma: less the batch's mean."""
    return z - moments(z, over_batch(z))[0] + feature(shift, z)


def mean_only_estimate(
    z: Array, seen: Array, shift: Array, running_mean: Array, *, momentum: float = 0.1
) -> Array:
    """With the running mean after one step."""
    mean = (1 - momentum) * feature(running_mean, z) + momentum * moments(seen, over_batch(seen))[0]
    return z - mean + feature(shift, z)


def over_units(z: Array) -> tuple[int, ...]:
    """All dimensions but the batch."""
    return tuple(range(1, z.ndim))


def layer_norm(
    z: Array,
    *,
    eps: float = 1e-5,
    axes: Callable[[Array], tuple[int, ...]] = over_units,
    still: tuple[str, ...] = (),
    correction: int = 0,
) -> Array:
    """Ba et al. without gain and shift; ``still`` names what the gradient holds fixed (Xu et al.)."""
    mean, variance = moments(z, axes(z), correction)
    centered = z - (held(mean) if "mean" in still else mean)
    variance = held(variance) if "std" in still else variance
    return centered / np.sqrt(variance + eps)


def group_norm(z: Array, gain: Array, shift: Array, *, groups: int, eps: float = 1e-5) -> Array:
    """Wu and He: the units, or channels with their positions, of one group share mean and variance."""
    parts = z.reshape(len(z), groups, -1)
    mean, variance = moments(parts, (2,))
    return affine(((parts - mean) / np.sqrt(variance + eps)).reshape(z.shape), gain, shift)


def ada_norm(
    z: Array, *, k: float = 0.1, scale: float = 1.0, eps: float = 1e-5, correction: int = 0
) -> Array:
    """Xu et al.: the factor is a constant for the gradient."""
    y = layer_norm(z, eps=eps, correction=correction)
    return scale * (1 - k * held(y)) * y


def layer_scaling(z: Array, *, eps: float = 1e-5) -> Array:
    """Chiley et al.: over the root mean square of an example."""
    return z / np.sqrt((z * z).mean(over_units(z), keepdims=True) + eps)


def clamped(z: Array, *, limit: float) -> Array:
    """Every component brought to within the limit."""
    inside = np.abs(z.real) <= limit
    return np.where(inside, z, np.sign(z.real) * limit)


@dataclass(frozen=True)
class Online:
    """Chiley et al., with the streams that the tests of ``tests/relatives`` walk through as well."""

    forward: float = 0.999
    backward: float = 0.99
    eps: float = 1e-5

    def stages(self) -> list[Stage]:
        """The stream and its scale and shift, which stand in one module."""
        buffers = {name: name for name in ("mean", "var", "error_y", "error_1")}
        stream = Stage(self.values, buffers=buffers, pull=self.pull, estimate=self.estimate)
        return [stream, Stage(affine, {"gain": "weight", "shift": "bias"})]

    def values(self, z: Array, **start: Array) -> Array:
        """Every example with what was known before it."""
        return self._streams(start).forward(z)

    def pull(self, z: Array, g: Array, **start: Array) -> Array:
        """The two control loops, in the order of the examples."""
        streams = self._streams(start)
        streams.forward(z)
        return streams.backward(g)

    def estimate(self, z: Array, seen: Array, **start: Array) -> Array:
        """With what is known after ``seen``."""
        streams = self._streams(start)
        streams.forward(seen)
        mean, variance = (feature(streams.state(name), z) for name in ("mean", "var"))
        return (z - mean) / np.sqrt(variance + self.eps)

    def _streams(self, start: Mapping[str, Array]) -> Streams:
        each = zip(*(start[name] for name in ("mean", "var", "error_y", "error_1")), strict=True)
        return Streams([Stream(self.forward, self.backward, self.eps, *map(float, one)) for one in each])
