"""The network of TensorFlow's CIFAR-10 tutorial of 2016, from which the paper's CIFAR-10 experiment starts.

Every number is that of ``tutorials/image/cifar10/cifar10.py`` in github.com/tensorflow/models (functions
``inference``, ``loss`` and ``train``, read at commit 05a434d67506f31dc8a83399ae3291b4aef75c34). The images
and their distortions are in ``cosnorm.training.images``, the moving average is
:attr:`cosnorm.training.Replica.average`. The tutorial divides its learning rate, 0.1, by ten every 350
epochs, which it counts as ``int(50_000 / 128 * 350)`` steps (:data:`FIRST_DECAY`). Its 100,000 steps end
before that, so the learning rate is constant here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.relatives import WeightDecay
from cosnorm.techniques import Recipe

__all__ = ["FIRST_DECAY", "TUTORIAL", "HiddenDecay", "ResponseNorm", "tutorial_network"]

#: Standard deviations, before truncation, of the weights of convolutions and of dense hidden layers.
CONV_STD = 0.05
DENSE_STD = 0.04
#: Bias of every hidden layer but the first at the start; the first layer and the output start from 0.
BIAS = 0.1
#: Strength of the weight decay of the dense hidden layers.
DECAY = 0.004
#: Steps after which the learning rate would fall for the first time.
FIRST_DECAY = int(50_000 / 128 * 350)


class ResponseNorm(nn.Module):
    r"""Local response normalization (Krizhevsky, Sutskever and Hinton 2012) as in ``tf.nn.lrn``.

    .. math:: y_c = x_c \Big/ \Big(k + \alpha \sum_{|j - c| \le r} x_j^2\Big)^{\beta}

    at each position, over neighboring channels; the sum ends where the channels end.
    :class:`torch.nn.LocalResponseNorm` computes the same with a mean in place of the sum, and takes four
    times as long on a processor.

    Parameters
    ----------
    channels
        Number of channels.
    radius, bias, alpha, beta
        :math:`r`, :math:`k`, :math:`\alpha`, :math:`\beta`; the defaults are the tutorial's.

    Shape
    -----
    Input ``(N, channels, H, W)``; output the same.

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
    """The tutorial's network; other sizes than its own are for trying the code.

    The first convolution is followed by ReLU, pooling and local response normalization, later ones by
    ReLU, local response normalization and pooling. Pooling takes the maximum of 3x3 positions with stride 2
    and pads as TensorFlow's "SAME" does. Dense hidden layers have ReLUs, and the output layer is linear.
    Weights are normal with mean 0, without values beyond two standard deviations; the standard deviation is
    0.05 in the convolutions, 0.04 in dense hidden layers, and one over the number of its inputs in the output
    layer. Biases start at 0.1, but those of the first convolution and of the output layer at 0.

    Parameters
    ----------
    in_channels, size, num_classes, channels, hidden, kernel_size, seed
        As for :func:`cosnorm.networks.convnet`.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(B, in_channels, size, size)`` to logits ``(B, num_classes)``.

    Examples
    --------
    >>> tutorial_network(seed=0)(torch.zeros(2, 3, 24, 24)).shape
    torch.Size([2, 10])
    """
    if not channels or not hidden:
        raise ValueError("the tutorial's network has at least one convolution and one dense hidden layer")
    layers: list[nn.Module] = []
    # torch's layers first draw weights of their own, which must not disturb the caller's random numbers.
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        for inputs, units in itertools.pairwise((in_channels, *channels)):
            first, norm, pool = not layers, ResponseNorm(units), _pool(size)
            layers += [nn.Conv2d(inputs, units, kernel_size, padding=kernel_size // 2), nn.ReLU()]
            layers += [pool, norm] if first else [norm, pool]
            size = (size + 1) // 2
        layers.append(nn.Flatten())
        widths = (channels[-1] * size**2, *hidden)
        for inputs, units in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, units), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))
        _initialize(network, None if seed is None else torch.Generator().manual_seed(seed))
    return network


def _pool(size: int) -> nn.Module:
    """Maximum of 3x3 with stride 2, "SAME": of an even size one position is missing, at the end."""
    return nn.MaxPool2d(3, stride=2, padding=1) if size % 2 else nn.MaxPool2d(3, stride=2, ceil_mode=True)


@torch.no_grad()
def _initialize(network: nn.Sequential, generator: torch.Generator | None) -> None:
    first, *hidden, last = (layer for layer in network if isinstance(layer, nn.Conv2d | nn.Linear))
    for layer in (first, *hidden, last):
        std = CONV_STD if isinstance(layer, nn.Conv2d) else DENSE_STD
        if layer is last:
            std = 1 / last.weight.shape[1]
        nn.init.trunc_normal_(layer.weight, 0.0, std, -2 * std, 2 * std, generator=generator)
        assert layer.bias is not None
        layer.bias.fill_(BIAS if layer in hidden else 0.0)


#: What a record says of the network, and what the engine must know of it. Its layers are built as a whole.
TUTORIAL = Recipe(
    "TensorFlow's tutorial",
    lambda _: [],
    "bias from 0 in the first convolution, from 0.1 in the others",
    rule=partial(HiddenDecay, strength=DECAY),
    settings={"radius": 4, "bias": 1.0, "alpha": 0.001 / 9.0, "beta": 0.75, "weight_decay": DECAY},
    color="#8C510A",
    marker="$T$",
    network=tutorial_network,
    weights="normal without values beyond two standard deviations, mean 0; standard deviation 0.05 in "
    "convolutions, 0.04 in dense hidden layers, one over the number of inputs in the output layer",
)
