"""The layers as modules: checkpoints, copies, pickles, scale, initial values, printing."""

from __future__ import annotations

import copy
import inspect
import io
import math
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

import cosnorm
from cosnorm import CosineConv1d, CosineConv2d, CosineConv3d, CosineLinear, functional

from .cases import Case, Law, cases

FLOAT64 = torch.float64

#: layer, the torch layer it replaces, sizes, input shape
PAIRS: list[Any] = [
    pytest.param(CosineLinear, nn.Linear, (6, 5), (4, 6), id="linear"),
    pytest.param(CosineConv1d, nn.Conv1d, (4, 6, 3), (2, 4, 9), id="conv1d"),
    pytest.param(CosineConv2d, nn.Conv2d, (3, 4, (3, 2)), (2, 3, 5, 6), id="conv2d"),
    pytest.param(CosineConv3d, nn.Conv3d, (2, 3, 2), (2, 2, 4, 3, 4), id="conv3d"),
]


@pytest.mark.parametrize("case", cases(Law.COSINE))
def test_the_state_dict_holds_the_weight_alone(case: Case) -> None:
    module = case.module()
    assert list(module.state_dict()) == ["weight"]
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert tuple(module.weight.shape) == case.weight_shape
    assert not list(module.buffers())


@pytest.mark.parametrize(("layer", "plain", "sizes", "shape"), PAIRS)
def test_checkpoints_move_from_torchs_layer_and_back(
    layer: type[nn.Module], plain: type[nn.Module], sizes: tuple[Any, ...], shape: tuple[int, ...]
) -> None:
    source = plain(*sizes)
    target = layer(*sizes)
    answer = target.load_state_dict(source.state_dict(), strict=False)
    assert answer.missing_keys == []
    assert answer.unexpected_keys == ["bias"]
    assert torch.equal(target.weight, source.weight)
    with pytest.raises(RuntimeError, match="bias"):
        target.load_state_dict(source.state_dict())
    back = plain(*sizes, bias=False)
    back.load_state_dict(target.state_dict())
    assert torch.equal(back.weight, target.weight)
    assert target(torch.randn(shape)).shape == back(torch.randn(shape)).shape


@pytest.mark.parametrize(("layer", "plain", "sizes", "shape"), PAIRS)
def test_initial_values_are_those_of_torchs_layer(
    layer: type[nn.Module], plain: type[nn.Module], sizes: tuple[Any, ...], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(5)
    expected = plain(*sizes, bias=False).weight
    torch.manual_seed(5)
    module = layer(*sizes)
    assert torch.equal(module.weight, expected)
    torch.manual_seed(5)
    module.reset_parameters()
    assert torch.equal(module.weight, expected)


@pytest.mark.parametrize("case", cases())
def test_deepcopy_pickle_and_saving(case: Case) -> None:
    module = case.build(dtype=FLOAT64)
    x, _ = case.draw()
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), torch.load(file, weights_only=False)]
    expected = module(x)
    after = {name: value.clone() for name, value in module.state_dict().items()}
    for twin in copies:
        assert type(twin) is type(module)
        assert repr(twin) == repr(module)
        assert torch.equal(twin(x), expected)
        with torch.no_grad():
            for value in twin.state_dict().values():
                value.zero_()
    assert all(torch.equal(value, after[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(0, 2)))
def test_a_trained_layer_is_copied_and_averaged(case: Case) -> None:
    """After a backward pass, as averaging of weights takes its copies."""
    module = case.module(dtype=FLOAT64)
    x, _ = case.draw()
    module(x).exp().sum().backward()
    assert torch.equal(copy.deepcopy(module)(x), module(x))
    averaged = torch.optim.swa_utils.AveragedModel(module)
    averaged.update_parameters(module)
    assert torch.equal(averaged(x), module(x))


@pytest.mark.parametrize("case", cases())
def test_state_dict_round_trip(case: Case) -> None:
    one, two = case.build(), case.module()
    assert not torch.equal(case.weight(one), case.weight(two))
    x, _ = case.draw(dtype=torch.float32)
    one(x).sum().backward()  # what a stream or a running average has seen is part of the state
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(x), two(x))
    assert torch.equal(one.eval()(x), two.eval()(x))


