"""Each theme's statistic against a calculation by hand, and its threshold from both sides."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from cosnorm.claims.criteria import Less, More, Within
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cosnorm import claims
from cosnorm.claims import depth, exact, images, preactivations, rates, text

from .made import made, put, settled

LOW, HIGH = (100, 103, 101), (200, 205, 199)


def test_an_interval_is_students_at_bonferronis_level(tmp_path: Path) -> None:
    put(tmp_path, settled("mnist", "cosine", LOW), settled("mnist", "none", HIGH))
    effect = claims.entry(1, tmp_path).effects[0]
    differences = np.subtract(LOW, HIGH)
    low, high = stats.t.interval(1 - 0.05 / 8, 2, differences.mean(), differences.std(ddof=1) / math.sqrt(3))
    assert (effect.estimate, effect.low, effect.high) == pytest.approx((differences.mean(), low, high))
    assert effect.p == pytest.approx(stats.ttest_rel(LOW, HIGH).pvalue)
    assert (effect.n, effect.level) == (3, 1 - 0.05 / 8)


@pytest.mark.parametrize(("errors", "outcome"), [(7190, "holds"), (7210, "untested")])
def test_a_rival_near_chance_cannot_be_beaten(tmp_path: Path, errors: int, outcome: str) -> None:
    """Guessing makes 9000 errors; four fifths of them are the limit, on average."""
    put(
        tmp_path,
        settled("mnist", "cosine", LOW),
        settled("mnist", "weight", [errors, errors + 9, errors - 9]),
    )
    effects = {e.name: e for e in claims.entry(1, tmp_path).effects}
    effect = effects["cosine \u2212 weight, mnist"]
    assert effect.outcome == outcome
    assert outcome == "holds" or "stayed near guessing" in effect.missing


@given(st.floats(-5, 5), st.floats(0.01, 5))
def test_criteria_mirror_each_other_and_exclude_each_other(middle: float, half: float) -> None:
    low, high = middle - half, middle + half
    assert More(1.0).outcome(low, high) == Less(-1.0).outcome(-high, -low)
    opposite = {"holds": "reversed", "reversed": "holds", "undecided": "undecided"}
    assert More(1.0).outcome(low, high) == opposite[Less(1.0).outcome(low, high)]
    within = Within(2.0).outcome(low, high)
    assert (within == "holds") == (low > -2 and high < 2)
    assert (within == "reversed") == (low > 2 or high < -2)


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=6, unique=True), st.floats(0.001, 0.2))
def test_equivalence_is_two_one_sided_tests(values: list[float], alpha: float) -> None:
    """The interval of level 1 - 2a is inside the margin exactly if both one-sided tests reject at a."""
    if np.std(values) < 1e-3:
        return
    low, high = stats.t.interval(1 - 2 * alpha, len(values) - 1, np.mean(values), stats.sem(values))
    if min(abs(low + 10), abs(high - 10)) < 1e-6:
        return
    inside = Within(10.0).outcome(low, high) == "holds"
    assert inside == (Within(10.0).p(values) < alpha)


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [((199, 206, 200), "holds"), ((100, 103, 101), "reversed"), ((150, 255, 199), "undecided")],
)
def test_weight_norm_about_equals_none(tmp_path: Path, ours: tuple[int, ...], outcome: str) -> None:
    put(tmp_path, settled("mnist", "weight", ours), settled("mnist", "none", HIGH))
    (effect,) = claims.entry(13, tmp_path).effects
    assert effect.outcome == outcome


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [((199, 206, 200), "holds"), ((300, 306, 301), "holds"), ((150, 154, 150), "reversed")],
)
def test_scale_and_shift_gain_nothing_if_they_gain_less_than_the_margin(
    tmp_path: Path, ours: tuple[int, ...], outcome: str
) -> None:
    put(tmp_path, settled("relatives", "cosine_affine", ours), settled("relatives", "cosine", HIGH))
    (effect,) = claims.entry(4, tmp_path).effects
    assert effect.outcome == outcome


def test_steadiness_is_of_deviations_within_runs(tmp_path: Path) -> None:
    """Means over the seeds point the other way and must not matter."""
    for technique, wobbles, middle in (("cosine", (1, 2, 1), 900), ("batch", (60, 62, 61), 100)):
        put(
            tmp_path,
            [made("mnist", technique, s, [500, middle + w, middle - w]) for s, w in enumerate(wobbles)],
        )
    effects = {e.name: e for e in claims.entry(2, tmp_path).effects}
    effect = effects["cosine \u2212 batch, mnist"]
    assert effect.outcome == "holds"
    # Two values w above and below a middle have the standard deviation w times the root of 2.
    assert effect.estimate == pytest.approx(math.sqrt(2) * np.mean([-59, -60, -60]))


def test_claim_2_leaves_out_rivals_that_the_paper_finds_steadier() -> None:
    names = [comparison.name for comparison in claims.CLAIMS[2].comparisons]
    assert "cosine \u2212 weight, mnist" not in names
    assert "cosine \u2212 weight, newsgroups" in names
    assert len(names) == 7


def observed(technique: str, seed: int, medians: list[float], spread: float, scale: float):
    epochs = len(medians)
    curves = {
        "preactivation": [[[m - 1, m, m + 1], [2 * m - 1, 2 * m, 2 * m + 1]] for m in medians],
        "preactivation_spread": [spread] * epochs,
        "preactivation_scale": [scale] * epochs,
    }
    return made("preactivation", technique, seed, [100] * epochs, extra=curves)


def test_movement_and_spread_by_hand() -> None:
    run = observed("cosine", 0, [9.0, 9.0, 1.0, 2.0, 2.0, 5.0], 0.7, 1.0)
    # Second half: 2, 2, 5 in the first unit, twice that in the second.
    assert preactivations.movement(run) == pytest.approx(np.mean([0, 3, 0, 6]))
    assert preactivations.spread(run) == pytest.approx(0.7)


def test_preactivations_are_compared_by_factors(tmp_path: Path) -> None:
    for seed, noise in enumerate((1.0, 1.1, 0.9)):
        put(tmp_path, [observed("cosine", seed, [0.0, 0.1, 0.2, 0.1], 0.1 * noise, 0.05)])
        put(tmp_path, [observed("none", seed, [0.0, 1.0, 2.0, noise], 1.0, 2.0)])
    entry = claims.entry(3, tmp_path)
    effects = {e.name: e for e in entry.effects}
    spread = effects["cosine / none, over examples"]
    assert spread.outcome == "holds"
    assert spread.estimate == pytest.approx(math.exp(np.mean(np.log([0.1, 0.11, 0.09]))))
    assert effects["cosine / batch, over time"].outcome == "untested"
    assert "cosine 2.0 and none 0.5" in entry.note
    assert "not judged" in entry.note


def test_noise_is_compared_with_cosine_in_table_1(tmp_path: Path) -> None:
    put(tmp_path, settled("mnist", "cosine", HIGH), settled("noise", "cosine-batch-1", LOW, batch_size=1))
    assert claims.entry(5, tmp_path).verdict == "reproduced"
    wild = [made("noise", "cosine-dropout", s, [500, 120 + s, 60 - s]) for s in range(3)]
    put(tmp_path, wild)
    entry = claims.entry(6, tmp_path)
    assert [e.outcome for e in entry.effects] == ["holds", "holds"]


def test_the_slope_over_depths_is_that_of_least_squares() -> None:
    runs = [
        made("depth", f"cosine-{k}-layers", 0, [e, e], sizes=[784, *[9] * (k - 1), 10])
        for k, e in ((2, 180), (3, 150), (4, 160), (5, 120))
    ]
    assert depth.slope(*runs) == pytest.approx(np.polyfit([2, 3, 4, 5], [180, 150, 160, 120], 1)[0])


def test_depth_is_judged_step_by_step(tmp_path: Path) -> None:
    for layers, finals in ((2, (180, 183, 181)), (3, (150, 153, 150)), (4, (170, 174, 171))):
        sizes = [784, *[9] * (layers - 1), 10]
        put(tmp_path, settled("depth", f"cosine-{layers}-layers", finals, sizes=sizes))
    entry = claims.entry(7, tmp_path)
    assert [e.outcome for e in entry.effects] == ["holds", "reversed", "untested", "untested"]
    assert entry.verdict == "not reproduced"


def test_differences_without_any_spread_decide_nothing(tmp_path: Path) -> None:
    put(tmp_path, settled("mnist", "cosine", LOW), settled("mnist", "none", [n + 50 for n in LOW]))
    effect = claims.entry(1, tmp_path).effects[0]
    assert (effect.outcome, effect.estimate, effect.p) == ("undecided", -50, None)


def cifar(technique: str, curves: list[list[int]]):
    return [
        made("cifar10", technique, seed, curve, batch_size=128, train_examples=1280)
        for seed, curve in enumerate(curves)
    ]


def test_speed_is_a_factor_of_steps_with_an_epochs_doubt(tmp_path: Path) -> None:
    put(tmp_path, cifar("none", [[500, 400, 300, 200]] * 3), cifar("cosine", [[300, 190, 180, 150]] * 3))
    effects = claims.entry(9, tmp_path).effects
    # The baseline is at its lowest after 4 epochs, cosine as low after 2: at least 3/2, at most 4/1.
    assert (effects[0].estimate, effects[0].low, effects[0].high) == pytest.approx((2.0, 1.5, 4.0))
    assert effects[0].outcome == "holds"
    assert effects[2].outcome == "untested"
    assert "cannot show a factor" in effects[2].missing


def test_equal_counts_of_two_seeds_decide_nothing(tmp_path: Path) -> None:
    put(tmp_path, cifar("none", [[500, 400, 300, 200]] * 2), cifar("cosine", [[300, 190, 180, 150]] * 2))
    assert claims.entry(9, tmp_path).effects[0].outcome == "undecided"


def test_a_goal_that_is_not_met_is_said(tmp_path: Path) -> None:
    put(tmp_path, cifar("none", [[500, 400, 300, 200]] * 3), cifar("cosine", [[300, 290, 280, 250]] * 3))
    effect = claims.entry(9, tmp_path).effects[0]
    assert effect.outcome == "undecided"
    assert effect.words.startswith("3 of 3 runs never")


def test_gains_and_harms_by_hand() -> None:
    runs = [
        settled("cifar10", name, [final])[0] for name, final in zip("abcd", (300, 290, 500, 400), strict=True)
    ]
    assert images.extra_gain(*runs) == (300 - 290) - (500 - 400)
    scaled = {"test_error_scaled": [[0] * 5, [14, 12, 10, 11, 15], [24, 22, 20, 21, 25]]}
    run = made("magnitude", "none", 0, [9, 9, 9], extra=scaled)
    assert images.harm(run) == pytest.approx(np.mean([4, 2, 1, 5]))


def test_overfitting_by_hand() -> None:
    run = made("newsgroups", "batch", 0, [900, 500, 600, 700])
    assert text.rise(run) == 650 - 500
    assert text.still_learning(run) == 650 - 500  # the made-up training errors equal the test errors


@pytest.mark.parametrize(("train", "verdict"), [((90, 50, 20, 10), "reproduced"), ((90, 50, 80, 90), "not")])
def test_overfitting_needs_falling_training_errors(
    tmp_path: Path, train: tuple[int, ...], verdict: str
) -> None:
    for seed in range(3):
        falling = {"train_error": [value + seed * k for k, value in enumerate(train)]}
        put(
            tmp_path,
            [
                made("newsgroups", "batch", seed, [900, 500, 700, 720 + seed], extra=falling),
                made("newsgroups", "cosine", seed, [900, 500, 500, 500]),
            ],
        )
    assert claims.entry(12, tmp_path).verdict.startswith(verdict)


def test_the_highest_usable_rate() -> None:
    def run(rate: float, error: int):
        return made("rates", f"none-at-{rate:g}", 0, [error, error], norm="none", learning_rate=rate)

    grid = {0.1: run(0.1, 100), 1.0: run(1.0, 199), 3.0: run(3.0, 201)}
    assert rates.highest_usable(grid) == 1.0
    lost = made("rates", "none-at-10", 0, [9], epochs=2, norm="none", learning_rate=10.0)
    assert rates.highest_usable({10.0: lost}) is None


def sweep(norm: str, usable: float, seeds: int):
    return [
        made("rates", rates.competitor(norm, rate), seed, [90, 900 if rate > usable else 90 + seed],
             norm=norm, learning_rate=rate, tail=1)
        for rate in rates.RATES
        for seed in range(seeds)
    ]  # fmt: skip


def test_ranges_of_rates_need_seeds(tmp_path: Path) -> None:
    put(tmp_path, sweep("cosine", 30.0, 1), sweep("none", 0.3, 1))
    effect = claims.entry(11, tmp_path).effects[1]
    assert effect.outcome == "untested"
    assert "seed 0: 30 against 0.3" in effect.missing
    put(tmp_path, sweep("cosine", 30.0, 3), sweep("none", 0.3, 3))
    effect = claims.entry(11, tmp_path).effects[1]
    assert effect.outcome == "holds"
    assert effect.estimate == pytest.approx(100)
    assert effect.low == pytest.approx(100 * 0.01 / 0.03)


@pytest.mark.parametrize(("finals", "outcome"), [((100, 4499), "holds"), ((100, 4501), "reversed")])
def test_a_usable_rate_beats_guessing_by_half(tmp_path: Path, finals: tuple[int, ...], outcome: str) -> None:
    put(tmp_path, settled("mnist", "cosine", finals))
    assert claims.entry(11, tmp_path).effects[0].outcome == outcome


def test_the_identities_are_checks_that_can_fail() -> None:
    for check in (exact.weight_norm, exact.batch_norm, exact.batching):
        assert check()[0] <= exact.ROUNDING
    assert exact.train_and_test()[0] == 0.0
    assert exact.train_and_test("batch")[0] > 0.01
    assert exact.batching("batch")[0] > 0.01


def test_layer_norms_backward_pass(tmp_path: Path) -> None:
    put(tmp_path, settled("relatives", "none", (200, 203, 201)))
    put(tmp_path, settled("relatives", "layer_simple", (150, 153, 150)))
    put(tmp_path, settled("relatives", "detach", (210, 212, 210)))
    assert claims.entry(20, tmp_path).verdict == "reproduced"
    put(tmp_path, settled("relatives", "detach", (151, 152, 150)))
    entry = claims.entry(20, tmp_path)
    assert [e.outcome for e in entry.effects] == ["holds", "undecided", "reversed"]
