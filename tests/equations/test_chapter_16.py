"""Every labelled equation of chapter 16, from small made-up documents and networks trained here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

GENERATOR = 16


def counts(documents: int = 12, words: int = 30) -> np.ndarray:
    """Word counts, most of them 0, with every word in some document and in none of them always."""
    drawn = np.random.default_rng(GENERATOR).poisson(0.6, (documents, words)).astype(float)
    drawn[np.arange(words) % documents, np.arange(words)] += 1
    drawn[(np.arange(words) + 1) % documents, np.arange(words)] = 0
    return drawn


@pytest.mark.equation("eq-idf-cancels")
@pytest.mark.parametrize("tf", [lambda n: n, lambda n: np.log1p(n), lambda n: n / n.sum(1, keepdims=True)])
def test_scaling_by_the_maximum_cancels_every_idf(tf) -> None:
    frequencies = tf(counts())
    total, documents = len(frequencies), (frequencies > 0).sum(0)
    formulas = [np.log(total / documents), np.log((1 + total) / (1 + documents)) + 1, 1 / documents]
    expected = frequencies / frequencies.max(0)
    for idf in formulas:
        assert (idf > 0).all()
        weighted = frequencies * idf
        np.testing.assert_allclose(weighted / weighted.max(0), expected, rtol=1e-12)
    assert np.ptp(formulas[0]) > 0, "the weights differ, so that there is something to cancel"


@pytest.mark.equation("eq-sparse-length")
@pytest.mark.parametrize("rate", [0.1, 3.0, 30.0])
def test_length_after_a_step_of_a_cosine_unit(rate: float) -> None:
    draw = torch.Generator().manual_seed(GENERATOR)
    w = torch.randn(40, generator=draw, dtype=torch.float64, requires_grad=True)
    x = torch.randn(7, 40, generator=draw, dtype=torch.float64).relu()
    g = torch.randn(7, generator=draw, dtype=torch.float64)
    cosines = torch.nn.functional.cosine_similarity(x, w.expand_as(x), eps=0.0)
    (gradient,) = torch.autograd.grad(cosines @ g, w)
    after = (w - rate * gradient).square().sum()

    size, lengths = w.norm(), x.norm(dim=1)
    t = rate * (g * cosines).sum() / size**2
    p = rate * g / (size * lengths)
    square = (1 + t) ** 2 * size**2 + (p @ x).square().sum() - 2 * (1 + t) * (p * (x @ w)).sum()
    torch.testing.assert_close(square, after, rtol=1e-12, atol=0)


@pytest.mark.equation("eq-untrained-part")
@pytest.mark.parametrize("kind", ["plain", "layer", "cosine", "max norm"])
def test_what_training_never_touches(kind: str) -> None:
    """Gradient descent, written out here, on fewer documents than words."""
    draw = torch.Generator().manual_seed(GENERATOR)
    documents = torch.rand(8, 20, generator=draw, dtype=torch.float64)
    targets = torch.arange(8) % 3
    start = torch.randn(5, 20, generator=draw, dtype=torch.float64)
    w, v = start.clone().requires_grad_(), torch.randn(3, 5, generator=draw, dtype=torch.float64)

    def hidden(x: torch.Tensor) -> torch.Tensor:
        if kind == "cosine":
            return torch.nn.functional.normalize(x, dim=1) @ torch.nn.functional.normalize(w, dim=1).T
        products = x @ w.T
        return torch.nn.functional.layer_norm(products, (5,)) if kind == "layer" else products

    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(hidden(documents).relu() @ v.T, targets)
        (gradient,) = torch.autograd.grad(loss, w)
        with torch.no_grad():
            w -= 0.5 * gradient
            if kind == "max norm":
                w *= (2 / w.norm(dim=1, keepdim=True)).clamp(max=1)
    assert (w - start).norm() > 0.1, "it learned something"

    basis = torch.linalg.qr(documents.T).Q
    new = torch.rand(6, 20, generator=draw, dtype=torch.float64)
    along = new @ basis @ basis.T
    across = new - along
    assert across.norm() > 0.1
    outside, before = (u - u @ basis @ basis.T for u in (w.detach(), start))
    a = (outside * before).sum(1) / before.square().sum(1)
    torch.testing.assert_close(outside, a[:, None] * before)
    if kind in ("plain", "layer"):
        torch.testing.assert_close(a, torch.ones_like(a))
    else:
        assert (a - 1).abs().max() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(new @ w.T, along @ w.T + a * (across @ start.T))
