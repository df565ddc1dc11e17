"""First layers that train from sparse rows as their ordinary counterparts train from dense ones."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from cosnorm.layers import CosineLinear
from cosnorm.relatives import MaxNorm, UpdateRule, WeightNormLinear
from cosnorm.relatives.rules import check_strength
from cosnorm.techniques import TECHNIQUES, Recipe
from cosnorm.training.sparse.batches import Moments, SparseBatch
from cosnorm.training.sparse.table import Table, TrackedTable

__all__ = ["SparseLayer", "sparse_layer", "sparse_techniques"]

Layer = TypeVar("Layer", bound=nn.Linear)


class _Pass(NamedTuple):
    """What one step of descent needs of the forward pass before it.

    ``products`` are :math:`w_j \\cdot x_b`; ``output`` is the output before gain and bias, of directional
    layers before it was clamped; ``gain`` is the gain then.
    """

    batch: SparseBatch
    products: Tensor
    output: Tensor
    gain: Tensor | float | None


class _Reciprocals(NamedTuple):
    """Reciprocal lengths of the vectors with their constant; and 0 where a centered one is nothing else."""

    whole: Tensor
    inner: Tensor


class SparseLayer(nn.Module):
    r"""A linear map of sparse rows whose weights descend by themselves.

    A training step is a forward pass, the gradient of the loss with respect to what it returned, and
    :meth:`descend` with that gradient. Bias and learned gain are ordinary parameters and are the
    optimizer's; the weights are a buffer and are not among the parameters. Up to rounding the weights
    take the same course as those of the ordinary layer under plain gradient descent.

    Made by :func:`sparse_layer`. The state dict holds everything that a resumed run needs to go on to
    the last bit.

    Parameters
    ----------
    module
        The ordinary layer whose weights, bias and gain to copy.
    table
        The weights.
    gain
        What multiplies the output: a parameter, a number, or None.
    """

    def __init__(self, module: nn.Linear, table: Table, gain: nn.Parameter | float | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = module.in_features, module.out_features
        self.table = table
        self.bias = None if module.bias is None else nn.Parameter(module.bias.detach().clone())
        self.gain = nn.Parameter(gain.detach().clone()) if isinstance(gain, Tensor) else gain
        self._pass: _Pass | None = None

    def forward(self, batch: SparseBatch) -> Tensor:
        """Pre-activations, ``(B, units)``.

        With gradients enabled they require grad, and :meth:`descend` can follow; without, nothing is kept.

        Raises
        ------
        ValueError
            If the batch has another width or dtype than the weights.
        """
        self._check(batch)
        with torch.no_grad():
            products = self.table.products(batch)
            output = self._map(batch, products)
            bounded = self._bounded(output).detach()
        if torch.is_grad_enabled():
            gain = self.gain.detach().clone() if isinstance(self.gain, Tensor) else self.gain
            self._pass = _Pass(batch, products, output, gain)
            bounded.requires_grad_()
        scaled = bounded if self.gain is None else bounded * self.gain
        return scaled if self.bias is None else scaled + self.bias

    @torch.no_grad()
    def descend(self, gradient: Tensor, rate: float) -> None:
        """One step of gradient descent on the weights.

        Bias and gain may have been updated before or be updated after; either gives the same.

        Parameters
        ----------
        gradient
            Of the loss with respect to what the last forward pass with gradients returned, ``(B, units)``.
        rate
            Step size.

        Raises
        ------
        RuntimeError
            If there was no such pass since the last step.
        """
        if self._pass is None:
            raise RuntimeError(
                "descend follows a forward pass with gradients enabled, one for each step; there was none"
            )
        seen, self._pass = self._pass, None
        self._descend(gradient if seen.gain is None else gradient * seen.gain, rate, seen)

    def resync(self) -> None:
        """Compute anew what follows the weights by algebra; once an epoch is plenty."""
        self.table.resync()

    @torch.no_grad()
    def dense(self) -> nn.Linear:
        """The ordinary layer, with copies of weights, bias and gain."""
        layer = self._ordinary()
        layer.weight.copy_(self.table.weight())
        if self.bias is not None:
            layer.bias.copy_(self.bias)
        return layer

    def extra_repr(self) -> str:
        """Sizes, as shown by ``print``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _ordinary(self) -> nn.Linear:
        """The ordinary layer, its weight and bias not yet filled."""
        return self._unfilled(nn.Linear)

    def _unfilled(self, kind: type[Layer], **more: Any) -> Layer:
        # On no device first: drawing initial weights would disturb the caller's random numbers.
        layer = nn.utils.skip_init(kind, self.in_features, self.out_features, **self._options(), **more)
        return cast(Layer, layer)

    def _options(self) -> dict[str, Any]:
        values = self.table.values
        return {"bias": self.bias is not None, "device": values.device, "dtype": values.dtype}

    def _map(self, batch: SparseBatch, products: Tensor) -> Tensor:
        """Output before gain and bias, from the products of weights and inputs."""
        del batch
        return products

    def _bounded(self, output: Tensor) -> Tensor:
        """The output within its bounds."""
        return output

    def _descend(self, gradient: Tensor, rate: float, seen: _Pass) -> None:
        """As :meth:`descend`, for the gradient with respect to the output before gain and bias."""
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

    def _descend(self, gradient: Tensor, rate: float, seen: _Pass) -> None:
        self.table.subtract(seen.batch, gradient * rate)


