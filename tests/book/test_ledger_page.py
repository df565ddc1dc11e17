"""The page of the claim ledger: fresh, complete, bad news first, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cosnorm import claims
from tools import chapters, ledger_page


@pytest.fixture(scope="module")
def ledger() -> claims.Ledger:
    return claims.ledger()


@pytest.fixture(scope="module")
def text(ledger: claims.Ledger) -> str:
    return ledger_page.page(ledger)


def test_stored_page_is_made_from_the_stored_records() -> None:
    assert ledger_page.problems() == []


def test_every_claim_is_there_with_its_rule_and_all_its_comparisons(ledger: claims.Ledger, text: str) -> None:
    parts = re.split(r"^\(claim-(\d\d[ab]?)\)=$", text, flags=re.MULTILINE)
    entries = dict(zip((part.lstrip("0") for part in parts[1::2]), parts[2::2], strict=True))
    assert sorted(entries) == sorted(claims.CLAIMS)
    for entry in ledger:
        part = entries[entry.claim.key]
        assert entry.claim.rule in part
        for said in (entry.note, entry.seen, entry.sharing, entry.missing):
            assert said in part
        for effect in entry.effects:
            assert f"{effect.name}: *{effect.outcome}*, {effect.words}" in part
        for pattern in entry.patterns:
            assert f"`{pattern}`" in part


def test_counts_come_first_and_bad_news_before_good(ledger: claims.Ledger, text: str) -> None:
    places = [text.index(f"## {ledger_page._HEADINGS[v]}\n") for v in claims.VERDICTS if ledger.count(v)]
    assert places == sorted(places)
    assert 0 < text.index(ledger.summary) < text.index(ledger.dates) < places[0]


def test_links_name_anchors_and_files_that_exist(text: str, root: Path) -> None:
    targets = set(re.findall(r"\]\(([^)]+)\)", text))
    anchors = set(chapters.labels(root / ledger_page.PAGE))
    for target in targets:
        assert target in anchors or (root / "book" / target).exists()
    assert {entry.anchor for entry in claims.ledger()} <= anchors


def test_a_stale_page_is_noticed_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "book").mkdir()
    assert "stale" in ledger_page.problems(tmp_path)[0]
    assert ledger_page.write_page(tmp_path).is_file()
    assert ledger_page.problems(tmp_path) == []
    page = tmp_path / ledger_page.PAGE
    page.write_text(page.read_text(encoding="utf-8").replace("untested", "holds"), encoding="utf-8")
    assert ledger_page.problems(tmp_path) != []
