"""The registry of the contract suite: one case is one technique with fixed options and shapes.

A test asks for the cases that promise a law (``cases(Law.BOUNDED)``) and runs once for each. A new technique
enters by registering cases with the laws it promises and its NumPy oracle; the tests need not change. The
cosine layers are registered here, their relatives in ``relatives.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum, auto
from functools import partial
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor, nn

import cosnorm
from cosnorm import functional

Values = Callable[[Any, Any], oracles.Array]
Gradients = Callable[[Any, Any, Any], tuple[oracles.Array, oracles.Array]]


class Law(StrEnum):
    """What a technique may promise."""

    BOUNDED = auto()  #: |y| <= 1
    INPUT_SCALE = auto()  #: an input times s > 0 gives the same output; its gradient is divided by s
    WEIGHT_SCALE = auto()  #: a weight row or filter times s > 0 gives the same output
    INPUT_SHIFT = auto()  #: adding one number to all of an input gives the same output
    WEIGHT_SHIFT = auto()  #: adding one number to all of a weight row or filter gives the same output
    BATCH_SHIFT = auto()  #: adding one vector to every input of the batch gives the same output
    ZERO = auto()  #: a zero vector (constant, if centred) has output 0 and gradient 0
    ZERO_WEIGHT = auto()  #: the outputs of a zero weight row or filter ignore the input; its gradient is 0
    PER_EXAMPLE = auto()  #: the output of an example does not depend on the others in its batch
    PURE = auto()  #: a function of input and weight only: no state, training is inference
    STATEFUL = auto()  #: training moves estimates that inference uses in place of the batch's statistics
    NEEDS_BATCH = auto()  #: refuses to train on a single example
    EMPTY = auto()  #: takes an empty batch
    DERIVATIVE = auto()  #: what backward returns is the derivative of the output
    FORWARD_MODE = auto()  #: can be differentiated in forward mode
    TWICE = auto()  #: can be differentiated twice
    ANY_ORDER = auto()  #: can be differentiated any number of times
    REPEATABLE = auto()  #: backward moves no state: run twice it gives the same
    LAYOUT = auto()  #: the output lies in memory as that of torch's plain layer does
    CENTERED = auto()  #: subtracts the mean of each vector
    APPENDED = auto()  #: appends a constant component to each vector, after it was centered
    COSINE = auto()  #: is the cosine of some vectors: equal arguments give 1


@dataclass(frozen=True)
class Case:
    """One technique with its options, small shapes to try it on, and an oracle.

    Attributes
    ----------
    name
        Shown by pytest, for example ``conv2d-centered``.
    function
        ``(input, weight) -> output``, options bound.
    module
        Builds a module that computes the same for its own ``weight``: ``module(**factory_options)``.
    input_shape, weight_shape
        Shapes with a batch dimension in front of the input.
    values, gradients
        The float64 oracle: ``(x, w) -> y`` and ``(x, w, dy) -> (dx, dw)``.
    laws
        What the technique promises.
    dims
        0 for linear, else the number of convolved dimensions.
    options
        The keyword arguments bound into ``function``.
    weight_name
        The name of the weight in the module's state.
    state
        All other entries of that state, as ``function`` uses them and :meth:`build` sets them.
    state_gradients
        ``(x, w, dy)`` to the gradients of those entries that are learned.
    estimates
        ``(x, w, seen)`` to the output in evaluation after one batch ``seen`` in training.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    module: Callable[..., nn.Module]
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    values: Values
    gradients: Gradients
    laws: frozenset[Law]
    dims: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    weight_name: str = "weight"
    state: dict[str, oracles.Array] = field(default_factory=dict)
    state_gradients: Callable[[Any, Any, Any], dict[str, oracles.Array]] | None = None
    estimates: Callable[[Any, Any, Any], oracles.Array] | None = None

    def build(self, **factory: Any) -> nn.Module:
        """The module in the state that ``function`` and the oracle use."""
        module = self.module(**factory)
        state = {name: torch.from_numpy(value) for name, value in self.state.items()}
        missing, unexpected = module.load_state_dict(state, strict=False)
        assert set(missing) <= {self.weight_name}
        assert not unexpected
        return module

    def weight(self, module: nn.Module) -> nn.Parameter:
        """The weight of a module of this case."""
        return module.get_parameter(self.weight_name)

    @property
    def groups(self) -> int:
        """Groups of channels; 1 for linear."""
        return self.options.get("groups", 1)

    @property
    def constant(self) -> float:
        """The appended component."""
        return self.options.get("constant", 0.0)

    @property
    def fan_in(self) -> int:
        """Length of one weight vector."""
        return int(np.prod(self.weight_shape[1:]))

    def draw(
        self, seed: int = 0, dtype: torch.dtype = torch.float64, *, requires_grad: bool = False
    ) -> tuple[Tensor, Tensor]:
        """An input and a weight of standard normal numbers."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(self.input_shape, generator=generator, dtype=torch.float64).to(dtype)
        w = torch.randn(self.weight_shape, generator=generator, dtype=torch.float64).to(dtype)
        return x.requires_grad_(requires_grad), w.requires_grad_(requires_grad)

    def input_blocks(self, tensor: Tensor) -> Tensor:
        """Input-shaped -> ``(blocks, size)``: the largest parts that may be scaled one by one."""
        if self.dims == 0:
            return tensor.reshape(-1, tensor.shape[-1])
        return tensor.reshape(tensor.shape[0] * self.groups, -1)

    def weight_blocks(self, tensor: Tensor) -> Tensor:
        """Weight-shaped -> ``(rows or filters, size)``."""
        return tensor.reshape(tensor.shape[0], -1)

    def close(self, output: Tensor, x: Tensor, w: Tensor, factor: float = 8.0) -> None:
        """Assert that an output is the oracle's value at the same numbers, to ``factor`` machine epsilons."""
        expected = self.values(numbers(x), numbers(w))
        assert tuple(output.shape) == expected.shape
        np.testing.assert_allclose(
            numbers(output), expected, rtol=0, atol=self.tolerance(output.dtype, expected, factor)
        )

    def alike(self, found: Tensor, expected: Tensor, tolerance: float = 1e-14) -> None:
        """Assert that two ways to one result agree, to ``tolerance``, more where results may be large."""
        bounded = Law.COSINE in self.laws or not expected.numel()
        size = 1.0 if bounded else max(1.0, expected.detach().abs().max().item())
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * size)

    def tolerance(self, dtype: torch.dtype, expected: Any = 0.0, factor: float = 8.0) -> float:
        """``factor`` machine epsilons for outputs of size 1, more for larger ones."""
        size = max(1.0, float(abs(expected).max())) if np.size(expected) else 1.0
        return factor * torch.finfo(dtype).eps * size


