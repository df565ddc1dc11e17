"""Replace the linear and convolutional layers of an existing model by cosine layers.

Weights stay the tensors they were, so that ties, optimizers made before and checkpoints keep working. Only
learned biases are lost, and the table that a dry run prints says so for every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from cosnorm.layers import CosineConv1d, CosineConv2d, CosineConv3d, CosineLinear, Scale

__all__ = ["Change", "Changes", "convert", "planned_changes"]

#: What a layer may be turned into, and whether its vectors are centered.
TECHNIQUES = {"cosine": False, "centered": True}
_COSINE: dict[type[nn.Module], Any] = {
    nn.Linear: CosineLinear,
    nn.Conv1d: CosineConv1d,
    nn.Conv2d: CosineConv2d,
    nn.Conv3d: CosineConv3d,
}
_COSINES = tuple(_COSINE.values())
_SIZES = {
    nn.Linear: ("in_features", "out_features"),
    _ConvNd: (
        *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
        "padding_mode",
    ),
}
#: Says of a layer, by its name in the model, whether it is to be changed.
Filter = Callable[[str, nn.Module], bool]


@dataclass(frozen=True)
class Change:
    """One layer of a model and what becomes of it."""

    name: str  #: As in ``named_modules``; a layer used under several names has them all.
    before: str  #: The layer as it prints.
    after: str | None  #: The class that replaces it, ``None`` if it stays.
    note: str  #: What is lost, or why it stays.


class Changes(tuple[Change, ...]):
    """All layers that were considered; prints as a table."""

    __slots__ = ()

    @property
    def made(self) -> int:
        """How many layers are changed."""
        return sum(change.after is not None for change in self)

    def __str__(self) -> str:
        """One line per layer, and how many change."""
        rows = [(c.name or "(the model)", c.before, c.after or "stays", c.note) for c in self]
        widths = [max((len(row[k]) for row in rows), default=0) for k in range(3)]
        lines = ["  ".join([*map(str.ljust, row, widths), row[3]]).rstrip() for row in rows]
        return "\n".join([*lines, f"{self.made} of {len(self)} layers change"])


def convert(
    model: nn.Module,
    technique: str = "cosine",
    *,
    only: str | Sequence[str] | Filter | None = None,
    skip: str | Sequence[str] | Filter | None = None,
    output: bool = False,
    constant: float = 0.0,
    scale: Scale = None,
    dry_run: bool = False,
) -> nn.Module:
    r"""Swap the linear and convolutional layers of a model for cosine layers, in place.

    Each ``nn.Linear`` and ``nn.Conv1d/2d/3d`` becomes the cosine layer of its size (Luo et al. 2017,
    Equation 3; ``"centered"``: Equation 17). The weight is the same :class:`~torch.nn.Parameter` as before:
    two layers that share one still do, and so does an embedding tied to it. A layer used in several places
    is swapped once. A learned bias is dropped, for a cosine layer has none.

    The model's output layer, the last of these layers by order of definition, is left alone as in the
    paper, unless ``output`` is true or ``only`` is given: a softmax over cosines, which lie within [-1, 1],
    cannot be sure of anything.

    These stay, and the table says why: subclasses with a forward pass of their own, the layers inside
    ``nn.MultiheadAttention`` (it uses their weights without calling them), transposed convolutions, lazy and
    parametrized layers, and layers with hooks. ``nn.TransformerEncoderLayer`` computes its two linear layers
    in one fused call in evaluation, which would go past the cosines; that shortcut is switched off
    where one of them is swapped.

    Parameters
    ----------
    model
        Any torch model; changed in place.
    technique
        ``"cosine"`` or ``"centered"``.
    only, skip
        Which layers to change and which not: names or patterns such as ``"layer4.*"`` (as for
        :mod:`fnmatch`), or a function of name and layer. ``skip`` wins.
    output
        Change the output layer as well; it then needs a ``scale``.
    constant, scale
        As for :class:`~cosnorm.layers.CosineLinear`.
    dry_run
        Print what would change, and change nothing.

    Returns
    -------
    torch.nn.Module
        The model, or the new layer if the model is a single one.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10))
    >>> _ = convert(model, "cosine", dry_run=True)
    0  Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))    CosineConv2d  its bias is dropped
    3  Linear(in_features=8, out_features=10, bias=True)  stays         output layer
    1 of 2 layers change
    >>> convert(model, "cosine", constant=1e-4)[0]
    CosineConv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), centered=False, constant=0.0001)
    """
    planned = planned_changes(model, technique, only=only, skip=skip, output=output)
    # A layer refuses what layers refuse, before the model is touched.
    CosineLinear(1, 1, constant=constant, scale=scale, device="meta")
    if dry_run:
        print(planned)
        return model
    options = {"centered": TECHNIQUES[technique], "constant": constant, "scale": scale}
    swapped = {
        id(layer): _cosine_layer(layer, options)
        for layer, change in zip(_layers(model), planned, strict=True)
        if change.after
    }
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if id(child) in swapped:
                parent._modules[key] = swapped[id(child)]
    _avoid_fused_evaluation(model)
    return swapped.get(id(model), model)


def planned_changes(
    model: nn.Module,
    technique: str = "cosine",
    *,
    only: str | Sequence[str] | Filter | None = None,
    skip: str | Sequence[str] | Filter | None = None,
    output: bool = False,
) -> Changes:
    """What :func:`convert` would do, as data.

    Examples
    --------
    >>> planned = planned_changes(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> planned.made, planned[1].note
    (1, 'output layer')
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"convert: model must be a torch.nn.Module, got {type(model).__name__}")
    if technique not in TECHNIQUES:
        raise ValueError(f"convert: there is no technique {technique!r}; choose {' or '.join(TECHNIQUES)}")
    layers = _layers(model)
    chosen, left = _selection(model, layers, "only", only), _selection(model, layers, "skip", skip)
    inside = _inside_attention(model)
    obstacles = {layer: _obstacle(layer, inside) for layer in layers}
    last = next((layer for layer in reversed(layers) if obstacles[layer] is None), None)
    if last is not None and last is not model and only is None and not output:
        obstacles[last] = "output layer"
    for layer in layers:
        if layer in left:
            obstacles[layer] = "in skip"
        elif only is not None and layer not in chosen:
            obstacles[layer] = "not in only"
    return Changes(_change(layer, names, obstacles[layer]) for layer, names in layers.items())


