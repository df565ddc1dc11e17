"""Relatives of batch norm: its mean alone, its scale and shift alone, and statistics of a whole data set."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cosnorm._kernels.vectors import accumulation_dtype
from cosnorm.relatives._shared import FloatStatistics, check_features, check_number, check_size


class _MeanOnlyBatchNorm(FloatStatistics):
    _dims: ClassVar[tuple[int, ...]]  # that the input may have
    running_mean: Tensor
    bias: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        momentum: float = 0.1,
        shift: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = check_size(name, "num_features", num_features)
        self.momentum = check_number(name, "momentum", momentum, 0.0, 1.0)
        kind = dtype or torch.get_default_dtype()
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=kind)) if shift else None
        self.register_buffer(
            "running_mean", torch.zeros(num_features, device=device, dtype=accumulation_dtype(kind))
        )

    def reset_parameters(self) -> None:
        """Set the shift and the running mean to 0."""
        self.running_mean.zero_()
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, num_features, *positions)`` to the same shape."""
        check_features(type(self).__name__, input, self.num_features, self._dims)
        values = input.to(accumulation_dtype(input.dtype))
        mean = self.running_mean.to(values.dtype)
        if self.training and values.numel():
            mean = values.mean([d for d in range(values.dim()) if d != 1])
            # Not lerp_, for which vmap has no rule.
            kept = self.running_mean
            kept.add_(mean.detach().to(kept.dtype) - kept, alpha=self.momentum)
        shift = -mean if self.bias is None else self.bias.to(values.dtype) - mean
        return (values + shift.view(-1, *(1,) * (values.dim() - 2))).to(input.dtype)

    def extra_repr(self) -> str:
        """Size and options, as shown by ``print``."""
        return f"{self.num_features}, momentum={self.momentum:g}, shift={self.bias is not None}"


class MeanOnlyBatchNorm2d(_MeanOnlyBatchNorm):
    r"""Mean-only batch norm over images (Salimans & Kingma 2016, their Section 2.3).

    .. math:: y = x - \mu_B + \beta

    where :math:`\mu_B` is a channel's mean over the minibatch and its positions, and :math:`\beta` is
    learned. Nothing is divided, so it follows a layer whose outputs have a scale already: weight norm
    in its source, a cosine layer where Luo et al. (2017) suggest a shift. In evaluation the running average
    replaces :math:`\mu_B`. The gradient is the upstream gradient minus its mean over the minibatch. In a
    dense layer a minibatch of one example equals its mean, so the output is :math:`\beta` for every input
    and nothing below the layer learns. An empty minibatch does not change the running mean.

    Parameters
    ----------
    num_features
        Number of channels (or units, in one dimension).
    momentum
        Weight of a minibatch in the running mean, from 0 to 1, as in torch.
    shift
        Learn :math:`\beta`, the parameter ``bias``, which starts at 0.

    Shape
    -----
    Input ``(N, C, H, W)``; output the same. The running mean is float32 also in a half-precision layer.

    Examples
    --------
    >>> layer = MeanOnlyBatchNorm2d(8)
    >>> output = layer(torch.randn(16, 8, 5, 5) + 3)
    >>> bool(output.mean((0, 2, 3)).abs().max() < 1e-5)
    True
    """

    _dims = (4,)


class MeanOnlyBatchNorm1d(_MeanOnlyBatchNorm):
    """Mean-only batch norm over units ``(N, C)`` or signals ``(N, C, L)``.

    Everything else is as in :class:`MeanOnlyBatchNorm2d`.

    Examples
    --------
    >>> layer = MeanOnlyBatchNorm1d(2, momentum=0.5)
    >>> layer(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    tensor([[-1., -2.],
            [ 1.,  2.]], grad_fn=<AddBackward0>)
    >>> layer.running_mean
    tensor([1., 2.])
    """

    _dims = (2, 3)


class MeanOnlyBatchNorm3d(_MeanOnlyBatchNorm):
    """As :class:`MeanOnlyBatchNorm2d`, over volumes ``(N, C, D, H, W)``."""

    _dims = (5,)