def numbers(tensor: Tensor) -> oracles.Array:
    """A tensor of any floating dtype as a float64 array: exact."""
    return tensor.detach().to("cpu", torch.float64).numpy()


REGISTRY: dict[str, Case] = {}


def register(case: Case) -> Case:
    """Add a case; names are unique."""
    if case.name in REGISTRY:
        raise ValueError(f"the case {case.name!r} is registered twice")
    REGISTRY[case.name] = case
    return case


def cases(*laws: Law, dims: tuple[int, ...] = (0, 1, 2, 3), without: tuple[Law, ...] = ()) -> list[Any]:
    """The registered cases that promise all of ``laws`` and none of ``without``, as pytest parameters."""
    found = [
        pytest.param(case, id=case.name)
        for case in REGISTRY.values()
        if case.laws.issuperset(laws) and case.laws.isdisjoint(without) and case.dims in dims
    ]
    if not found:
        raise ValueError(f"no case promises {laws}: the test would be empty")
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "centered": {"centered": True},
    "constant": {"constant": 0.3},
    "centered-constant": {"centered": True, "constant": 0.3},
}

#: name: convolved dimensions, input shape, weight shape, geometry
GEOMETRIES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "conv1d": (1, (3, 4, 9), (5, 4, 3), {"stride": 2, "padding": 1}),
    "conv1d-grouped": (1, (2, 6, 10), (4, 3, 3), {"dilation": 2, "groups": 2}),
    "conv2d": (2, (2, 3, 5, 6), (4, 3, 3, 2), {"padding": (1, 0)}),
    "conv2d-grouped": (2, (2, 4, 7, 5), (6, 2, 3, 2), {"stride": (2, 1), "dilation": (1, 2), "groups": 2}),
    "conv2d-depthwise": (2, (2, 3, 4, 5), (3, 1, 2, 3), {"padding": "same", "groups": 3}),
    "conv3d": (3, (2, 2, 4, 3, 4), (3, 2, 2, 3, 2), {"padding": (0, 1, 0), "stride": (1, 2, 1)}),
}


def _laws(options: dict[str, Any]) -> frozenset[Law]:
    laws = {Law.BOUNDED, Law.ZERO, Law.PER_EXAMPLE, Law.PURE, Law.COSINE, Law.EMPTY, Law.LAYOUT}
    laws |= {Law.DERIVATIVE, Law.FORWARD_MODE, Law.TWICE, Law.ANY_ORDER, Law.REPEATABLE}
    if options.get("constant"):
        laws = (laws | {Law.APPENDED}) - {Law.ZERO}
    else:
        laws |= {Law.INPUT_SCALE, Law.WEIGHT_SCALE}
    if options.get("centered"):
        laws |= {Law.CENTERED, Law.WEIGHT_SHIFT}
        if options.get("padding", 0) in (0, "valid"):  # the filled-in zeros do not shift
            laws.add(Law.INPUT_SHIFT)
    return frozenset(laws)


def _linear(name: str, options: dict[str, Any]) -> Case:
    return Case(
        name=name,
        function=partial(functional.cosine_linear, **options),
        module=partial(cosnorm.CosineLinear, 6, 5, **options),
        input_shape=(4, 6),
        weight_shape=(5, 6),
        values=partial(oracles.linear, **options),
        gradients=partial(oracles.linear_gradients, **options),
        laws=_laws(options),
        options=options,
    )


def _convolution(name: str, geometry: str, variant: dict[str, Any]) -> Case:
    dims, input_shape, weight_shape, shape_options = GEOMETRIES[geometry]
    options = {**shape_options, **variant}
    layer = getattr(cosnorm, f"CosineConv{dims}d")
    return Case(
        name=name,
        function=partial(getattr(functional, f"cosine_conv{dims}d"), **options),
        module=partial(layer, input_shape[1], weight_shape[0], weight_shape[2:], **options),
        input_shape=input_shape,
        weight_shape=weight_shape,
        values=partial(oracles.convolution, **options),
        gradients=partial(oracles.convolution_gradients, **options),
        laws=_laws(options),
        dims=dims,
        options=options,
    )


for _variant, _options in VARIANTS.items():
    register(_linear(f"linear-{_variant}", _options))
    for _geometry in GEOMETRIES:
        register(_convolution(f"{_geometry}-{_variant}", _geometry, _options))
