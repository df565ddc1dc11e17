"""Claim 15 is judged by the committed benchmark, round by round."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosnorm import benchmarking, claims
from cosnorm.benchmarking import Comparison, Cost, Result
from cosnorm.claims._records import BENCHMARK
from cosnorm.claims.optimization import CASES
from cosnorm.record import RecordError


def timed(folder: Path, factors: tuple[float, ...], cases: tuple[str, ...] = CASES) -> Path:
    """A benchmark in which the centered layer takes these times as long, round by round."""
    comparisons = {}
    for case in cases:
        cosine = "CosineConv2d" if "conv" in case else "CosineLinear"
        bases = tuple(0.01 * (k + 1) for k in range(len(factors)))
        centered = tuple(factor * base for factor, base in zip(factors, bases, strict=True))
        costs = {
            "plain": Cost((1e-3,) * len(factors), 0, 0, {}),
            cosine: Cost(bases, 0, 0, {}),
            f"{cosine}, centered": Cost(centered, 0, 0, {}),
        }
        comparisons[case] = Comparison(case, case, costs, {})
    facts = {"device_name": "a processor", "threads": 1, "torch": "2"}
    return benchmarking.write(Result(comparisons, facts), folder / "benchmarks" / BENCHMARK)


@pytest.mark.parametrize(
    ("factors", "verdict", "outcome"),
    [
        ((1.5, 1.6, 1.4, 1.5), "holds", "holds"),
        ((0.7, 0.71, 0.72, 0.7), "contradicted", "reversed"),
        ((0.8, 1.3, 0.9, 1.1), "undecided", "undecided"),
    ],
)
def test_the_verdict_follows_the_factor(
    tmp_path: Path, factors: tuple[float, ...], verdict: str, outcome: str
) -> None:
    timed(tmp_path, factors)
    entry = claims.entry(15, tmp_path)
    assert entry.verdict == verdict
    assert {effect.outcome for effect in entry.effects} == {outcome}
    assert {effect.n for effect in entry.effects} == {str(len(factors))}
    assert entry.devices == ("a processor",)
    assert entry.scale == "measured"
    assert "a processor with 1 thread" in str(entry)


def test_rounds_are_paired(tmp_path: Path) -> None:
    """The base grows fourfold over the rounds, and the factor is the same in each."""
    timed(tmp_path, (1.5, 1.5001, 1.4999, 1.5))
    effect = claims.entry(15, tmp_path).effects[0]
    assert effect.low is not None
    assert effect.high is not None
    assert 1.499 < effect.low < effect.high < 1.501


def test_without_a_measurement_it_is_untested_and_says_what_makes_one(tmp_path: Path) -> None:
    entry = claims.entry(15, tmp_path)
    assert entry.verdict == "untested"
    assert "cosnorm bench --cases paper-first --output" in str(entry)
    timed(tmp_path, (1.5, 1.6, 1.4, 1.5), CASES[:1])
    outcomes = [effect.outcome for effect in claims.entry(15, tmp_path).effects]
    assert outcomes == ["holds", "untested", "untested", "untested"]


def test_a_damaged_measurement_is_an_error(tmp_path: Path) -> None:
    timed(tmp_path, (1.5, 1.6)).write_text("{")
    with pytest.raises(RecordError, match="no undamaged benchmark result"):
        claims.entry(15, tmp_path)
