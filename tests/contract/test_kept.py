"""What a layer keeps for its backward pass: its own output, watched, and no copy of anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cosnorm import CosineConv2d, CosineLinear
from cosnorm._kernels.autograd import OverwriteCheck
from cosnorm.benchmarking import pass_of, peak_bytes, saved_bytes

from .cases import Case, Law, cases

CHANGES: dict[str, Callable[[Tensor], object]] = {
    "relu": lambda y: torch.nn.functional.relu(y, inplace=True),
    "a view": lambda y: y.view(-1)[:3].mul_(2.0),
    "an element": lambda y: y.view(-1)[0].zero_(),
    "data of another": lambda y: y.copy_(torch.zeros_like(y)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("case", cases(Law.COSINE))
def test_what_follows_may_overwrite_the_output(case: Case, change: str) -> None:
    """As after torch's layers; the cosines are then computed again."""
    x, w = case.draw(requires_grad=True)
    g = torch.linspace(-1, 1, case.function(x, w).numel(), dtype=x.dtype)

    def gradients(copy: bool) -> tuple[Tensor, ...]:
        output = case.function(x, w)
        output = output.clone() if copy else output
        CHANGES[change](output)
        return torch.autograd.grad((output.view(-1) * g).sum(), (x, w))

    for found, expected in zip(gradients(copy=False), gradients(copy=True), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", cases(Law.COSINE))
def test_a_graph_may_be_used_twice_and_the_output_changed_between(case: Case) -> None:
    x, w = case.draw(requires_grad=True)
    output = case.function(x, w)
    g = torch.ones_like(output)
    first = torch.autograd.grad(output, (x, w), g, retain_graph=True)
    output.detach().zero_()
    for found, expected in zip(torch.autograd.grad(output, (x, w), g), first, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_watch_holds_no_memory() -> None:
    tensor = torch.ones(5)
    watch = OverwriteCheck(tensor)
    memory = tensor.untyped_storage()._weak_ref()
    assert not torch.UntypedStorage._expired(memory)
    del tensor
    assert torch.UntypedStorage._expired(memory)
    assert not watch.overwritten


def test_checkpointing_frees_the_output() -> None:
    """Its hooks take what was saved; nothing else may hold on to it."""
    layer = CosineLinear(8, 8)
    x = torch.randn(4, 8, requires_grad=True)
    freed = []

    def run(x: Tensor) -> Tensor:
        output = layer(x)
        freed.append(output.untyped_storage()._weak_ref())
        return output + 1.0

    y = torch.utils.checkpoint.checkpoint(run, x, use_reentrant=False)
    assert torch.UntypedStorage._expired(freed[0])
    y.sum().backward()
    assert x.grad is not None
    expected = torch.autograd.grad(layer(x).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected)


LAYERS = {
    "linear": (CosineLinear, (256, 256), (64, 256)),
    "wide linear": (CosineLinear, (64, 512), (256, 64)),
    "first convolution": (CosineConv2d, (3, 64, 5), (64, 3, 24, 24)),
    "convolution": (CosineConv2d, (32, 32, 3), (32, 32, 24, 24)),
}
#: The torch layer of each.
PLAIN = {CosineLinear: torch.nn.Linear, CosineConv2d: torch.nn.Conv2d}


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_memory_beyond_the_plain_layer(name: str, centered: bool) -> None:
    """The output once, and for each of its 16 entries no more than one for lengths and sums besides."""
    make, sizes, shape = LAYERS[name]
    layer, plain = make(*sizes, centered=centered), PLAIN[make](*sizes)
    x = torch.randn(shape, requires_grad=True)
    with torch.no_grad():
        output = 4 * layer(x).numel()
    allowed = output + output // 16 + 4 * x.numel() // 16
    assert saved_bytes(layer, x) <= allowed
    more = peak_bytes(pass_of(layer, x), "cpu") - peak_bytes(pass_of(plain, x), "cpu")
    assert more <= allowed
