"""Input rows in CSR layout: cosines and weight gradients as from dense rows, and nothing made dense."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from cosnorm import CosineLinear
from cosnorm.benchmarking import peak_bytes
from cosnorm.functional import cosine_conv2d, cosine_linear

from .cases import numbers

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
OPTIONS = [
    pytest.param({"centered": centered, "constant": constant}, id=f"centered={centered}-constant={constant}")
    for centered in (False, True)
    for constant in (0.0, 1e-4, 0.5)
]


def bags(count: int, width: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Rows with a third of their entries, the first without any and the second with all equal."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(count, width, generator=generator, dtype=torch.float64)
    dense = dense.where(torch.rand(count, width, generator=generator) < 0.3, 0.0)
    dense[0], dense[1] = 0.0, 2.0
    return dense.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", OPTIONS)
def test_as_from_dense_rows(options: dict, dtype: torch.dtype) -> None:
    dense = bags(7, 40, dtype)
    w = torch.randn(5, 40, generator=torch.Generator().manual_seed(1), dtype=dtype).requires_grad_()
    g = torch.randn(7, 5, generator=torch.Generator().manual_seed(2), dtype=dtype)
    output = cosine_linear(dense.to_sparse_csr(), w, **options)
    tolerance = 64 * torch.finfo(dtype).eps
    expected = oracles.linear(numbers(dense), numbers(w), **options)
    np.testing.assert_allclose(numbers(output), expected, rtol=0, atol=tolerance)
    (gradient,) = torch.autograd.grad(output, w, g)
    right = oracles.linear_gradients(numbers(dense), numbers(w), numbers(g), **options)[1]
    np.testing.assert_allclose(numbers(gradient), right, rtol=0, atol=tolerance * max(1, np.abs(right).max()))
    assert gradient.is_contiguous()


@pytest.mark.parametrize("options", OPTIONS)
def test_a_later_layer_may_work_in_place(options: dict) -> None:
    sparse = bags(6, 20, torch.float64).to_sparse_csr()
    w = torch.randn(4, 20, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(cosine_linear(sparse, w, **options).relu().sum(), w)
    (found,) = torch.autograd.grad(cosine_linear(sparse, w, **options).relu_().sum(), w)
    torch.testing.assert_close(found, expected)


def test_scale_of_a_row_does_not_matter() -> None:
    sparse, w = bags(6, 20, torch.float32).to_sparse_csr(), torch.randn(4, 20)
    assert torch.equal(cosine_linear(sparse * 2.0**40, w), cosine_linear(sparse, w))


def test_the_input_is_never_made_dense() -> None:
    width = 20_000
    sparse = torch.eye(200, width).to_sparse_csr()
    layer = CosineLinear(width, 2)
    dense_bytes = 4 * sparse.shape.numel()
    with torch.no_grad():
        assert peak_bytes(lambda: layer(sparse), "cpu") < dense_bytes / 10


def test_a_layer_trains_from_sparse_rows() -> None:
    sparse = bags(30, 40, torch.float32).to_sparse_csr()
    layer = CosineLinear(40, 2, scale="learnable")
    wanted = (torch.arange(30) % 2).long()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(layer(sparse), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("make", "error", "hint"),
    [
        (lambda x: x.to_sparse_coo(), TypeError, r"to_sparse_csr\(\)"),
        (lambda x: x.to_sparse_csc(), TypeError, r"to_dense\(\)"),
        (lambda x: x.to_sparse_csr().requires_grad_(), ValueError, "gets no gradient"),
        (lambda x: x.half().to_sparse_csr(), TypeError, "float32 or float64"),
        (lambda x: torch.stack([x, x]).to_sparse_csr(), ValueError, "must be a matrix"),
    ],
)
def test_what_is_refused(make, error: type[Exception], hint: str) -> None:
    x = make(torch.eye(3))
    with pytest.raises(error, match=hint):
        cosine_linear(x, torch.randn(2, 3, dtype=x.dtype))


def test_a_sparse_weight_and_sparse_images_are_refused() -> None:
    with pytest.raises(TypeError, match=r"weight\.to_dense\(\)"):
        cosine_linear(torch.eye(3), torch.eye(3).to_sparse_csr())
    with pytest.raises(TypeError, match=r"input\.to_dense\(\)"):
        cosine_conv2d(torch.ones(1, 1, 4, 4).to_sparse_coo(), torch.ones(1, 1, 3, 3))
