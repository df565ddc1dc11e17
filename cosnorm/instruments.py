r"""Measurements on a network while it learns.

===================================  =====================================================================
:func:`covariate_shift`              how far a layer's gradient moves when the layers before it are updated
:func:`smoothness`                   how the loss and its gradient change along the gradient's direction
:func:`weight_lengths`               the norm of every unit's weights
:func:`effective_rates`              the learning rate divided by the square of that norm
:func:`length_growth`                what one step adds to it, along the weights and across them
:func:`statistics_gradient`          what a normalization's statistics remove from the gradient
:func:`widths`                       the spread of the pre-activations, layer by layer
===================================  =====================================================================

All take the network first: any module of one input. It runs in the mode it is in, so in training mode batch
norm uses the statistics of the batch. No instrument disturbs it: they work on copies, and leave parameters,
buffers, gradients, mode and the caller's random numbers as they were. ``inputs`` and ``targets`` are a batch,
and ``loss(outputs, targets)`` is a single number, such as :func:`torch.nn.functional.cross_entropy` returns.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from cosnorm._kernels.vectors import reciprocal_root
from cosnorm.relatives import LayerNormSimple

__all__ = [
    "LayerShift",
    "LengthGrowth",
    "Smoothness",
    "StatisticsGradient",
    "Width",
    "covariate_shift",
    "effective_rates",
    "length_growth",
    "smoothness",
    "statistics_gradient",
    "weight_lengths",
    "widths",
]

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LayerShift:
    r"""How one layer's gradient moved when the layers before it took their step.

    Attributes
    ----------
    layer
        Name of the module.
    distance
        :math:`\lVert \nabla_i - \nabla_i' \rVert`.
    cosine
        Of the angle between :math:`\nabla_i` and :math:`\nabla_i'`: 1 if both are zero, 0 if one of them is.
    length
        :math:`\lVert \nabla_i \rVert`.
    """

    layer: str
    distance: float
    cosine: float
    length: float

    @property
    def relative(self) -> float:
        """The distance divided by the norm of the gradient; 0 if both are 0."""
        if self.length:
            return self.distance / self.length
        return float("inf") if self.distance else 0.0


def covariate_shift(
    network: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    rate: float,
    *,
    layers: Sequence[str] | None = None,
) -> list[LayerShift]:
    r"""Internal covariate shift: how far the update of the layers before it moves each layer's gradient.

    Definition 2.1 of Santurkar et al. (2018, arXiv:1805.11604): with :math:`W_i` the parameters of
    layer :math:`i` before a step and :math:`W_i^+` after it, on one batch,

    .. math::
        \nabla_i = \frac{\partial L}{\partial W_i}(W_1, \dots, W_k), \qquad
        \nabla_i' = \frac{\partial L}{\partial W_i}(W_1^+, \dots, W_{i-1}^+, W_i, \dots, W_k).

    A layer's own step and those of later layers are left out: what remains is what the layer could not
    know when it computed its gradient. The step is plain gradient descent,
    :math:`W^+ = W - \eta\, \partial L/\partial W`, of all parameters.

    Where the definition leaves room: the gradients compared are those of a layer's weights (parameters of
    two dimensions or more), so that layers with and without biases can be compared; scale and shift of a
    normalization are updated with the layer that they follow. In training mode batch norm uses the
    statistics of the batch, as in their experiments. They published no code for it that we know of.

    Parameters
    ----------
    network, loss, inputs, targets
        As for every instrument of this module.
    rate
        :math:`\eta`.
    layers
        Names of the modules to report, as in ``network.named_modules()``; without it, every module with
        weights. All parameters between two of them count as the first one's.

    Returns
    -------
    list of LayerShift
        In the order in which the network runs the layers. Nothing learns before the first one, so its
        distance is 0 (unless layers are named, and others come before).

    Examples
    --------
    For :math:`L = \frac12 (v u x - y)^2` everything can be done by hand: with :math:`u = v = x = 1` and
    :math:`y = 0`, :math:`\nabla_v = 1`; a step of 0.1 makes :math:`u = 0.9`, and then
    :math:`\nabla_v' = 0.81`.

    >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    >>> _ = [nn.init.ones_(weight) for weight in network.parameters()]
    >>> half_square = lambda outputs, targets: (outputs - targets).square().sum() / 2
    >>> shifts = covariate_shift(network, half_square, torch.ones(1, 1), torch.zeros(1, 1), rate=0.1)
    >>> [round(shift.distance, 4) for shift in shifts]
    [0.0, 0.19]
    """
    rate = _check_rate("rate", rate)
    values = _trainable(network)
    _, before = _loss_and_gradients(network, loss, inputs, targets)
    moved: dict[str, Tensor] = {}
    shifts: list[LayerShift] = []
    for layer in _find_layers(network, inputs, layers):
        if layer.weights:
            after = _loss_and_gradients(network, loss, inputs, targets, moved)[1] if moved else before
            shifts.append(_compare(layer.name, _flat(before, layer.weights), _flat(after, layer.weights)))
        moved |= {name: values[name] - rate * before[name] for name in layer.parameters}
    return shifts


def _flat(gradients: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    return torch.cat([gradients[name].double().flatten() for name in names])


def _compare(name: str, before: Tensor, after: Tensor) -> LayerShift:
    norms = before.norm() * after.norm()
    cosine = (before @ after / norms).item() if norms else float(not before.any() and not after.any())
    return LayerShift(name, (before - after).norm().item(), cosine, before.norm().item())


@dataclass
class _Layer:
    name: str
    weights: list[str]  #: parameters of two dimensions or more
    parameters: list[str] = field(default_factory=list)  #: all of them, up to the next layer's


def _find_layers(network: nn.Module, inputs: Tensor, names: Sequence[str] | None) -> list[_Layer]:
    # Without names, every module that owns a weight is a layer. What runs before the first layer belongs to
    # one without a name and without weights; what runs between two of them, such as the scale and shift of a
    # normalization, belongs to the first of the two.
    layers = [_Layer("", [])]
    found: list[str] = []
    for name in _call_order(network, inputs):
        module = network.get_submodule(name)
        own = {
            f"{name}.{key}" if name else key: p
            for key, p in module.named_parameters(recurse=False)
            if p.requires_grad
        }
        weights = [key for key, p in own.items() if p.dim() >= 2]
        found += [name] if weights else []
        if weights and (names is None or name in names):
            layers.append(_Layer(name, weights))
        layers[-1].parameters.extend(own)
    unknown = sorted(set(names or ()) - set(found))
    if not found:
        raise ValueError("nothing that the network runs has weights of two dimensions or more that learn")
    if unknown:
        raise ValueError(
            f"no layer with weights that learn is called {unknown[0]!r}; "
            f"choose from {', '.join(map(repr, found))}"
        )
    return layers if layers[0].parameters else layers[1:]


def _call_order(network: nn.Module, inputs: Tensor) -> list[str]:
    order: dict[str, None] = {}
    with _private_copy(network) as probe, torch.no_grad():
        for name, module in probe.named_modules():
            if next(module.parameters(recurse=False), None) is not None:
                module.register_forward_pre_hook(lambda *_, name=name: order.setdefault(name))
        probe(inputs)
    return list(order)


@dataclass(frozen=True)
class Smoothness:
    r"""Loss and gradient at the ends of steps of several sizes along one gradient.

    Attributes
    ----------
    rates
        The step sizes :math:`\eta`.
    loss
        Before any step.
    losses
        After each step.
    length
        Norm of the gradient before any step, over all parameters.
    changes
        :math:`\lVert \nabla - \nabla' \rVert` for each step: what Santurkar et al. call gradient
        predictiveness (small is predictable).
    """

    rates: tuple[float, ...]
    loss: float
    losses: tuple[float, ...]
    length: float
    changes: tuple[float, ...]

    @property
    def distances(self) -> tuple[float, ...]:
        r"""How far each step went: :math:`\eta \lVert \nabla \rVert`."""
        return tuple(rate * self.length for rate in self.rates)

    @property
    def loss_range(self) -> tuple[float, float]:
        """The smallest and the largest loss after a step."""
        return min(self.losses), max(self.losses)

    @property
    def change_range(self) -> tuple[float, float]:
        """The smallest and the largest change of the gradient."""
        return min(self.changes), max(self.changes)

    @property
    def beta(self) -> float:
        r"""Effective smoothness: the largest change of the gradient over the distance moved.

        .. math:: \max_\eta \frac{\lVert \nabla - \nabla' \rVert}{\eta\, \lVert \nabla \rVert}

        0 where the gradient is zero, so that there is no direction to go.
        """
        if not self.length:
            return 0.0
        return max(change / distance for change, distance in zip(self.changes, self.distances, strict=True))


def smoothness(
    network: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor, rates: Sequence[float]
) -> Smoothness:
    r"""Loss and gradient at the ends of steps of several sizes along the gradient.

    Section 3.1 of Santurkar et al. (2018, arXiv:1805.11604): with :math:`\nabla` the gradient at the
    parameters :math:`W`, the loss and the gradient :math:`\nabla'` at :math:`W - \eta \nabla` for a range of
    :math:`\eta` around the learning rate, on the same batch. Their "effective" :math:`\beta`-smoothness is
    the largest difference of gradients over the distance moved; we read this as the largest of the ratios.
    For a quadratic loss it lies between the smallest and the largest curvature, whatever the rates.

    It is not comparable between networks as it stands. Where the loss does not change when a weight matrix
    is multiplied by :math:`\alpha`, as before a batch norm, gradients are divided by :math:`\alpha` and
    :math:`\beta` by :math:`\alpha^2`: the same function, any smoothness you like.

    Parameters
    ----------
    network, loss, inputs, targets
        As for every instrument of this module.
    rates
        Step sizes, in the order in which the results are wanted.

    Examples
    --------
    The loss :math:`2 w^2` has curvature 4 everywhere.

    >>> network = nn.Linear(1, 1, bias=False)
    >>> seen = smoothness(network, lambda o, t: 2 * (o - t).square().sum(), torch.ones(1, 1),
    ...                   torch.zeros(1, 1), rates=(0.1, 0.2))
    >>> round(seen.beta, 4)
    4.0
    """
    steps = tuple(_check_rate("each of rates", rate) for rate in rates)
    if not steps:
        raise ValueError("rates needs at least one step size, such as (0.05, 0.1, 0.4)")
    start = _trainable(network)
    first, gradient = _loss_and_gradients(network, loss, inputs, targets)
    losses, changes = [], []
    for rate in steps:
        moved = {name: value - rate * gradient[name] for name, value in start.items()}
        there, then = _loss_and_gradients(network, loss, inputs, targets, moved)
        losses.append(there)
        changes.append(_norm([gradient[name].double() - then[name].double() for name in start]))
    return Smoothness(
        steps, first, tuple(losses), _norm([g.double() for g in gradient.values()]), tuple(changes)
    )


def _norm(parts: Sequence[Tensor]) -> float:
    return torch.stack([part.norm() for part in parts]).norm().item()


def weight_lengths(network: nn.Module) -> dict[str, Tensor]:
    r"""The norm :math:`\lVert w \rVert` of every unit's weights, by the name of the parameter.

    A unit's weights are what is left of a parameter when its first dimension is fixed: a row of a matrix,
    a filter of a convolution. Parameters of fewer than two dimensions (biases, scales) are left out.

    Returns
    -------
    dict
        Float tensors of shape ``(units,)``, at least float32, by parameter name in the order of registration.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> {name: tuple(lengths.shape) for name, lengths in weight_lengths(network).items()}
    {'0.weight': (3,), '2.weight': (2,)}
    """
    return {name: _rows(p.detach()).norm(dim=1) for name, p in network.named_parameters() if p.dim() >= 2}


def effective_rates(network: nn.Module, rate: float) -> dict[str, Tensor]:
    r"""The effective rate :math:`\tilde\eta = \eta / \lVert w \rVert^2` of every unit, by parameter name.

    Where the loss depends on the direction of :math:`w` alone, as before a batch norm or in a cosine layer,
    it is the rate at which the direction learns (van Laarhoven 2017; Hoffer et al. 2018); elsewhere it
    is just a number. A unit with zero weights has an infinite one.

    Examples
    --------
    >>> layer = nn.Linear(4, 1, bias=False)
    >>> _ = nn.init.ones_(layer.weight)  # of norm 2
    >>> effective_rates(layer, rate=1.0)
    {'weight': tensor([0.2500])}
    """
    rate = _check_rate("rate", rate)
    return {name: rate / lengths.square() for name, lengths in weight_lengths(network).items()}


@dataclass(frozen=True)
class LengthGrowth:
    r"""What a step of gradient descent adds to the squared norm of each unit's weights.

    Attributes
    ----------
    weight
        Name of the parameter.
    radial
        :math:`-2 \eta\, w \cdot \nabla`, shape ``(units,)``: 0 where the loss depends on the direction alone.
    square
        :math:`\eta^2 \lVert \nabla \rVert^2`, shape ``(units,)``: never negative.
    """

    weight: str
    radial: Tensor
    square: Tensor

    @property
    def total(self) -> Tensor:
        r"""The change of :math:`\lVert w \rVert^2`."""
        return self.radial + self.square


def length_growth(
    network: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor, rate: float
) -> list[LengthGrowth]:
    r"""Split what one step of gradient descent at this rate would add to every unit's squared norm.

    .. math:: \lVert w - \eta \nabla \rVert^2 - \lVert w \rVert^2
        = -2 \eta\, w \cdot \nabla + \eta^2 \lVert \nabla \rVert^2

    Returns
    -------
    list of LengthGrowth
        One for each parameter that learns and has two dimensions or more.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.ones_(layer.weight)
    >>> total = lambda outputs, targets: outputs.sum()
    >>> (growth,) = length_growth(layer, total, torch.tensor([[1.0, -1.0]]), torch.zeros(1), rate=0.5)
    >>> growth.radial, growth.square  # the gradient (1, -1) is orthogonal to the weights (1, 1)
    (tensor([-0.]), tensor([0.5000]))
    """
    rate = _check_rate("rate", rate)
    _, gradients = _loss_and_gradients(network, loss, inputs, targets)
    parameters = dict(network.named_parameters())
    growth = []
    for name, gradient in gradients.items():
        if gradient.dim() >= 2:
            w, slope = _rows(parameters[name].detach()), _rows(gradient)
            radial = -2 * rate * (w * slope).sum(1)
            growth.append(LengthGrowth(name, radial, rate**2 * slope.square().sum(1)))
    return growth


def _rows(weight: Tensor) -> Tensor:
    return weight.flatten(1).to(torch.promote_types(weight.dtype, torch.float32))


@dataclass(frozen=True)
class StatisticsGradient:
    r"""The gradient of the loss with respect to a normalization's input, split by the paths it takes.

    All are tensors of the input's shape; their sum is the whole gradient.

    Attributes
    ----------
    layer
        Name of the module.
    direct
        With mean and standard deviation held constant.
    mean
        Through the mean.
    deviation
        Through the standard deviation.
    """

    layer: str
    direct: Tensor
    mean: Tensor
    deviation: Tensor

    @property
    def total(self) -> Tensor:
        """The whole gradient."""
        return self.direct + self.mean + self.deviation

    @property
    def removed(self) -> float:
        r"""The share of the direct gradient's squared norm that the statistics remove.

        0 if nothing flows through them. The two parts are projections (with :math:`\epsilon = 0`), so it
        is never more than 1; it is also 0 where the direct gradient is zero.
        """
        direct = self.direct.double().square().sum().item()
        return 1 - self.total.double().square().sum().item() / direct if direct else 0.0


class _Call(NamedTuple):
    name: str
    module: nn.Module
    input: Tensor
    output: Tensor


def statistics_gradient(
    network: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    *,
    layers: Sequence[str] | None = None,
) -> list[StatisticsGradient]:
    r"""Split the input gradient of every normalization into its direct part and those through the statistics.

    A normalization computes :math:`z = (a - \mu)/\sigma` and then :math:`\gamma z + \beta`, with
    :math:`\sigma^2` the variance plus :math:`\epsilon`. For :math:`g = \partial L/\partial z` and a bar for
    the mean over what :math:`\mu` is taken over,

    .. math:: \frac{\partial L}{\partial a} =
        \underbrace{\frac{g}{\sigma}}_{\text{direct}}\;
        \underbrace{- \frac{\bar g}{\sigma}}_{\text{mean}}\;
        \underbrace{- \frac{z\, \overline{g z}}{\sigma}}_{\text{deviation}}.

    It covers torch's batch, layer, group and instance norm and :class:`cosnorm.relatives.LayerNormSimple`.
    In evaluation, batch norm's running averages are constants, and so is what LayerNormSimple detaches:
    those parts are zero.

    Parameters
    ----------
    network, loss, inputs, targets
        As for every instrument of this module.
    layers
        Names of the normalizations to report; without it, all that are covered.

    Returns
    -------
    list of StatisticsGradient
        One for each call, in the order of the calls.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    >>> x, y = torch.randn(20, 3), torch.randint(2, (20,))
    >>> (seen,) = statistics_gradient(network, nn.functional.cross_entropy, x, y)
    >>> bool(seen.total.mean(0).abs().max() < 1e-6), 0 < seen.removed < 1
    (True, True)
    """
    with _private_copy(network) as probe, torch.enable_grad():
        calls = _record_calls(probe, layers)
        start = inputs.detach().requires_grad_(inputs.is_floating_point())
        outcome = _check_loss(loss(probe(start), targets))
        outputs = [call.output for call in calls]
        if not outputs or not outcome.requires_grad:
            raise ValueError(
                "no normalization of the network runs before the loss; there is nothing to split"
            )
        upstream = torch.autograd.grad(outcome, outputs, materialize_grads=True)
    with torch.no_grad():
        return [_split(call, gradient) for call, gradient in zip(calls, upstream, strict=True)]


def _record_calls(probe: nn.Module, names: Sequence[str] | None) -> list[_Call]:
    covered = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, _InstanceNorm, LayerNormSimple)
    known = {name: module for name, module in probe.named_modules() if isinstance(module, covered)}
    unknown = sorted(set(names or ()) - set(known))
    if unknown or not known:
        raise ValueError(
            f"{unknown[0] if unknown else 'the network'!r}: no batch, layer, group or instance norm; "
            f"those of the network are {', '.join(map(repr, known)) or 'none'}"
        )
    calls: list[_Call] = []
    for name, module in known.items():
        if names is None or name in names:

            def note(module: nn.Module, inputs: Any, output: Tensor, name: str = name) -> Tensor:
                calls.append(_Call(name, module, inputs[0].detach(), output))
                return output.clone()  # so that an activation in place leaves the noted one as it was

            module.register_forward_hook(note)
    return calls


def _split(call: _Call, upstream: Tensor) -> StatisticsGradient:
    module: Any = call.module
    wide = torch.promote_types(call.input.dtype, torch.float32)
    values, g = call.input.to(wide), upstream.to(wide) * _gain(module, call.input.dim())
    if isinstance(module, nn.GroupNorm):
        shape = (len(values), module.num_groups, -1)
        grouped, g = values.reshape(shape), g.reshape(shape)
        dims: tuple[int, ...] = (2,)
    else:
        grouped, dims = values, _statistics_dims(module, values.dim())
    stored = _stored_variance(module)
    if stored is not None:
        direct = g * _over_features(stored.to(wide) + module.eps, values.dim()).rsqrt()
        mean = deviation = torch.zeros_like(direct)
    else:
        centered = grouped - grouped.mean(dims, keepdim=True)
        inverse = reciprocal_root(centered.square().mean(dims, keepdim=True) + module.eps)
        z, direct = centered * inverse, g * inverse
        mean = -direct.mean(dims, keepdim=True).expand_as(direct)
        deviation = -z * (direct * z).mean(dims, keepdim=True)
        detached = getattr(module, "detach", None)
        mean = torch.zeros_like(mean) if detached in ("mean", "both") else mean
        deviation = torch.zeros_like(deviation) if detached in ("std", "both") else deviation
    shape = call.input.shape
    return StatisticsGradient(call.name, direct.reshape(shape), mean.reshape(shape), deviation.reshape(shape))


def _gain(module: Any, dims: int) -> Tensor | float:
    weight = getattr(module, "weight", None)
    if weight is None:
        return 1.0
    return weight if isinstance(module, nn.LayerNorm) else _over_features(weight, dims)


def _over_features(values: Tensor, dims: int) -> Tensor:
    return values.view(-1, *(1,) * (dims - 2))  # for an input (N, C, *positions)


def _statistics_dims(module: Any, dims: int) -> tuple[int, ...]:
    if isinstance(module, _BatchNorm):
        return tuple(d for d in range(dims) if d != 1)
    if isinstance(module, _InstanceNorm):
        return tuple(range(2, dims))
    return tuple(range(-len(module.normalized_shape), 0)) if isinstance(module, nn.LayerNorm) else module.dim


def _stored_variance(module: Any) -> Tensor | None:
    # The running average, where it replaces the variance of the input: no gradient flows through it.
    if isinstance(module, _BatchNorm | _InstanceNorm) and not module.training:
        return module.running_var
    return None


#: What takes pre-activations as its input.
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Softplus, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
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
        whose means differ make ``std`` larger, but not this.
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

    Pre-activations are what the activation functions receive, after a normalization if there is one.

    Parameters
    ----------
    network
        As for every instrument of this module.
    inputs
        One batch, or several with the examples in front.
    layers
        Names of modules whose *output* is reported instead, for networks that call their activations as
        functions or have them inside a layer.
    percents
        Which percentiles to give. They are exact, which takes all the pre-activations into memory, as
        float64.

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
    with _private_copy(network) as probe, torch.no_grad():
        _record_preactivations(probe, layers, seen)
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


def _record_preactivations(
    probe: nn.Module, names: Sequence[str] | None, seen: dict[str, list[Tensor]]
) -> None:
    def keep(name: str, module: nn.Module, inputs: tuple[Tensor, ...], *output: Tensor) -> None:
        value = output[0] if output else inputs[0]
        seen.setdefault(name, []).append(value.detach().to(torch.float64, copy=True))

    for name, module in probe.named_modules():
        if names is None and isinstance(module, ACTIVATIONS):
            module.register_forward_pre_hook(partial(keep, name))
        elif names is not None and name in names:
            module.register_forward_hook(partial(keep, name))


def _width(name: str, values: np.ndarray, percents: Sequence[float]) -> Width:
    cuts = np.percentile(values, percents)
    return Width(
        name,
        float(values.mean()),
        float(values.std()),
        float(np.sqrt(values.var(axis=0).mean())),
        dict(zip(percents, cuts.tolist(), strict=True)),
    )


@contextmanager
def _private_copy(network: nn.Module) -> Iterator[nn.Module]:
    # Random numbers start the same each time, so that a second copy of a network with dropout drops the same
    # units, and are the caller's again afterwards.
    devices = {p.device.index for p in network.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(d for d in devices if d is not None)):
        yield copy.deepcopy(network)


def _trainable(network: nn.Module) -> dict[str, Tensor]:
    found = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    if not found:
        raise ValueError(
            "the network has no parameter with requires_grad=True, so it has no gradient to measure"
        )
    return found


def _loss_and_gradients(
    network: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    values: Mapping[str, Tensor] | None = None,
) -> tuple[float, dict[str, Tensor]]:
    names = list(_trainable(network))
    with _private_copy(network) as probe, torch.enable_grad():
        with torch.no_grad():
            for name, value in (values or {}).items():
                probe.get_parameter(name).copy_(value)
        outcome = _check_loss(loss(probe(inputs), targets))
        gradients = torch.autograd.grad(
            outcome, [probe.get_parameter(name) for name in names], materialize_grads=True
        )
    return outcome.item(), dict(zip(names, gradients, strict=True))


def _check_loss(outcome: Tensor) -> Tensor:
    if outcome.dim():
        raise ValueError(
            f"the loss must be one number, got a tensor of shape {tuple(outcome.shape)}; take its mean, "
            "for example F.cross_entropy(outputs, targets)"
        )
    return outcome


def _check_rate(name: str, rate: float) -> float:
    if isinstance(rate, bool) or not isinstance(rate, Real) or not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"{name} must be a positive number, got {rate!r}")
    return float(rate)
