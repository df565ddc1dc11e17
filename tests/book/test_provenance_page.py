"""The page of origins says what the notebooks name and what the records hold."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from synthetic import make_record

from cosnorm import benchmarking, evidence, experiments, record
from cosnorm.benchmarking import Comparison, Cost
from cosnorm.cli.runs import parse_seeds
from cosnorm.record import Record
from tools import chapters, provenance_page, repository

IMAGE = new_output("display_data", {"image/svg+xml": "<svg/>"})
TABLE = new_output("display_data", {"text/markdown": "| a |\n| --- |\n| 1 |", "text/plain": ""})


def told(r: Record, **provenance: object) -> Record:
    return replace(r, provenance={**r.provenance, **provenance})


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of one chapter with a figure and a table from records, and a figure of its own."""
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text(
        "repository:\n  url: https://github.com/some/book\n  branch: main\n"
    )
    figure = {"figure": {"name": "fig-01-one", "caption": "."}}
    cells = [
        new_markdown_cell("# 1. Title"),
        new_code_cell(
            "draw()",
            outputs=[IMAGE],
            metadata={"mystnb": figure, "cosnorm": {"records": ["mnist/short/*.json"]}},
        ),
        new_markdown_cell("## The result\n\nWords."),
        new_code_cell("t", outputs=[TABLE], metadata={"cosnorm": {"records": ["mnist/short/c*.json"]}}),
        new_code_cell("own()", outputs=[IMAGE], metadata={"mystnb": {"figure": {"name": "fig-01-two"}}}),
        new_code_cell("not yet", metadata={"mystnb": {"figure": {"name": "fig-01-three"}}}),
        new_code_cell("1 + 1"),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "book" / "01-title.ipynb")
    runs = [make_record("none", seed, [9, 8, 7]) for seed in range(2)]
    runs += [told(make_record("cosine", seed, [6, 5, 4]), device_name="another") for seed in range(2)]
    runs += [make_record("batch", 3, [9], epochs=3)]
    runs[0] = told(runs[0], commit="abcdef0123", modified=True, date="2026-02-03T00:00:00+00:00")
    for one in runs:
        record.write(one, tmp_path / chapters.RECORDS)
    record.write(make_record("none", 0, [3, 2], scale="smoke"), tmp_path / chapters.RECORDS)
    return tmp_path


def test_every_figure_of_the_book_is_on_the_page(root: Path) -> None:
    page = provenance_page.text(root)
    for path in chapters.chapters(root):
        for cell in chapters.code_cells(chapters.read(path)):
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            if name:
                shown = any("image/svg+xml" in output.get("data", {}) for output in cell.outputs)
                assert page.count(f"{{numref}}`{name}`") == shown, name


def test_what_is_shown_is_linked_to_its_records(book: Path) -> None:
    page = provenance_page.text(book)
    assert "\n{numref}`fig-01-one`\n: [mnist short](records-mnist-short)\n" in page
    assert '\ntable in "The result"\n: [mnist short](records-mnist-short)\n' in page
    assert "\nComputed by the chapter itself when it is executed\n: {numref}`fig-01-two`\n" in page
    assert page.count("(records-mnist-short)=") == 1


def test_links_to_records_have_their_targets(root: Path) -> None:
    page = provenance_page.text(root)
    links = set(re.findall(r"\]\((records-[\w-]+)\)", page))
    assert links
    assert links == set(re.findall(r"^\((records-[\w-]+)\)=$", page, re.MULTILINE))


def test_a_set_of_records_is_described(book: Path) -> None:
    page = provenance_page.text(book)
    assert "5 runs: 3 competitors with 1 to 2 seeds, 1 of which diverged" in page
    assert "\n  cosnorm run mnist --scale short --norm none,cosine --seeds 2\n" in page
    assert "\n  cosnorm run mnist --scale short --norm batch --seeds 3-3\n" in page
    assert ": a made-up processor (3 runs), another (2 runs); 1 thread a run\n" in page
    assert ": 7.5 s in all, 1.5 s a run in the median\n" in page
    assert ": 2026-01-01 to 2026-02-03\n" in page
    assert "an unknown commit (4)" in page
    assert (
        "[`abcdef0`](https://github.com/some/book/commit/abcdef0123) (1, with changes that were not" in page
    )
    assert ": cosnorm 0.1.0; torch 2.13.0; numpy 2.0.0; python 3.11.0\n" in page
    assert f"\n  mnist {'0' * 64}\n" in page


def test_commands_make_the_runs_they_stand_for(root: Path) -> None:
    """Read back, the commands of a folder name exactly its runs."""
    for name, scale in (("mnist", "short"), ("rates", "short"), ("mnist", "smoke")):
        runs = evidence.load(name, scale)
        made = set()
        for command in provenance_page._commands(runs):
            words = command.split()
            norm = words[words.index("--norm") + 1] if "--norm" in words else "all"
            seeds = parse_seeds(words[words.index("--seeds") + 1])
            made |= set(experiments.plan(name, norm, scale, seeds, "cpu").runs)
        assert made == {(r.technique, r.seed) for r in runs}


def test_what_no_figure_shows_is_listed(book: Path) -> None:
    assert "Experiment, scale and number of runs: mnist smoke (1)." in provenance_page.text(book)


def test_benchmarks_are_listed_once_they_are_there(book: Path) -> None:
    assert "Times of the layers" not in provenance_page.text(book)
    cost = Cost((1e-3, 2e-3), 0, 0, {})
    compared = {"small": Comparison("small", "a small layer", {"nn.Linear": cost}, {})}
    facts = make_record("cosine", 0, [5, 4]).provenance | {"commit": "a" * 40, "modified": True}
    benchmarking.write(
        benchmarking.Result(compared, facts), book / provenance_page.BENCHMARKS / "layers.json"
    )
    text = provenance_page.text(book)
    link = "[`layers.json`](https://github.com/some/book/blob/main/cosnorm/records/benchmarks/layers.json)"
    assert text.count(link) == 1
    assert "cosnorm bench --cases small --repeats 2 --output layers.json" in text
    assert "[`aaaaaaa`](https://github.com/some/book/commit/" in text
    assert "with changes that were not committed" in text
    assert (
        text.index("(records-benchmarks)=")
        < text.index("### Times of the layers")
        < text.index(facts["device_name"], text.index("### Times of the layers"))
    )


def test_a_cell_that_shows_benchmarks_links_to_them() -> None:
    assert list(provenance_page._links([], ["benchmarks/*.json", "mnist/short/*.json"])) == [
        "[times of the layers](records-benchmarks)"
    ]
    assert list(provenance_page._links([], ["mnist/short/*.json"])) == []
    assert provenance_page._groups(["benchmarks/*.json"], repository.ROOT) == []


def test_a_damaged_record_is_named(book: Path) -> None:
    path = next((book / chapters.RECORDS).glob("mnist/short/cosine*.json"))
    shutil.copyfile(path, path.with_name("cosine-seed9.json"))
    with pytest.raises(record.RecordError, match="cosine-seed9"):
        provenance_page.text(book)
