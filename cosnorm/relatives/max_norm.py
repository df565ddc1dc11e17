"""Max norm: no weight vector may be longer than a fixed radius (Srebro and Shraibman 2005)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from cosnorm.relatives.rules import WeightRule, check_strength

__all__ = ["MaxNorm"]


class MaxNorm(WeightRule):
    r"""After each update, projects every incoming weight vector onto the ball of a fixed radius.

    .. math:: w \leftarrow w \cdot \min\left(1, \frac{r}{\lVert w \rVert}\right)

    for each row of a linear layer and each filter of a convolution, the output layer included, as in
    Section 5.1 of Luo et al. 2017 (radius 2); the constraint is that of Srivastava et al. 2014. The
    bias is not part of the vector.

    A vector outside is brought to the radius less a few roundings, so that it counts as inside
    afterwards: doing it twice does nothing more, and vectors inside keep every bit.

    Parameters
    ----------
    network
        The network whose weight vectors are bounded.
    radius
        :math:`r`, above 0.

    Raises
    ------
    ValueError
        If ``radius`` is not a finite number above 0, or the network has no such layer.

    Examples
    --------
    >>> network = nn.Linear(2, 2, bias=False)
    >>> _ = network.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.6, 0.8]]))
    >>> MaxNorm(network, radius=2.0).step()
    >>> network.weight.data
    tensor([[1.2000, 1.6000],
            [0.6000, 0.8000]])
    """

    RADIUS: ClassVar[float] = 2.0

    def __init__(self, network: nn.Module, radius: float = RADIUS) -> None:
        super().__init__(network)
        self.radius = check_strength("MaxNorm", "radius", radius, zero=False)

    @torch.no_grad()
    def step(self) -> None:
        """Project the weights in place."""
        for weight in self.weights():
            project(weight, self.radius)


def project(weight: Tensor, radius: float) -> None:
    """Shorten each ``weight[j]`` that is longer than ``radius``, in place."""
    rows = weight.flatten(1)
    lengths = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    # Largest errors: one rounding of the factor and one of each product, and those of the length itself.
    margin = torch.finfo(weight.dtype).eps + rows.shape[1] * torch.finfo(torch.float64).eps
    factors = torch.where(lengths > radius, radius * (1 - margin) / lengths, 1.0)
    # In the type of the weights: of another, the product would take a copy of them all. A pass over all rows,
    # of which those inside keep every bit, costs less than a few rows by their indices.
    weight.mul_(factors.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1)))
