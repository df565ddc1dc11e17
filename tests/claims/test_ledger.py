"""The ledger: no claim missing, verdicts by the stated table, and only from records that may judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosnorm import claims, experiments
from cosnorm.claims import Effect
from cosnorm.record import RecordError

from .made import made, put, settled

RIVALS = ("none", "batch", "weight", "max_norm")
LOW, HIGH = (100, 103, 101), (200, 205, 199)


def table_one(folder: Path, *experiments_: str, ours: tuple[int, ...] = LOW, scale: str = "short") -> Path:
    """Cosine against every rival."""
    for name in experiments_:
        put(folder, settled(name, "cosine", ours, scale=scale))
        put(folder, *(settled(name, rival, HIGH, scale=scale) for rival in RIVALS))
    return folder


def test_no_claim_is_missing_and_each_is_complete() -> None:
    assert list(claims.CLAIMS) == list(range(1, 25))
    known = experiments.registry()
    for number, claim in claims.CLAIMS.items():
        assert claim.number == number
        assert claim.title
        assert claim.rule.endswith(".")
        assert claim.statement.endswith(".")
        assert claim.source
        assert claim.comparisons
        assert set(claim.experiments) <= set(known)
        assert 1 <= claim.chapter <= 20
    assert len({claim.title for claim in claims.CLAIMS.values()}) == 24


def test_without_records_only_what_is_computed_has_a_verdict(tmp_path: Path) -> None:
    found = {entry.claim.number: entry.verdict for entry in claims.ledger(tmp_path)}
    assert {number for number, verdict in found.items() if verdict != "untested"} == {14, 16, 17}
    for entry in claims.ledger(tmp_path):
        if entry.verdict == "untested":
            assert entry.missing
            assert all(entry.missing)
    assert claims.best_scale("mnist", tmp_path) is None


def test_a_claim_that_holds_everywhere_is_reproduced(tmp_path: Path) -> None:
    entry = claims.entry(1, table_one(tmp_path, "mnist", "newsgroups"))
    assert entry.verdict == "reproduced"
    assert entry.scale == "short"
    assert entry.devices == ("a made-up processor",)
    assert len(entry.effects) == 8
    assert "mnist/short/cosine-seed0" in entry.records
    assert entry.patterns == ("mnist/short/*.json", "newsgroups/short/*.json")
    assert "After 20 of 200 epochs" in entry.note


def test_a_missing_rival_leaves_a_claim_partly_tested(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist")
    entry = claims.entry(1, tmp_path)
    assert entry.verdict == "partly"
    assert [e.outcome for e in entry.effects] == ["holds"] * 4 + ["untested"] * 4
    assert "cosnorm run newsgroups --norm cosine,none --scale short" in entry.missing[0]


def test_one_reversed_comparison_spoils_a_claim(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist", "newsgroups")
    put(tmp_path, settled("newsgroups", "max_norm", (50, 52, 49)))
    entry = claims.entry(1, tmp_path)
    assert entry.verdict == "not reproduced"
    assert not entry.undecided
    assert entry.main.name == "cosine \u2212 max_norm, newsgroups"
    assert entry.main.outcome == "reversed"


def test_undecided_is_not_reproduced_and_says_so(tmp_path: Path) -> None:
    entry = claims.entry(1, table_one(tmp_path, "mnist", ours=(100, 350, 190)))
    assert entry.verdict == "not reproduced"
    assert entry.undecided
    assert entry.note.startswith("Undecided.")
    assert entry.main.low is not None
    assert entry.main.high is not None
    assert entry.main.low < 0 < entry.main.high


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ("untested untested", "untested"),
        ("holds holds", "reproduced"),
        ("holds untested", "partly"),
        ("holds undecided", "partly"),
        ("holds reversed", "not reproduced"),
        ("undecided untested", "not reproduced"),
        ("reversed untested", "not reproduced"),
    ],
)
def test_the_table_of_verdicts(outcomes: str, verdict: str) -> None:
    effects = [Effect("a", outcome, "") for outcome in outcomes.split()]  # type: ignore[arg-type]
    assert claims.verdict(effects) == verdict


def test_smoke_records_never_judge(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist", "newsgroups", scale="smoke")
    assert claims.entry(1, tmp_path).verdict == "untested"
    assert claims.best_scale("mnist", tmp_path) is None


def test_the_papers_scale_is_used_where_it_is_complete(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist", ours=(300, 302, 301))
    table_one(tmp_path, "mnist", scale="paper")
    entry = claims.entry(1, tmp_path)
    assert {e.scale for e in entry.effects[:4]} == {"paper"}
    assert {e.outcome for e in entry.effects[:4]} == {"holds"}
    assert claims.best_scale("mnist", tmp_path) == "paper"


def test_scales_are_never_mixed_in_a_comparison(tmp_path: Path) -> None:
    """At the paper's scale the last rival has too few seeds: that comparison, whole, falls back to short."""
    table_one(tmp_path, "mnist", ours=(300, 302, 301))
    put(tmp_path, settled("mnist", "cosine", LOW, scale="paper"))
    put(tmp_path, settled("mnist", "none", HIGH, scale="paper"))
    put(tmp_path, settled("mnist", "max_norm", HIGH[:2], scale="paper"))
    effects = {e.name: e for e in claims.entry(1, tmp_path).effects}
    assert effects["cosine \u2212 none, mnist"].scale == "paper"
    fallen = effects["cosine \u2212 max_norm, mnist"]
    assert (fallen.scale, fallen.outcome) == ("short", "reversed")
    assert all("/short/" in name for name in fallen.records)
    assert claims.best_scale("mnist", tmp_path) == "short"


