"""Numbers in prose: planted strays are found, what has a source passes, and the book has no stray."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tools import chapters, repository, strays


def found(page: Path) -> list[str]:
    return [stray.text for stray in strays.strays(page)]


@pytest.fixture
def chapter(tmp_path: Path):
    """A chapter with this prose, this code and this printed output."""

    def write(text: str, code: str = "x = 1", output: str = "") -> Path:
        cell = nbformat.v4.new_code_cell(code, id="code")
        cell.outputs = [nbformat.v4.new_output("stream", text=output)]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id="text"), cell])
        path = tmp_path / "12-made.ipynb"
        nbformat.write(notebook, path)
        return path

    return write


@pytest.mark.parametrize("page", strays.checked_pages(repository.ROOT), ids=lambda path: path.name)
def test_the_book_has_no_stray_number(page: Path) -> None:
    assert [str(stray) for stray in strays.strays(page)] == []


def test_the_rule_is_for_every_chapter_and_the_first_pages() -> None:
    held = set(strays.checked_pages())
    pages = {repository.ROOT / "book" / "index.md", repository.ROOT / "README.md"}
    assert held >= pages.union(chapters.chapters())


def test_planted_strays_are_found_and_sourced_numbers_are_not(chapter) -> None:
    text = "It made 137.2 errors, 61.7 % of them in 4711 steps, or \u22128.75, not 138.4 or 87 %."
    assert found(chapter(text, output="cosine 138.42, share 0.8693")) == [
        "137.2",
        "61.7 %",
        "4711",
        "\u22128.75",
    ]


def test_numbers_of_one_chapter_are_no_source_in_another(chapter, tmp_path: Path) -> None:
    chapter("", output="137.2")
    page = tmp_path / "page.md"
    page.write_text("It made 137.2 errors.", encoding="utf-8")
    assert found(page) == ["137.2"]


@pytest.mark.parametrize(
    "text",
    [
        "143.922 against 151.647 errors",  # Table 1
        "test error 0.294 and a variance of 0.301 millionths",  # Table 3, as shares
        "0.190 after 234\u202f000 steps, 234,000 or 234 000",  # Table 4
        "200 epochs in batches of 100 at a rate of 10",
        "60 000 training images",
        "nine, or 9, of 10 runs",
        "Chapter 17, Section 5.1 and Tables 14, 15 and 16 of 1998 (see claim 23)",
        "CIFAR-100, 64-bit, 20 Newsgroups",
        "$x = 137.2$, `137.2`, {eq}`eq-137.2`, [here](page-137.2.md)",
        "```{math}\n:label: eq-a\nx = 137.2\n```",
        "```\n137.2\n```",
        "```{figure} f137.svg\n:name: fig-137\n:width: 137px\n```",
        "(label-137)=\n# 13. Title",
        "<!-- 137.2 -->",
        "Cost of running every cell: about 37 seconds and 417 MB of memory.",
    ],
)
def test_what_has_a_source_or_is_no_number_of_the_text_passes(text: str, chapter) -> None:
    assert found(chapter(text)) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("```{margin}\nIt took 137.2 seconds.\n```", "137.2"),
        ("A caption\n\n```{figure} a.svg\n:name: b\n\nAfter 137.2 epochs.\n```", "137.2"),
        ("In chapter 12 it took 137.2.", "137.2"),
        ("| cosine | 137.2 |", "137.2"),
        ("**137.2** errors", "137.2"),
        ("137 200 errors", "137 200"),
        ("3.72e-5 of all", "3.72e-5"),
    ],
)
def test_prose_inside_directives_tables_and_beside_links_is_read(text: str, number: str, chapter) -> None:
    assert found(chapter(text)) == [number]


def test_rounding_is_as_written(chapter) -> None:
    assert found(chapter("1234 and 1234.6 and 1234.57", output="1234.56")) == ["1234", "1234.57"]
    assert found(chapter("1235 errors", output="1234.56")) == []


def test_numbers_are_read_as_people_write_them() -> None:
    text = "10\u202f000, 10,000 and 10 000; \u22122.5; 1e-4; 12 %; 2.0"
    values = [number.value for number in strays.numbers(text)]
    assert values == pytest.approx([10_000, 10_000, 10_000, -2.5, 1e-4, 12, 2.0])
    (number,), (checksum,) = strays.numbers("2.5"), strays.numbers("sha256 2e8576")
    assert not number.matches(checksum.value)


def test_the_command_prints_strays_with_their_places_and_fails(
    chapter, capsys: pytest.CaptureFixture[str]
) -> None:
    assert strays.main([str(chapter("Here stands the number 137.2 among words."))]) == 1
    assert "12-made.ipynb: '137.2' in \u201cHere stands the number 137.2 among" in capsys.readouterr().out
    assert strays.main([str(chapter("10"))]) == 0
