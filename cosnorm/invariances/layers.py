"""A hidden layer of any technique at a random point, and its output in any setting."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from cosnorm.invariances.transformations import Setting
from cosnorm.relatives import Standardize, UpdateRule, set_population_statistics
from cosnorm.techniques import TECHNIQUES, Slot

#: Features, units (which group norm divides into two), examples of a batch and of the data set.
FEATURES, UNITS, BATCH, DATASET = 10, 6, 7, 40
#: In place of the number under a root: torch's batch norm refuses 0, and this is lost in float64's rounding.
NOTHING = 1e-30
#: Height and width of an image, and of the window.
SIZE, KERNEL = 6, 3


@dataclass(frozen=True)
class Point:
    """A layer of one technique, with a setting to start from.

    Attributes
    ----------
    technique
        A key of :data:`cosnorm.techniques.TECHNIQUES`.
    layer
        Its modules in float64, no statistics taken yet.
    start
        The setting before any transformation.
    """

    technique: str
    layer: nn.Sequential
    start: Setting

    def prepared(self, setting: Setting) -> nn.Sequential:
        """A copy of the layer in a setting, ready for its batch.

        Statistics are taken from the setting's data set with the weights of the *start*: what the layer
        keeps between batches was computed before anyone changed the weights.
        """
        layer = copy.deepcopy(self.layer)
        _take_statistics(layer, setting.dataset)
        with torch.no_grad():
            weight_of(layer).copy_(setting.weight)
        _rule(self.technique, layer).step()
        return layer.train(setting.training)

    @torch.no_grad()
    def output(self, setting: Setting) -> Tensor:
        """The layer's output for the setting's batch, ``(B, units, *positions)``."""
        return self.prepared(setting)(setting.batch)


def random_point(
    technique: str, seed: int = 0, *, convolution: bool = False, as_used: bool = False, training: bool = True
) -> Point:
    """A hidden layer with random weights, a random batch and a random data set, in float64.

    Shifts and biases are 0, as at the start of training: a shift behind the normalization cannot break an
    invariance, but would hide that an output takes up a factor. Gains are random.

    Parameters
    ----------
    technique
        A key of :data:`cosnorm.techniques.TECHNIQUES`.
    seed
        Of all that is random; torch's global generator is left alone.
    convolution
        A 3 x 3 convolution in place of a dense layer; a "feature" then is a channel.
    as_used
        Keep what the book's networks add to the equations: the numbers under roots (1e-5), the constant
        that cosines append (1e-4), the zeros around an image. Without it the layer is the equation.
    training
        The mode to start in.

    Raises
    ------
    ValueError
        If the technique is unknown, or needs a convolution and is not given one.

    Examples
    --------
    >>> point = random_point("cosine")
    >>> bool(point.output(point.start).abs().max() <= 1)
    True
    """
    if technique not in TECHNIQUES:
        raise ValueError(f"unknown technique {technique!r}; choose from {', '.join(TECHNIQUES)}")
    if TECHNIQUES[technique].needs_positions and not convolution:
        raise ValueError(f"{technique!r} takes its statistics over positions; ask for convolution=True")
    draw = torch.Generator().manual_seed(seed)
    positions = (SIZE, SIZE) if convolution else ()
    with torch.random.fork_rng(devices=[]):  # torch's layers draw first weights of their own
        layer = _build(technique, (FEATURES, *positions), KERNEL if convolution else None)
    if not as_used:
        _remove_guards(layer)
    _draw_parameters(layer, draw)
    dataset, batch = (
        0.5 + torch.randn(count, FEATURES, *positions, generator=draw, dtype=torch.float64)
        for count in (DATASET, BATCH)
    )
    return Point(technique, layer, Setting(weight_of(layer).detach().clone(), dataset, batch, training))


def weight_of(layer: nn.Module) -> nn.Parameter:
    """The one parameter of a layer that holds a vector for every unit."""
    return next(parameter for parameter in layer.parameters() if parameter.dim() > 1)


def _build(technique: str, shape: tuple[int, ...], kernel_size: int | None) -> nn.Sequential:
    recipe = TECHNIQUES[technique]
    layers = recipe.build(Slot(FEATURES, UNITS, kernel_size))
    # The technique begins with data of mean 0 and variance 1, so that is part of it.
    first = [Standardize(shape)] if recipe.standardized else []
    return nn.Sequential(*first, *layers).to(torch.float64)


def _remove_guards(layer: nn.Module) -> None:
    for module in layer.modules():
        for name, least in (("eps", NOTHING), ("constant", 0.0)):
            if hasattr(module, name):
                setattr(module, name, least)
        if isinstance(module, nn.modules.conv._ConvNd):
            module.padding = (0,) * len(module.kernel_size)


@torch.no_grad()
def _draw_parameters(layer: nn.Module, draw: Generator) -> None:
    for name, parameter in layer.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(generator=draw)
        elif name.endswith("bias"):
            parameter.zero_()
        else:
            parameter.uniform_(0.5, 1.5, generator=draw)


@torch.no_grad()
def _take_statistics(layer: nn.Module, dataset: Tensor) -> None:
    """Exact statistics where the technique has such; a pass in training for those that follow a stream."""
    for module in layer.modules():
        if isinstance(module, Standardize):
            module.fit(dataset)
    layer.train()(dataset)
    set_population_statistics(layer, [dataset])


def _rule(technique: str, layer: nn.Module) -> UpdateRule:
    # Scaling moves lengths on to the next layer, and leaves the function of both as it was.
    return UpdateRule(layer) if technique == "scaling" else TECHNIQUES[technique].rule(layer)
