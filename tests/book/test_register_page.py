"""The page of the register is what the records say, and its figures are drawn from them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cosnorm import evidence, register
from cosnorm.register import Judgement
from tools import register_page


@pytest.fixture(scope="module")
def judgements() -> list[Judgement]:
    return register_page.judged()


@pytest.fixture(scope="module")
def page(judgements: list[Judgement], root: Path) -> str:
    return register_page.page(judgements, root)


def test_stored_page_and_figures_are_fresh(root: Path) -> None:
    assert register_page.problems(root) == []


def test_every_point_has_its_place(page: str) -> None:
    for point in register.POINTS:
        assert page.count(f"(open-{point.key})=\n### ") == page.count(f"\n{point.question}\n") == 1
        assert f"[{point.key.replace('-', ' ')}](open-{point.key})" in page


def test_every_figure_shown_is_drawn_and_the_other_way_round(page: str, judgements: list[Judgement]) -> None:
    shown = re.findall(r"\{figure\} _static/register/(\S+)", page)
    assert shown == [f"{j.point.key}.svg" for j in judgements if j.drawable]
    assert page.count(":alt: Mean test errors by reading.") == len(shown)


def test_commands_of_what_is_missing_are_shown_whole(page: str, judgements: list[Judgement]) -> None:
    for judgement in judgements:
        for command in judgement.commands:
            assert f"\n{command}\n" in page


def test_the_counts_add_up(page: str) -> None:
    counted = [int(n) for n in re.findall(rf"\((\d+) of {len(register.POINTS)}\)", page)]
    assert sum(counted) == len(register.POINTS)


def test_staleness_is_seen(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judgements = register_page.judged()[:8]
    monkeypatch.setattr(register_page, "judged", lambda: judgements)
    shutil.copytree(root / "book", tmp_path / "book", ignore=shutil.ignore_patterns("_static"))
    shutil.copyfile(root / "_config.yml", tmp_path / "_config.yml")
    register_page.write_page(tmp_path)
    assert register_page.problems(tmp_path) == []
    drawn = sorted((tmp_path / register_page.FIGURES).glob("*.svg"))
    assert drawn, "no point among the first has runs: choose others for this test"
    for path in drawn:
        assert len(path.read_text()) < 60_000
    (tmp_path / register_page.FIGURES / "old.svg").write_text("<svg/>")
    drawn[0].write_text(drawn[0].read_text().replace("sha256 ", "sha256 0"))
    (tmp_path / register_page.PAGE).write_text("edited")
    found = register_page.problems(tmp_path)
    assert len(found) == 3
    assert all(word in said for word, said in zip(("stale", "old.svg", drawn[0].name), found, strict=True))
    assert all("make execute" in problem for problem in found)
    register_page.write_page(tmp_path)
    assert register_page.problems(tmp_path) == []


def test_mark_changes_with_any_record(tmp_path: Path) -> None:
    judgement = register.judge(register.get("text-epochs"))
    (pattern,) = judgement.patterns
    for path in evidence.PACKAGE_RECORDS.glob(pattern):
        copy = tmp_path / path.relative_to(evidence.PACKAGE_RECORDS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    before = register_page.mark(judgement, tmp_path)
    assert before == register_page.mark(judgement)
    copy.write_text(copy.read_text() + " ")
    assert register_page.mark(judgement, tmp_path) != before


def test_a_point_without_runs_has_no_figure(judgements: list[Judgement], root: Path) -> None:
    alone = next(j for j in judgements if j.drawable)
    bare = replace(alone, scores=(), comparisons=(), moves=())
    assert "{figure}" not in register_page.page([bare], root)
    assert register_page.figures([bare]) == {}
