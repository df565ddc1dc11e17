"""Each rule of judging has a test that fails if the rule is broken: verdicts, Holm, guards, eligible runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from synthetic import store

from cosnorm import claims
from cosnorm.claims import Effect
from cosnorm.claims._judging import LESS, MORE, Criterion, outcome, steps_below, verdict
from cosnorm.claims._judging import speed as fewer_steps
from cosnorm.claims._records import Records, moves, share, too_early
from cosnorm.evidence.statistics import mean_of
from cosnorm.record import RecordError

from .made import made, settled

LOW, HIGH = (100, 103, 101), (200, 205, 199)
FALLING = [500, 400, 350, 300, 250, 220]


def judged(
    *outcomes: str, p: Sequence[float | None] | None = None, failed: Sequence[bool] = ()
) -> list[Effect]:
    """Effects of these outcomes, decided ones with a small p-value."""
    sure = {"holds": 0.001, "reversed": 0.001, "undecided": 0.5, "too early": 0.001}
    found = p or [sure.get(kind) for kind in outcomes]
    lost = failed or [False] * len(outcomes)
    return [
        Effect(f"{k}", kind, "", p=value, failed=no)  # type: ignore[arg-type]
        for k, (kind, value, no) in enumerate(zip(outcomes, found, lost, strict=True))
    ]


# -- from comparisons to a verdict ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("untested", "untested"), "untested"),
        (("holds", "holds"), "holds"),
        (("holds", "untested"), "holds in part"),
        (("holds", "undecided"), "holds in part"),
        (("holds", "too early"), "holds in part"),
        (("holds", "reversed"), "contradicted"),
        (("reversed", "too early", "untested"), "contradicted"),
        (("undecided", "untested"), "undecided"),
        (("undecided", "too early"), "too early"),
        (("too early", "untested"), "too early"),
    ],
)
def test_the_table_of_verdicts(outcomes: tuple[str, ...], expected: str) -> None:
    assert verdict(judged(*outcomes))[0] == expected
    assert expected in claims.VERDICTS


def test_all_comparisons_hold_at_five_percent_each_without_correction() -> None:
    """An intersection-union test: Holm's correction of eight p-values of 0.04 would reject none."""
    found, effects = verdict(judged(*["holds"] * 8, p=[0.04] * 8))
    assert found == "holds"
    assert {e.holm for e in effects} == {None}


@pytest.mark.parametrize(
    ("outcomes", "p", "expected"),
    [
        (("holds", "undecided"), (0.02, 0.3), "holds in part"),
        (("holds", "undecided"), (0.03, 0.3), "undecided"),
        (("reversed", "undecided"), (0.02, 0.3), "contradicted"),
        (("reversed", "undecided"), (0.03, 0.3), "undecided"),
        (("reversed", "holds"), (0.04, 0.001), "contradicted"),
        (("reversed", "holds"), (0.04, 0.03), "undecided"),
    ],
)
def test_picking_among_comparisons_needs_holms_correction(
    outcomes: tuple[str, ...], p: tuple[float, ...], expected: str
) -> None:
    found, effects = verdict(judged(*outcomes, p=p))
    assert found == expected
    for effect, value in zip(effects, p, strict=True):
        assert effect.holm is not None
        assert effect.holm >= value
        if effect.outcome == "undecided" and value < 0.05:
            assert "not after Holm's correction" in effect.missing


def test_only_tested_comparisons_share_the_correction() -> None:
    """A comparison that came too early is not looked at: its p-value costs the others nothing."""
    found, effects = verdict(judged("holds", "too early", "untested", p=[0.04, 0.001, None]))
    assert found == "holds in part"
    assert effects[1].holm is None
    assert not effects[1].test, "no p-value that decides nothing is printed"


def test_a_reading_whose_network_never_learned_does_not_count_among_alternatives() -> None:
    effects = judged("untested", "holds", failed=(True, False))
    assert verdict(effects, either=True)[0] == "holds"
    assert verdict(effects)[0] == "holds in part"
    assert verdict(judged("untested", "holds"), either=True)[0] == "holds in part", (
        "runs that lack are no reading"
    )
    assert verdict(judged("untested", "untested", failed=(True, True)), either=True)[0] == "untested"


