"""Layer norm without gain and shift, with its statistics detached, and AdaNorm (all Xu et al. 2019)."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from cosnorm.relatives._shared import check_floating, check_number, standardize

__all__ = ["AdaNorm", "LayerNormSimple"]

Detach = Literal["mean", "std", "both"] | None


def normalized_dims(name: str, dim: int | tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions as a tuple of distinct negative numbers, so that a batch may stand in front."""
    dims = dim if isinstance(dim, tuple) else (dim,)
    whole = all(isinstance(d, int) and not isinstance(d, bool) and d < 0 for d in dims)
    if not dims or not whole or len(set(dims)) < len(dims):
        raise ValueError(
            f"{name}: dim must be a negative integer or a tuple of distinct ones, such as -1 or "
            f"(-3, -2, -1), got {dim!r}; counted from the end, they are the same with and without a batch"
        )
    return dims


def check_dims(name: str, input: Tensor, dims: tuple[int, ...]) -> None:
    """Refuse an input without the dimensions to be normalized."""
    check_floating(name, input)
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
    deviation, or both count as constants in the gradient; with both it is the paper's DetachNorm. For an
    upstream gradient :math:`g`, a bar for the mean over the components,

    .. math:: \sigma\, \frac{\partial L}{\partial x} = g - [\bar g] - \{\, y\, \overline{g y} \,\}

    with :math:`\sigma` for the root. Detaching the mean drops the square bracket, detaching the deviation
    the braces. The mean inside the deviation makes no difference: the deviation is stationary in it.

    The paper divides by :math:`\sigma` itself. Here :math:`\epsilon` stands under the root, as in torch's
    layer norm, to which the output is equal; with ``eps=0`` the paper's equation is exact.

    Parameters
    ----------
    dim
        What to normalize over, counted from the end: -1 for the units of a layer, ``(-3, -2, -1)`` for all
        channels and positions of an image.
    eps
        :math:`\epsilon`, 0 or more. A constant vector gives zeros for any of them.
    detach
        ``None``, ``"mean"``, ``"std"`` or ``"both"``.

    Shape
    -----
    Any shape that has the dimensions ``dim``; the output has the same. Half precision is computed in
    float32.

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
        output = standardize(
            input,
            self.dim,
            self.eps,
            detach_mean=self.detach in ("mean", "both"),
            detach_std=self.detach in ("std", "both"),
        )
        return output.to(input.dtype)

    def extra_repr(self) -> str:
        """Options, as shown by ``print``."""
        return f"dim={self.dim}, eps={self.eps:g}, detach={self.detach}"


class AdaNorm(nn.Module):
    r"""AdaNorm (Xu et al. 2019, arXiv:1911.07013, their Section 4).

    .. math:: z = C\, (1 - k y) \odot y, \qquad y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}

    with the mean and the variance over ``dim``. In the gradient the factor :math:`C(1 - ky)` counts as a
    constant. With ``k=0`` and ``scale=1`` it is :class:`~cosnorm.relatives.LayerNormSimple`.

    The paper divides by :math:`\sigma`, the root of the mean square, and this is the default here up to
    :math:`\epsilon`, which stands under the root as in torch's layer norm (``eps=0`` for none). The
    authors' code calls torch's ``std``, which divides by :math:`n - 1`, and adds :math:`\epsilon` to
    the root instead: ``unbiased=True`` follows it in the first. For :math:`n` components the outputs
    :math:`y` then shrink by :math:`\sqrt{1 - 1/n}`.

    Parameters
    ----------
    dim
        What to normalize over, counted from the end: -1 for the units of a layer, ``(-3, -2, -1)`` for all
        channels and positions of an image.
    k
        1/10 in the paper, which needs :math:`|ky| < 1` for a factor of the same sign everywhere.
    scale
        :math:`C`; 1 in most of the paper's tasks, 2 in some.
    eps
        :math:`\epsilon`, 0 or more. A constant vector gives zeros for any of them.
    unbiased
        Divide the sum of squares by :math:`n - 1`, as the authors' code does.

    Shape
    -----
    Any shape that has the dimensions ``dim``; the output has the same. Half precision is computed in
    float32.

    Raises
    ------
    TypeError
        If the input is not a floating-point tensor.
    ValueError
        If an option is none of the above, the input lacks one of the dimensions, or ``unbiased`` is asked of
        a single component, which has no such variance.

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
