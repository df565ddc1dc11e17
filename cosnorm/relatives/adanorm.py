"""AdaNorm: layer norm whose gain and shift are replaced by a function of the output (Xu et al. 2019)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from cosnorm.relatives._statistics import check_number, standardize
from cosnorm.relatives.layer import check_dims, normalized_dims

__all__ = ["AdaNorm"]


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
