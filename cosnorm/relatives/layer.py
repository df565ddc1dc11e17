"""Layer norm without gain and shift, with its statistics detached, and AdaNorm (all Xu et al. 2019)."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from cosnorm._kernels.checks import check_floating
from cosnorm.relatives._shared import check_number, standardize

__all__ = ["AdaNorm", "LayerNormSimple"]

Detach = Literal["mean", "std", "both"] | None


def normalized_dims(name: str, dim: int | tuple[int, ...]) -> tuple[int, ...]:
    dims = dim if isinstance(dim, tuple) else (dim,)
    whole = all(isinstance(d, int) and not isinstance(d, bool) and d < 0 for d in dims)
    if not dims or not whole or len(set(dims)) < len(dims):
        raise ValueError(
            f"{name}: dim must be a negative integer or a tuple of distinct ones, such as -1 or "
            f"(-3, -2, -1), got {dim!r}; counted from the end, they are the same with and without a batch"
        )
    return dims


def check_dims(name: str, input: Tensor, dims: tuple[int, ...]) -> None:
    check_floating(name, "the input", input)
    if input.dim() < -min(dims):
        raise ValueError(
            f"{name}: the input {tuple(input.shape)} has {input.dim()} dimensions, and dim={dims} needs "
            f"{-min(dims)}"
        )


class LayerNormSimple(nn.Module):
    r"""Layer norm without gain and shift, "LayerNorm-simple" of Xu et al. (2019, arXiv:1911.07013).

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad
        \mu = \frac1n \sum_i x_i, \quad \sigma^2 = \frac1n \sum_i (x_i - \mu)^2

    over the :math:`n` components of ``dim``. With ``detach`` the output is the same, but the mean, the
    standard deviation, or both count as constants in the gradient; with both it is the paper's DetachNorm.
    For an upstream gradient :math:`g` and with a bar for the mean over the components,

    .. math:: \sigma\, \frac{\partial L}{\partial x} = g - [\bar g] - \{\, y\, \overline{g y} \,\}

    with :math:`\sigma` for the root. Detaching the mean drops the square bracket, detaching the standard
    deviation the braces. The mean inside the standard deviation makes no difference, because its derivative
    there is 0. The paper divides by :math:`\sigma` itself (``eps=0``); the default is torch's layer norm.

    Parameters
    ----------
    dim
        What to normalize over, counted from the end: -1 for the units of a layer, ``(-3, -2, -1)`` for all
        channels and positions of an image.
    eps
        :math:`\epsilon`, 0 or more. A constant vector gives zeros for each of them.
    detach
        ``None``, ``"mean"``, ``"std"`` or ``"both"``.

    Shape
    -----
    Any shape that has the dimensions ``dim``; the output has the same.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    >>> LayerNormSimple()(x)
    tensor([[-1.2247,  0.0000,  1.2247],
            [ 0.0000,  0.0000,  0.0000]])
    >>> bool(torch.equal(LayerNormSimple(detach="both")(x), LayerNormSimple()(x)))
    True
    """

    def __init__(self, dim: int | tuple[int, ...] = -1, eps: float = 1e-5, detach: Detach = None) -> None:
        super().__init__()
        if detach not in (None, "mean", "std", "both"):
            raise ValueError(f"LayerNormSimple: detach must be None, 'mean', 'std' or 'both', got {detach!r}")
        self.dim = normalized_dims("LayerNormSimple", dim)
        self.eps = check_number("LayerNormSimple", "eps", eps, 0.0)
        self.detach: Detach = detach

    def forward(self, input: Tensor) -> Tensor:
        """Map a tensor to one of the same shape and dtype."""
        check_dims("LayerNormSimple", input, self.dim)
        mean, std = self.detach in ("mean", "both"), self.detach in ("std", "both")
        output = standardize(input, self.dim, self.eps, detach_mean=mean, detach_std=std)
        return output.to(input.dtype)

    def extra_repr(self) -> str:
        """Options, as shown by ``print``."""
        return f"dim={self.dim}, eps={self.eps:g}, detach={self.detach}"


class AdaNorm(nn.Module):
    r"""AdaNorm (Xu et al. 2019, arXiv:1911.07013, their Section 4).

    .. math:: z = C\, (1 - k y) \odot y, \qquad y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}

    with the mean and the variance over ``dim``. In the gradient the factor :math:`C(1 - ky)` counts as a
    constant. With ``k=0`` and ``scale=1`` it is :class:`LayerNormSimple`, whose ``dim`` and ``eps`` it has.

    The paper divides by :math:`\sigma`, the root of the mean square, as ``eps=0`` does. The authors' code
    calls torch's ``std``, which divides by :math:`n - 1`, and adds :math:`\epsilon` to the root;
    ``unbiased=True`` follows only the former. The outputs :math:`y` of :math:`n` components then shrink by
    :math:`\sqrt{1 - 1/n}`.

    Parameters
    ----------
    k
        1/10 in the paper, which needs :math:`|ky| < 1` for a factor of the same sign everywhere.
    scale
        :math:`C`; 1 in most of the paper's tasks, 2 in some.
    unbiased
        Divide the sum of squares by :math:`n - 1`, which is an error for a single component.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    >>> AdaNorm()(x)
    tensor([[-1.3747,  0.0000,  1.0747],
            [ 0.0000,  0.0000,  0.0000]])
    """

    def __init__(
        self,
        dim: int | tuple[int, ...] = -1,
        k: float = 0.1,
        scale: float = 1.0,
        eps: float = 1e-5,
        unbiased: bool = False,
    ) -> None:
        super().__init__()
        self.dim = normalized_dims("AdaNorm", dim)
        self.k = check_number("AdaNorm", "k", k, -math.inf)
        self.scale = check_number("AdaNorm", "scale", scale, -math.inf)
        self.eps = check_number("AdaNorm", "eps", eps, 0.0)
        self.unbiased = bool(unbiased)

    def forward(self, input: Tensor) -> Tensor:
        """Map a tensor to one of the same shape and dtype."""
        check_dims("AdaNorm", input, self.dim)
        if self.unbiased and math.prod(input.shape[d] for d in self.dim) == 1:
            raise ValueError("AdaNorm: one component has no unbiased variance; use unbiased=False")
        output = standardize(input, self.dim, self.eps, unbiased=self.unbiased)
        factor = self.scale * (1 - self.k * output.detach())
        return (factor * output).to(input.dtype)

    def extra_repr(self) -> str:
        """Options, as shown by ``print``."""
        return (
            f"dim={self.dim}, k={self.k:g}, scale={self.scale:g}, eps={self.eps:g}, unbiased={self.unbiased}"
        )
