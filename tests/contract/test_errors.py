"""Every wrong argument gets an error of the right type that names the fault and says how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cosnorm import CosineConv1d, CosineConv2d, CosineConv3d, CosineLinear, functional

NAMES = ["cosine_linear", "cosine_conv1d", "cosine_conv2d", "cosine_conv3d"]
LAYERS: dict[str, Callable[..., Any]] = {
    "CosineLinear": lambda **options: CosineLinear(4, 3, **options),
    "CosineConv1d": lambda **options: CosineConv1d(4, 3, 2, **options),
    "CosineConv2d": lambda **options: CosineConv2d(4, 3, 2, **options),
    "CosineConv3d": lambda **options: CosineConv3d(4, 3, 2, **options),
}


def arguments(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A valid pair: 4 features or channels, 3 units or filters, windows of 2."""
    dims = 0 if name == "cosine_linear" else int(name[-2])
    return torch.randn(2, 4, *[5] * dims), torch.randn(3, 4, *[2] * dims)


def assert_says(error: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    message = str(error.value)
    for part in parts:
        assert part in message, f"{part!r} is missing in: {message}"


@pytest.mark.parametrize("name", NAMES)
def test_bias_is_explained(name: str) -> None:
    for bias in (None, True, torch.zeros(3)):
        with pytest.raises(TypeError) as error:
            getattr(functional, name)(*arguments(name), bias=bias)
        assert_says(error, name, "bias", "constant=1e-4")


@pytest.mark.parametrize("name", LAYERS)
def test_bias_of_a_layer_is_explained(name: str) -> None:
    for bias in (True, False):
        with pytest.raises(TypeError) as error:
            LAYERS[name](bias=bias)
        assert_says(error, name, "bias", "constant=1e-4")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_arguments(name: str) -> None:
    with pytest.raises(TypeError) as error:
        getattr(functional, name)(*arguments(name), centred=True)
    assert_says(error, name, "centred")


@pytest.mark.parametrize("name", LAYERS)
def test_unknown_arguments_of_a_layer(name: str) -> None:
    with pytest.raises(TypeError) as error:
        LAYERS[name](eps=1e-5)
    assert_says(error, name, "eps")


@pytest.mark.parametrize("name", NAMES)
def test_options_go_by_name_only(name: str) -> None:
    positional = (True,) if name == "cosine_linear" else (1, 0, 1, 1, True)
    with pytest.raises(TypeError, match="positional argument"):
        getattr(functional, name)(*arguments(name), *positional)


@pytest.mark.parametrize("role", ["input", "weight"])
@pytest.mark.parametrize("wrong", [None, [[1.0]], np.ones((2, 4)), "x"], ids=["None", "list", "numpy", "str"])
@pytest.mark.parametrize("name", NAMES)
def test_not_a_tensor(name: str, wrong: Any, role: str) -> None:
    x, w = arguments(name)
    with pytest.raises(TypeError) as error:
        getattr(functional, name)(*((wrong, w) if role == "input" else (x, wrong)))
    assert_says(error, name, role, "Tensor", type(wrong).__name__)


@pytest.mark.parametrize("role", ["input", "weight"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_without_a_cosine(name: str, dtype: torch.dtype, role: str) -> None:
    x, w = arguments(name)
    with pytest.raises(TypeError) as error:
        getattr(functional, name)(*((x.to(dtype), w) if role == "input" else (x, w.to(dtype))))
    assert_says(error, name, role, str(dtype), "float32", f"{role}.float()")


@pytest.mark.parametrize("name", NAMES)
def test_two_dtypes(name: str) -> None:
    x, w = arguments(name)
    with pytest.raises(TypeError) as error:
        getattr(functional, name)(x.double(), w)
    assert_says(error, name, "torch.float64", "torch.float32", ".to(weight.dtype)")
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(TypeError) as error:
        getattr(functional, name)(x.double(), w)
    assert_says(error, name, "torch.float64", "torch.float32")


@pytest.mark.parametrize("name", NAMES)
def test_two_devices(name: str) -> None:
    x, w = arguments(name)
    with pytest.raises(ValueError, match="meta") as error:
        getattr(functional, name)(x, w.to("meta"))
    assert_says(error, name, "cpu", ".to(weight.device)")


@pytest.mark.parametrize("wrong", [True, False, "1e-4", None, 1j, torch.tensor(1e-4), [1e-4]], ids=repr)
@pytest.mark.parametrize("name", NAMES + list(LAYERS))
def test_constant_must_be_a_number(name: str, wrong: Any) -> None:
    with pytest.raises(TypeError) as error:
        call(name, constant=wrong)
    assert_says(error, name, "constant", "1e-4")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")], ids=repr)
@pytest.mark.parametrize("name", NAMES + list(LAYERS))
def test_constant_must_be_finite(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match="finite") as error:
        call(name, constant=wrong)
    assert_says(error, name, "constant", repr(wrong))


@pytest.mark.parametrize("number", [1, np.float32(0.5), np.float64(0.5)], ids=repr)
@pytest.mark.parametrize("name", NAMES + list(LAYERS))
def test_numbers_of_python_and_numpy_are_constants(name: str, number: Any) -> None:
    torch.manual_seed(0)
    found = call(name, constant=number)
    torch.manual_seed(0)
    expected = call(name, constant=float(number))
    if name in LAYERS:
        assert type(found.constant) is float
        assert found.constant == expected.constant == number
    else:
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def call(name: str, **options: Any) -> Any:
    """Call the function or build the layer of that name, everything else valid."""
    if name in LAYERS:
        return LAYERS[name](**options)
    return getattr(functional, name)(*arguments(name), **options)


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "parts"),
    [
        ((2, 4), (4,), ["weight", "(out_features, in_features)", "(4,)"]),
        ((2, 4), (1, 3, 4), ["weight", "(out_features, in_features)", "(1, 3, 4)"]),
        ((2, 4), (3, 5), ["input", "(2, 4)", "(3, 5)", "5"]),
        ((4, 2), (3, 4), ["input", "(4, 2)", "(3, 4)", "4"]),
        ((), (3, 1), ["input", "()"]),
    ],
    ids=str,
)
def test_linear_shapes(input_shape: tuple[int, ...], weight_shape: tuple[int, ...], parts: list[str]) -> None:
    with pytest.raises(ValueError, match="cosine_linear") as error:
        functional.cosine_linear(torch.zeros(input_shape), torch.zeros(weight_shape))
    assert_says(error, *parts)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolution_dimensions(dims: int) -> None:
    name = f"cosine_conv{dims}d"
    function = getattr(functional, name)
    x, w = arguments(name)
    spatial = ["L", "H, W", "D, H, W"][dims - 1]
    for wrong in (x[0, 0], x[None]):
        with pytest.raises(ValueError, match=name) as error:
            function(wrong, w)
        assert_says(error, "input", f"(N, C, {spatial})", str(tuple(wrong.shape)))
    for wrong in (w[0], w[None]):
        with pytest.raises(ValueError, match=name) as error:
            function(x, wrong)
        assert_says(error, "weight", "out_channels", str(tuple(wrong.shape)))


@pytest.mark.parametrize("name", NAMES[1:])
def test_channels_and_groups(name: str) -> None:
    function = getattr(functional, name)
    x, w = arguments(name)
    with pytest.raises(ValueError, match=name) as error:
        function(x[:, :3], w)
    assert_says(error, "3 channels", "4", "groups=1")
    with pytest.raises(ValueError, match=name) as error:
        function(x, w, groups=2)
    assert_says(error, "4 channels", "8", "groups=2")
    with pytest.raises(ValueError, match=name) as error:
        function(x, w[:, :2], groups=2)  # 3 filters in 2 groups
    assert_says(error, "out_channels", "3", "divisible", "2")
    for wrong in (0, -1, 1.0, "1", True, None):
        with pytest.raises(ValueError, match=name) as error:
            function(x, w, groups=wrong)
        assert_says(error, "groups", "positive integer", repr(wrong))


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *[("stride", wrong) for wrong in (0, -1, 1.5, "2", None, True, (1, 1, 1, 1), (), (0,))],
        *[("dilation", wrong) for wrong in (0, -2, 2.0, "same", None, False, (1, 1, 1, 1))],
        *[("padding", wrong) for wrong in (-1, 0.5, None, True, (1, 1, 1, 1), (-1,), "full", "SAME", "")],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", NAMES[1:])
def test_stride_dilation_and_padding(name: str, option: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=name) as error:
        call(name, **{option: wrong})
    assert_says(error, option, "integer", repr(wrong))
    if option == "padding" and isinstance(wrong, str):
        assert_says(error, "'same'", "'valid'")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_bias_in_third_place_is_recognized(name: str) -> None:
    """torch's convolutions take (input, weight, bias, stride): whoever is used to that is told."""
    for bias in (None, torch.zeros(3)):
        with pytest.raises(ValueError, match=name) as error:
            getattr(functional, name)(*arguments(name), bias)
        assert_says(error, "stride", "bias")


@pytest.mark.parametrize("name", NAMES[1:])
def test_same_padding_with_a_stride(name: str) -> None:
    with pytest.raises(ValueError, match=name) as error:
        call(name, padding="same", stride=2)
    assert_says(error, "'same'", "stride")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_kernel_larger_than_the_padded_input(name: str) -> None:
    for options in ({"dilation": 5}, {"dilation": 7, "padding": 1}):
        with pytest.raises(ValueError, match=name) as error:
            call(name, **options)
        size = 5 + 2 * options.get("padding", 0)
        assert_says(error, "kernel", "larger", str(options["dilation"]), str(size))


@pytest.mark.parametrize(
    "wrong", ["learned", "", True, [1.0], torch.tensor(2.0), (), float("nan"), float("inf")], ids=repr
)
@pytest.mark.parametrize("name", LAYERS)
def test_scale(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=name) as error:
        LAYERS[name](scale=wrong)
    assert_says(error, "scale", "'learnable'")


@pytest.mark.parametrize("name", ["CosineConv1d", "CosineConv2d", "CosineConv3d"])
def test_padding_mode(name: str) -> None:
    with pytest.raises(ValueError, match="padding_mode") as error:
        LAYERS[name](padding_mode="mirror")
    assert_says(error, "mirror", "reflect")
    with pytest.raises(ValueError, match=name) as error:  # torch's eighth argument is bias
        globals()[name](4, 3, 2, 1, 0, 1, 1, True)
    assert_says(error, "padding_mode", "bias")


@pytest.mark.parametrize(
    ("build", "part"),
    [
        (lambda: CosineConv2d(4, 3, 2, groups=3), "divisible"),
        (lambda: CosineConv2d(4, 3, 2, groups=2), "divisible"),
        (lambda: CosineConv2d(4, 3, 2, groups=0), "groups"),
        (lambda: CosineConv2d(4, 3, 2, padding="full"), "padding"),
        (lambda: CosineConv2d(4, 3, 2, padding="same", stride=2), "padding"),
    ],
    ids=["in_channels", "out_channels", "groups", "padding", "same"],
)
def test_layer_sizes_are_checked_when_built(build: Callable[[], Any], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        build()


@pytest.mark.parametrize("name", ["CosineConv1d", "CosineConv2d", "CosineConv3d"])
@pytest.mark.parametrize("option", ["stride", "dilation"])
def test_layers_refuse_zero_steps(name: str, option: str) -> None:
    """When built or when called, but in words rather than as a crash of a kernel."""
    dims = int(name[-2])
    with pytest.raises(ValueError, match=option):
        LAYERS[name](**{option: 0})(torch.randn(1, 4, *[5] * dims))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_pass_on_the_checks_of_the_functions(name: str) -> None:
    layer = LAYERS[name]()
    dims = 0 if name == "CosineLinear" else int(name[-2])
    with pytest.raises(ValueError, match="cosine_"):
        layer(torch.randn(2, 7, *[5] * dims))
    with pytest.raises(TypeError, match="float32"):
        layer(torch.randn(2, 4, *[5] * dims).double())
    with pytest.raises(TypeError, match="float"):
        layer(torch.ones(2, 4, *[5] * dims, dtype=torch.long))
