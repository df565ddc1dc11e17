"""The networks of the paper's experiments (§5), and TensorFlow's, from which one of them starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.relatives import Standardize, UpdateRule, WeightDecay, WeightNormConv2d, WeightNormLinear
from cosnorm.techniques import TECHNIQUES, Recipe, Slot

#: What the hidden layers may be normalized by; :mod:`cosnorm.techniques` says how each does it.
NORMS = tuple(TECHNIQUES)


def mlp(
    sizes: Sequence[int],
    norm: str = "cosine",
    *,
    constant: float = 1e-4,
    std: float = 0.1,
    hidden_bias: bool = True,
    output_bias: bool = True,
    seed: int | None = None,
) -> nn.Sequential:
    r"""A multi-layer perceptron with ReLU, its hidden pre-activations normalized by one technique.

    With :math:`\hat v = v / \lVert v \rVert`, a hidden unit with weights :math:`w` computes from its
    input :math:`x`, for example,

    - ``"none"``: :math:`f(w \cdot x + b)`, the ordinary network (Eq. 1), :math:`b` starting at 0;
    - ``"cosine"``: :math:`f(\hat w \cdot \hat x)` (Eq. 3 and 4), ``constant`` appended to both vectors;
    - ``"centered"``: the same after subtracting each vector's own mean (Eq. 17), and before appending;
    - ``"weight"``: :math:`f(\hat w \cdot x + b)` (Eq. 13 and 14), the gain fixed to 1;
    - ``"batch"``: :math:`f(\gamma\, (w \cdot x - \mu) / \sigma + \beta)` (Eq. 15 and 16), with the
      minibatch's :math:`\mu` and :math:`\sigma` in training and running averages in evaluation.

    The others are in the table below; each class named there has the equation. The output layer is
    linear with a bias, and is not normalized, as in the paper. Techniques marked "rule" also add to the
    loss or change the weights after every update: see :func:`update_rule`. ``"propagation"`` starts with a
    :class:`~cosnorm.relatives.Standardize`, to be fitted to the training inputs: see :func:`fit_inputs`.

    The rate is one at which the network 64-100-100-10 learns scikit-learn's digits in 10 epochs of
    minibatches of 50 (a test trains each): a place to start from, not a tuned one.

    ================== ====== ==============================================================
    norm               rate   layers (``cosnorm.relatives`` or ``torch.nn``)
    ================== ====== ==============================================================
    {techniques}
    ================== ====== ==============================================================

    Parameters
    ----------
    sizes
        Numbers of units from input to output, such as ``(784, 1000, 1000, 10)``.
    norm
        One of :data:`NORMS`, but not ``"instance"``, which needs a convolution.
    constant
        :math:`\kappa`, the paper's bias :math:`x_0 = w_0 = 10^{-4}`; used by the cosines only.
    std
        Standard deviation :math:`\sigma` of the normal distribution, mean 0, of all weights. The paper
        states "0.1 variance"; 0.1 as a standard deviation is the reading under which its baseline trains.
    hidden_bias
        Whether plain and weight-normalized hidden layers learn a bias. The paper does not say, and only
        these techniques have one to leave out: none, weight, weight_learned, weight_decay, max_norm, scaling.
    output_bias
        Whether the output layer learns a bias.
    seed
        Draw the weights from a generator of their own with this seed: the same matrices for every
        technique, whatever else uses random numbers. ``None`` draws from torch's global generator.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(B, sizes[0])`` to logits ``(B, sizes[-1])``, on the CPU in torch's default dtype.

    Examples
    --------
    >>> mlp((64, 30, 10), "cosine", seed=0)(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """
    sizes = _checked_sizes("sizes", sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes needs at least an input and an output, such as (784, 10), got {sizes!r}")
    recipe = _dense_recipe(norm)
    _check_bias(norm, recipe, hidden_bias)

    def build() -> nn.Sequential:
        layers: list[nn.Module] = [Standardize(sizes[0])] if recipe.standardized else []
        for place, (inputs, units) in enumerate(itertools.pairwise(sizes[:-1])):
            slot = Slot(inputs, units, constant=constant, first=place == 0, bias=hidden_bias)
            layers += _hidden(recipe, slot)
        return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1], bias=output_bias))

    return _draw(build, partial(_initialize, std), seed)


def convnet(
    norm: str = "cosine",
    *,
    in_channels: int = 3,
    size: int = 24,
    num_classes: int = 10,
    channels: Sequence[int] = (64, 64),
    hidden: Sequence[int] = (384, 192),
    kernel_size: int = 5,
    constant: float = 1e-4,
    std: float = 0.1,
    hidden_bias: bool = True,
    output_bias: bool = True,
    seed: int | None = None,
) -> nn.Sequential:
    r"""The convolutional network of the paper's CIFAR-10 experiment (§5.4), normalized by one technique.

    For each number of channels: a convolution with padding that keeps the size, the technique, ReLU and
    max pooling 3×3 with stride 2 (padding 1); then dense hidden layers, each with the technique and
    ReLU; then a linear output layer with a bias, not normalized. What each technique computes is in
    :func:`mlp`, with these differences: the layers are the two-dimensional ones; ``"layer"`` is
    ``GroupNorm(1, channels)``, one mean over all channels and positions with gain and shift by channel;
    ``"instance"`` is ``InstanceNorm2d(affine=True)`` in the convolutions, the dense layers staying plain.

    The rate is one at which ``channels=(8, 8)``, ``hidden=(32,)``, ``kernel_size=3``, ``std=0.3`` learns
    scikit-learn's digits in 10 epochs of minibatches of 50 (a test trains each): a place to start from,
    not a tuned one. ``"cosine_mean_only"`` stays near chance there at every rate we tried; its rate is for
    ``channels=(16, 16)``, ``hidden=(64,)``, ``std=0.1`` and 30 epochs.

    ================== ======
    norm               rate
    ================== ======
    {techniques}
    ================== ======

    Parameters
    ----------
    norm
        One of :data:`NORMS`.
    in_channels, size, num_classes
        Number of channels of the images, their height and width, and number of outputs.
    channels, hidden
        Numbers of channels of the convolutions and of units of the dense hidden layers.
    kernel_size
        Odd size of the convolutions' window.
    constant, std, hidden_bias, output_bias, seed
        As for :func:`mlp`.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(B, in_channels, size, size)`` to logits ``(B, num_classes)``.

    Examples
    --------
    >>> network = convnet("cosine", in_channels=1, size=8, channels=(8, 8), hidden=(32,), kernel_size=3)
    >>> network(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    channels, hidden = _checked_sizes("channels", channels), _checked_sizes("hidden", hidden)
    _checked_sizes(
        "in_channels, size, num_classes and kernel_size", (in_channels, size, num_classes, kernel_size)
    )
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, so that the size is kept, got {kernel_size}")
    recipe = _recipe(norm)
    _check_bias(norm, recipe, hidden_bias)

    def build() -> nn.Sequential:
        shape, extent = (in_channels, size, size), size
        layers: list[nn.Module] = [Standardize(shape)] if recipe.standardized else []
        for place, (inputs, units) in enumerate(itertools.pairwise((in_channels, *channels))):
            slot = Slot(inputs, units, kernel_size, constant, first=place == 0, bias=hidden_bias)
            layers += _hidden(recipe, slot)
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
            extent = (extent + 1) // 2
        layers.append(nn.Flatten())
        widths = ((channels or (in_channels,))[-1] * extent**2, *hidden)
        for place, (inputs, units) in enumerate(itertools.pairwise(widths)):
            first = place == 0 and not channels
            slot = Slot(inputs, units, constant=constant, first=first, bias=hidden_bias)
            layers += _hidden(recipe, slot)
        return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes, bias=output_bias))

    return _draw(build, partial(_initialize, std), seed)