def test_identities_are_a_verdict_of_their_own_and_can_fail() -> None:
    assert verdict(judged("holds", p=[None]), identity=True)[0] == "identity"
    assert verdict(judged("reversed", p=[None]), identity=True)[0] == "contradicted"


# -- criteria ------------------------------------------------------------------------------------------

samples = st.lists(st.integers(-40, 40).map(float), min_size=3, max_size=6).filter(lambda v: len(set(v)) > 1)


@given(
    samples,
    st.sampled_from(["less", "more", "not above", "not below", "within"]),
    st.sampled_from([0.0, 10.0]),
)
def test_outcomes_can_be_read_from_the_interval_that_is_shown(
    values: list[float], kind: str, bound: float
) -> None:
    if kind == "within":
        bound = 10.0
    criterion = Criterion(kind, bound)  # type: ignore[arg-type]
    found = mean_of(values)
    band = found.at(criterion.level)
    assert band is not None
    inside = {
        "less": (band.high < bound, band.low > bound),
        "not above": (band.high < bound, band.low > bound),
        "more": (band.low > bound, band.high < bound),
        "not below": (band.low > bound, band.high < bound),
        "within": (-bound < band.low and band.high < bound, band.low > bound or band.high < -bound),
    }[kind]
    if min(abs(end - side) for end in (band.low, band.high) for side in (bound, -bound)) > 1e-9:
        expected = "holds" if inside[0] else "reversed" if inside[1] else "undecided"
        assert outcome(criterion, found)[0] == expected


@given(samples)
def test_p_values_are_those_of_scipys_tests(values: list[float]) -> None:
    found = mean_of(values)
    two = stats.ttest_1samp(values, 0.0).pvalue
    assert outcome(LESS, found)[1] == pytest.approx(two, abs=1e-9)
    assert outcome(MORE, found)[1] == pytest.approx(two, abs=1e-9)
    one = [stats.ttest_1samp(values, 10.0, alternative=side).pvalue for side in ("less", "greater")]
    assert outcome(Criterion("not above", 10.0), found)[1] == pytest.approx(min(one), abs=1e-9)
    inside = max(
        stats.ttest_1samp(values, bound, alternative=side).pvalue
        for bound, side in ((-10.0, "greater"), (10.0, "less"))
    )
    within, p = outcome(Criterion("within", 10.0), found)
    if within == "holds":
        assert p == pytest.approx(inside, abs=1e-9)
        assert inside <= 0.05


def test_levels_are_95_from_two_sides_and_90_for_margins() -> None:
    assert (LESS.level, MORE.level) == (0.95, 0.95)
    assert {Criterion(kind, 1.0).level for kind in ("not above", "not below", "within")} == {0.9}  # type: ignore[arg-type]