class ScaleShift(nn.Module):
    r"""A learned scale and shift for every feature (Ioffe & Szegedy 2015, the last step of Algorithm 1).

    .. math:: z = \gamma \odot y + \beta

    Luo et al. (2017, Section 2) say that cosine normalization needs neither before a ReLU; after a cosine
    layer this module tests that. The cosine of two random vectors of :math:`d` components has a standard
    deviation of about :math:`1 / \sqrt d`, so a scale that starts at :math:`\sqrt d` gives the next layer
    inputs of about the size that batch normalization would give it.

    Input and output have shape ``(N, num_features, *positions)``. The parameters of shape ``(num_features,)``
    are ``weight``, which is :math:`\gamma` and starts at ``scale``, and ``bias``, which is :math:`\beta` and
    starts at 0.

    Examples
    --------
    >>> layer = ScaleShift(2)
    >>> layer(torch.tensor([[1.0, -1.0]])).detach()
    tensor([[ 1., -1.]])
    """

    def __init__(
        self,
        num_features: int,
        scale: float = 1.0,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = check_size("ScaleShift", "num_features", num_features)
        self.scale = check_number("ScaleShift", "scale", scale, -math.inf)
        self.weight = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to its first value and the shift to 0."""
        nn.init.constant_(self.weight, self.scale)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, num_features, *positions)`` to the same shape."""
        check_features("ScaleShift", input, self.num_features)
        values = input.to(accumulation_dtype(input.dtype))
        shape = (-1, *(1,) * (input.dim() - 2))
        scale, shift = (entry.to(values.dtype).view(shape) for entry in (self.weight, self.bias))
        return torch.addcmul(shift, values, scale).to(input.dtype)

    def extra_repr(self) -> str:
        """Size and first scale, as shown by ``print``."""
        return str(self.num_features) + (f", scale={self.scale:g}" if self.scale != 1 else "")


@torch.no_grad()
def set_population_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    r"""Give every batch norm of a network the exact statistics of a data set for use in evaluation.

    .. math:: \mu = \frac1n \sum_i a_i, \qquad \sigma^2 = \frac1n \sum_i (a_i - \mu)^2

    over the inputs :math:`a_i` that the layer receives from all the examples (and positions) of
    ``batches``. They replace the running averages of torch's batch norms and of the mean-only ones; the
    learned scale and shift, momentum and mode are left as they are. Luo et al. (2017, Section 2) describe
    batch norm's test-time statistics as those of the whole training set.

    A layer's inputs depend on the statistics of the layers before it. So the layers are set one after the
    other in the order of the computation, each by one pass over ``batches`` in evaluation mode, and the
    result does not depend on how the examples are divided into batches (up to rounding; sums are float64).
    ``torch.optim.swa_utils.update_bn`` instead averages the statistics that each batch had while the layers
    below used that batch's. The variance is divided by :math:`n` because the data set is the population;
    torch's running averages estimate it from a sample and divide by :math:`n - 1`.

    Parameters
    ----------
    network
        Any module that takes one tensor.
    batches
        Inputs of the network: tensors with the examples in front.

    Raises
    ------
    ValueError
        If there is no example, or a layer runs twice per pass and its input depends on its own statistics.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    >>> data = torch.randn(100, 3)
    >>> set_population_statistics(network, data.split(30))
    >>> normalized = network[:2].eval()(data)
    >>> bool(normalized.mean(0).abs().max() < 1e-5)
    True
    """
    batches = list(batches)
    for batch in batches:
        if not isinstance(batch, Tensor):
            raise TypeError(
                "set_population_statistics: each batch must be a tensor of inputs, got "
                f"{type(batch).__name__}; of (inputs, targets) pairs take the first, as in "
                "(inputs for inputs, _ in loader)"
            )
    batches = [batch for batch in batches if len(batch)]
    if not batches:
        raise ValueError("set_population_statistics: batches holds no example; pass the training inputs")
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        for layer in _layers_with_averages(network, batches[0]):
            _set_statistics(layer, network, batches)
    finally:
        for module, mode in modes:
            module.training = mode


def _layers_with_averages(network: nn.Module, batch: Tensor) -> list[Any]:
    found: list[nn.Module] = []

    def note(module: nn.Module, _: Any) -> None:
        if module in found:
            raise ValueError(
                f"set_population_statistics: {module} runs twice in one pass, so its input depends on its "
                "own statistics; give each place a layer of its own"
            )
        found.append(module)

    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, _BatchNorm | _MeanOnlyBatchNorm) and module.running_mean is not None:
                hooks.enter_context(module.register_forward_pre_hook(note))
        network(batch)
    return found


def _set_statistics(layer: Any, network: nn.Module, batches: list[Tensor]) -> None:
    moments = _Moments()
    with layer.register_forward_pre_hook(lambda _, inputs: moments.add(inputs[0])):
        for batch in batches:
            network(batch)
    layer.running_mean.copy_(moments.mean)
    if isinstance(layer, _BatchNorm) and layer.running_var is not None:
        layer.running_var.copy_(moments.squares / moments.count)


class _Moments:
    """Mean and sum of squared deviations of what was seen, merged batch by batch without cancellation."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.squares = torch.zeros(())

    def add(self, values: Tensor) -> None:
        rows = values.double().transpose(0, 1).flatten(1)
        mean, size = rows.mean(1), rows.shape[1]
        squares = (rows - mean[:, None]).square().sum(1)
        if self.count == 0:
            self.count, self.mean, self.squares = size, mean, squares
            return
        total = self.count + size
        distance = mean - self.mean
        self.squares = self.squares + squares + distance.square() * (self.count * size / total)
        self.mean = self.mean + distance * (size / total)
        self.count = total
