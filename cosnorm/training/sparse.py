"""Training a network's first layer on sparse rows, such as documents, without a dense copy of them.

:func:`sparse_layer` turns an ordinary first layer into one that reads a :class:`SparseBatch` and updates only
the weights of features that occur in it. Norms of weight vectors are updated by algebra, in float64.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.data.rows import SparseRows
from cosnorm.layers import CosineLinear
from cosnorm.relatives import MaxNorm, UpdateRule, WeightNormLinear
from cosnorm.relatives.rules import check_strength
from cosnorm.techniques import TECHNIQUES, Recipe

__all__ = ["SparseBatch", "SparseExamples", "SparseLayer", "sparse_layer", "sparse_techniques"]

#: Rows converted to float64 at once; bounds the memory and does not affect the result.
CHUNK = 2048
#: A multiplier outside of this range is folded into the table, long before anything over- or underflows.
RANGE = (1e-6, 1e6)


class Moments(NamedTuple):
    """Mean of each vector, and sum of the squared deviations from it, in float64.

    Every norm is a sum of squares of these two, so no digits are lost to a difference.
    """

    mean: Tensor
    spread: Tensor


@dataclass(frozen=True, eq=False)
class SparseBatch:
    """``B`` rows of a sparse matrix of ``width`` columns, compressed (CSR), on a device.

    Row ``i`` has ``values[offsets[i]:offsets[i + 1]]`` in the columns ``columns[offsets[i]:offsets[i + 1]]``.
    """

    columns: Tensor  #: (nnz,), int64
    values: Tensor  #: (nnz,), floating point
    offsets: Tensor  #: (B + 1,), int64
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def rows(self) -> Tensor:
        """``(nnz,)``, int64: the row of each entry."""
        numbers = torch.arange(len(self), device=self.offsets.device)
        return numbers.repeat_interleave(self.offsets.diff(), output_size=len(self.columns))

    @cached_property
    def sums(self) -> Tensor:
        """Sum of each row, ``(B,)``, float64."""
        return self._sum(self.values.double())

    @cached_property
    def moments(self) -> Moments:
        """Moments of each row, its zeros included."""
        mean = self.sums / self.width
        deviations = self._sum((self.values.double() - mean[self.rows]).square())
        zeros = self.width - self.offsets.diff()
        return Moments(mean, deviations + zeros * mean.square())

    def _sum(self, entries: Tensor) -> Tensor:
        # In a fixed order on every device, which adding by index is not on CUDA.
        places = torch.arange(len(entries), device=entries.device)
        return _weighted_sums(entries.unsqueeze(1), places, torch.ones_like(entries), self.offsets).squeeze(1)


def _weighted_sums(table: Tensor, columns: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Weighted sums of the table's rows, one for each slice of ``columns`` between two offsets."""
    if not len(columns):  # torch refuses an empty table
        return table.new_zeros(len(offsets) - 1, table.shape[1])
    return F.embedding_bag(
        columns, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class SparseExamples:
    """Sparse inputs and their classes, ``(N,)``, kept on a device.

    Examples
    --------
    >>> import numpy as np
    >>> rows = SparseRows(
    ...     np.array([0.5, 1.0], np.float32), np.array([2, 0], np.int32), np.array([0, 1, 1, 2]), 3
    ... )
    >>> batch = SparseExamples(rows, np.array([0, 1, 0]), "cpu").batch(torch.tensor([2, 1, 0]))
    >>> batch.columns, batch.offsets
    (tensor([0, 2]), tensor([0, 1, 1, 2]))
    """

    def __init__(self, rows: SparseRows, targets: np.ndarray, device: torch.device | str) -> None:
        if targets.shape != (len(rows),):
            raise ValueError(
                f"targets must hold one class for each of the {len(rows)} rows, got shape {targets.shape}"
            )
        # Copies, because a tensor must not share the memory of a read-only array.
        self.targets = torch.from_numpy(targets.astype(np.int64)).to(device)
        self.width = rows.width
        self._values = torch.from_numpy(np.array(rows.values)).to(device)
        self._columns = torch.from_numpy(np.array(rows.columns)).to(device)
        self._offsets = torch.from_numpy(rows.offsets.astype(np.int64)).to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> SparseBatch:
        """The rows at ``indices``, ``(B,)`` integer on the same device, in that order, repeats included.

        Values are in torch's default dtype.
        """
        begin = self._offsets[indices]
        counts = self._offsets[indices + 1] - begin
        offsets = F.pad(counts.cumsum(0), (1, 0))
        total = int(offsets[-1])
        shifts = (begin - offsets[:-1]).repeat_interleave(counts, output_size=total)
        entries = shifts + torch.arange(total, device=shifts.device)
        values = self._values[entries].to(torch.get_default_dtype())
        return SparseBatch(self._columns[entries].long(), values, offsets, self.width)


class Table(nn.Module):
    r"""Weight vectors as the columns of :math:`S`, shape ``(features, units)``, copied from ``weight``.

    A feature's weights are adjacent in memory, so a document and its gradient touch few long rows.
    """

    values: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", weight.detach().mT.clone(memory_format=torch.contiguous_format))

    def weight(self) -> Tensor:
        """A copy of the weights, ``(units, features)``."""
        return self.values.mT.clone(memory_format=torch.contiguous_format)

    def products(self, batch: SparseBatch) -> Tensor:
        r""":math:`w_j \cdot x_b`, ``(B, units)``."""
        return _weighted_sums(self.values, batch.columns, batch.values, batch.offsets)

    def subtract(self, batch: SparseBatch, coefficients: Tensor) -> Tensor:
        r"""Subtract :math:`g_j = \sum_b p_{bj} x_b` from each column; ``coefficients`` are :math:`p`.

        Returns the rows of :math:`g` of the features that occur in the batch; the others are 0.
        """
        # Entries by feature: the gradient is a product with the transposed batch.
        columns, order = batch.columns.sort(stable=True)
        touched, counts = torch.unique_consecutive(columns, return_counts=True)
        offsets = F.pad(counts.cumsum(0), (1, 0))
        change = _weighted_sums(coefficients, batch.rows[order], batch.values[order], offsets)
        self.values.index_add_(0, touched, change, alpha=-1)
        return change

    def resync(self) -> None:
        """Recompute what is tracked by algebra; here there is nothing."""


class TrackedTable(Table):
    r"""A table whose columns can be scaled and shifted at once, and whose moments are known.

    The weight vectors are :math:`w_j = a_j S_{\cdot j} + m_j 1`. An update of all components of a vector
    changes only :math:`a_j` and :math:`m_j`, and the moments of :math:`w_j` are updated by algebra
    (:meth:`move`), so no step passes over all features. Each step adds about one rounding error to the
    moments; :meth:`resync` removes it.
    """

    multiplier: Tensor
    shift: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        units = weight.new_zeros(len(weight), dtype=torch.float64).detach()
        self.register_buffer("multiplier", units + 1)
        for name in ("shift", "mean", "spread"):
            self.register_buffer(name, units.clone())
        self.resync()

    def weight(self) -> Tensor:
        """A copy of the scaled and shifted weights, ``(units, features)``."""
        dtype = self.values.dtype
        scaled = self.values.mT * self.multiplier.to(dtype).unsqueeze(1)
        return scaled.add_(self.shift.to(dtype).unsqueeze(1)).contiguous()

    def moments(self) -> Moments:
        """Copies of the moments of each weight vector."""
        return Moments(self.mean.clone(), self.spread.clone())

    def products(self, batch: SparseBatch) -> Tensor:
        r""":math:`w_j \cdot x_b`, ``(B, units)``."""
        dtype = self.values.dtype
        scaled = super().products(batch).mul_(self.multiplier.to(dtype))
        return scaled.addr_(batch.sums.to(dtype), self.shift.to(dtype))

    def scale(self, factor: Tensor) -> None:
        """Multiply each weight vector by its ``factor``, ``(units,)``, float64."""
        for first_power in (self.multiplier, self.shift, self.mean):
            first_power.mul_(factor)
        self.spread.mul_(factor.square())
        magnitude = self.multiplier.abs()
        if bool(((magnitude < RANGE[0]) | (magnitude > RANGE[1])).any()):
            self._fold()

    def move(self, batch: SparseBatch, coefficients: Tensor, products: Tensor) -> None:
        r"""Subtract :math:`g_j = \sum_b p_{bj} x_b` from each weight vector.

        With :math:`n` features, :math:`\mu` and :math:`v` the moments of :math:`w`, and
        :math:`t = \sum_i g_i = \sum_b p_b \sum_i x_{bi}`, the new moments are

        .. math:: \mu' = \mu - \frac tn, \qquad
            v' = v - 2 \Bigl(\sum_b p_b\, w \cdot x_b - \mu t\Bigr) + \lVert g \rVert^2 - \frac{t^2}{n}

        where :math:`\lVert g \rVert` takes the features of the batch alone. ``products`` are
        :math:`w_j \cdot x_b`, ``(B, units)``, with the weights as they are now.
        """
        inner = (coefficients * products).sum(0, dtype=torch.float64)
        total = batch.sums @ coefficients.double()
        change = self.subtract(batch, coefficients / self.multiplier.to(coefficients.dtype))
        square = change.square_().sum(0).double() * self.multiplier.square()
        moved = square - total.square() / batch.width - 2 * (inner - self.mean * total)
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


class _ForwardPass(NamedTuple):
    """What an update of the weights needs of the forward pass before it.

    ``products`` are :math:`w_j \\cdot x_b`; ``output`` is the output before gain and bias and, of cosines,
    before it was clamped; ``gain`` is the gain at that time.
    """

    batch: SparseBatch
    products: Tensor
    output: Tensor
    gain: Tensor | float | None


class SparseLayer(nn.Module):
    r"""A linear map of sparse rows that updates its own weights.

    A training step is a forward pass, the gradient of the loss with respect to what it returned, and
    :meth:`descend` with that gradient. Bias and learned gain are ordinary parameters for the optimizer; the
    weights are a buffer. Up to rounding they are updated like those of the ordinary layer under plain
    gradient descent. The state dict holds all that a resumed run needs to be identical to the last bit.

    :func:`sparse_layer` makes one from the ordinary layer ``module``. ``table`` holds its weights, and
    ``gain`` names the attribute of ``module`` that multiplies the output, if there is one.
    """

    def __init__(self, module: nn.Linear, table: Table, gain: str | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = module.in_features, module.out_features
        self.table = table
        self.bias = None if module.bias is None else nn.Parameter(module.bias.detach().clone())
        value = None if gain is None else getattr(module, gain)
        self.gain = nn.Parameter(value.detach().clone()) if isinstance(value, Tensor) else value
        self._gain_name = gain
        # In a tuple, so that it is not a submodule.
        no_weight = nn.Parameter(torch.empty_like(module.weight, device="meta"))
        self._ordinary = (copy.deepcopy(module, {id(module.weight): no_weight}).to("meta"),)
        self._pass: _ForwardPass | None = None

    def forward(self, batch: SparseBatch) -> Tensor:
        """Pre-activations, ``(B, units)``; :meth:`descend` can follow if gradients are enabled."""
        self._check(batch)
        with torch.no_grad():
            products = self.table.products(batch)
            output = self._map(batch, products)
            bounded = self._clamp(output).detach()
        if torch.is_grad_enabled():
            gain = self.gain.detach().clone() if isinstance(self.gain, Tensor) else self.gain
            self._pass = _ForwardPass(batch, products, output, gain)
            bounded.requires_grad_()
        scaled = bounded if self.gain is None else bounded * self.gain
        return scaled if self.bias is None else scaled + self.bias

    @torch.no_grad()
    def descend(self, gradient: Tensor, rate: float) -> None:
        """One step of gradient descent on the weights, of step size ``rate``.

        ``gradient``, ``(B, units)``, is that of the loss with respect to what the last forward pass
        with gradients returned. Bias and gain may be updated before or after; the result is the same.
        """
        if self._pass is None:
            raise RuntimeError(
                "descend follows a forward pass with gradients enabled, one for each step; there was none"
            )
        seen, self._pass = self._pass, None
        self._descend(gradient if seen.gain is None else gradient * seen.gain, rate, seen)

    def resync(self) -> None:
        """Recompute the tracked moments; once per epoch is enough."""
        self.table.resync()

    @torch.no_grad()
    def dense(self) -> nn.Linear:
        """The ordinary layer, with copies of weights, bias and gain."""
        values = self.table.values
        layer = copy.deepcopy(self._ordinary[0]).to(values.dtype).to_empty(device=values.device)
        layer.weight.copy_(self.table.weight())
        if self.bias is not None:
            layer.bias.copy_(self.bias)
        if isinstance(self.gain, Tensor) and self._gain_name is not None:
            layer.get_parameter(self._gain_name).copy_(self.gain)
        return layer

    def extra_repr(self) -> str:
        """Sizes, as shown by ``print``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _map(self, batch: SparseBatch, products: Tensor) -> Tensor:
        """Output before gain and bias, from the products of weights and inputs."""
        return products

    def _clamp(self, output: Tensor) -> Tensor:
        return output

    def _descend(self, gradient: Tensor, rate: float, seen: _ForwardPass) -> None:
        """Take the step, given the gradient with respect to the output before gain and bias."""
        raise NotImplementedError

    def _check(self, batch: SparseBatch) -> None:
        if batch.width != self.in_features:
            raise ValueError(
                f"the batch has {batch.width} features and the layer {self.in_features}; make the network "
                "with the dataset's number of features"
            )
        dtype = self.table.values.dtype
        if batch.values.dtype != dtype:
            raise ValueError(
                f"the batch is {batch.values.dtype} and the weights are {dtype}; convert the network, or "
                "draw the batch while the weights' type is torch's default"
            )


class SparseLinear(SparseLayer):
    """:class:`torch.nn.Linear` (Equation 1)."""

    def __init__(self, module: nn.Linear) -> None:
        super().__init__(module, Table(module.weight))

    def _descend(self, gradient: Tensor, rate: float, seen: _ForwardPass) -> None:
        self.table.subtract(seen.batch, gradient * rate)


class SparseMaxNorm(SparseLayer):
    """:class:`torch.nn.Linear` with the projection of :class:`cosnorm.relatives.MaxNorm` after each step."""

    table: TrackedTable

    def __init__(self, module: nn.Linear, radius: float) -> None:
        super().__init__(module, TrackedTable(module.weight))
        self.radius = check_strength("max_norm", "radius", radius, zero=False)

    def _descend(self, gradient: Tensor, rate: float, seen: _ForwardPass) -> None:
        self.table.move(seen.batch, gradient * rate, seen.products)
        mean, spread = self.table.moments()
        lengths = (spread + self.in_features * mean.square()).sqrt()
        margin = torch.finfo(gradient.dtype).eps + self.in_features * torch.finfo(torch.float64).eps
        self.table.scale(torch.where(lengths > self.radius, self.radius * (1 - margin) / lengths, 1.0))


class _Reciprocals(NamedTuple):
    """Reciprocal norms of vectors with their constant; ``inner`` is 0 for a vector of norm 0."""

    whole: Tensor
    inner: Tensor


class _SparseDirections(SparseLayer):
    r"""Layers that normalize their weight vectors.

    Let :math:`\tilde w`, :math:`\tilde x` be the vectors, centered if asked, :math:`\kappa` the constant
    appended to both, and :math:`r_j` and :math:`s_b` the reciprocal norms of weights and inputs with it.
    Of outputs :math:`y_{bj} = s_b r_j\, (\tilde w_j \cdot \tilde x_b + \kappa^2)` and the loss's gradient
    :math:`D` with respect to them Equation 11 makes

    .. math:: \frac{\partial L}{\partial w_j} = \sum_b D_{bj} s_b r_j \tilde x_b
        - \Bigl(\sum_b D_{bj} y_{bj}\Bigr) r_j^2\, \tilde w_j

    The second term scales :math:`w_j`. The first is sparse except for the mean of :math:`\tilde x_b`, and
    centering subtracts the same number from all components of :math:`w_j`.
    """

    table: TrackedTable
    centered: bool = False
    constant: float = 0.0

    def _map(self, batch: SparseBatch, products: Tensor) -> Tensor:
        dtype, appended = products.dtype, self.constant**2
        inputs, weights = self._input_reciprocals(batch), self._reciprocals(self.table.moments())
        if self.centered:
            means = batch.moments.mean * self.in_features, self.table.moments().mean
            products = products.addr(*(mean.to(dtype) for mean in means), alpha=-1)
            # Products with a vector of equal numbers are rounding error, and the vector may be very short.
            products.masked_fill_((inputs.inner == 0).unsqueeze(1) | (weights.inner == 0), 0.0)
        return (products + appended).mul_(inputs.whole.to(dtype).unsqueeze(1)).mul_(weights.whole.to(dtype))

    def _descend(self, gradient: Tensor, rate: float, seen: _ForwardPass) -> None:
        dtype, batch = gradient.dtype, seen.batch
        inputs, weights = self._input_reciprocals(batch), self._reciprocals(self.table.moments())
        coefficients = (gradient * rate).mul_(inputs.inner.to(dtype).unsqueeze(1))
        coefficients.mul_(weights.whole.to(dtype))
        radial = (gradient * seen.output).sum(0, dtype=torch.float64)
        stretch = rate * radial * weights.inner.square()
        weights_mean = self.table.moments().mean
        self.table.scale(1 + stretch)
        self.table.move(batch, coefficients, seen.products * (1 + stretch).to(dtype))
        if self.centered:
            self.table.translate(batch.moments.mean @ coefficients.double() - stretch * weights_mean)

    def _input_reciprocals(self, batch: SparseBatch) -> _Reciprocals:
        return self._reciprocals(batch.moments)

    def _reciprocals(self, moments: Moments) -> _Reciprocals:
        raise NotImplementedError


class SparseWeightNorm(_SparseDirections):
    """:class:`cosnorm.relatives.WeightNormLinear` (Equations 13 and 14): the input's length counts."""

    def __init__(self, module: WeightNormLinear) -> None:
        super().__init__(module, TrackedTable(module.weight), "gain")

    def _input_reciprocals(self, batch: SparseBatch) -> _Reciprocals:
        ones = torch.ones(len(batch), dtype=torch.float64, device=batch.offsets.device)
        return _Reciprocals(ones, ones)

    def _reciprocals(self, moments: Moments) -> _Reciprocals:
        reciprocal = _reciprocal_roots(moments.spread + self.in_features * moments.mean.square())
        return _Reciprocals(reciprocal, reciprocal)


class SparseCosine(_SparseDirections):
    """:class:`cosnorm.CosineLinear` (Equations 3, 4 and 17)."""

    def __init__(self, module: CosineLinear) -> None:
        super().__init__(module, TrackedTable(module.weight), "scale")
        self.centered, self.constant = module.centered, module.constant

    def _clamp(self, output: Tensor) -> Tensor:
        return output.clamp(-1.0, 1.0)

    def _reciprocals(self, moments: Moments) -> _Reciprocals:
        features, (mean, spread) = self.in_features, moments
        if self.centered:
            # In a vector of equal numbers, deviations are the rounding of its mean.
            rounding = features * torch.finfo(torch.float64).eps * mean
            squares = spread.masked_fill(spread <= features * rounding.square(), 0.0)
        else:
            squares = spread + features * mean.square()
        whole = _reciprocal_roots(squares + self.constant**2, torch.finfo(self.table.values.dtype).tiny)
        return _Reciprocals(whole, whole.masked_fill(squares == 0, 0.0) if self.centered else whole)


def _reciprocal_roots(squares: Tensor, least: float = 0.0) -> Tensor:
    # 0 for squares of 0 or below ``least``, where the ordinary layers have 0 too.
    zero = (squares == 0) | (squares < least)
    return squares.masked_fill(zero, 1.0).rsqrt().masked_fill(zero, 0.0)


def sparse_layer(module: nn.Module, max_norm: float | None = None) -> SparseLayer:
    """The same layer for sparse rows, with a copy of the weights.

    Parameters
    ----------
    module
        ``nn.Linear``, :class:`~cosnorm.CosineLinear` or :class:`~cosnorm.relatives.WeightNormLinear`, as
        :func:`cosnorm.networks.mlp` puts them first.
    max_norm
        Upper bound of the norm of each weight vector of an ``nn.Linear`` after each step.

    Examples
    --------
    >>> layer = sparse_layer(CosineLinear(5, 2, constant=1e-4))
    >>> entry = SparseBatch(torch.tensor([3]), torch.tensor([1.0]), torch.tensor([0, 1, 1]), width=5)
    >>> output = layer(entry)
    >>> output.shape
    torch.Size([2, 2])
    >>> (gradient,) = torch.autograd.grad(output.square().sum(), output)
    >>> layer.descend(gradient, rate=0.1)
    >>> layer.dense()
    CosineLinear(in_features=5, out_features=2, centered=False, constant=0.0001)
    """
    # Exact types, because a subclass computes something else.
    if type(module) is nn.Linear:
        return SparseLinear(module) if max_norm is None else SparseMaxNorm(module, max_norm)
    if max_norm is not None:
        raise ValueError(f"max_norm goes with nn.Linear, not with {type(module).__name__}")
    if type(module) is CosineLinear:
        return SparseCosine(module)
    if type(module) is WeightNormLinear:
        return SparseWeightNorm(module)
    raise ValueError(
        f"a first layer {type(module).__name__} cannot be trained from sparse inputs; these techniques can: "
        f"{', '.join(sparse_techniques())}"
    )


def sparse_techniques() -> tuple[str, ...]:
    """Names of the techniques whose networks can be trained from sparse inputs.

    The others standardize their inputs, which makes them dense, or have an update rule that the sparse
    layers do not implement.

    Examples
    --------
    >>> "cosine" in sparse_techniques(), "propagation" in sparse_techniques()
    (True, False)
    """
    return tuple(name for name, recipe in TECHNIQUES.items() if _reads_sparse_inputs(recipe))


def _reads_sparse_inputs(recipe: Recipe) -> bool:
    rule = recipe.rule.func if isinstance(recipe.rule, partial) else recipe.rule
    return rule in (UpdateRule, MaxNorm) and not (recipe.standardized or recipe.needs_positions)