def test_one_pair_is_no_comparison(tmp_path: Path) -> None:
    put(tmp_path, settled("mnist", "cosine", LOW), settled("mnist", "none", HIGH[:1]))
    effect = claims.entry(1, tmp_path).effects[0]
    assert effect.outcome == "untested"
    assert "seeds in common: 1" in effect.missing


def test_a_diverged_run_cannot_be_part_of_a_success(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist")
    put(tmp_path, [made("mnist", "cosine", 3, [500], epochs=3)])
    entry = claims.entry(1, tmp_path)
    assert {e.outcome for e in entry.effects[:4]} == {"undecided"}
    assert "1 runs of cosine diverged" in entry.note
    assert claims.entry(11, tmp_path).effects[0].outcome == "reversed"


def test_a_technique_that_always_diverges_has_lost_and_a_rival_is_untested(tmp_path: Path) -> None:
    lost = [made("mnist", "cosine", seed, [500], epochs=3) for seed in range(3)]
    put(tmp_path, lost, settled("mnist", "none", HIGH))
    effect = claims.entry(1, tmp_path).effects[0]
    assert effect.outcome == "reversed"
    put(tmp_path, settled("mnist", "cosine", LOW))
    put(tmp_path, [made("mnist", "none", seed, [500], epochs=3) for seed in range(3)])
    effect = claims.entry(1, tmp_path).effects[0]
    assert effect.outcome == "untested"
    assert effect.missing == "every run of none diverged in mnist"


def test_runs_of_two_experiments_must_match(tmp_path: Path) -> None:
    put(tmp_path, settled("mnist", "cosine", LOW), settled("noise", "cosine-dropout", LOW))
    assert claims.entry(6, tmp_path).effects[0].outcome == "undecided"
    put(tmp_path, settled("noise", "cosine-dropout", LOW, train_examples=100))
    with pytest.raises(RecordError, match="differ in train_examples"):
        claims.entry(6, tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist")
    (tmp_path / "mnist" / "short" / "cosine-seed0.json").write_text("{")
    with pytest.raises(RecordError, match=r"cosine-seed0\.json is damaged"):
        claims.ledger(tmp_path)


def test_adjusted_p_values_follow_benjamini_and_yekutieli(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist", "newsgroups", ours=(100, 350, 190))
    effects = [e for entry in claims.ledger(tmp_path) for e in entry.effects if e.p is not None]
    p = np.array([e.p for e in effects])
    order = np.argsort(p)
    m = len(p)
    scaled = p[order] * m * np.sum(1 / np.arange(1, m + 1)) / np.arange(1, m + 1)
    wanted = np.minimum(1, np.minimum.accumulate(scaled[::-1])[::-1])
    np.testing.assert_allclose([effects[k].adjusted for k in order], wanted)


def test_one_claim_is_summed_up_by_its_number(tmp_path: Path) -> None:
    put(
        tmp_path, settled("depth", "cosine-2-layers", LOW), settled("depth", "cosine-3-layers", (90, 300, 10))
    )
    assert claims.ledger(tmp_path, chapter=15).summary == "Claim 7 is not reproduced (undecided)."
    assert claims.ledger(tmp_path, chapter=13).summary == "Claim 3 is untested."
    assert "no claim" in claims.ledger(tmp_path, chapter=99).summary


def test_what_a_notebook_stores_holds_no_addresses(tmp_path: Path) -> None:
    ledger = claims.ledger(tmp_path, chapter=15)
    assert repr(ledger) == str(ledger)
    assert repr(ledger[0]) == str(ledger[0])
    assert " at 0x" not in repr(ledger) + repr(ledger[0])


def test_adjustment_does_not_depend_on_the_chapter(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist", "newsgroups", ours=(100, 350, 190))
    (everything,) = (entry for entry in claims.ledger(tmp_path) if entry.claim.number == 1)
    assert everything in claims.ledger(tmp_path, chapter=16)
    assert [e.claim.number for e in claims.ledger(tmp_path, chapter=16)] == [1, 2, 12]
    assert not claims.ledger(tmp_path, chapter=99)


def test_texts_hold_every_comparison_and_bad_news_first(tmp_path: Path) -> None:
    ledger = claims.ledger(table_one(tmp_path, "mnist", "newsgroups"))
    verdicts = [entry.verdict for entry in ledger.bad_news_first]
    assert verdicts == sorted(verdicts, key=claims.VERDICTS.index)
    assert [entry.claim.number for entry in ledger] == list(range(1, 25))
    counts = sum(ledger.count(verdict) for verdict in claims.VERDICTS)
    assert counts == 24
    assert ledger.summary.startswith("Of 24 claims ")
    assert ledger._repr_markdown_().count("\n| ") == 2 + 24
    for entry in ledger:
        assert all(effect.name in str(entry) for effect in entry.effects)
        assert entry._repr_markdown_().count("\n| ") == 2 + len(entry.effects)
        assert entry.claim.rule in str(entry)


def test_numbers_outside_the_ledger_are_refused() -> None:
    with pytest.raises(ValueError, match="numbered from 1 to 24"):
        claims.entry(25)


def test_experiments_name_the_claims_that_they_decide() -> None:
    for claim in claims.CLAIMS.values():
        for name in claim.experiments:
            assert claim.number in experiments.get(name).claims, f"{name} lacks claim {claim.number}"