class SparseMaxNorm(SparseLayer):
    """The same with every weight vector projected onto the ball of a radius after each step.

    As :class:`cosnorm.relatives.MaxNorm` does it.
    """

    table: TrackedTable

    def __init__(self, module: nn.Linear, radius: float) -> None:
        super().__init__(module, TrackedTable(module.weight))
        self.radius = check_strength("max_norm", "radius", radius, zero=False)

    def _descend(self, gradient: Tensor, rate: float, seen: _Pass) -> None:
        self.table.move(seen.batch, gradient * rate, seen.products)
        mean, spread = self.table.moments()
        lengths = (spread + self.in_features * mean.square()).sqrt()
        margin = torch.finfo(gradient.dtype).eps + self.in_features * torch.finfo(torch.float64).eps
        self.table.scale(torch.where(lengths > self.radius, self.radius * (1 - margin) / lengths, 1.0))


class _SparseDirections(SparseLayer):
    r"""What the layers share that see the directions of their weight vectors.

    With :math:`\tilde w`, :math:`\tilde x` the vectors as a cosine sees them (centered if asked),
    :math:`\kappa` the constant appended to both, reciprocal lengths :math:`r_j` of the weights and
    :math:`s_b` of the inputs with it, outputs
    :math:`y_{bj} = s_b r_j\, (\tilde w_j \cdot \tilde x_b + \kappa^2)` and the loss's gradient :math:`D`
    with respect to them, Equation 11 gives

    .. math:: \frac{\partial L}{\partial w_j} = \sum_b D_{bj} s_b r_j \tilde x_b
        - \Bigl(\sum_b D_{bj} y_{bj}\Bigr) r_j^2\, \tilde w_j

    Its second term scales :math:`w_j`, its first is sparse but for the mean of :math:`\tilde x_b`, and
    what centering takes away is the same for all features of a unit.
    """

    table: TrackedTable
    centered: bool = False
    constant: float = 0.0

    def _map(self, batch: SparseBatch, products: Tensor) -> Tensor:
        dtype, appended = products.dtype, self.constant**2
        reciprocals = self._input_reciprocals(batch), self._weight_reciprocals()
        if self.centered:
            means = batch.moments.mean * self.in_features, self.table.moments().mean
            products = products.addr(*(mean.to(dtype) for mean in means), alpha=-1)
            # The products of a vector of equal numbers are rounding, and it may be as short as the constant.
            flat_inputs, flat_weights = (each.inner == 0 for each in reciprocals)
            products.masked_fill_(flat_inputs.unsqueeze(1) | flat_weights, 0.0)
        inputs, weights = (each.whole.to(dtype) for each in reciprocals)
        return (products + appended).mul_(inputs.unsqueeze(1)).mul_(weights)

    def _descend(self, gradient: Tensor, rate: float, seen: _Pass) -> None:
        dtype, batch = gradient.dtype, seen.batch
        inputs, weights = self._input_reciprocals(batch), self._weight_reciprocals()
        pull = (gradient * rate).mul_(inputs.inner.to(dtype).unsqueeze(1)).mul_(weights.whole.to(dtype))
        along = (gradient * seen.output).sum(0, dtype=torch.float64)
        stretch = rate * along * weights.inner.square()
        weights_mean = self.table.moments().mean
        self.table.scale(1 + stretch)
        self.table.move(batch, pull, seen.products * (1 + stretch).to(dtype))
        if self.centered:
            self.table.translate(batch.moments.mean @ pull.double() - stretch * weights_mean)

    def _input_reciprocals(self, batch: SparseBatch) -> _Reciprocals:
        """:math:`s_b`, ``(B,)``, float64."""
        raise NotImplementedError

    def _weight_reciprocals(self) -> _Reciprocals:
        """:math:`r_j`, ``(units,)``, float64."""
        raise NotImplementedError


