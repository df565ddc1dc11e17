"""Each theme's statistic against a calculation by hand, and its threshold from both sides."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from synthetic import store

from cosnorm import claims
from cosnorm.claims import errors, optimization, related, robustness
from cosnorm.experiments.choosing import RATES, competitor

from .made import made, settled

LOW, HIGH = (100, 103, 101), (200, 205, 199)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [((199, 206, 200), "holds"), ((100, 103, 101), "contradicted"), ((150, 255, 199), "undecided")],
)
def test_weight_norm_about_equals_none(tmp_path: Path, ours: tuple[int, ...], verdict: str) -> None:
    store(tmp_path, settled("mnist", "weight", ours), settled("mnist", "none", HIGH))
    assert claims.entry(13, tmp_path).verdict == verdict


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [((199, 206, 200), "holds"), ((300, 306, 301), "holds"), ((150, 154, 150), "contradicted")],
)
def test_scale_and_shift_gain_nothing_if_they_gain_less_than_the_margin(
    tmp_path: Path, ours: tuple[int, ...], verdict: str
) -> None:
    store(tmp_path, settled("relatives", "cosine_affine", ours), settled("relatives", "cosine", HIGH))
    entry = claims.entry(4, tmp_path)
    assert entry.verdict == verdict
    assert "cosine_affine 0.5" in entry.note


def test_a_scale_and_shift_that_have_not_converged_show_nothing(tmp_path: Path) -> None:
    store(tmp_path, settled("relatives", "cosine", HIGH))
    store(
        tmp_path,
        [made("relatives", "cosine_affine", s, [900, 700, 600, 500, 420, 390 + s]) for s in range(3)],
    )
    assert claims.entry(4, tmp_path).verdict == "too early"


@pytest.mark.parametrize(
    ("online", "verdict"),
    [
        ((120, 125, 119), "holds"),
        ((201, 203, 203), "holds"),
        ((230, 236, 228), "contradicted"),
        ((190, 250, 204), "undecided"),
    ],
)
def test_online_norm_may_be_better_but_not_worse(
    tmp_path: Path, online: tuple[int, ...], verdict: str
) -> None:
    store(tmp_path, settled("relatives", "online", online), settled("relatives", "batch", HIGH))
    entry = claims.entry(23, tmp_path)
    assert entry.verdict == verdict
    assert entry.effects[0].level == 0.9


def test_steadiness_is_of_deviations_within_runs_of_at_least_half_the_length(tmp_path: Path) -> None:
    """Means over the seeds point the other way and must not matter."""
    for length, outcome in ((3, "too early"), (100, "holds")):
        for technique, wobbles, middle in (("cosine", (1, 2, 1), 900), ("batch", (60, 62, 61), 100)):
            wobbly = [[*[middle] * (length - 2), middle + w, middle - w] for w in wobbles]
            store(tmp_path, [made("mnist", technique, s, curve) for s, curve in enumerate(wobbly)])
        effects = {e.name: e for e in claims.entry(2, tmp_path).effects}
        effect = effects["cosine \u2212 batch, mnist"]
        assert effect.outcome == outcome
        # Two values w above and below a middle have the standard deviation w times the root of 2.
        assert effect.estimate == pytest.approx(math.sqrt(2) * np.mean([-59, -60, -60]))


def test_claim_2_leaves_out_rivals_that_the_paper_finds_steadier() -> None:
    names = [comparison.name for comparison in claims.CLAIMS["2"].comparisons]
    assert "cosine \u2212 weight, mnist" not in names
    assert "cosine \u2212 weight, newsgroups" in names
    assert len(names) == 7


def observed(technique: str, seed: int, medians: list[float], size: float, spread: float, scale: float):
    """Two units, the second twice the first, whose bands reach ``size`` to both sides of the median."""
    epochs = len(medians)
    curves = {
        "preactivation": [
            [[m - size, m, m + size], [2 * m - 2 * size, 2 * m, 2 * m + 2 * size]] for m in medians
        ],
        "preactivation_spread": [spread] * epochs,
        "preactivation_scale": [scale] * epochs,
    }
    return made("preactivation", technique, seed, [100] * epochs, extra=curves)


def test_movement_and_spread_by_hand() -> None:
    run = observed("cosine", 0, [9.0, 9.0, 1.0, 2.0, 2.0, 5.0], 0.5, 0.7, 2.0)
    # Second half: 2, 2, 5 in the first unit, twice that in the second.
    assert robustness.movement(run) == pytest.approx(np.mean([0, 3, 0, 6]))
    assert robustness.relative_movement(run) == pytest.approx(np.mean([0, 3, 0, 3]))
    assert robustness.spread(run) == pytest.approx(0.7)
    assert robustness.relative_spread(run) == pytest.approx(0.35)


def test_a_small_network_in_claim_3_is_not_a_steady_one(tmp_path: Path) -> None:
    """A network whose outputs are a tenth as large, and which is otherwise the same, wins as plotted only."""
    for seed, noise in enumerate((1.0, 1.1, 0.9)):
        path = [0.0, 1.0, 2.0, 1.0, 2.0 * noise, 1.0]
        store(tmp_path, [observed("none", seed, path, 1.0, noise, 2.0)])
        store(tmp_path, [observed("cosine", seed, [0.1 * m for m in path], 0.1, 0.1 * noise, 0.2)])
    plotted, own = ({e.name: e for e in claims.entry(key, tmp_path).effects} for key in ("3a", "3b"))
    spread = plotted["cosine / none, over examples"]
    assert spread.outcome == "holds"
    assert spread.estimate == pytest.approx(0.1)
    for kind in ("over time", "over examples"):
        assert own[f"cosine / none, {kind}"].estimate == pytest.approx(1)
        assert own[f"cosine / none, {kind}"].outcome == "undecided"
    assert plotted["cosine / batch, over time"].outcome == "untested"


def test_noise_is_compared_with_cosine_in_table_1(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", HIGH), settled("noise", "cosine-batch-1", LOW, batch_size=1))
    assert claims.entry(5, tmp_path).verdict == "holds"
    store(
        tmp_path, [made("noise", "cosine-dropout", s, [500, 90, 90, 90, 120 + s, 60 - s]) for s in range(3)]
    )
    assert [e.outcome for e in claims.entry(6, tmp_path).effects] == ["holds", "holds"]


def test_with_dropout_the_convention_under_which_the_plain_network_trains_counts(tmp_path: Path) -> None:
    lost = [made("noise", "none-dropout", seed, [], epochs=6) for seed in range(3)]
    store(tmp_path, settled("noise", "cosine-dropout", LOW), lost)
    assert claims.entry(28, tmp_path).verdict == "untested"
    store(tmp_path, settled("noise", "none-dropout-scaled", HIGH))
    entry = claims.entry(28, tmp_path)
    assert [e.outcome for e in entry.effects] == ["untested", "holds"]
    assert entry.verdict == "holds"
    store(tmp_path, settled("noise", "none-dropout", (50, 52, 49)))
    assert claims.entry(28, tmp_path).verdict == "contradicted"


def test_the_slope_over_depths_is_that_of_least_squares(tmp_path: Path) -> None:
    finals = {2: (180, 183, 179), 3: (150, 155, 149), 4: (160, 161, 158), 5: (120, 130, 122)}
    for layers, values in finals.items():
        sizes = [784, *[9] * (layers - 1), 10]
        store(tmp_path, settled("depth", f"cosine-{layers}-layers", values, sizes=sizes))
    effect = claims.entry(7, tmp_path).effects[-1]
    means = [np.mean(values) for values in finals.values()]
    assert effect.estimate == pytest.approx(np.polyfit(list(finals), means, 1)[0])
    assert effect.name == "slope over the depths"


def test_depth_is_judged_step_by_step(tmp_path: Path) -> None:
    for layers, finals in ((2, (180, 183, 181)), (3, (150, 153, 150)), (4, (170, 174, 171))):
        sizes = [784, *[9] * (layers - 1), 10]
        store(tmp_path, settled("depth", f"cosine-{layers}-layers", finals, sizes=sizes))
    entry = claims.entry(7, tmp_path)
    assert [e.outcome for e in entry.effects] == ["holds", "reversed", "untested", "untested"]
    assert entry.verdict == "contradicted"


def cifar(technique: str, finals: tuple[int, ...]):
    return settled("cifar10", technique, finals, batch_size=128, train_examples=50_000)


@pytest.mark.parametrize(
    ("cosine", "none", "outcome"),
    [
        ((280, 250), (500, 200), "holds"),
        ((500, 200), (280, 250), "reversed"),
        ((150, 300), (210, 220), "untested"),
        ((150, 300), (210, 190), "holds"),
    ],
)
def test_gains_from_distortion_count_only_if_distortion_helps_a_network(
    tmp_path: Path, cosine: tuple[int, int], none: tuple[int, int], outcome: str
) -> None:
    """Before and after distortion. Where it harms both, to harm cosine more would be no support."""
    for technique, (plain, distorted) in (("cosine", cosine), ("none", none)):
        store(tmp_path, cifar(technique, (plain, plain + 3, plain - 3)))
        store(tmp_path, cifar(f"{technique}-augmented", (distorted, distorted + 4, distorted - 4)))
    effect = claims.entry(10, tmp_path).effects[0]
    assert effect.outcome == outcome
    if outcome == "untested":
        assert "not shown to save either network" in effect.missing
    else:
        assert effect.estimate == pytest.approx((cosine[0] - cosine[1]) - (none[0] - none[1]))


def test_harm_by_hand() -> None:
    scaled = {"test_error_scaled": [[0] * 5, [14, 12, 10, 11, 15], [24, 22, 20, 21, 25]]}
    run = made("magnitude", "none", 0, [9, 9, 9], extra=scaled)
    assert robustness.harm(run) == pytest.approx(np.mean([4, 2, 1, 5]))


def test_the_papers_thresholds_are_goals_of_their_own() -> None:
    names = [comparison.name for comparison in claims.CLAIMS["9"].comparisons]
    assert names[0] == "cosine, steps to 0.351, the paper <2,000"
    assert names[4] == "cosine-augmented, steps to 0.190, the paper <11,000"
    assert names[1:4] == [
        "none / cosine, steps to 0.351",
        "none / cosine, steps to the best of none",
        "none / cosine, 33 times fewer",
    ]
    assert claims.CLAIMS["9"].paper == (
        "steps: cosine <2,000, none 66,000, cosine-augmented <11,000, none-augmented 234,000"
    )


def test_overfitting_by_hand() -> None:
    run = made("newsgroups", "batch", 0, [900, 500, 600, 700])
    assert errors.rise(run) == 650 - 500
    assert errors.still_learning(run) == 650 - 500  # the made-up training errors equal the test errors


@pytest.mark.parametrize(
    ("last", "epochs", "verdict"), [(10, 100, "holds"), (90, 100, "contradicted"), (10, 20, "too early")]
)
def test_overfitting_needs_time_and_falling_training_errors(
    tmp_path: Path, last: int, epochs: int, verdict: str
) -> None:
    for seed in range(3):
        falling = {"train_error": [80, 50, *[last + seed] * (epochs - 2)]}
        risen = [900, 500, *[710 + seed] * (epochs - 2)]
        store(tmp_path, [made("newsgroups", "batch", seed, risen, extra=falling)])
        store(tmp_path, [made("newsgroups", "cosine", seed, [900, *[500] * (epochs - 1)])])
    assert claims.entry(12, tmp_path).verdict == verdict


def test_every_normalization_must_beat_the_baseline(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "none", HIGH), *(settled("mnist", n, LOW) for n in ("cosine", "batch")))
    store(
        tmp_path, settled("mnist", "weight", (190, 192, 189)), settled("mnist", "max_norm", (185, 189, 184))
    )
    assert claims.entry(27, tmp_path).verdict == "holds"
    store(tmp_path, settled("mnist", "max_norm", (240, 242, 239)))
    assert claims.entry(27, tmp_path).verdict == "contradicted"


def test_equal_searches_are_judged_on_three_datasets(tmp_path: Path) -> None:
    for name in ("relatives", "fair_newsgroups", "fair_cifar10"):
        size = {"batch_size": 128, "train_examples": 50_000} if name == "fair_cifar10" else {}
        store(tmp_path, settled(name, "cosine", LOW, **size), settled(name, "none", HIGH, **size))
    assert claims.entry(25, tmp_path).verdict == "holds"


@pytest.mark.parametrize(
    ("best", "epochs", "verdict"), [(1899, 3, "holds"), (1900, 300, "contradicted"), (1900, 3, "too early")]
)
def test_one_run_of_the_tutorial_is_enough(tmp_path: Path, best: int, epochs: int, verdict: str) -> None:
    curve = [3000, best, *[best + 50] * (epochs - 2)]
    store(tmp_path, [made("tutorial", "tutorial", 0, curve, scale="paper")])
    assert claims.entry(29, tmp_path).verdict == verdict


def test_the_highest_usable_rate() -> None:
    def run(rate: float, error: int):
        return made("rates", f"none-at-{rate:g}", 0, [error, error], norm="none", learning_rate=rate)

    grid = {0.1: run(0.1, 100), 1.0: run(1.0, 199), 3.0: run(3.0, 201)}
    assert optimization.highest_usable(grid) == 1.0
    lost = made("rates", "none-at-10", 0, [9], epochs=2, norm="none", learning_rate=10.0)
    assert optimization.highest_usable({10.0: lost}) is None


def sweep(norm: str, usable: float, seeds: int, rates: tuple[float, ...] = RATES):
    return [
        made("rates", competitor(norm, rate), seed, [90, 900 if rate > usable else 90 + seed],
             norm=norm, learning_rate=rate, tail=1)
        for rate in rates
        for seed in range(seeds)
    ]  # fmt: skip


def test_a_grid_is_that_of_the_technique_of_its_name() -> None:
    needs = optimization.rate_range("cosine", "weight").needs
    assert {run.technique.rpartition("-at-")[0] for run in needs} == {"cosine", "weight"}


def test_ranges_of_rates_need_seeds(tmp_path: Path) -> None:
    store(tmp_path, sweep("cosine", 10.0, 1), sweep("none", 0.3, 1))
    effect = claims.entry(11, tmp_path).effects[1]
    assert effect.outcome == "untested"
    assert "seed 0: 10 against 0.3" in effect.missing
    store(tmp_path, sweep("cosine", 10.0, 3), sweep("none", 0.3, 3))
    effect = claims.entry(11, tmp_path).effects[1]
    assert effect.outcome == "holds"
    assert effect.estimate == pytest.approx(10 / 0.3)
    assert effect.low is not None
    # All seeds agree, and a rate is known to a step of the grid: variance step^2 / 12 on both sides.
    error = math.sqrt(2 * math.log(10 / 3) ** 2 / 12 / 3)
    assert math.log(10 / 0.3) - math.log(effect.low) == pytest.approx(2.7764 * error, rel=1e-3)


def test_a_rival_usable_at_the_end_of_the_grid_is_not_beaten(tmp_path: Path) -> None:
    store(tmp_path, sweep("cosine", 30.0, 3), sweep("none", 30.0, 3))
    assert claims.entry(11, tmp_path).effects[1].outcome == "undecided"


@pytest.mark.parametrize(
    ("worst", "epochs", "outcome"), [(4499, 6, "holds"), (4501, 200, "reversed"), (4501, 6, "too early")]
)
def test_a_usable_rate_beats_guessing_by_half(tmp_path: Path, worst: int, epochs: int, outcome: str) -> None:
    curves = [[5000, *[final] * (epochs - 1)] for final in (100, worst)]
    store(tmp_path, [made("mnist", "cosine", seed, curve) for seed, curve in enumerate(curves)])
    assert claims.entry(11, tmp_path).effects[0].outcome == outcome


def test_the_identities_are_checks_that_can_fail() -> None:
    for check in (related.weight_norm, related.batch_norm, related.batching):
        assert check()[0] <= related.ROUNDING
    assert related.train_and_test()[0] == 0.0
    assert related.train_and_test("batch")[0] > 0.01
    assert related.batching("batch")[0] > 0.01
    assert claims.entry(16).verdict == "identity"


def test_layer_norms_backward_pass(tmp_path: Path) -> None:
    store(tmp_path, settled("relatives", "none", (200, 203, 201)))
    store(tmp_path, settled("relatives", "layer_simple", (150, 153, 150)))
    store(tmp_path, settled("relatives", "detach", (210, 212, 210)))
    assert claims.entry(20, tmp_path).verdict == "holds"
    store(tmp_path, settled("relatives", "detach", (151, 152, 150)))
    entry = claims.entry(20, tmp_path)
    assert [e.outcome for e in entry.effects] == ["holds", "undecided", "reversed"]
