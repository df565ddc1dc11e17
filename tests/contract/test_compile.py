"""torch.compile: one graph, no break, and the eager numbers forward and backward."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from cosnorm import CosineConv2d, CosineLinear

from .cases import REGISTRY, Case, Law, cases

COMPILER = next(filter(None, map(shutil.which, ("g++", "c++", "clang++"))), None)
#: One geometry of each number of dimensions, without and with everything: tracing takes a second a case.
TRACED = "(linear|conv1d-grouped|conv2d|conv3d)-(plain|centered-constant)"


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def assert_equal_to_eager(
    compiled: Callable[..., Tensor], eager: Callable[..., Tensor], *tensors: Tensor
) -> None:
    """Outputs and gradients of both on the same arguments."""
    outcomes = []
    for function in (compiled, eager):
        arguments = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        output = function(*arguments)
        g = torch.linspace(-1, 1, output.numel()).view(output.shape).to(output.dtype)
        outcomes.append([output, *torch.autograd.grad(output, arguments, g)])
    for found, expected in zip(*outcomes, strict=True):
        assert found.dtype == expected.dtype
        tolerance = 64 * torch.finfo(found.dtype).eps
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", [each for each in cases(Law.COSINE) if re.fullmatch(TRACED, each.id)])
def test_one_graph_traced_forward_and_backward(case: Case) -> None:
    """Dynamo and AOT autograd without the C++ code generator."""
    compiled = torch.compile(case.function, fullgraph=True, backend="aot_eager", dynamic=False)
    assert_equal_to_eager(compiled, case.function, *case.draw(dtype=torch.float32))


#: Each kind of relative once: a direction, a fixed statistic, a batch's, with and without a state.
RELATIVES = [
    "linear-weight_learned",
    "linear-propagation",
    "linear-detach",
    "linear-adanorm",
    "conv1d-mean_only",
]


@pytest.mark.parametrize("name", RELATIVES)
def test_a_relative_is_one_graph(name: str) -> None:
    """As a module, which is how its running estimates enter; they move as they do without a compiler."""
    case = REGISTRY[name]
    eager = case.build()
    traced = copy.deepcopy(eager)
    compiled: Any = torch.compile(traced, fullgraph=True, backend="aot_eager", dynamic=False)
    assert_equal_to_eager(compiled, eager, case.draw(dtype=torch.float32)[0])
    for (entry, found), expected in zip(
        traced.state_dict().items(), eager.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=entry)


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler: inductor cannot generate code")
@pytest.mark.parametrize("name", ["linear-centered-constant", "conv2d-plain"])
def test_inductor(name: str) -> None:
    case = REGISTRY[name]
    compiled = torch.compile(case.function, fullgraph=True, dynamic=False)
    assert_equal_to_eager(compiled, case.function, *case.draw(dtype=torch.float32))


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler: inductor cannot generate code")
def test_inductor_keeps_zero_vectors_and_the_bound() -> None:
    """Fused kernels may contract and reorder: the promises hold all the same."""
    case = REGISTRY["linear-plain"]
    x, w = case.draw(dtype=torch.float32)
    x[0], w[1] = 0, 0
    w[2] = 1e17 * x[2]
    x, w = x.requires_grad_(), w.requires_grad_()
    output = torch.compile(case.function, fullgraph=True, dynamic=False)(x, w)
    output.sum().backward()
    assert output.abs().max() <= 1
    assert output[2, 2].item() == pytest.approx(1, abs=1e-6)
    assert (output[0] == 0).all()
    assert (x.grad[0] == 0).all()
    assert (w.grad[1] == 0).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dims", [0, 2])
def test_shapes_may_change_without_a_new_graph(dims: int) -> None:
    """A batch of another size: nothing is traced again (above 15, a limit of torch's convolutions)."""
    case = REGISTRY["linear-plain" if dims == 0 else "conv2d-plain"]
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(case.function, fullgraph=True, backend=counter, dynamic=True)
    _, w = case.draw(dtype=torch.float32)
    traced = []
    for batch in (20, 31, 27):
        x = torch.randn(batch, *case.input_shape[1:])
        torch.testing.assert_close(compiled(x, w), case.function(x, w), rtol=0, atol=1e-6)
        traced.append(counter.frame_count)
    assert (
        traced[1:] == traced[:1] * 2
    )  # the first call may try twice: it makes the constant a symbol, then not


def test_a_whole_network_is_one_graph() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        CosineConv2d(1, 4, 3, padding=1, padding_mode="reflect", constant=1e-4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        CosineLinear(64, 16, centered=True),
        nn.ReLU(),
        CosineLinear(16, 3, scale="learnable"),
    )
    compiled: Any = torch.compile(network, fullgraph=True, backend="aot_eager", dynamic=False)
    assert_equal_to_eager(compiled, network, torch.randn(5, 1, 8, 8))


@pytest.mark.parametrize("dims", [0, 2])
def test_export(dims: int) -> None:
    """torch.export, the way to other runtimes, takes the layers too."""
    case = REGISTRY["linear-centered" if dims == 0 else "conv2d-centered"]
    module = case.module().eval()
    x, _ = case.draw(dtype=torch.float32)
    with torch.no_grad():
        program = torch.export.export(module, (x,))
        torch.testing.assert_close(program.module()(x), module(x), rtol=0, atol=1e-6)
