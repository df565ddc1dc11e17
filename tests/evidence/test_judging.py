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


@pytest.mark.parametrize(("worst", "passed"), [(4499, True), (4500, False)])
def test_a_technique_has_learned_if_all_its_runs_beat_guessing_by_half(worst: int, passed: bool) -> None:
    records = [*runs("weight", (100, worst)), *runs("none", (200, 201))]
    assert judging.learned(records) == (("weight", "none") if passed else ("none",))
    assert judging.half_of_guessing(records[0]) == 4500
    lost = make_record("none", 2, [400], epochs=3)
    assert judging.learned([*runs("cosine", (100, 101)), *runs("none", (200,)), lost]) == ("cosine",)


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