def _list_techniques(network: Callable[..., nn.Sequential], rate: str, *texts: str) -> None:
    rows = [
        " ".join([f"{name:18} {getattr(recipe, rate):<6g}", *(getattr(recipe, text) for text in texts)])
        for name, recipe in TECHNIQUES.items()
        if getattr(recipe, rate) is not None
    ]
    table = "\n    ".join(row.rstrip() for row in rows)
    network.__doc__ = (network.__doc__ or "").replace("{techniques}", table)


_list_techniques(mlp, "rate", "layers")
_list_techniques(convnet, "conv_rate")


def hidden_layer(norm: str, inputs: int, units: int, *, constant: float = 1e-4) -> nn.Sequential:
    """One hidden layer of :func:`mlp` without its ReLU (``"propagation"`` alone includes it).

    Weights are as the layer's own constructor draws them.

    Examples
    --------
    >>> [type(module).__name__ for module in hidden_layer("batch", 4, 3)]
    ['Linear', 'BatchNorm1d']
    """
    inputs, units = _checked_sizes("inputs and units", (inputs, units))
    return nn.Sequential(*_dense_recipe(norm).build(Slot(inputs, units, constant=constant)))


def update_rule(norm: str, network: nn.Module) -> UpdateRule:
    """What a technique adds to the loss and does after every update of a network; mostly nothing.

    Examples
    --------
    >>> network = mlp((64, 30, 10), "max_norm")
    >>> rule = update_rule("max_norm", network)
    >>> rule.step()  # after every update of the weights
    >>> bool((network[0].weight.norm(dim=1) <= 2 + 1e-6).all())
    True
    """
    recipe = find_recipe(norm) or _recipe(norm)
    return recipe.rule(network)


