"""Generated pages: all are fresh, a stale one is noticed, and they say what they are made from."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cosnorm import claims, evidence, register
from cosnorm.register import Judgement
from tools import chapters, exercises_page, ledger_page, notebooks, register_page
from tools.pages import Drawing, Page


@pytest.mark.parametrize("name", notebooks.PAGES)
def test_stored_files_are_fresh(name: str, root: Path) -> None:
    assert notebooks.page(name).problems(root) == []


def test_stale_missing_and_superfluous_files_are_named_and_mended(tmp_path: Path) -> None:
    content = {
        Path("book/a.md"): "text",
        Path("book/b.svg"): Drawing("<!-- 1 -->", lambda: "<svg/><!-- 1 -->"),
    }
    page = Page("a", lambda root: content, owned="book/*.svg")
    assert len(page.problems(tmp_path)) == 2
    assert page.write(tmp_path) == [tmp_path / path for path in content]
    assert page.problems(tmp_path) == []
    (tmp_path / "book/b.svg").write_text("<svg></svg><!-- 1 -->")  # as another machine draws it
    assert page.problems(tmp_path) == []
    (tmp_path / "book/a.md").write_text("edited")
    (tmp_path / "book/b.svg").write_text("<svg/><!-- 2 -->")
    (tmp_path / "book/c.svg").write_text("<svg/>")
    found = page.problems(tmp_path)
    assert [text.split(":")[0] for text in found] == [
        "book/a.md is stale",
        "book/b.svg is stale",
        "book/c.svg is shown by no page any more",
    ]
    assert all("run `make execute`, or `python -m tools.notebooks pages a`" in text for text in found)
    page.write(tmp_path)
    assert page.problems(tmp_path) == []


# -- the claim ledger ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledger() -> claims.Ledger:
    return claims.ledger()


@pytest.fixture(scope="module")
def judged_claims(ledger: claims.Ledger, root: Path) -> str:
    return ledger_page.text(ledger, root)


def test_every_claim_is_there_with_its_rule_and_all_its_comparisons(
    ledger: claims.Ledger, judged_claims: str
) -> None:
    parts = re.split(r"^\(claim-(\d\d[ab]?)\)=$", judged_claims, flags=re.MULTILINE)
    entries = dict(zip((part.lstrip("0") for part in parts[1::2]), parts[2::2], strict=True))
    assert sorted(entries) == sorted(claims.CLAIMS)
    for entry in ledger:
        part = entries[entry.claim.key]
        for said in (entry.claim.rule, entry.note, entry.seen, entry.sharing, entry.missing):
            assert said in part
        for effect in entry.effects:
            assert f"{effect.name}: *{effect.outcome}*, {effect.words}" in part
        for pattern in entry.patterns:
            assert f"`{pattern}`" in part


def test_counts_come_first_and_bad_news_before_good(ledger: claims.Ledger, judged_claims: str) -> None:
    headings = [ledger_page._HEADINGS[v] for v in claims.VERDICTS if ledger.count(v)]
    places = [judged_claims.index(f"## {heading}\n") for heading in headings]
    assert places == sorted(places)
    assert 0 < judged_claims.index(ledger.summary) < judged_claims.index(ledger.dates) < places[0]


def test_links_of_the_ledger_name_anchors_and_files_that_exist(
    ledger: claims.Ledger, judged_claims: str, root: Path
) -> None:
    anchors = set(chapters.labels(root / ledger_page.PATH))
    for target in re.findall(r"\]\(([^)]+)\)", judged_claims):
        assert target in anchors or (root / "book" / target).exists()
    assert {entry.anchor for entry in ledger} <= anchors


# -- the ambiguity register ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judgements() -> list[Judgement]:
    return list(register_page.judged())


@pytest.fixture(scope="module")
def points(judgements: list[Judgement], root: Path) -> str:
    return register_page.text(judgements, root)


def test_every_point_has_its_place_and_the_counts_add_up(points: str) -> None:
    for point in register.POINTS:
        assert points.count(f"(open-{point.key})=\n### ") == points.count(f"\n{point.question}\n") == 1
        assert f"[{point.key.replace('-', ' ')}](open-{point.key})" in points
    counted = [int(n) for n in re.findall(rf"\((\d+) of {len(register.POINTS)}\)", points)]
    assert sum(counted) == len(register.POINTS)


def test_figures_and_commands_of_the_register_are_shown(
    points: str, judgements: list[Judgement], root: Path
) -> None:
    shown = re.findall(r"\{figure\} _static/register/(\S+)", points)
    assert shown == [f"{j.point.key}.svg" for j in judgements if j.drawable]
    assert points.count(":alt: Mean test errors by reading.") == len(shown) > 0
    for name in shown:
        assert len((root / register_page.FIGURES / name).read_text()) < 60_000
    for judgement in judgements:
        for command in judgement.commands:
            assert f"\n{command}\n" in points


def test_a_point_without_runs_has_no_figure(judgements: list[Judgement], root: Path) -> None:
    drawn = next(j for j in judgements if j.drawable)
    bare = replace(drawn, scores=(), comparisons=(), moves=())
    assert not bare.drawable
    assert "{figure}" not in register_page.text([bare], root)


def test_the_mark_of_a_figure_changes_with_any_record(tmp_path: Path) -> None:
    judgement = register.judge(register.get("text-epochs"))
    (pattern,) = judgement.patterns
    for path in evidence.PACKAGE_RECORDS.glob(pattern):
        copy = tmp_path / path.relative_to(evidence.PACKAGE_RECORDS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    before = register_page.drawing(judgement, tmp_path).mark
    assert before == register_page.drawing(judgement).mark
    copy.write_text(copy.read_text() + " ")
    assert register_page.drawing(judgement, tmp_path).mark != before


# -- exercises -----------------------------------------------------------------------------------------


def test_every_exercise_is_on_its_page_with_a_link_to_its_solution(root: Path) -> None:
    page = exercises_page.text(root)
    for path in chapters.chapters(root):
        found, _ = chapters.exercises(chapters.markdown(path))
        assert len(found) >= 3, path.name
        for exercise in found:
            assert exercise.text
            assert page.count(f"{{ref}}`{exercise.label}`.") == 1
            assert page.count(f"{{ref}}`solution-{exercise.label}`") == 1
