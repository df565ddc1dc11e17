"""Scaling-based weight normalization: unit-length weight vectors without a change of the function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from cosnorm._kernels.vectors import accumulation_dtype
from cosnorm.relatives.rules import LAYERS, UpdateRule

__all__ = ["ScalingWeightNorm"]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
#: Modules with f(k a) = k f(a) for every unit and every k > 0; all work on each unit by itself.
HOMOGENEOUS = (
    nn.Identity, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Flatten,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
)  # fmt: skip
#: A linear or convolutional layer; torch gives the kinds no common base that has a weight.
Layer: TypeAlias = Any


class _Link(NamedTuple):
    """A hidden layer, what takes up its scale, and the batch norm that cancels it before that."""

    layer: Layer
    following: Layer
    batch_norm: Any


class ScalingWeightNorm(UpdateRule):
    r"""After each update, gives every hidden unit an incoming vector of length 1, the function unchanged.

    With :math:`n_j = \lVert (w_j, b_j) \rVert`, the length of a hidden unit's incoming vector, its bias
    included,

    .. math:: w_j \leftarrow w_j / n_j, \quad b_j \leftarrow b_j / n_j, \quad u_j \leftarrow n_j u_j

    where :math:`u_j` are the unit's outgoing weights. Because :math:`\operatorname{ReLU}(ka) =
    k \operatorname{ReLU}(a)` for :math:`k > 0`, the network computes what it did before; only its next
    gradient differs. Layers are treated from first to last, so the output layer, which is not
    normalized, takes up all the scale that is left. A unit with a zero vector stays as it is.

    The method is that of Yuan and Xiao, IEEE Access 7 (2019), known to us from its abstract: node-wise
    rescaling that leaves the function the same, for any optimizer, and together with batch norm. What
    the abstract leaves open is our choice: the bias is included, and the rule acts after every update. A
    batch norm that follows the unit, before or after the ReLU, cancels the unit's scale, so the
    outgoing weights stay and the running statistics are divided instead; the function then changes only
    because the number that batch norm adds under its root becomes a different share of the variance.
    Momentum and other states of the optimizer are not rescaled.

    Parameters
    ----------
    network
        An ``nn.Sequential``, which may be nested, of linear and convolutional layers. Between two of them
        only ReLU, leaky ReLU, pooling, dropout, ``nn.Flatten`` and batch norm are allowed.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> x = torch.randn(5, 4)
    >>> before = network(x)
    >>> ScalingWeightNorm(network).step()
    >>> torch.allclose(network(x), before, atol=1e-6)
    True
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        if not isinstance(network, nn.Sequential):
            raise TypeError(
                "ScalingWeightNorm: the network must be an nn.Sequential, so that the layer after each "
                f"unit is known, got {type(network).__name__}"
            )
        self.links = _links(network)

    @torch.no_grad()
    def step(self) -> None:
        """Rescale the weights in place."""
        for link in self.links:
            _rescale(link)


def _flat(network: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    for place, module in enumerate(network):  # named_children would leave out a second use of a module
        if isinstance(module, nn.Sequential):
            for inner, found in _flat(module):
                yield f"{place}.{inner}", found
        else:
            yield str(place), module


def _links(network: nn.Sequential) -> list[_Link]:
    links: list[_Link] = []
    layer: Layer = None
    between: list[tuple[str, nn.Module]] = []
    for name, module in _flat(network):
        # Exact types: a subclass, such as a cosine layer, need not be linear in its input.
        if type(module) not in LAYERS:
            between.append((name, module))
            continue
        if layer is not None:
            links.append(_link(layer, between, name, module))
        layer, between = module, []
    if not links:
        raise ValueError("ScalingWeightNorm: the network has no plain layer followed by another")
    layers = [links[0].layer, *(link.following for link in links)]
    parameters = [id(parameter) for found in layers for parameter in found.parameters()]
    if len(set(parameters)) < len(parameters):
        raise ValueError("ScalingWeightNorm: two layers share weights; each must have its own")
    return links


def _link(layer: Layer, between: list[tuple[str, nn.Module]], name: str, following: Layer) -> _Link:
    for where, module in between:
        if not isinstance(module, (*HOMOGENEOUS, *BATCH_NORMS)):
            raise ValueError(
                f"ScalingWeightNorm: {type(module).__name__} (module {where!r}) does not pass on a factor "
                "of its input, so rescaling would change the function; use linear and convolutional "
                "layers with ReLU, pooling, dropout, Flatten or batch norm between them"
            )
    modules = [module for _, module in between]
    flattened = any(isinstance(module, nn.Flatten) for module in modules)
    if isinstance(following, nn.Linear) and not isinstance(layer, nn.Linear) and not flattened:
        raise ValueError(
            f"ScalingWeightNorm: there is no nn.Flatten between a convolution and the linear layer {name!r}"
        )
    # A second batch norm does not see the unit's scale: the first has removed it.
    norms = [module for module in modules if isinstance(module, BATCH_NORMS)]
    return _Link(layer, following, norms[0] if norms else None)


def _rescale(link: _Link) -> None:
    lengths = _incoming_lengths(link.layer)
    lengths = torch.where(lengths > 0, lengths, 1.0)
    _divide(link.layer.weight, lengths)
    _divide(link.layer.bias, lengths)
    if link.batch_norm is None:
        _multiply_outgoing(link.following, lengths)
    else:
        _divide(link.batch_norm.running_mean, lengths)
        _divide(link.batch_norm.running_var, lengths.square())


def _incoming_lengths(layer: Layer) -> Tensor:
    rows = layer.weight.flatten(1)
    if layer.bias is not None:
        rows = torch.cat([rows, layer.bias.unsqueeze(1)], 1)
    return torch.linalg.vector_norm(rows, dim=1, dtype=accumulation_dtype(rows.dtype))


def _divide(values: Tensor | None, factors: Tensor) -> None:
    """Divide in place what belongs to each unit: ``values[j]``, or all entries of its feature map."""
    if values is not None:
        values.div_(_per_feature(factors, len(values)).view(-1, *[1] * (values.dim() - 1)))


def _multiply_outgoing(following: Layer, factors: Tensor) -> None:
    weight, groups = following.weight, getattr(following, "groups", 1)
    factors = _per_feature(factors, weight.shape[1] * groups)
    by_group = weight.view(groups, len(weight) // groups, *weight.shape[1:])
    by_group.mul_(factors.view(groups, 1, weight.shape[1], *[1] * (weight.dim() - 2)))


def _per_feature(factors: Tensor, features: int) -> Tensor:
    """One factor per feature: all features of a flattened feature map have the factor of their unit."""
    return factors.repeat_interleave(features // len(factors))
