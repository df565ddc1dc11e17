"""The weights of a first layer, one row a feature, changed only in the rows that a minibatch touches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cosnorm.training.sparse.batches import Moments, SparseBatch, weighted_sums

#: Rows converted to float64 at once when the moments are computed anew; bounds the memory, not the result.
CHUNK = 2048
#: A multiplier outside of this range is folded into the table, long before anything over- or underflows.
RANGE = (1e-6, 1e6)


class Table(nn.Module):
    r"""Weight vectors as the columns of :math:`S`, shape ``(features, units)``.

    A feature's weights lie side by side in memory: a document then needs few long rows instead of
    single numbers from everywhere, and so does its gradient.

    Parameters
    ----------
    weight
        Initial weights, ``(units, features)``; copied.
    """

    values: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", weight.detach().mT.clone(memory_format=torch.contiguous_format))

    def weight(self) -> Tensor:
        """A copy of the weights, ``(units, features)``."""
        return self.values.mT.clone(memory_format=torch.contiguous_format)

    def products(self, batch: SparseBatch) -> Tensor:
        """:math:`w_j \\cdot x_b`, ``(B, units)``."""
        return batch.times(self.values)

    def subtract(self, batch: SparseBatch, pull: Tensor) -> Tensor:
        r"""Take :math:`g_j = \sum_b p_{bj} x_b` from each column, for a ``pull`` :math:`p` ``(B, units)``.

        Returns
        -------
        Tensor
            The rows of :math:`g` that are not all 0 by necessity, ``(touched, units)``.
        """
        # Entries by feature: the gradient is a product with the transposed batch.
        columns, order = batch.columns.sort(stable=True)
        touched, counts = torch.unique_consecutive(columns, return_counts=True)
        offsets = nn.functional.pad(counts.cumsum(0), (1, 0))
        change = weighted_sums(pull, batch.rows[order], batch.values[order], offsets)
        self.values.index_add_(0, touched, change, alpha=-1)
        return change

    def resync(self) -> None:
        """Compute anew what follows the weights by algebra; here there is nothing."""


class TrackedTable(Table):
    r"""A table whose columns can be scaled and shifted at once, and whose lengths are known.

    The weight vectors are :math:`w_j = a_j S_{\cdot j} + m_j 1`. What changes all components of a vector
    changes :math:`a_j` and :math:`m_j` only, and the moments of :math:`w_j` follow every update by algebra
    (:meth:`move`), so that no step passes over all features. Sums over features are float64.

    Rounding of the table and of the moments drifts apart by about a rounding a step; :meth:`resync`
    ends that.
    """

    multiplier: Tensor
    shift: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        units = weight.new_zeros(len(weight), dtype=torch.float64).detach()
        self.register_buffer("multiplier", units + 1)
        self.register_buffer("shift", units.clone())
        self.register_buffer("mean", units.clone())
        self.register_buffer("spread", units.clone())
        self.resync()

    def weight(self) -> Tensor:
        """A copy of the weights, ``(units, features)``."""
        dtype = self.values.dtype
        scaled = self.values.mT * self.multiplier.to(dtype).unsqueeze(1)
        return scaled.add_(self.shift.to(dtype).unsqueeze(1)).contiguous()

    def moments(self) -> Moments:
        """Of each weight vector, as they are now."""
        return Moments(self.mean.clone(), self.spread.clone())

    def products(self, batch: SparseBatch) -> Tensor:
        """:math:`w_j \\cdot x_b`, ``(B, units)``."""
        dtype = self.values.dtype
        scaled = super().products(batch).mul_(self.multiplier.to(dtype))
        return scaled.addr_(batch.sums.to(dtype), self.shift.to(dtype))

    def scale(self, factor: Tensor) -> None:
        """Multiply each weight vector by its ``factor``, ``(units,)``, float64."""
        self.multiplier.mul_(factor)
        self.shift.mul_(factor)
        self.mean.mul_(factor)
        self.spread.mul_(factor.square())
        magnitude = self.multiplier.abs()
        if bool(((magnitude < RANGE[0]) | (magnitude > RANGE[1])).any()):
            self._fold()

    def move(self, batch: SparseBatch, pull: Tensor, products: Tensor) -> None:
        r"""Take :math:`g_j = \sum_b p_{bj} x_b` from each weight vector.

        With :math:`n` features, :math:`\mu` and :math:`v` the moments of :math:`w`, and
        :math:`t = \sum_i g_i = \sum_b p_b \sum_i x_{bi}`, the new moments are

        .. math:: \mu' = \mu - \frac tn, \qquad
            v' = v - 2 \Bigl(\sum_b p_b\, w \cdot x_b - \mu t\Bigr) + \lVert g \rVert^2 - \frac{t^2}{n}

        where :math:`\lVert g \rVert` takes the touched rows alone.

        Parameters
        ----------
        batch
            The examples :math:`x_b`.
        pull
            :math:`p`, ``(B, units)``.
        products
            :math:`w_j \cdot x_b` with the weights as they are now, ``(B, units)``.
        """
        along = (pull * products).sum(0, dtype=torch.float64)
        total = batch.sums @ pull.double()
        change = self.subtract(batch, pull / self.multiplier.to(pull.dtype))
        square = change.square_().sum(0).double() * self.multiplier.square()
        moved = square - total.square() / batch.width - 2 * (along - self.mean * total)
        self.spread.add_(moved).clamp_min_(0.0)
        self.mean.sub_(total / batch.width)

    def translate(self, shift: Tensor) -> None:
        """Add to all components of each weight vector its ``shift``, ``(units,)``, float64."""
        self.shift.add_(shift)
        self.mean.add_(shift)

    def resync(self) -> None:
        """Fold multiplier and shift into the table, and compute the moments from it."""
        self._fold()
        parts = self.values.split(CHUNK)
        self.mean.zero_()
        self.spread.zero_()
        for part in parts:
            self.mean.add_(part.double().sum(0) / len(self.values))
        for part in parts:
            self.spread.add_((part.double() - self.mean).square().sum(0))

    def _fold(self) -> None:
        dtype = self.values.dtype
        self.values.mul_(self.multiplier.to(dtype)).add_(self.shift.to(dtype))
        self.multiplier.fill_(1.0)
        self.shift.zero_()
