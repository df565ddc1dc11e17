"""The layers of a network in the order in which it runs them, with the parameters that belong to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cosnorm.instruments._probe import private_copy


@dataclass
class Layer:
    """One layer: the names of its weights, and of all parameters up to the next layer's.

    ``weights`` have two dimensions or more. What a normalization behind the layer learns is in
    ``parameters``, with the layer's own weights and biases.
    """

    name: str
    weights: list[str]
    parameters: list[str] = field(default_factory=list)


def find_layers(network: nn.Module, inputs: Tensor, names: Sequence[str] | None = None) -> list[Layer]:
    """The layers in the order of their first call; parameters that learn nothing are left out.

    Without ``names``, every module that owns a learning parameter of two dimensions or more is a layer.
    With ``names``, those modules are, and what runs between two of them belongs to the first of the two;
    what runs before all of them belongs to a layer without a name and without weights.

    Raises
    ------
    ValueError
        If nothing that runs has such weights, or a name is not one of a module that has.
    """
    layers = [Layer("", [])]
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
            layers.append(Layer(name, weights))
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
    """Names of the modules that own parameters, in the order of their first call."""
    order: dict[str, None] = {}
    with private_copy(network) as probe, torch.no_grad():
        for name, module in probe.named_modules():
            if next(module.parameters(recurse=False), None) is not None:
                module.register_forward_pre_hook(lambda *_, name=name: order.setdefault(name))
        probe(inputs)
    return list(order)