def test_seeds_that_agree_exactly_have_no_interval_and_say_so(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", [100] * 3), settled("mnist", "none", [150] * 3))
    effect = claims.entry(1, tmp_path).effects[0]
    assert (effect.outcome, effect.estimate, effect.p, effect.low) == ("undecided", -50, None, None)
    assert "agree exactly" in effect.missing
    assert "CI" not in effect.words


# -- too early -----------------------------------------------------------------------------------------


def runs(curve: Sequence[int], technique: str = "none", scale: str = "short", n: int = 3):
    return [made("mnist", technique, seed, curve, scale=scale) for seed in range(n)]


def test_curves_move_if_the_last_doubling_changed_them() -> None:
    still = [500, *[200] * 19]
    assert not moves(runs(still))
    assert moves(runs([*[211] * 10, *[200] * 10]))
    assert not moves(runs([*[210] * 10, *[200] * 10])), "0.1 % of the test examples is the bound"
    assert moves(runs([*[200] * 10, *[211] * 10])), "a rise is a movement as well"
    assert not moves(runs([*[2035] * 10, *[2000] * 10])), "two percent of the errors is a bound too"
    assert moves(runs([*[2045] * 10, *[2000] * 10]))


def test_one_wild_evaluation_is_no_movement() -> None:
    assert not moves(runs([*[200] * 9, 900, *[200] * 10]))
    assert not moves(runs([*[200] * 19, 900]))


def test_movement_is_that_of_the_mean_over_seeds() -> None:
    up, down = runs([*[180] * 10, *[200] * 10], n=1), runs([*[220] * 10, *[200] * 10], n=1)
    assert moves(up)
    assert moves(down)
    assert not moves([*up, *down])


def test_the_papers_length_is_data_of_the_experiments() -> None:
    assert share(runs([1] * 20)[0]) == 0.1
    cifar = {"batch_size": 128, "train_examples": 50_000}
    plain, distorted, cosine = (
        made("cifar10", name, 0, [1] * 169, **cifar) for name in ("none", "none-augmented", "cosine")
    )
    assert share(plain) == 1
    assert share(distorted) == pytest.approx(66_079 / 234_000, abs=0.001)
    assert share(cosine) == pytest.approx(66_079 / 24_000, rel=0.01)
    assert share(made("newsgroups", "none", 0, [1] * 100)) == 0.5
    assert share(made("noise", "cosine-dropout", 0, [1] * 50)) == 0.25


@pytest.mark.parametrize(
    ("epochs", "rival", "late", "early"),
    [
        (20, False, False, True),
        (20, False, True, True),
        (99, False, False, True),
        (100, False, False, False),
        (100, False, True, False),
        (100, True, False, True),
        (198, True, False, False),
        (200, True, True, False),
    ],
)
def test_a_moving_run_is_too_early_below_half_and_a_baseline_below_the_whole(
    epochs: int, rival: bool, late: bool, early: bool
) -> None:
    group = runs([2000 - 9 * k for k in range(epochs)])
    why = too_early([group], ("none",) if rival else (), late)
    assert bool(why) is early
    if early and not late:
        assert "the plain network still moves" in why


def test_runs_at_rest_are_judged_at_any_length_except_about_the_end_of_training() -> None:
    group = runs([500, *[200] * 19])
    assert too_early([group], ("none",)) == ""
    assert "less than half the paper's 200" in too_early([group], (), late=True)


def test_too_early_keeps_the_numbers_and_drops_the_decision(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", LOW))
    store(tmp_path, [made("mnist", "none", s, [e + 3 * s for e in FALLING]) for s in range(3)])
    entry = claims.entry(27, tmp_path)
    effect = entry.effects[0]
    assert entry.verdict == "too early"
    assert (effect.outcome, effect.test) == ("too early", "")
    assert effect.estimate is not None
    assert effect.estimate < 0
    assert "the plain network still moves after 6 of 200 epochs" in entry.note


# -- eligible runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("errors", "outcome_"), [(7190, "holds"), (7210, "untested")])
@pytest.mark.parametrize("key", ["1", "13", "26"])
def test_a_network_near_guessing_cannot_be_beaten_in_any_claim(
    tmp_path: Path, key: str, errors: int, outcome_: str
) -> None:
    """Guessing makes 9000 errors; four fifths of them are the limit, on average."""
    for name in ("mnist", "newsgroups"):
        store(tmp_path, settled(name, "cosine", LOW), settled(name, "none", HIGH))
        store(tmp_path, settled(name, "weight", [errors, errors + 9, errors - 9]))
    (effect,) = [
        e for e in claims.entry(key, tmp_path).effects if "weight" in e.name and "mnist" in e.name
    ] or [claims.entry(key, tmp_path).effects[0]]
    if key == "13" and outcome_ == "holds":
        outcome_ = "reversed"  # far more errors than the plain network, but it has learned
    if key == "26" and outcome_ == "holds":
        outcome_ = "undecided"  # all arrive in the same epoch
    assert effect.outcome == outcome_
    assert outcome_ != "untested" or "near guessing" in effect.missing
    assert effect.failed is (outcome_ == "untested")


def test_smoke_records_never_judge(tmp_path: Path) -> None:
    for rival, finals in (("cosine", LOW), ("none", HIGH)):
        store(tmp_path, settled("mnist", rival, finals, scale="smoke"))
    assert claims.entry(27, tmp_path).verdict == "untested"
    assert claims.best_scale("mnist", tmp_path) is None


def test_scales_are_never_mixed_in_a_comparison(tmp_path: Path) -> None:
    """At the paper's scale the last rival has too few seeds: that comparison, whole, falls back to short."""
    rivals = ("none", "batch", "weight", "max_norm")
    store(tmp_path, settled("mnist", "cosine", (300, 302, 301)), *(settled("mnist", r, HIGH) for r in rivals))
    store(
        tmp_path,
        settled("mnist", "cosine", LOW, scale="paper"),
        settled("mnist", "none", HIGH, scale="paper"),
    )
    store(tmp_path, settled("mnist", "max_norm", HIGH[:2], scale="paper"))
    effects = {e.name: e for e in claims.entry(1, tmp_path).effects}
    assert effects["cosine \u2212 none, mnist"].scale == "paper"
    fallen = effects["cosine \u2212 max_norm, mnist"]
    assert (fallen.scale, fallen.outcome) == ("short", "reversed")
    assert all("/short/" in name for name in fallen.records)
    assert claims.best_scale("mnist", tmp_path) == "short"


def test_one_run_is_no_comparison(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", LOW), settled("mnist", "none", HIGH[:1]))
    effect = claims.entry(1, tmp_path).effects[0]
    assert effect.outcome == "untested"
    assert "finished runs of none in mnist: 1" in effect.missing


def test_a_diverged_run_cannot_be_part_of_a_success(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", LOW), settled("mnist", "none", HIGH))
    assert claims.entry(27, tmp_path).effects[0].outcome == "holds"
    store(tmp_path, [made("mnist", "cosine", 3, [500], epochs=6)])
    entry = claims.entry(27, tmp_path)
    assert entry.effects[0].outcome == "undecided"
    assert "diverged runs of the favored technique: 1" in entry.note
    assert claims.entry(11, tmp_path).effects[0].outcome == "reversed"


def test_a_technique_that_always_diverges_has_lost_and_a_rival_is_untested(tmp_path: Path) -> None:
    lost = [made("mnist", "cosine", seed, [500], epochs=6) for seed in range(3)]
    store(tmp_path, lost, settled("mnist", "none", HIGH))
    assert claims.entry(27, tmp_path).effects[0].outcome == "reversed"
    store(tmp_path, settled("mnist", "cosine", LOW))
    store(tmp_path, [made("mnist", "none", seed, [500], epochs=6) for seed in range(3)])
    effect = claims.entry(27, tmp_path).effects[0]
    assert (effect.outcome, effect.failed) == ("untested", True)
    assert effect.missing == "every run of none diverged in mnist"


def test_runs_of_two_experiments_must_match(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", LOW), settled("noise", "cosine-dropout", (90, 95, 91)))
    assert claims.entry(6, tmp_path).effects[0].outcome == "holds"
    store(tmp_path, settled("noise", "cosine-dropout", LOW, train_examples=100))
    with pytest.raises(RecordError, match="differ in train_examples"):
        claims.entry(6, tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", LOW))
    (tmp_path / "mnist" / "short" / "cosine-seed0.json").write_text("{")
    with pytest.raises(RecordError, match=r"cosine-seed0\.json is damaged"):
        claims.ledger(tmp_path)


def test_an_effect_is_welchs_test_of_the_scores(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", LOW), settled("mnist", "none", (*HIGH, 210)))
    effect = claims.entry(27, tmp_path).effects[0]
    test = stats.ttest_ind(LOW, (*HIGH, 210), equal_var=False)
    assert effect.p == pytest.approx(test.pvalue)
    assert (effect.low, effect.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert (effect.n, effect.level) == ("3 and 4", 0.95)


# -- speed ---------------------------------------------------------------------------------------------

COSINE, NONE = claims.Run("cifar10", "cosine"), claims.Run("cifar10", "none")


def cifar(technique: str, curves: Sequence[Sequence[int]], **settings: object):
    """Runs of ten steps per epoch."""
    size = {"batch_size": 128, "train_examples": 1280, **settings}
    return [made("cifar10", technique, seed, curve, **size) for seed, curve in enumerate(curves)]


def speed(folder: Path, goal, factor: float = 1.0) -> Effect:
    return fewer_steps("s", COSINE, NONE, goal, factor).judge(Records(folder))


def test_a_factor_has_the_mean_and_the_error_of_logarithms(tmp_path: Path) -> None:
    store(tmp_path, cifar("none", [[900, 800, 700, 300], [900, 800, 300, 300], [900, 800, 700, 300]]))
    store(tmp_path, cifar("cosine", [[400, 200, 180, 150], [400, 200, 180, 150], [300, 190, 180, 150]]))
    effect = speed(tmp_path, 300.0)
    slow, fast = np.log([35, 25, 35]), np.array([math.log(15), math.log(15), math.log(10) - 1])
    assert effect.estimate == pytest.approx(math.exp(slow.mean() - fast.mean()))
    grid = [np.mean([math.log(b / a) ** 2 / 12 for a, b in ((30, 40), (20, 30), (30, 40))])]
    grid += [np.mean([math.log(2) ** 2 / 12] * 2 + [1.0])]
    error = math.sqrt(
        sum((np.var(side, ddof=1) + more) / 3 for side, more in zip((slow, fast), grid, strict=True))
    )
    assert effect.low is not None
    assert effect.high is not None
    middle = (math.log(effect.low) + math.log(effect.high)) / 2
    assert middle == pytest.approx(math.log(effect.estimate))
    assert (math.log(effect.high) - math.log(effect.low)) / 2 > error * 1.96


def test_who_never_arrives_decides_only_against_itself(tmp_path: Path) -> None:
    store(tmp_path, cifar("none", [[900, *[800 + s] * 99] for s in range(3)]))
    store(tmp_path, cifar("cosine", [[*[500 + s] * 3, *[300] * 97] for s in range(3)]))
    assert speed(tmp_path, 300.0).outcome == "holds", "the plain network took at least a hundred epochs"
    assert "at least" in speed(tmp_path, 300.0).said
    assert speed(tmp_path, 300.0, factor=1e6).outcome == "undecided", "it may have taken any number"
    store(tmp_path, cifar("none", [[900, *[250 + s] * 99] for s in range(3)]))
    store(tmp_path, cifar("cosine", [[500 + s] * 100 for s in range(3)]))
    assert speed(tmp_path, 300.0).outcome == "reversed"
    store(tmp_path, cifar("none", [[900, *[800 + s] * 99] for s in range(3)]))
    neither = speed(tmp_path, 300.0)
    assert neither.outcome == "too early"
    assert "neither network always got" in neither.missing


def test_the_best_of_a_baseline_that_still_falls_is_no_goal(tmp_path: Path) -> None:
    store(tmp_path, cifar("none", [[2000 - 9 * k + s for k in range(100)] for s in range(3)]))
    store(tmp_path, cifar("cosine", [[900] * 100] * 3))
    assert speed(tmp_path, "best").outcome == "too early"
    store(tmp_path, cifar("none", [[2000, *[1000] * (30 + s), *[995] * (69 - s)] for s in range(3)]))
    assert speed(tmp_path, "best").outcome == "holds"


def test_the_goal_of_both_scores_is_the_larger(tmp_path: Path) -> None:
    store(tmp_path, cifar("none", [[900, 800, *[300] * 6]] * 3), cifar("cosine", [[209, *[200] * 7]] * 3))
    assert "300.0 errors" in speed(tmp_path, "scores").said


@pytest.mark.parametrize(
    ("curve", "bound", "outcome_"),
    [
        ([900, 200, 100, 100], 1000, "holds"),
        ([900, 800, *[200] * 30], 15, "reversed"),
        ([900] * 30, 100, "reversed"),
        ([900] * 4, 100, "too early"),
    ],
)
def test_steps_against_a_number(tmp_path: Path, curve: list[int], bound: float, outcome_: str) -> None:
    store(tmp_path, cifar("cosine", [curve] * 3))
    effect = steps_below("s", COSINE, 200.0, bound).judge(Records(tmp_path))
    if outcome_ == "reversed" and len(set(curve)) == 1:
        assert effect.outcome == "undecided"  # all runs end at once: no spread, and no interval
        store(tmp_path, cifar("cosine", [[900] * 30, [900] * 30, [*[900] * 29, 200]]))
        effect = steps_below("s", COSINE, 200.0, bound).judge(Records(tmp_path))
    assert effect.outcome == outcome_