class SparseWeightNorm(_SparseDirections):
    """:class:`cosnorm.relatives.WeightNormLinear` (Equations 13 and 14): the input's length counts."""

    def __init__(self, module: WeightNormLinear) -> None:
        super().__init__(module, TrackedTable(module.weight), module.gain)

    def _ordinary(self) -> nn.Linear:
        layer = self._unfilled(WeightNormLinear, gain=_option(self.gain))
        return _with_gain(layer, "gain", self.gain)

    def _input_reciprocals(self, batch: SparseBatch) -> _Reciprocals:
        ones = torch.ones(len(batch), dtype=torch.float64, device=batch.offsets.device)
        return _Reciprocals(ones, ones)

    def _weight_reciprocals(self) -> _Reciprocals:
        mean, spread = self.table.moments()
        reciprocal = _reciprocal_roots(spread + self.in_features * mean.square())
        return _Reciprocals(reciprocal, reciprocal)


class SparseCosine(_SparseDirections):
    """:class:`cosnorm.CosineLinear` (Equations 3, 4 and 17)."""

    def __init__(self, module: CosineLinear) -> None:
        super().__init__(module, TrackedTable(module.weight), module.scale)
        self.centered, self.constant = module.centered, module.constant

    def _ordinary(self) -> nn.Linear:
        layer = self._unfilled(
            CosineLinear, centered=self.centered, constant=self.constant, scale=_option(self.gain)
        )
        return _with_gain(layer, "scale", self.gain)

    def _options(self) -> dict[str, Any]:
        options = super()._options()
        del options["bias"]  # a cosine takes none
        return options

    def _bounded(self, output: Tensor) -> Tensor:
        return output.clamp(-1.0, 1.0)

    def _input_reciprocals(self, batch: SparseBatch) -> _Reciprocals:
        return self._reciprocals(batch.moments)

    def _weight_reciprocals(self) -> _Reciprocals:
        return self._reciprocals(self.table.moments())

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
    """1 / sqrt(squares), and 0 for squares of 0 or below ``least``, where the ordinary layers have 0 too."""
    zero = (squares == 0) | (squares < least)
    return squares.masked_fill(zero, 1.0).rsqrt().masked_fill(zero, 0.0)


def _option(gain: nn.Parameter | float | None) -> Any:
    """The option of a layer's constructor that gives such a gain."""
    return "learnable" if isinstance(gain, Tensor) else gain


def _with_gain(layer: nn.Linear, name: str, gain: nn.Parameter | float | None) -> nn.Linear:
    if isinstance(gain, Tensor):
        layer.get_parameter(name).copy_(gain)
    return layer


def sparse_layer(module: nn.Module, max_norm: float | None = None) -> SparseLayer:
    """The layer that does from sparse rows what a network's ordinary first layer does from dense ones.

    Parameters
    ----------
    module
        ``nn.Linear``, :class:`~cosnorm.CosineLinear` or :class:`~cosnorm.relatives.WeightNormLinear`, as
        :func:`cosnorm.networks.mlp` puts them first; its weights are copied.
    max_norm
        Radius that no weight vector of an ``nn.Linear`` may be longer than, after each step.

    Raises
    ------
    ValueError
        If the layer is another one, the radius goes with another one than ``nn.Linear``, or it is not a
        finite number above 0.

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
    # Exact types: a subclass computes something else.
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

    The others standardize their inputs, which makes them dense, or have a rule that no layer here follows.

    Examples
    --------
    >>> "cosine" in sparse_techniques(), "propagation" in sparse_techniques()
    (True, False)
    """
    return tuple(name for name, recipe in TECHNIQUES.items() if _takes_sparse_inputs(recipe))


def _takes_sparse_inputs(recipe: Recipe) -> bool:
    rule = recipe.rule.func if isinstance(recipe.rule, partial) else recipe.rule
    return rule in (UpdateRule, MaxNorm) and not (recipe.standardized or recipe.needs_positions)
