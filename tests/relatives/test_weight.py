"""Weight normalization: values, gradients, the whole range of lengths, and the data-dependent start."""

from __future__ import annotations

import copy
import io
import pickle
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from relatives import oracles_weights as oracles
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacfwd, jacrev, vmap
from torch.nn.utils import parametrizations

from cosnorm.functional import cosine_linear
from cosnorm.relatives import weight
from cosnorm.relatives.weight import (
    WeightNormConv1d,
    WeightNormConv2d,
    WeightNormConv3d,
    WeightNormLinear,
)

HALF = (torch.float16, torch.bfloat16)
DTYPES = (*HALF, torch.float32, torch.float64)

#: layer, shape of one input batch, arguments, geometry for the oracle
CONVOLUTIONS: dict[str, tuple[type[nn.Module], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": (WeightNormConv1d, (2, 4, 9), (4, 5, 3), {"stride": 2, "padding": 1}),
    "2d-grouped": (WeightNormConv2d, (2, 4, 5, 6), (4, 6, (3, 2)), {"groups": 2, "dilation": (1, 2)}),
    "2d-reflect": (WeightNormConv2d, (2, 3, 4, 5), (3, 4, 3), {"padding": 1, "padding_mode": "reflect"}),
    "3d": (WeightNormConv3d, (2, 2, 4, 3, 4), (2, 3, (3, 2, 2)), {"padding": (0, 1, 0)}),
}


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def draw(layer: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every parameter with standard normal numbers, of the layer's dtype."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            numbers_ = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(numbers_)
    return layer


def batch(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def state(layer: Any) -> tuple[np.ndarray, np.ndarray | float, np.ndarray | float]:
    """Weight, gain and bias as the oracle takes them."""
    gain = numbers(layer.gain) if isinstance(layer.gain, Tensor) else layer.gain
    return numbers(layer.weight), gain, 0.0 if layer.bias is None else numbers(layer.bias)


def check_gradients(layer: Any, x: Tensor, g: Tensor, expected: oracles.Gradients, tolerance: float) -> None:
    """The derivatives of (g * output).sum() for input, weight and whichever of gain and bias there are."""
    x = x.clone().requires_grad_()
    parameters = dict(layer.named_parameters())
    found = torch.autograd.grad(layer(x), [x, *parameters.values()], g)
    for name, gradient in zip(["input", *parameters], found, strict=True):
        oracle = expected[("input", "weight", "gain", "bias").index(name)]
        np.testing.assert_allclose(numbers(gradient), oracle, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gain", [1.0, -2.5, "learnable"])
def test_linear_values_and_gradients(gain: Any, bias: bool) -> None:
    layer = draw(WeightNormLinear(6, 5, bias, gain=gain, dtype=torch.float64))
    x, g = batch(4, 6), batch(4, 5, seed=2)
    np.testing.assert_allclose(numbers(layer(x)), oracles.weight_norm(numbers(x), *state(layer)), rtol=1e-13)
    expected = oracles.weight_norm_gradients(numbers(x), *state(layer), numbers(g))
    check_gradients(layer, x, g, expected, 1e-13)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gain", [1.0, -2.5, "learnable"])
def test_dividing_outputs_is_dividing_weights(gain: Any, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """For ordinary lengths the weight matrix is not normalized; both ways agree in every derivative."""
    layer: Any = draw(WeightNormLinear(60, 50, bias, gain=gain, dtype=torch.float64))
    x, g = batch(40, 60).requires_grad_(), batch(40, 50, seed=2)
    wanted = [x, *layer.parameters()]
    expected = F.linear(x, layer.effective_weight(), layer.bias)
    others = torch.autograd.grad(expected, wanted, g)
    monkeypatch.setattr(weight, "directions", None)  # nobody may use it now
    output = layer(x)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(output, wanted, g)
    for gradient, other in zip(found, others, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-12, atol=1e-12 * float(other.abs().max()))


@pytest.mark.parametrize("length", [2.0**-21, 2.0**21, 0.0])
def test_one_row_of_another_size_changes_the_others_by_rounding_only(length: float) -> None:
    layer: Any = draw(WeightNormLinear(6, 5, dtype=torch.float64))
    x = batch(4, 6)
    before = layer(x)
    with torch.no_grad():
        layer.weight[1] *= length
    after = layer(x)
    torch.testing.assert_close(after[:, [0, 2, 3, 4]], before[:, [0, 2, 3, 4]], rtol=1e-13, atol=1e-13)
    expected = before[:, 1] if length else layer.bias[1].expand(4)
    torch.testing.assert_close(after[:, 1], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("gain", [1.5, "learnable"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_values_and_gradients(name: str, gain: Any) -> None:
    kind, shape, sizes, geometry = CONVOLUTIONS[name]
    layer: Any = draw(kind(*sizes, **geometry, gain=gain, dtype=torch.float64))
    x = batch(*shape)
    expected = oracles.convolution(oracles.weight_norm, numbers(x), *state(layer), **geometry)
    np.testing.assert_allclose(numbers(layer(x)), expected, rtol=1e-12, atol=1e-13)
    g = batch(*expected.shape, seed=2)
    gradients = oracles.convolution_gradients(
        oracles.weight_norm_gradients, numbers(x), *state(layer), numbers(g), **geometry
    )
    check_gradients(layer, x, g, gradients, 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_near_the_oracle(dtype: torch.dtype) -> None:
    layer: Any = draw(WeightNormLinear(40, 5, gain="learnable", dtype=dtype))
    x = batch(7, 40, dtype=dtype)
    output = layer(x)
    assert output.dtype == dtype
    expected = oracles.weight_norm(numbers(x), *state(layer))
    scale = np.linalg.norm(numbers(x), axis=1)[:, None] * np.abs(state(layer)[1]) + 1
    assert (np.abs(numbers(output) - expected) / scale).max() < 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("length", [1e-45, 1e-30, 1e-18, 1e18, 3e38])
def test_direction_survives_every_length_float32_can_hold(length: float) -> None:
    """Also in the gradients: the squares of such lengths are 0 or infinite."""
    layer: Any = WeightNormLinear(3, 2, dtype=torch.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[length, 0, 0], [length, -length, 0]]))
    x = torch.tensor([[2.0, 1.0, 3.0]])
    torch.testing.assert_close((layer(x) - layer.bias).detach(), torch.tensor([[2.0, 0.5**0.5]]))
    if 1e-35 < length < 1e35:  # else the gradient itself is outside the range
        gradient = torch.autograd.grad(layer(x).sum(), layer.weight)[0] * length
        expected = torch.tensor([[0.0, 1.0, 3.0], [1.5 / 2**0.5, 1.5 / 2**0.5, 3 / 2**0.5]])
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_lengths_do_not_overflow(dtype: torch.dtype) -> None:
    """A row of length 2000 has a squared length beyond float16; one of 2e-4 has one below."""
    for size in (200.0, 2e-5):
        layer: Any = WeightNormLinear(100, 1, bias=False, dtype=dtype)
        nn.init.constant_(layer.weight, size)
        output = layer(torch.full((1, 100), 0.5, dtype=dtype))
        assert output.item() == pytest.approx(5.0, rel=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("gain", [1.0, "learnable"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_zero_row_gives_the_bias_and_no_gradient(dtype: torch.dtype, gain: Any) -> None:
    layer: Any = draw(WeightNormLinear(4, 3, gain=gain, dtype=dtype))
    with torch.no_grad():
        layer.weight[1] = 0
    x = batch(5, 4, dtype=dtype).requires_grad_()
    output = layer(x)
    assert (output[:, 1] == layer.bias[1]).all()
    output.sum().backward()
    assert (layer.weight.grad[1] == 0).all()
    assert (layer.weight.grad[0] != 0).any()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    without = torch.autograd.grad(layer(x)[:, [0, 2]].sum(), x)[0]
    torch.testing.assert_close(x.grad, without, rtol=0.02, atol=0.02)


def test_second_derivatives_at_and_away_from_a_zero_row() -> None:
    layer: Any = draw(WeightNormLinear(3, 2, gain="learnable", dtype=torch.float64))
    names = ("weight", "gain", "bias")

    def output(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    arguments = [batch(2, 3), *(getattr(layer, name).detach().clone() for name in names)]
    arguments = [argument.requires_grad_() for argument in arguments]
    assert gradcheck(output, arguments)
    assert gradgradcheck(output, arguments)
    with torch.no_grad():
        arguments[1][0] = 0
    (first,) = torch.autograd.grad(output(*arguments).square().sum(), arguments[1], create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), arguments[1])
    assert (second[0] == 0).all()
    assert second.isfinite().all()


def test_nan_and_infinite_weights_do_not_pass_for_directions() -> None:
    for wrong in (float("nan"), float("inf")):
        layer: Any = WeightNormLinear(3, 1, bias=False)
        with torch.no_grad():
            layer.weight[0, 0] = wrong
        assert layer(torch.ones(1, 3)).isnan().all()


def test_it_is_torchs_own_weight_norm() -> None:
    """Where the row is not zero. The library's dim 0 is one length a filter."""
    generator = torch.Generator().manual_seed(0)
    theirs: Any = parametrizations.weight_norm(nn.Conv2d(3, 4, 3, dtype=torch.float64))
    ours: Any = WeightNormConv2d(3, 4, 3, gain="learnable", dtype=torch.float64)
    v, g = (theirs.parametrizations.weight.original1, theirs.parametrizations.weight.original0)
    with torch.no_grad():
        v.copy_(torch.randn(v.shape, generator=generator, dtype=torch.float64))
        g.copy_(torch.randn(g.shape, generator=generator, dtype=torch.float64))
        ours.weight.copy_(v)
        ours.gain.copy_(g.flatten())
        ours.bias.copy_(theirs.bias)
    x = batch(2, 3, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_learnable_gain_starts_as_the_plain_layer_and_follows_its_checkpoint() -> None:
    for plain, layer, x in (
        (nn.Linear(6, 4), WeightNormLinear(6, 4, gain="learnable"), batch(3, 6).float()),
        (nn.Conv2d(2, 4, 3), WeightNormConv2d(2, 4, 3, gain="learnable"), batch(3, 2, 5, 5).float()),
    ):
        rows = layer.weight.flatten(1)
        torch.testing.assert_close(layer.gain, rows.norm(dim=1))
        layer.load_state_dict(plain.state_dict(), strict=False)
        assert not torch.allclose(layer(x), plain(x), atol=1e-3)
        layer.reset_gain()
        torch.testing.assert_close(layer(x), plain(x))
        layer.reset_parameters()
        torch.testing.assert_close(layer.gain, layer.weight.flatten(1).norm(dim=1))


def test_a_fixed_gain_is_no_parameter_and_loads_a_plain_checkpoint() -> None:
    layer = WeightNormLinear(6, 4, gain=2)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    layer.load_state_dict(nn.Linear(6, 4).state_dict())
    layer.reset_gain()
    assert layer.gain == 2.0


def test_with_a_gain_of_one_over_the_inputs_length_it_is_the_cosine() -> None:
    """Luo et al. 2017, Section 4; per example, so the division stands at the output."""
    layer: Any = WeightNormLinear(6, 5, bias=False, dtype=torch.float64)
    x = batch(4, 6)
    torch.testing.assert_close(
        layer(x) / x.norm(dim=1, keepdim=True), cosine_linear(x, layer.weight), rtol=0, atol=1e-15
    )
    for row in x:
        one: Any = WeightNormLinear(6, 5, bias=False, gain=1 / row.norm().item(), dtype=torch.float64)
        one.load_state_dict(layer.state_dict())
        torch.testing.assert_close(one(row), cosine_linear(row, layer.weight), rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_initialize_gives_mean_0_and_variance_1_like_batch_norm_on_that_batch(kind: str) -> None:
    if kind == "linear":
        layer: Any = draw(WeightNormLinear(6, 4, gain="learnable", dtype=torch.float64))
        plain, x, axes = nn.Linear(6, 4, dtype=torch.float64), 3 + batch(50, 6), (0,)
        norm = nn.BatchNorm1d(4, eps=1e-30, dtype=torch.float64)
    else:
        layer = draw(WeightNormConv2d(2, 4, 3, gain="learnable", dtype=torch.float64))
        plain, x, axes = nn.Conv2d(2, 4, 3, dtype=torch.float64), 3 + batch(5, 2, 6, 6), (0, 2, 3)
        norm = nn.BatchNorm2d(4, eps=1e-30, dtype=torch.float64)
    plain.load_state_dict(layer.state_dict(), strict=False)
    output = layer.initialize(x)
    assert not output.requires_grad
    torch.testing.assert_close(output, layer(x).detach())
    np.testing.assert_allclose(numbers(output).mean(axes), 0, atol=1e-13)
    np.testing.assert_allclose(numbers(output).var(axes), 1, rtol=1e-12)
    torch.testing.assert_close(output, norm(plain(x)).detach())


@pytest.mark.parametrize("dtype", DTYPES)
def test_initialize_leaves_constant_units_finite(dtype: torch.dtype) -> None:
    layer: Any = draw(WeightNormLinear(6, 4, gain="learnable", dtype=dtype))
    x = batch(1, 6, dtype=dtype).repeat(20, 1)
    output = layer.initialize(x)
    assert (layer.gain == 1).all()
    np.testing.assert_allclose(numbers(output), 0, atol=40 * torch.finfo(dtype).eps)


def test_initialize_needs_what_it_sets_and_two_examples() -> None:
    for layer in (WeightNormLinear(3, 2), WeightNormLinear(3, 2, bias=False, gain="learnable")):
        with pytest.raises(ValueError, match=r"gain='learnable' and bias=True"):
            layer.initialize(torch.ones(4, 3))
    learned: Any = WeightNormLinear(3, 2, gain="learnable")
    before = copy.deepcopy(learned.state_dict())
    with pytest.raises(ValueError, match="at least two"):
        learned.initialize(torch.ones(1, 3))
    for name, value in learned.state_dict().items():
        assert torch.equal(value, before[name])


def test_per_example_gradients_with_vmap() -> None:
    layer: Any = draw(WeightNormConv1d(2, 3, 2, gain="learnable", dtype=torch.float64))
    xs = batch(4, 2, 5)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(layer, parameters, (x,)).square().sum()

    parameters = {name: value.detach() for name, value in layer.named_parameters()}
    found = vmap(grad(loss), (None, 0))(parameters, xs)
    for index, x in enumerate(xs):
        single = grad(loss)(parameters, x)
        for name, value in single.items():
            torch.testing.assert_close(found[name][index], value)


def test_forward_and_reverse_mode_agree() -> None:
    layer: Any = draw(WeightNormLinear(3, 2, gain="learnable", dtype=torch.float64))
    x = batch(3)

    def output(weight: Tensor) -> Tensor:
        return functional_call(layer, {"weight": weight}, (x,))

    weight = layer.weight.detach()
    torch.testing.assert_close(jacfwd(output)(weight), jacrev(output)(weight))


@pytest.mark.parametrize("gain", [1.0, "learnable"])
def test_one_compiled_graph(gain: Any) -> None:
    torch._dynamo.reset()
    layer: Any = draw(WeightNormLinear(6, 5, gain=gain))
    compiled: Any = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=False)
    x = batch(4, 6, dtype=torch.float32)
    outcomes = []
    for function in (compiled, layer):
        output = function(x)
        outcomes.append([output, *torch.autograd.grad(output.square().sum(), list(layer.parameters()))])
    for found, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(found, expected)
    torch._dynamo.reset()


@pytest.mark.parametrize("gain", [1.0, "learnable"])
def test_batches_of_any_kind(gain: Any) -> None:
    """Empty, single, without a batch, non-contiguous, with more dimensions, constant: each row by itself."""
    layer: Any = draw(WeightNormLinear(4, 3, gain=gain, dtype=torch.float64))
    x = batch(6, 4)
    whole = layer(x)
    close = partial(torch.testing.assert_close, rtol=1e-13, atol=1e-13)
    close(layer(x[:1]), whole[:1])
    close(layer(x[0]), whole[0])
    close(layer(x.view(2, 3, 4)), whole.view(2, 3, 3))
    close(layer(x.T.contiguous().T), whole)
    close(layer.eval()(x), whole)
    assert layer(x[:0]).shape == (0, 3)
    layer(x[:0]).sum().backward()
    assert (layer.weight.grad == 0).all()
    assert layer(torch.full((2, 4), 3.0, dtype=torch.float64)).isfinite().all()


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_layers_without_inputs_or_units() -> None:
    assert torch.equal(WeightNormLinear(0, 2, gain="learnable")(torch.ones(3, 0)).detach()[0], torch.zeros(2))
    assert WeightNormLinear(2, 0, gain="learnable")(torch.ones(3, 2)).shape == (3, 0)


@pytest.mark.parametrize("gain", [0.5, "learnable"])
def test_copies_and_checkpoints(gain: Any) -> None:
    layer: Any = draw(WeightNormConv2d(2, 3, 2, gain=gain))
    x = batch(2, 2, 4, 4, dtype=torch.float32)
    stored = io.BytesIO()
    torch.save(layer.state_dict(), stored)
    stored.seek(0)
    loaded = WeightNormConv2d(2, 3, 2, gain=gain)
    loaded.load_state_dict(torch.load(stored))
    for other in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
    assert WeightNormLinear(3, 2, gain=gain, device="meta")(torch.ones(4, 3, device="meta")).shape == (4, 2)


def test_autocast_keeps_lengths_in_float32() -> None:
    layer: Any = WeightNormLinear(100, 1, bias=False)
    nn.init.constant_(layer.weight, 1e-12)
    with torch.autocast("cpu", dtype=torch.float16):
        output = layer(torch.full((1, 100), 0.5))
    assert output.dtype == torch.float16
    assert output.item() == pytest.approx(5.0, rel=1e-2)


@pytest.mark.parametrize("gain", ["learned", True, None, float("nan"), float("inf")])
def test_a_wrong_gain_is_refused(gain: Any) -> None:
    with pytest.raises(ValueError, match=r"gain must be a finite number or 'learnable'"):
        WeightNormLinear(3, 2, gain=gain)


def test_wrong_inputs_are_refused_by_name() -> None:
    linear, conv = WeightNormLinear(3, 2), WeightNormConv2d(3, 2, 3)
    with pytest.raises(ValueError, match=re.escape("input (5, 4) must equal in_features: 3")):
        linear(torch.ones(5, 4))
    with pytest.raises(ValueError, match="in_features"):
        linear(torch.tensor(1.0))
    with pytest.raises(TypeError, match="convert it first"):
        linear(torch.ones(5, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match="convert one"):
        linear(torch.ones(5, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="has 2 channels"):
        conv(torch.ones(1, 2, 5, 5))
    with pytest.raises(ValueError, match="larger than the padded input"):
        conv(torch.ones(1, 3, 2, 5))
    with pytest.raises(ValueError, match="must have shape"):
        conv(torch.ones(3, 5))


def test_printing_names_the_gain() -> None:
    assert "gain=1" in repr(WeightNormLinear(3, 2))
    assert "gain=learnable" in repr(WeightNormConv1d(3, 2, 1, gain="learnable"))