@pytest.mark.parametrize("case", cases())
def test_from_the_meta_device_to_a_real_one(case: Case) -> None:
    module = case.module(device="meta")
    assert all(value.is_meta for value in module.state_dict().values())
    x, _ = case.draw(dtype=torch.float32)
    assert module(x.to("meta")).shape == case.function(*case.draw()).shape
    module.to_empty(device="cpu")
    torch.manual_seed(0)
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    torch.manual_seed(0)
    fresh = case.module()
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in module.state_dict().items())
    assert torch.equal(module(x), fresh(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, FLOAT64], ids=str)
@pytest.mark.parametrize("case", cases(dims=(0, 2)))
def test_dtype_at_birth_and_later(case: Case, dtype: torch.dtype) -> None:
    x, _ = case.draw(dtype=dtype)
    for module in (case.module(dtype=dtype), case.module().to(dtype)):
        assert all(parameter.dtype == dtype for parameter in module.parameters())
        assert module(x).dtype == dtype


@pytest.mark.parametrize("scale", [2.5, -1.0, 3])
@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(0, 2)))
def test_a_number_as_scale(case: Case, scale: float) -> None:
    module = case.module(scale=scale, dtype=FLOAT64)
    assert list(module.state_dict()) == ["weight"]
    x, _ = case.draw()
    torch.testing.assert_close(module(x), scale * case.function(x, module.weight), rtol=1e-15, atol=0)
    assert f"scale={scale:g}" in repr(module)


@pytest.mark.parametrize("case", cases(Law.COSINE))
def test_a_learnable_scale(case: Case) -> None:
    module = case.module(scale="learnable", dtype=FLOAT64)
    assert set(module.state_dict()) == {"weight", "scale"}
    assert module.scale.shape == ()
    assert module.scale.item() == pytest.approx(math.sqrt(case.fan_in))
    x, _ = case.draw()
    cosines = case.function(x, module.weight.detach())
    output = module(x)
    torch.testing.assert_close(output, module.scale * cosines, rtol=1e-15, atol=0)
    output.square().sum().backward()
    expected = 2 * module.scale.detach() * cosines.square().sum()
    torch.testing.assert_close(module.scale.grad, expected)
    twin = case.module(scale="learnable", dtype=FLOAT64)
    with torch.no_grad():
        module.scale.fill_(3.0)
    twin.load_state_dict(module.state_dict())
    assert torch.equal(twin(x), module(x))
    assert torch.equal(copy.deepcopy(module)(x), module(x))
    module.reset_parameters()
    assert module.scale.item() == pytest.approx(math.sqrt(case.fan_in))
    assert "learnable" in repr(module)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_learnable_scale_keeps_the_dtype(dtype: torch.dtype) -> None:
    layer = CosineLinear(6, 5, scale="learnable", dtype=dtype)
    assert layer(torch.randn(2, 6).to(dtype)).dtype == dtype


