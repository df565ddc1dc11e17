"""The gradient through a normalization's statistics: what the mean and the deviation take from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from cosnorm._kernels.vectors import reciprocal_root
from cosnorm.instruments._probe import Loss, checked_loss, private_copy
from cosnorm.relatives import LayerNormSimple

__all__ = ["StatisticsGradient", "statistics_gradient"]


@dataclass(frozen=True)
class StatisticsGradient:
    r"""The gradient of the loss with respect to a normalization's input, by the ways it takes.

    All are tensors of the input's shape; their sum is the whole gradient.

    Attributes
    ----------
    layer
        Name of the module.
    direct
        With mean and deviation held constant.
    mean
        Through the mean.
    deviation
        Through the deviation.
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
        r"""The share of the direct gradient's squared length that the statistics remove.

        0 if nothing flows through them. The two parts are projections (with :math:`\epsilon = 0`), so it
        is never more than 1; 0 also where the direct gradient is zero.
        """
        direct = self.direct.double().square().sum().item()
        return 1 - self.total.double().square().sum().item() / direct if direct else 0.0


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
    network
        Any module of one input; it is left as it is. It runs in the mode it is in.
    loss
        ``loss(outputs, targets)``, one number.
    inputs, targets
        The batch.
    layers
        Names of the normalizations to report; without it, all that are covered.

    Returns
    -------
    list of StatisticsGradient
        One for every call, in their order.

    Raises
    ------
    ValueError
        If a name is not that of a normalization that is covered, there is none, the loss is not one
        number, or it does not depend on the normalization's output.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    >>> x, y = torch.randn(20, 3), torch.randint(2, (20,))
    >>> (seen,) = statistics_gradient(network, nn.functional.cross_entropy, x, y)
    >>> bool(seen.total.mean(0).abs().max() < 1e-6), 0 < seen.removed < 1
    (True, True)
    """
    with private_copy(network) as probe, torch.enable_grad():
        calls = _listen(probe, layers)
        start = inputs.detach().requires_grad_(inputs.is_floating_point())
        outcome = checked_loss(loss(probe(start), targets))
        outputs = [call.output for call in calls]
        if not outputs or not outcome.requires_grad:
            raise ValueError(
                "no normalization of the network runs before the loss; there is nothing to split"
            )
        upstream = torch.autograd.grad(outcome, outputs, materialize_grads=True)
    with torch.no_grad():
        return [_split(call, gradient) for call, gradient in zip(calls, upstream, strict=True)]


class _Call(NamedTuple):
    name: str
    module: nn.Module
    input: Tensor
    output: Tensor


def _listen(probe: nn.Module, names: Sequence[str] | None) -> list[_Call]:
    """Note input and output of every normalization when it runs."""
    known = {name: module for name, module in probe.named_modules() if isinstance(module, _COVERED)}
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


_COVERED = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, _InstanceNorm, LayerNormSimple)


def _split(call: _Call, upstream: Tensor) -> StatisticsGradient:
    """The closed form of the docstring, on the input viewed with one normalized set of numbers a row."""
    module: Any = call.module
    wide = torch.promote_types(call.input.dtype, torch.float32)
    values, g = call.input.to(wide), upstream.to(wide) * _scale(module, call.input.dim())
    if isinstance(module, nn.GroupNorm):
        shape = (len(values), module.num_groups, -1)
        grouped, g = values.reshape(shape), g.reshape(shape)
        dims: tuple[int, ...] = (2,)
    else:
        grouped, dims = values, _dims(module, values.dim())
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


def _scale(module: Any, dims: int) -> Tensor | float:
    """The factor of the normalized values, shaped to multiply the output."""
    weight = getattr(module, "weight", None)
    if weight is None:
        return 1.0
    return weight if isinstance(module, nn.LayerNorm) else _over_features(weight, dims)


def _over_features(values: Tensor, dims: int) -> Tensor:
    """One number a feature or channel, shaped for an input ``(N, C, *positions)``."""
    return values.view(-1, *(1,) * (dims - 2))


def _dims(module: Any, dims: int) -> tuple[int, ...]:
    """The dimensions that the statistics are taken over."""
    if isinstance(module, _BatchNorm):
        return tuple(d for d in range(dims) if d != 1)
    if isinstance(module, _InstanceNorm):
        return tuple(range(2, dims))
    return tuple(range(-len(module.normalized_shape), 0)) if isinstance(module, nn.LayerNorm) else module.dim


def _stored_variance(module: Any) -> Tensor | None:
    """The running average that stands for the input's own variance, if one does: no gradient reaches it."""
    if isinstance(module, _BatchNorm | _InstanceNorm) and not module.training:
        return module.running_var
    return None
