"""Online normalization: statistics and gradient from a stream of single examples (Chiley et al. 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from cosnorm._kernels.checks import check_floating
from cosnorm._kernels.vectors import accumulation_dtype, reciprocal_root
from cosnorm.relatives._shared import FloatStatistics, check_features, check_number, check_size

__all__ = ["ActivationClamp", "LayerScaling", "OnlineNorm"]


def states(decay: Tensor, addition: Tensor, start: Tensor) -> Tensor:
    """All ``s[t] = decay[t] * s[t-1] + addition[t]``: ``(N,)`` and ``(N, C)`` give ``(N + 1, C)``."""
    # A parallel scan would multiply decays with each other, which overflows where the recurrence does not.
    values = [start]
    for factor, term in zip(decay.unbind(), addition.unbind(), strict=True):
        values.append(torch.addcmul(term, factor, values[-1]))
    return torch.stack(values)


def constant(decay: float, like: Tensor) -> Tensor:
    return like.new_full((len(like), 1), decay)


class OnlineNormFunction(Function):
    # Over rows ``(N, C, P)``; the buffers are updated as a side effect.

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        mean: Tensor,
        var: Tensor,
        error_y: Tensor,
        error_1: Tensor,
        alphas: tuple[float, float],
        eps: float,
    ) -> Tensor:
        forward, ctx.alpha = alphas
        ctx.errors = error_y, error_1  # not saved as tensors: they may have moved on when backward runs
        decay = constant(forward, rows[..., 0])
        center = rows.mean(-1)
        means = states(decay, (1 - forward) * center, mean.to(rows.dtype))
        distance = center - means[:-1]
        spread = (rows - center[..., None]).square().mean(-1) + forward * distance.square()
        variances = states(decay, (1 - forward) * spread, var.to(rows.dtype))
        mean.copy_(means[-1])
        var.copy_(variances[-1])
        inverse = reciprocal_root(variances[:-1] + eps)
        ctx.save_for_backward(rows, means[:-1], inverse)
        return normalize(rows, means[:-1], inverse)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        rows, mean, inverse = ctx.saved_tensors
        (gradient,), (error_y, error_1) = grads, ctx.errors
        gain = 1 - ctx.alpha
        output = normalize(rows, mean, inverse)
        # e_t = e_{t-1} + mean((g_t - gain * e_{t-1} * y_t) * y_t), sorted by powers of e_{t-1}
        along = states(
            1 - gain * output.square().mean(-1), (gradient * output).mean(-1), error_y.to(rows.dtype)
        )
        tilted = (gradient - gain * along[:-1, :, None] * output) * inverse[..., None]
        # e_t = e_{t-1} + mean(x~_t - gain * e_{t-1})
        level = states(constant(ctx.alpha, inverse), tilted.mean(-1), error_1.to(rows.dtype))
        error_y.copy_(along[-1])
        error_1.copy_(level[-1])
        return (tilted - gain * level[:-1, :, None], *(None,) * 6)


def normalize(rows: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    return (rows - mean[..., None]) * inverse[..., None]


class OnlineNorm(FloatStatistics):
    r"""Online normalization (Chiley et al. 2019, arXiv:1905.05894), the normalization itself.

    Examples come one at a time. Each is normalized with the estimates from the examples before it, and then
    updates them: with the mean :math:`\mu(x_t)` and variance :math:`\sigma^2(x_t)` over the positions of
    example :math:`t` (in a dense layer :math:`x_t` and 0),

    .. math::
        y_t &= (x_t - \mu_{t-1}) / \sqrt{\sigma^2_{t-1} + \epsilon} \\
        \mu_t &= \alpha_f\, \mu_{t-1} + (1 - \alpha_f)\, \mu(x_t) \\
        \sigma^2_t &= \alpha_f\, \sigma^2_{t-1} + (1 - \alpha_f)\, \sigma^2(x_t)
            + \alpha_f (1 - \alpha_f) (\mu(x_t) - \mu_{t-1})^2

    The backward pass is not the derivative of this, in which the estimates are constants, but a control
    that drives the gradient's accumulated products with :math:`y` and with 1 towards zero, as they are in
    batch norm. With the upstream gradient :math:`y'_t` and a bar for the mean over positions,

    .. math::
        \tilde x'_t &= y'_t - (1 - \alpha_b)\, e^{(y)}_{t-1}\, y_t,
            & \qquad e^{(y)}_t &= e^{(y)}_{t-1} + \overline{\tilde x'_t y_t} \\
        x'_t &= \tilde x'_t / \sigma_{t-1} - (1 - \alpha_b)\, e^{(1)}_{t-1},
            & \qquad e^{(1)}_t &= e^{(1)}_{t-1} + \overline{x'_t}

    A minibatch is a stream in the order of its rows, in the backward pass too: two minibatches of 50 give
    what one of 100 gives. For the gradients this holds if both backward passes run in order, the upstream
    gradients are the same (a loss averaged over the minibatch halves those of the larger one) and so are the
    weights. The backward pass cannot be differentiated again.

    What the paper leaves open follows the authors' code: :math:`\mu_0 = 0`, :math:`\sigma_0 = 1`,
    both :math:`e_0 = 0`, and :math:`\epsilon` under the root (the paper has none). Evaluation uses the
    current estimates and the ordinary gradient, and updates nothing. Scale and shift, ``weight`` and
    ``bias``, come last. In the paper a scaling of each example follows (:class:`LayerScaling`), in the
    authors' code by default a clamp (:class:`ActivationClamp`).

    Parameters
    ----------
    num_features
        Number of units or channels, the second dimension of the input.
    alpha_forward, alpha_backward
        :math:`\alpha_f` and :math:`\alpha_b`, from 0 to 1. With 1 the estimates, or the control, never
        change; with :math:`\alpha_f = 0` each example is normalized with the statistics of the one before it.
    eps
        :math:`\epsilon`, 0 or more.
    affine
        Learn a scale from 1 and a shift from 0 for every feature.

    Shape
    -----
    Input ``(N, num_features, *positions)``; output the same. The buffers ``mean``, ``var``, ``error_y`` and
    ``error_1``, for :math:`\mu`, :math:`\sigma^2`, :math:`e^{(y)}` and :math:`e^{(1)}`, have shape
    ``(num_features,)``. They are float32 also in a half-precision layer.

    Examples
    --------
    >>> layer = OnlineNorm(2, alpha_forward=0.5)
    >>> layer(torch.tensor([[2.0, 4.0]])).detach()  # with the mean 0 and the variance 1 of the start
    tensor([[2.0000, 4.0000]])
    >>> layer.mean, layer.var
    (tensor([1., 2.]), tensor([1.5000, 4.5000]))
    >>> OnlineNorm(8)(torch.randn(1, 8, 5, 5)).shape
    torch.Size([1, 8, 5, 5])
    """

    mean: Tensor
    var: Tensor
    error_y: Tensor
    error_1: Tensor
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        alpha_forward: float = 0.999,
        alpha_backward: float = 0.99,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = check_size("OnlineNorm", "num_features", num_features)
        self.alpha_forward = check_number("OnlineNorm", "alpha_forward", alpha_forward, 0.0, 1.0)
        self.alpha_backward = check_number("OnlineNorm", "alpha_backward", alpha_backward, 0.0, 1.0)
        self.eps = check_number("OnlineNorm", "eps", eps, 0.0)
        kind = dtype or torch.get_default_dtype()
        for name in ("weight", "bias"):
            empty = nn.Parameter(torch.empty(num_features, device=device, dtype=kind)) if affine else None
            self.register_parameter(name, empty)
        for name in ("mean", "var", "error_y", "error_1"):
            self.register_buffer(
                name, torch.empty(num_features, device=device, dtype=accumulation_dtype(kind))
            )
        self.reset_parameters()

    def reset_shared(self) -> None:
        """Forget the stream: mean 0, variance 1, no accumulated error."""
        for state in (self.mean, self.error_y, self.error_1):
            state.zero_()
        self.var.fill_(1.0)

    def reset_parameters(self) -> None:
        """Forget the stream; scale 1 and shift 0."""
        self.reset_shared()
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, num_features, *positions)`` to the same shape; in training, move the estimates."""
        check_features("OnlineNorm", input, self.num_features)
        values = input.to(accumulation_dtype(input.dtype))
        rows = values.unsqueeze(-1) if input.dim() == 2 else values.flatten(2)
        if self.training and rows.numel():
            buffers = (self.mean, self.var, self.error_y, self.error_1)
            alphas = (self.alpha_forward, self.alpha_backward)
            output: Any = OnlineNormFunction.apply(rows, *buffers, alphas, self.eps)
        else:
            inverse = reciprocal_root(self.var.to(rows.dtype) + self.eps)
            output = normalize(rows, self.mean.to(rows.dtype), inverse)
        if self.weight is not None and self.bias is not None:
            output = output * self.weight.to(rows.dtype)[:, None] + self.bias.to(rows.dtype)[:, None]
        return output.view(input.shape).to(input.dtype)

    def extra_repr(self) -> str:
        """Size and options, as shown by ``print``."""
        return (
            f"{self.num_features}, alpha_forward={self.alpha_forward:g}, "
            f"alpha_backward={self.alpha_backward:g}, eps={self.eps:g}, affine={self.weight is not None}"
        )


class LayerScaling(nn.Module):
    r"""Divide each example by its root mean square (Chiley et al. 2019).

    .. math:: z = \frac{y}{\sqrt{\frac1n \sum_i y_i^2 + \epsilon}}

    over all dimensions but the first, for an input ``(N, *)`` with at least two. It keeps errors of online
    normalization's estimates from growing through the layers. The same map with a learned gain was later
    named RMSNorm. An example of zeros stays zero. ``eps`` is :math:`\epsilon`, 0 or more.

    Examples
    --------
    >>> LayerScaling()(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.8485, 1.1314],
            [0.0000, 0.0000]])
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = check_number("LayerScaling", "eps", eps, 0.0)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, *)`` to the same shape."""
        check_floating("LayerScaling", "the input", input)
        if input.dim() < 2:
            raise ValueError(
                f"LayerScaling: the input must have shape (N, ...), got {tuple(input.shape)}; "
                "add the batch with input[None]"
            )
        values = input.to(accumulation_dtype(input.dtype))
        square = values.square().mean(tuple(range(1, input.dim())), keepdim=True)
        return (values * reciprocal_root(square + self.eps)).to(input.dtype)

    def extra_repr(self) -> str:
        """Options, as shown by ``print``."""
        return f"eps={self.eps:g}"


class ActivationClamp(nn.Module):
    r"""Clamp every component: :math:`z = \min(\max(y, -c), c)` (the authors' code of Chiley et al. 2019).

    It takes the place of :class:`LayerScaling`, for inputs of any shape. A normalized component that is
    normally distributed leaves :math:`[-5, 5]` less than once in a million times, so while the estimates are
    right the clamp does nothing. Components beyond ``limit``, which is :math:`c`, get no gradient; one at
    the limit gets all of it.

    Examples
    --------
    >>> ActivationClamp()(torch.tensor([-7.0, 0.5, 5.5]))
    tensor([-5.0000,  0.5000,  5.0000])
    """

    def __init__(self, limit: float = 5.0) -> None:
        super().__init__()
        self.limit = check_number("ActivationClamp", "limit", limit, 0.0)
        if self.limit == 0:
            raise ValueError("ActivationClamp: limit must be more than 0: with 0 nothing passes")

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to the same."""
        check_floating("ActivationClamp", "the input", input)
        # The gradient of torch.clamp at its limits is 1 up to torch 2.13 and 0 from 2.14 on.
        clamped = input.detach().clamp(-self.limit, self.limit)
        return torch.where(input.abs() <= self.limit, input, clamped)

    def extra_repr(self) -> str:
        """Options, as shown by ``print``."""
        return f"limit={self.limit:g}"