def _layers(model: nn.Module) -> dict[nn.Module, list[str]]:
    # In the order of their definition, each with all its names.
    found: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Linear | _ConvNd):
            found.setdefault(module, []).append(name)
    return found


def _selection(
    model: nn.Module,
    layers: Mapping[nn.Module, Sequence[str]],
    what: str,
    given: str | Sequence[str] | Filter | None,
) -> set[nn.Module]:
    if given is None:
        return set()
    if callable(given):
        return {layer for layer, names in layers.items() if any(given(name, layer) for name in names)}
    found: set[nn.Module] = set()
    for pattern in [given] if isinstance(given, str) else given:
        matching = {
            layer for layer, names in layers.items() if any(fnmatchcase(name, pattern) for name in names)
        }
        if not matching:
            there = ", ".join(name for names in layers.values() for name in names) or "none"
            raise ValueError(
                f"convert: {what}={pattern!r} matches no linear or convolutional layer of the "
                f"{type(model).__name__}; there are: {there}"
            )
        found |= matching
    return found


def _inside_attention(model: nn.Module) -> set[nn.Module]:
    attentions = (module for module in model.modules() if isinstance(module, nn.MultiheadAttention))
    return {child for attention in attentions for child in attention.children()}


def _obstacle(layer: nn.Module, inside_attention: set[nn.Module]) -> str | None:
    if isinstance(layer, _COSINES):
        return "is a cosine layer"
    if isinstance(layer, _ConvTransposeNd):
        return "transposed convolutions have no cosine form here"
    if isinstance(layer, LazyModuleMixin):
        return "lazy: run the model once, then convert"
    if parametrize.is_parametrized(layer):
        return "parametrized: remove the parametrization, then convert"
    if layer in inside_attention:
        return "nn.MultiheadAttention uses its weight without calling it"
    if type(layer) not in _COSINE:
        return "a subclass may compute something else"
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return "has hooks: remove them, then convert" if any(hooks) else None


def _change(layer: nn.Module, names: Sequence[str], obstacle: str | None) -> Change:
    if obstacle is not None:
        return Change(", ".join(names), repr(layer), None, obstacle)
    note = "" if layer.bias is None else "its bias is dropped"
    return Change(", ".join(names), repr(layer), _COSINE[type(layer)].__name__, note)


def _cosine_layer(layer: nn.Module, options: Mapping[str, Any]) -> nn.Module:
    weight = layer.get_parameter("weight")
    names = next(names for kind, names in _SIZES.items() if isinstance(layer, kind))
    shape = {name: getattr(layer, name) for name in names}
    # On the meta device nothing is drawn: neither time nor the global generator's numbers are spent.
    made = _COSINE[type(layer)](**shape, **options, device="meta", dtype=weight.dtype)
    if isinstance(made.scale, nn.Parameter):
        made.scale = nn.Parameter(torch.empty_like(made.scale, device=weight.device))
    made.weight = weight
    made._reset_scale()
    return made.train(layer.training)


def _avoid_fused_evaluation(model: nn.Module) -> None:
    # torch's transformer layers would read weights and biases directly, past the layers that hold them.
    for module in model.modules():
        if not any(isinstance(part, _COSINES) for part in module.modules()):
            continue
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # only says whether the fused call knows the activation
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