def fit_inputs(network: nn.Module, inputs: Tensor) -> None:
    """Fit every :class:`~cosnorm.relatives.Standardize` of a network to the training inputs."""
    for module in network.modules():
        if isinstance(module, Standardize):
            module.fit(inputs)


def find_recipe(norm: str) -> Recipe | None:
    """The recipe of a technique, or of a network that is built as a whole; ``None`` for an unknown name."""
    return TECHNIQUES.get(norm) or WHOLE.get(norm)


def _recipe(norm: str) -> Recipe:
    if norm not in TECHNIQUES:
        raise ValueError(f"unknown normalization {norm!r}; choose one of {', '.join(NORMS)}")
    return TECHNIQUES[norm]


def _dense_recipe(norm: str) -> Recipe:
    recipe = _recipe(norm)
    if recipe.needs_positions:
        raise ValueError(
            f"{norm!r} takes its statistics over the positions of an image, and a dense layer has none; "
            "use convnet, or choose another technique"
        )
    return recipe


def _check_bias(norm: str, recipe: Recipe, hidden_bias: bool) -> None:
    if not hidden_bias and not recipe.biased:
        biased = [name for name, known in TECHNIQUES.items() if known.biased]
        raise ValueError(
            f"{norm!r} has no bias in its hidden layers that could be left out; leave hidden_bias at True, "
            f"or choose from {', '.join(biased)}"
        )


def _checked_sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name}: every size must be a positive integer, got {size!r} in {sizes!r}")
    return tuple(sizes)


def _hidden(recipe: Recipe, slot: Slot) -> list[nn.Module]:
    return recipe.build(slot) if recipe.activated else [*recipe.build(slot), nn.ReLU()]


def _draw(
    build: Callable[[], nn.Sequential],
    initialize: Callable[[nn.Sequential, torch.Generator | None], None],
    seed: int | None,
) -> nn.Sequential:
    # torch's layers draw first weights of their own, which must not disturb the caller's random numbers.
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        network = build()
        initialize(network, None if seed is None else torch.Generator().manual_seed(seed))
    return network


