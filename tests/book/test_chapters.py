"""Every chapter as stored: outputs present and fresh, equations tested, citations and links resolved."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_file

from tools import chapters, equations, inspection

CHAPTERS = chapters.chapters()


def toc_files(root: Path) -> list[str]:
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    return [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_is_in_order(path: Path) -> None:
    problems = inspection.problems(path)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_has_outputs(path: Path) -> None:
    """A chapter stripped of its outputs would let nbval compare nothing with nothing."""
    cells = chapters.code_cells(chapters.read(path))
    with_output = sum(bool(cell.outputs) for cell in cells)
    figures = sum(any("image/svg+xml" in output.get("data", {}) for output in cell.outputs) for cell in cells)
    assert with_output >= len(cells) / 2
    assert figures >= 1


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_title_carries_the_number_of_the_file(path: Path) -> None:
    title = chapters.read(path).cells[0].source.splitlines()[0]
    assert title.startswith(f"# {int(path.name[:2])}. "), title


def test_labels_are_unique() -> None:
    assert not inspection.repeated_labels()


def test_every_equation_has_a_test_and_the_page_is_fresh() -> None:
    assert len(equations.equation_labels()) >= 10
    problems = equations.problems()
    assert not problems, "\n".join(problems)


def test_toc_lists_every_page_and_nothing_else(root: Path) -> None:
    listed = toc_files(root)
    assert len(set(listed)) == len(listed)
    present = {path.relative_to(root).with_suffix("").as_posix() for path in chapters.pages(root)}
    assert set(listed) == present


def test_no_page_has_two_sources(root: Path) -> None:
    stems = [path.stem for path in chapters.pages(root)]
    assert len(set(stems)) == len(stems), "an .md and an .ipynb of one name"


def citations(text: str) -> set[str]:
    found = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    return {key.strip() for group in found for key in group.split(",")}


def test_every_citation_has_an_entry(root: Path) -> None:
    known = set(parse_file(str(root / "references.bib")).entries)
    unknown = {
        f"{path.name}: {key}"
        for path in chapters.pages(root)
        for key in citations(chapters.markdown(path)) - known
    }
    assert not unknown
    assert "luo2017cosine" in set().union(
        *(citations(chapters.markdown(path)) for path in chapters.pages(root))
    )


def test_links_between_pages_lead_to_pages(root: Path) -> None:
    for path in chapters.pages(root):
        for target in re.findall(r"\]\(([^)\s#]+\.(?:ipynb|md))(?:#[\w-]*)?\)", chapters.markdown(path)):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}"
