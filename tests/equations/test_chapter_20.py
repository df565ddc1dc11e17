"""Every labelled equation of chapter 20: bytes counted below autograd, and a machine made of two numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cosnorm import CosineLinear

Make = Callable[[int, int], nn.Module]


def sizes(tree: Any) -> dict[int, int]:
    """Bytes of the tensors of a tree, each memory once."""
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return {t.untyped_storage()._cdata: min(t.nbytes, t.untyped_storage().nbytes()) for t in tensors}


class Bytes(TorchDispatchMode):
    """Bytes of all operands and results of what is no mere view."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operands, results = sizes((args, kwargs)), sizes(out)
        if func._schema.is_mutable or not operands.keys() & results.keys():
            self.count += sum(operands.values()) + sum(results.values())
        return out


class Composition(nn.Linear):
    """Normalize both, then multiply."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(F.normalize(input, dim=-1), F.normalize(self.weight, dim=-1))


LAYERS: dict[str, Make] = {
    "plain": nn.Linear,
    "cosine": CosineLinear,
    "centered": lambda d, m: CosineLinear(d, m, centered=True),
    "layer norm": lambda d, m: nn.Sequential(nn.Linear(d, m, bias=False), nn.LayerNorm(m)),
    "composition": lambda d, m: Composition(d, m, bias=False),
}


def train_once(layer: nn.Module, x: Tensor) -> None:
    output = layer(x)
    torch.autograd.grad(output, (x, *layer.parameters()), torch.ones_like(output))


def moved(make: Make, batch: int, d: int, m: int) -> int:
    layer, x = make(d, m), torch.randn(batch, d, requires_grad=True)
    with Bytes() as counter:
        train_once(layer, x)
    return counter.count


def big_terms(batch: int, d: int, m: int) -> list[int]:
    return [4 * d * m, 4 * batch * d, 4 * batch * m]


@pytest.mark.equation("eq-passes")
@pytest.mark.parametrize("name", list(LAYERS))
def test_bytes_are_whole_passes_and_vectors(name: str) -> None:
    """Passes found from three shapes are whole numbers, and foretell the bytes of two others."""
    shapes = [(160, 320, 480), (480, 160, 320), (320, 480, 160)]
    solved = np.linalg.solve(
        np.array([big_terms(*shape) for shape in shapes], float),
        np.array([moved(LAYERS[name], *shape) for shape in shapes], float),
    )
    passes = solved.round()
    assert abs(solved - passes).max() < 0.3
    for shape in ((64, 512, 256), (700, 100, 300)):
        rest = moved(LAYERS[name], *shape) - float(passes @ big_terms(*shape))
        batch, _, m = shape
        vectors = 50 if name == "centered" else 40  # it carries a mean beside every length
        assert 0 <= rest <= 4 * vectors * (batch + m), "what is left is a few vectors"


@pytest.mark.equation("eq-passes")
def test_a_cosine_passes_over_its_weights_four_times_more() -> None:
    """Read once for the lengths; read, with the gradient, and written once for the radial part."""
    wide = (8, 2000, 2000)  # the weights are nearly all there is
    extra = moved(CosineLinear, *wide) - moved(nn.Linear, *wide)
    assert extra / (4 * 2000 * 2000) == pytest.approx(4, abs=0.1)


@pytest.mark.equation("eq-overhead")
@pytest.mark.parametrize("shape", [(100, 1000, 1000), (7, 30, 50), (4096, 128, 512)])
@pytest.mark.parametrize("passes", [(4, 8, 12), (0, 0, 4), (24, 24, -1)])
def test_share_of_the_passes(shape: tuple[int, int, int], passes: tuple[int, int, int]) -> None:
    """Seconds on a machine of 80 GFLOP/s and 10 GB/s, from arrays' sizes and from torch's own count."""
    batch, d, m = shape
    peak, memory = 80e9, 10e9
    arrays = [np.empty(pair, np.float32) for pair in ((m, d), (batch, d), (batch, m))]
    over = sum(count * array.nbytes for count, array in zip(passes, arrays, strict=True)) / memory
    x, weight = (torch.randn(*pair, requires_grad=True) for pair in ((batch, d), (m, d)))
    with FlopCounterMode(display=False) as counter:
        output = F.linear(x, weight)
        torch.autograd.grad(output, (x, weight), torch.ones_like(output))
    products = counter.get_total_flops() / peak
    w, i, o = passes
    formula = 2 / 3 * peak / memory * (w / batch + i / m + o / d)
    assert over / products == pytest.approx(formula, rel=1e-12)
