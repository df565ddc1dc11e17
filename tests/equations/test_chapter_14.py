"""Every labelled equation of chapter 14, in float64, written out without the package."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

SIZES = (7, 6, 5, 3)
KEPT = (0.8, 0.5, 0.5)


def outputs(
    weights: list[Tensor], biases: list[Tensor], x: Tensor, masks: list[Tensor] | None, late: bool
) -> Tensor:
    """A plain ReLU network; with masks in training, without in testing."""
    for place, (w, b, q) in enumerate(zip(weights, biases, KEPT, strict=True)):
        if masks is not None:
            x = x * masks[place] if late else x * masks[place] / q
            a = x @ w.T + b
        else:
            a = x @ (q * w if late else w).T + b
        x = a.relu() if place < len(weights) - 1 else a
    return x


def trained(late: bool, rate: float) -> tuple[list[float], Tensor]:
    """Training losses and the outputs in testing, with the start and the rates that the equation gives."""
    rng = torch.Generator().manual_seed(0)
    draw = {"generator": rng, "dtype": torch.float64}
    weights = [torch.randn(m, d, **draw) for d, m in pairwise(SIZES)]
    biases = [torch.randn(m, **draw) for m in SIZES[1:]]
    x, y = torch.randn(40, SIZES[0], **draw), torch.randint(SIZES[-1], (40,), generator=rng)
    if not late:
        weights = [q * w for q, w in zip(KEPT, weights, strict=True)]
    seen = []
    for _ in range(10):
        masks = [(torch.rand(40, d, **draw) < q).double() for d, q in zip(SIZES, KEPT, strict=False)]
        leaves = [p.detach().requires_grad_() for p in (*weights, *biases)]
        weights, biases = leaves[:3], leaves[3:]
        loss = F.cross_entropy(outputs(weights, biases, x, masks, late), y)
        gradients = torch.autograd.grad(loss, leaves)
        seen.append(loss.item())
        rates = [rate if late else q**2 * rate for q in KEPT]
        weights = [w - r * g for w, r, g in zip(weights, rates, gradients[:3], strict=True)]
        biases = [b - rate * g for b, g in zip(biases, gradients[3:], strict=True)]
    return seen, outputs(weights, biases, x, None, late)


@pytest.mark.equation("eq-dropout-conventions")
def test_the_two_conventions_are_one_network_at_two_rates() -> None:
    late, early = trained(late=True, rate=0.1), trained(late=False, rate=0.1)
    np.testing.assert_allclose(late[0], early[0], rtol=1e-10)
    torch.testing.assert_close(late[1], early[1], rtol=1e-10, atol=1e-10)
    assert late[0][0] != late[0][-1]


@pytest.mark.equation("eq-dropout-plain")
@pytest.mark.parametrize("q", [0.2, 0.5, 0.8])
def test_variance_of_a_dot_product_under_dropout(q: float) -> None:
    rng = np.random.default_rng(1)
    w, x = rng.normal(size=50), rng.normal(size=50)
    values = ((rng.random((200_000, 50)) < q) * x) @ w / q
    assert values.mean() == pytest.approx(w @ x, abs=5 * values.std() / np.sqrt(len(values)))
    assert values.var() == pytest.approx((1 - q) / q * np.sum(w**2 * x**2), rel=0.02)


@pytest.mark.equation("eq-dropout-cosine")
@pytest.mark.parametrize(("q", "shift"), [(0.5, 0.0), (0.5, 0.5), (0.8, 1.0)])
def test_mean_and_variance_of_a_cosine_under_dropout(q: float, shift: float) -> None:
    """In 1000 dimensions what the expansion leaves out is small, but not nothing."""
    rng = np.random.default_rng(2)
    w, x = rng.normal(size=1000) + shift, np.maximum(rng.normal(size=1000), 0)
    w, x = w / np.linalg.norm(w), x / np.linalg.norm(x)
    c = w @ x
    masks = rng.random((10_000, 1000)) < q
    values = (masks @ (w * x)) / np.sqrt(masks @ x**2)
    assert values.mean() == pytest.approx(np.sqrt(q) * c, abs=1e-3)
    assert values.var() == pytest.approx((1 - q) * np.sum((w * x - c * x**2 / 2) ** 2), rel=0.05)
    if shift == 1:  # the second term is needed
        without = (1 - q) * np.sum((w * x) ** 2)
        assert abs(values.var() / without - 1) > 0.05
