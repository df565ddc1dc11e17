"""Every labelled equation of chapter 18: two bounds tried with random networks, one simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats


def typical_confidence(logits: np.ndarray, targets: np.ndarray) -> float:
    """Geometric mean of the probabilities of the right classes."""
    shifted = logits - logits.max(1, keepdims=True)
    right = shifted[np.arange(len(targets)), targets] - np.log(np.exp(shifted).sum(1))
    return math.exp(right.mean())


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ceiling(classes: int, factor: float) -> float:
    return 1 / (1 + (classes - 1) * math.exp(-factor * math.sqrt(classes / (classes - 1))))


@pytest.mark.equation("eq-typical-confidence")
@pytest.mark.parametrize("factor", [0.5, 1.0, 8.0])
@pytest.mark.parametrize("classes", [2, 5, 100])
def test_no_cosine_output_layer_is_surer(classes: int, factor: float) -> None:
    draw = np.random.default_rng(18)
    targets = np.repeat(np.arange(classes), 4)
    for _ in range(20):
        # Hidden vectors that know the class more or less well, and weights that point there.
        knowledge = draw.uniform(0, 5)
        h = np.maximum(draw.standard_normal((len(targets), classes)), 0) + 1e-9
        h[np.arange(len(targets)), targets] += knowledge
        w = draw.standard_normal((classes, classes)) + knowledge * (np.eye(classes) - 1 / classes)
        found = typical_confidence(factor * unit(h) @ unit(w).T, targets)
        assert found <= ceiling(classes, factor) * (1 + 1e-12)


@pytest.mark.equation("eq-typical-confidence")
@pytest.mark.parametrize("factor", [0.5, 1.0, 8.0])
@pytest.mark.parametrize("classes", [2, 5, 100])
def test_one_is_as_sure(classes: int, factor: float) -> None:
    h = np.eye(classes)
    logits = factor * unit(h) @ unit(h - 1 / classes).T
    found = typical_confidence(logits, np.arange(classes))
    assert found == pytest.approx(ceiling(classes, factor), rel=1e-12)


def needed(classes: int, longest: float, confidence: float) -> float:
    margin = math.log((classes - 1) * confidence / (1 - confidence))
    return (1 - 1 / classes) / longest * margin


@pytest.mark.equation("eq-margin-length")
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_confidence_costs_length(classes: int) -> None:
    draw = np.random.default_rng(18)
    targets = np.repeat(np.arange(classes), 3)
    closest = math.inf
    for _ in range(40):
        knowledge, size = draw.uniform(0, 5), draw.uniform(0.1, 4)
        h = np.maximum(0.3 * draw.standard_normal((len(targets), classes)), 0)
        h[np.arange(len(targets)), targets] += knowledge
        w = size * (np.eye(classes) + 0.1 * draw.standard_normal((classes, classes)))
        b = draw.standard_normal(classes)
        confidence = typical_confidence(h @ w.T + b, targets)
        longest = np.linalg.norm(h, axis=1).max()
        length = np.linalg.norm(w - w.mean(0), axis=1).mean()
        bound = needed(classes, longest, confidence)
        assert length >= bound * (1 - 1e-12)
        closest = min(closest, length - bound)
    assert closest < 3, "it is a bound that random networks come near"


@pytest.mark.equation("eq-margin-length")
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_corners_of_a_simplex_need_no_more(classes: int) -> None:
    corners = unit(np.eye(classes) - 1 / classes)
    h, w = 0.5 * corners, 7.0 * corners
    confidence = typical_confidence(h @ w.T, np.arange(classes))
    assert needed(classes, 0.5, confidence) == pytest.approx(7.0, rel=1e-10)


@pytest.mark.equation("eq-power")
@pytest.mark.parametrize(("n", "ratio"), [(2, 3.0), (3, 2.0), (6, 1.0), (10, 1.0)])
def test_power_of_a_paired_interval(n: int, ratio: float) -> None:
    draw = np.random.default_rng(n)
    differences = draw.normal(-ratio, 1.0, (200_000, n))
    quantile = stats.t.ppf(0.975, n - 1)
    half = quantile * differences.std(1, ddof=1) / math.sqrt(n)
    simulated = (differences.mean(1) + half < 0).mean()
    derived = stats.nct.cdf(-quantile, n - 1, -math.sqrt(n) * ratio)
    assert simulated == pytest.approx(derived, abs=0.005)