def test_a_cosine_classifier_learns() -> None:
    """The whole use of a learnable scale: with it a softmax over cosines can be sure of itself."""
    generator = torch.Generator().manual_seed(0)
    centers = 3 * torch.randn(4, 8, generator=generator)
    targets = torch.arange(4).repeat(32)
    inputs = centers[targets] + torch.randn(128, 8, generator=generator)
    torch.manual_seed(1)
    layer = CosineLinear(8, 4, scale="learnable")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(layer(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
    assert (layer(inputs).argmax(1) == targets).float().mean() > 0.95


@pytest.mark.parametrize("case", cases(Law.WEIGHT_SCALE))
def test_plain_gradient_steps_lengthen_the_weights(case: Case) -> None:
    """The gradient is orthogonal to each weight vector: Pythagoras gives the new length exactly."""
    module = case.build(dtype=FLOAT64)
    weight = case.weight(module)
    with torch.no_grad():
        weight.copy_(case.draw(3)[1])
    module(case.draw(3)[0]).exp().sum().backward()
    assert weight.grad is not None
    before = case.weight_blocks(weight.detach()).square().sum(1)
    gradient = case.weight_blocks(weight.grad).square().sum(1)
    torch.optim.SGD(module.parameters(), lr=0.7).step()
    after = case.weight_blocks(weight.detach()).square().sum(1)
    assert (gradient > 0).all()
    torch.testing.assert_close(after, before + 0.7**2 * gradient, rtol=1e-13, atol=0)


def test_printing_shows_sizes_and_options() -> None:
    text = repr(CosineLinear(20, 30, centered=True, constant=1e-4))
    for part in ("CosineLinear", "in_features=20", "out_features=30", "centered=True", "0.0001"):
        assert part in text
    assert "bias" not in text
    text = repr(CosineConv2d(3, 8, 5, stride=2, padding=1, padding_mode="reflect", scale=10.0))
    for part in ("CosineConv2d", "3, 8", "(5, 5)", "stride=(2, 2)", "reflect", "scale=10"):
        assert part in text
    assert "bias" not in text


OPTIONS = "*, centered=False, constant=0.0"
GEOMETRY = "stride=1, padding=0, dilation=1, groups=1"
FACTORY = "scale=None, device=None, dtype=None"
CONVOLUTION = f"(input, weight, {GEOMETRY}, {OPTIONS}"
LAYER = f"(in_channels, out_channels, kernel_size, {GEOMETRY}, padding_mode='zeros', {OPTIONS}, {FACTORY}"
SIGNATURES = {
    functional.cosine_linear: f"(input, weight, {OPTIONS}",
    functional.cosine_conv1d: CONVOLUTION,
    functional.cosine_conv2d: CONVOLUTION,
    functional.cosine_conv3d: CONVOLUTION,
    CosineLinear: f"(in_features, out_features, {OPTIONS}, {FACTORY}",
    CosineConv1d: LAYER,
    CosineConv2d: LAYER,
    CosineConv3d: LAYER,
}


@pytest.mark.parametrize("thing", SIGNATURES, ids=lambda thing: thing.__name__)
def test_public_signatures(thing: Any) -> None:
    signature = inspect.signature(thing)
    bare = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
        return_annotation=signature.empty,
    )
    assert str(bare).startswith(SIGNATURES[thing])


def test_public_names() -> None:
    assert {"CosineLinear", "CosineConv1d", "CosineConv2d", "CosineConv3d"} <= set(cosnorm.__all__)
    assert set(functional.__all__) == {"cosine_linear", "cosine_conv1d", "cosine_conv2d", "cosine_conv3d"}


def test_importing_the_layers_loads_torch_and_numpy_alone() -> None:
    """Command line, plots and data bring their own needs when they are used."""
    heavy = ["matplotlib", "pooch", "rich", "scipy", "sklearn", "sympy", "tqdm", "typer"]
    # torch itself imports some of these: only what cosnorm adds counts.
    code = (
        "import sys, numpy, torch; before = set(sys.modules); import cosnorm; import cosnorm.functional; "
        f"print([n for n in {heavy} if n in sys.modules and n not in before])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(0, 2)))
def test_forward_hooks_parametrizations_and_spectral_tools_of_torch_work(case: Case) -> None:
    """The weight is an ordinary parameter that torch's own tools may replace."""
    module = case.module(dtype=FLOAT64)
    x, _ = case.draw()
    seen: list[tuple[int, ...]] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape)))
    expected = module(x)
    handle.remove()
    assert seen == [tuple(expected.shape)]
    if Law.WEIGHT_SCALE in case.laws:  # weight norm rescales rows, which a cosine does not see
        nn.utils.parametrizations.weight_norm(module)
        torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-14)