@torch.no_grad()
def _initialize(std: float, network: nn.Sequential, generator: torch.Generator | None) -> None:
    # Normalizations keep scale 1 and shift 0.
    if not (math.isfinite(std) and std >= 0):
        raise ValueError(f"std must be a finite number, 0 or more, got {std}")
    for layer in network:
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):  # the cosine layers are such as well
            layer.weight.normal_(0.0, std, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
            if isinstance(layer, WeightNormLinear | WeightNormConv2d):
                layer.reset_gain()


#: Strength of the weight decay of the tutorial's dense hidden layers.
_DECAY = 0.004
#: Steps after which the tutorial's learning rate would fall for the first time.
FIRST_DECAY = int(50_000 / 128 * 350)


class ResponseNorm(nn.Module):
    r"""Local response normalization (Krizhevsky, Sutskever and Hinton 2012) as in ``tf.nn.lrn``.

    .. math:: y_c = x_c \Big/ \Big(k + \alpha \sum_{|j - c| \le r} x_j^2\Big)^{\beta}

    at each position, over neighboring channels; the sum ends where the channels end.
    Input and output have shape ``(N, channels, H, W)``. The defaults of ``radius`` :math:`r`, ``bias``
    :math:`k`, ``alpha`` and ``beta`` are the tutorial's. :class:`torch.nn.LocalResponseNorm` computes the
    same with a mean in place of the sum, but takes four times as long on a CPU.

    Examples
    --------
    >>> ResponseNorm(3, radius=1, alpha=1.0, beta=1.0)(torch.ones(1, 3, 1, 1)).flatten()
    tensor([0.3333, 0.2500, 0.3333])
    """

    band: Tensor

    def __init__(
        self,
        channels: int,
        radius: int = 4,
        bias: float = 1.0,
        alpha: float = 0.001 / 9.0,
        beta: float = 0.75,
    ) -> None:
        super().__init__()
        self.radius, self.bias, self.alpha, self.beta = radius, bias, alpha, beta
        places = torch.arange(channels)
        near = (places[:, None] - places).abs() <= radius
        self.register_buffer("band", near.to(torch.get_default_dtype())[:, :, None, None], persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to the same shape."""
        sums = F.conv2d(input * input, self.band)
        return input * sums.mul(self.alpha).add(self.bias).pow(-self.beta)

    def extra_repr(self) -> str:
        """All numbers, as shown by ``print``."""
        return f"radius={self.radius}, bias={self.bias}, alpha={self.alpha:.4g}, beta={self.beta}"


class HiddenDecay(WeightDecay):
    """Weight decay of the dense hidden layers alone: neither of convolutions nor of the output layer."""

    def weights(self) -> Iterator[nn.Parameter]:
        """The weights of all dense layers but the last, in the order of the network."""
        dense = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        for layer in dense[:-1]:
            weight: Any = layer.weight
            yield weight


def tutorial_network(
    *,
    in_channels: int = 3,
    size: int = 24,
    num_classes: int = 10,
    channels: Sequence[int] = (64, 64),
    hidden: Sequence[int] = (384, 192),
    kernel_size: int = 5,
    seed: int | None = None,
) -> nn.Sequential:
    """The network of TensorFlow's CIFAR-10 tutorial of 2016, from which the paper's experiment starts.

    Every number is that of ``tutorials/image/cifar10/cifar10.py`` in github.com/tensorflow/models (functions
    ``inference``, ``loss`` and ``train``, read at commit 05a434d67506f31dc8a83399ae3291b4aef75c34); other
    sizes are for trying the code. The images and their distortions are in ``cosnorm.training.images``, the
    moving average is :attr:`cosnorm.training.Replica.average`. The tutorial divides its learning rate, 0.1,
    by ten every 350 epochs, which it counts as ``int(50_000 / 128 * 350)`` steps (:data:`FIRST_DECAY`). Its
    100,000 steps end before that, so the learning rate is constant here.

    The first convolution is followed by ReLU, pooling and local response normalization, later ones by
    ReLU, local response normalization and pooling. Pooling takes the maximum of 3x3 positions with stride 2
    and pads as TensorFlow's "SAME" does. Dense hidden layers have ReLUs, and the output layer is linear.
    Weights are normal with mean 0, without values beyond two standard deviations; the standard deviation is
    0.05 in the convolutions, 0.04 in dense hidden layers, and one over the number of its inputs in the output
    layer. Biases start at 0.1, but those of the first convolution and of the output layer at 0.

    Parameters and shapes are as for :func:`convnet`.

    Examples
    --------
    >>> tutorial_network(seed=0)(torch.zeros(2, 3, 24, 24)).shape
    torch.Size([2, 10])
    """
    if not channels or not hidden:
        raise ValueError("the tutorial's network has at least one convolution and one dense hidden layer")

    def build() -> nn.Sequential:
        layers: list[nn.Module] = []
        extent = size
        for inputs, units in itertools.pairwise((in_channels, *channels)):
            # "SAME": an even size lacks one position, at the end.
            pool = nn.MaxPool2d(3, 2, padding=1) if extent % 2 else nn.MaxPool2d(3, 2, ceil_mode=True)
            norm, first = ResponseNorm(units), not layers
            layers += [nn.Conv2d(inputs, units, kernel_size, padding=kernel_size // 2), nn.ReLU()]
            layers += [pool, norm] if first else [norm, pool]
            extent = (extent + 1) // 2
        layers.append(nn.Flatten())
        widths = (channels[-1] * extent**2, *hidden)
        for inputs, units in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, units), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    return _draw(build, _initialize_tutorial, seed)


@torch.no_grad()
def _initialize_tutorial(network: nn.Sequential, generator: torch.Generator | None) -> None:
    first, *hidden, last = (layer for layer in network if isinstance(layer, nn.Conv2d | nn.Linear))
    for layer in (first, *hidden, last):
        std = 0.05 if isinstance(layer, nn.Conv2d) else 0.04
        if layer is last:
            std = 1 / last.weight.shape[1]
        nn.init.trunc_normal_(layer.weight, 0.0, std, -2 * std, 2 * std, generator=generator)
        assert layer.bias is not None
        layer.bias.fill_(0.1 if layer in hidden else 0.0)


TUTORIAL = Recipe(
    "TensorFlow's tutorial",
    lambda _: [],
    "bias from 0 in the first convolution, from 0.1 in the others",
    rule=partial(HiddenDecay, strength=_DECAY),
    settings={"radius": 4, "bias": 1.0, "alpha": 0.001 / 9.0, "beta": 0.75, "weight_decay": _DECAY},
    color="#8C510A",
    marker="$T$",
    network=tutorial_network,
    weights="normal without values beyond two standard deviations, mean 0; standard deviation 0.05 in "
    "convolutions, 0.04 in dense hidden layers, one over the number of inputs in the output layer",
)
#: Networks that are built as a whole and that :func:`mlp` and :func:`convnet` do not know.
WHOLE = {"tutorial": TUTORIAL}
