"""Layer norm without gain and shift, its gradient whole or with fixed statistics (Xu et al. 2019)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from cosnorm.relatives._statistics import check_floating, check_number, standardize

__all__ = ["LayerNormSimple"]

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

    Raises
    ------
    TypeError
        If the input is not a floating-point tensor.
    ValueError
        If an option is none of the above, or the input lacks one of the dimensions.

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
