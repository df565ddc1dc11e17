"""The ledger: no claim missing, its texts in good English, and honest about when its rules were fixed."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import store

from cosnorm import claims, experiments
from cosnorm.claims import Rules
from tools import rules as tool

from .made import made, settled

#: The package's name ``ledger`` is the function.
module = importlib.import_module("cosnorm.claims.ledger")

RIVALS = ("none", "batch", "weight", "max_norm")
LOW, HIGH = (100, 103, 101), (200, 205, 199)
KEYS = ["1", "2", "3a", "3b", *map(str, range(4, 30))]


def table_one(folder: Path, *experiments_: str, ours: tuple[int, ...] = LOW, scale: str = "short") -> Path:
    """Cosine against every rival."""
    for name in experiments_:
        store(folder, settled(name, "cosine", ours, scale=scale))
        store(folder, *(settled(name, rival, HIGH, scale=scale) for rival in RIVALS))
    return folder


def test_no_claim_is_missing_and_each_is_complete() -> None:
    assert list(claims.CLAIMS) == KEYS
    known = experiments.registry()
    for key, claim in claims.CLAIMS.items():
        assert claim.key == key
        assert claim.title
        assert claim.rule.endswith(".")
        assert claim.statement.endswith(".")
        assert claim.source
        assert claim.comparisons
        assert set(claim.experiments) <= set(known)
        assert 1 <= claim.chapters[0] <= 20
        for run in claim.needs:
            assert run.technique in known[run.experiment].techniques
    assert len({claim.title for claim in claims.CLAIMS.values()}) == len(KEYS)
    assert [key for key, claim in claims.CLAIMS.items() if claim.identity] == ["14", "16", "17"]


def test_experiments_and_claims_name_each_other() -> None:
    """Only the claims say it: the other direction is derived."""
    for key, claim in claims.CLAIMS.items():
        for name in claim.experiments:
            assert key in claims.of(name)
    assert claims.of("relatives") == ("4", "18", "20", "21", "23", "24", "25")
    assert claims.of("svhn") == ()


def test_without_records_only_what_is_computed_has_a_verdict(tmp_path: Path) -> None:
    ledger = claims.ledger(tmp_path)
    found = {entry.claim.key: entry.verdict for entry in ledger}
    assert {key for key, verdict in found.items() if verdict != "untested"} == {"14", "16", "17"}
    for entry in ledger:
        assert entry.verdict == "identity" or all(effect.missing for effect in entry.effects)
    assert claims.best_scale("mnist", tmp_path) is None
    assert ledger.first == ""
    assert "No record at the paper's length that they judge exists yet" in ledger.dates


def test_a_claim_that_holds_everywhere_holds(tmp_path: Path) -> None:
    entry = claims.entry(1, table_one(tmp_path, "mnist", "newsgroups"))
    assert entry.verdict == "holds"
    assert entry.scale == "short"
    assert entry.devices == ("a made-up processor",)
    assert entry.note == "All 8 comparisons hold."
    assert "mnist/short/cosine-seed0" in entry.records
    assert entry.patterns == ("mnist/short/*.json", "newsgroups/short/*.json")


def test_a_missing_rival_leaves_a_claim_partly_tested(tmp_path: Path) -> None:
    entry = claims.entry(1, table_one(tmp_path, "mnist"))
    assert entry.verdict == "holds in part"
    assert [e.outcome for e in entry.effects] == ["holds"] * 4 + ["untested"] * 4
    assert "cosnorm run newsgroups --norm cosine,none --scale short" in entry.effects[4].missing
    assert entry.note == "Of 8 comparisons 4 hold and 4 are untested."


def test_one_reversed_comparison_contradicts_a_claim(tmp_path: Path) -> None:
    table_one(tmp_path, "mnist", "newsgroups")
    store(tmp_path, settled("newsgroups", "max_norm", (50, 52, 49)))
    entry = claims.entry(1, tmp_path)
    assert entry.verdict == "contradicted"
    assert entry.main.name == "cosine \u2212 max_norm, newsgroups"
    assert entry.note == "Of 8 comparisons 1 is reversed and 7 hold."


def test_what_was_seen_is_one_sentence_for_each_length(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", LOW), settled("mnist", "none", HIGH))
    store(tmp_path, settled("mnist", "batch", (100, 140, 60)))
    seen = claims.entry(1, tmp_path).seen
    assert seen.startswith(
        "After 6 of 200 epochs on MNIST, cosine makes 100.0 fewer errors than the plain network (95 % CI "
        "93.3 to"
    )
    assert "; cosine makes 1.3 more errors than batch norm (95 % CI \u2212" in seen
    assert seen.endswith("n = 3).")
    assert claims.entry(5, tmp_path).seen == "No eligible runs have been seen yet."


def test_shared_runs_are_named(tmp_path: Path) -> None:
    entry = claims.entry(27, table_one(tmp_path, "mnist"))
    assert ("13", 6) in entry.shared
    assert ("11", 3) in entry.shared
    assert entry.sharing.startswith("Of its 15 runs, these decide other claims too: 15 in claim 1, ")
    assert not claims.entry(14, tmp_path).sharing


def test_what_is_missing_is_counted_against_the_papers_scale(tmp_path: Path) -> None:
    store(tmp_path, settled("depth", "cosine-2-layers", LOW, scale="paper"))
    missing = claims.entry(7, tmp_path).missing
    seeds = experiments.get("depth").scales["paper"].seeds
    assert missing.startswith(
        f"Still missing for a final verdict: {4 * seeds - 3} runs, made by `cosnorm run depth"
    )
    assert "--scale paper" in missing
    assert "--scale short" in claims.entry(11, tmp_path).missing, "the search is complete at scale short"
    assert not claims.entry(16, tmp_path).missing


def test_the_summary_counts_every_verdict_and_no_identity(tmp_path: Path) -> None:
    store(
        tmp_path, settled("depth", "cosine-2-layers", LOW), settled("depth", "cosine-3-layers", (90, 300, 10))
    )
    assert claims.ledger(tmp_path, chapter=15).summary == "Claim 7: undecided."
    assert claims.ledger(tmp_path, chapter=10).summary == "3 identities were checked."
    assert "no claim" in claims.ledger(tmp_path, chapter=99).summary
    table_one(tmp_path, "mnist", "newsgroups")
    ledger = claims.ledger(tmp_path)
    counts = [text.split(" ")[0] for text in re.split(r", | and ", ledger.summary.partition(". ")[0])[1:]]
    assert sum(map(int, counts)) == 27
    assert "Of 27 claims, " in ledger.summary
    assert ledger.summary.endswith(". Besides, 3 identities were checked, and not counted as findings.")
    assert sum(ledger.count(verdict) for verdict in claims.VERDICTS) == len(ledger) == len(KEYS)


def test_what_a_notebook_stores_holds_no_addresses(tmp_path: Path) -> None:
    ledger = claims.ledger(tmp_path, chapter=15)
    assert repr(ledger) == str(ledger)
    assert repr(ledger[0]) == str(ledger[0])
    assert " at 0x" not in repr(ledger) + repr(ledger[0])


def test_chapters_pick_their_claims(tmp_path: Path) -> None:
    assert [e.claim.key for e in claims.ledger(tmp_path, chapter=16)] == ["1", "2", "12", "26"]
    assert [e.claim.key for e in claims.ledger(tmp_path, chapter=13)] == ["3a", "3b"]
    assert not claims.ledger(tmp_path, chapter=99)


def test_texts_hold_every_comparison_and_bad_news_first(tmp_path: Path) -> None:
    ledger = claims.ledger(table_one(tmp_path, "mnist", "newsgroups"))
    verdicts = [entry.verdict for entry in ledger.bad_news_first]
    assert verdicts == sorted(verdicts, key=claims.VERDICTS.index)
    assert ledger._repr_markdown_().count("\n| ") == 2 + len(KEYS)
    for entry in ledger:
        text = str(entry)
        assert all(effect.name in text for effect in entry.effects)
        assert entry._repr_markdown_().count("\n| ") == 2 + len(entry.effects)
        assert entry.claim.rule in text
        assert entry.seen in text
        for wrong in ("1 are", "0 have", "  of", "(s)", " 1 runs", "None", "nan"):
            assert wrong not in entry.note + entry.seen + entry.sharing + entry.missing, (
                entry.claim.key,
                wrong,
            )


@pytest.mark.parametrize(("key", "message"), [(30, "numbered from 1 to 29"), (3, "the parts 3a and 3b")])
def test_claims_that_are_not_there_are_refused(key: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        claims.entry(key)


def test_a_claim_is_found_by_number_or_by_part(tmp_path: Path) -> None:
    assert claims.entry(4, tmp_path).claim is claims.entry("4", tmp_path).claim
    assert claims.entry("3b", tmp_path).anchor == "claim-03b"


# -- when the rules were fixed -------------------------------------------------------------------------


def test_the_rules_are_those_that_were_written_down() -> None:
    """If this fails the rules have changed: python -m tools.rules "what was changed and why"."""
    assert tool.problems() == []
    states = claims.rules()
    assert states[-1].sha256 == claims.rules_digest()
    assert [state.date for state in states] == sorted(state.date for state in states)
    assert all(state.what for state in states)


def test_every_file_that_decides_is_among_the_rules() -> None:
    assert {"claims/_judging.py", "claims/errors.py", "evidence/statistics.py"} <= set(module.RULES)


def test_a_change_of_the_rules_needs_a_reason_and_says_how_many_results_were_there() -> None:
    old = (Rules("0" * 64, "2026-01-01T00:00:00+00:00", "abc", 0, "fixed"),)
    with pytest.raises(ValueError, match="say what and why"):
        tool.updated(old, "", "def", 3)
    new = tool.updated(old, "a typing error", "def", 3)
    assert new[:-1] == old
    assert (new[-1].sha256, new[-1].commit, new[-1].records) == (claims.rules_digest(), "", 3)
    filled = tool.updated(new, "", "def", 9)
    assert filled[-1] == replace(new[-1], commit="def")
    assert tool.updated(filled, "", "xyz", 9) == filled


def test_only_records_that_a_claim_reads_count_as_results(tmp_path: Path) -> None:
    store(tmp_path, settled("mnist", "cosine", LOW, scale="paper"), settled("mnist", "none", LOW))
    store(tmp_path, settled("svhn", "cosine", LOW, scale="paper"))
    assert tool.paper_records(tmp_path) == 3


def test_the_ledger_says_if_rules_were_changed_after_results(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Rules("0", "2026-01-01T00:00:00+00:00", "abcdef1234", 0, "fixed")
    after = Rules("1", "2026-03-01T00:00:00+00:00", "", 14, "claim 5 repaired")
    ledger = claims.Ledger((), "2026-02-01T00:00:00+00:00")
    monkeypatch.setattr(module, "rules", lambda: (before,))
    assert ledger.dates == (
        "The rules were last written down on 2026-01-01 (commit abcdef1). The first record at the paper's "
        "length "
        "that they judge is of 2026-02-01."
    )
    monkeypatch.setattr(module, "rules", lambda: (before, after))
    assert ledger.dates.endswith(
        "They were changed after results had been seen: 2026-03-01 (not yet committed), when 14 such records "
        "existed: claim 5 repaired."
    )


def test_the_first_record_at_the_papers_length_is_found(tmp_path: Path) -> None:
    for seed, day in enumerate(("2026-05-02", "2026-04-01", "2026-06-01")):
        store(tmp_path, [made("mnist", "cosine", seed, [9, 9], scale="paper", provenance={"date": day})])
    assert claims.ledger(tmp_path).first == "2026-04-01"
    states = json.loads((Path(module.__file__).parent / "rules.json").read_text(encoding="utf-8"))
    assert states[0]["records"] == 0, "the rules were fixed before any result at the paper's length"
