"""Verdicts: the stated rule, both ways, and nothing that flatters."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import make_record

from cosnorm import evidence
from cosnorm.evidence import judging
from cosnorm.record import Record


def runs(technique: str, finals: Sequence[int], wobble: Sequence[int] | None = None) -> list[Record]:
    """One run for each final error; its last two epochs lie ``wobble`` above and below that."""
    wobble = wobble or [0] * len(finals)
    return [
        make_record(technique, seed, [500, final + w, final - w])
        for seed, (final, w) in enumerate(zip(finals, wobble, strict=True))
    ]


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ((100, 102, 101), "borne out"),
        ((300, 303, 299), "not borne out"),
        ((150, 260, 190), "undecided"),
        ((100,), "undecided"),
    ],
)
def test_errors_are_judged_by_the_whole_interval(ours: tuple[int, ...], verdict: str) -> None:
    finding = judging.fewer_errors([*runs("cosine", ours), *runs("none", (200, 203, 198))], "cosine", "none")
    assert finding.verdict == verdict
    assert finding.paper == "mean 143.922 against 196.588"
    assert f"n = {len(ours)}" in finding.ours


@pytest.mark.parametrize(
    ("wobble", "verdict"),
    [((1, 2, 1), "borne out"), ((40, 42, 41), "not borne out"), ((2, 60, 20), "undecided")],
)
def test_steadiness_is_judged_within_runs(wobble: tuple[int, ...], verdict: str) -> None:
    """The means over seeds point the other way, and must not matter."""
    records = [*runs("cosine", (900, 100, 500), wobble), *runs("batch", (200, 200, 200), (20, 21, 19))]
    assert judging.steadier(records, "cosine", "batch").verdict == verdict


def test_a_rival_that_was_not_run_is_untested() -> None:
    finding = judging.fewer_errors(runs("cosine", (100, 101)), "cosine", "weight")
    assert (finding.verdict, finding.ours) == ("untested", "not run")


def test_a_diverged_run_cannot_be_part_of_a_success() -> None:
    lost = make_record("cosine", 2, [400], epochs=3)
    records = [*runs("cosine", (100, 101)), lost, *runs("none", (200, 202, 199))]
    finding = judging.fewer_errors(records, "cosine", "none")
    assert finding.verdict == "undecided"
    assert "1 cosine runs diverged" in finding.ours
    assert judging.rate_usable(records, "cosine").verdict == "not borne out"


@pytest.mark.parametrize(("finals", "verdict"), [((100, 4499), "borne out"), ((100, 4501), "not borne out")])
def test_a_usable_rate_beats_guessing_by_half(finals: tuple[int, ...], verdict: str) -> None:
    assert judging.rate_usable(runs("cosine", finals), "cosine").verdict == verdict
    with pytest.raises(ValueError, match="no runs of 'cosine'"):
        judging.rate_usable(runs("none", finals), "cosine")


def test_bad_news_comes_first_and_the_summary_counts_all() -> None:
    verdicts = ["borne out", "undecided", "untested", "not borne out", "undecided"]
    rows = [judging.Finding(f"claim {k}", "p", "o", verdict) for k, verdict in enumerate(verdicts)]
    found = judging.findings(rows, runs("none", (1, 2)))
    assert [row.verdict for row in found] == sorted(verdicts, key=judging.VERDICTS.index)
    assert [row.claim for row in found if row.verdict == "undecided"] == ["claim 1", "claim 4"]
    assert found.summary == (
        "Of 5 claims, 1 not borne out, 1 untested, 2 undecided and 1 borne out after 3 epochs."
    )
    lines = found._repr_markdown_().splitlines()
    assert lines[0] == found.summary
    assert [line.count("|") for line in lines[2:]] == [5] * 7
    assert str(found).count("\n") == 4
    with pytest.raises(ValueError, match="load some"):
        judging.findings(rows, [])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=6))
def test_paired_agrees_with_numpy_and_with_the_difference_of_the_tables(
    pairs: list[tuple[int, int]],
) -> None:
    ours, theirs = zip(*pairs, strict=True)
    records = [*runs("cosine", ours), *runs("none", theirs)]
    found = judging.paired(records, "cosine", "none")
    assert found == evidence.difference(records, "cosine", "none")
    assert found is not None
    assert found.mean == pytest.approx(np.subtract(ours, theirs).mean())


def test_unrest_is_the_standard_deviation_over_the_last_epochs() -> None:
    one = make_record("none", 0, [9, 150, 144, 148, 141], tail=4)
    assert judging.unrest(one) == pytest.approx(statistics.stdev([150, 144, 148, 141]))
    assert judging.unrest(one) == pytest.approx(math.sqrt(16.25))
    with pytest.raises(ValueError, match="one number has no spread"):
        judging.unrest(make_record("none", 0, [9, 150], tail=1))


def test_headline_names_all_that_cannot_be_told_apart() -> None:
    base = [*runs("none", (200, 203, 198)), *runs("batch", (180, 183, 179))]
    clear = [*runs("cosine", (100, 102, 101)), *base]
    assert judging.headline(clear) == "After 3 epochs cosine makes the fewest test errors"
    tied = [*runs("centered", (103, 100, 101)), *clear]
    assert judging.fewest(tied) == ("cosine", "centered")
    assert judging.headline(tied, {"cosine": "C"}).endswith("C and centered make the fewest test errors")
    assert judging.headline(base[:3] + runs("cosine", (150, 260, 199))).endswith("no technique stands out")
    assert judging.headline(base[:3]) == "Test errors of none over 3 epochs"
    with pytest.raises(ValueError, match="no run finished"):
        judging.headline([make_record("none", 0, [4], epochs=3)])
