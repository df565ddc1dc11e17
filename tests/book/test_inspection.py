"""The checks on chapters find the faults they are for: each is made on purpose in a sound chapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import chapters, equations, inspection, stored_results

CONFIG = "repository:\n  url: https://github.com/some/book\n  branch: main\n"
FIGURE = {"image": {"alt": "A line"}, "figure": {"name": "fig-01-line", "caption": "A line."}}
DRAWING = 'draw(evidence.load("mnist", "short"))'
SHOWN = {"mystnb": FIGURE, "cosnorm": {"records": ["mnist/*.json"]}}
EXERCISE = "```{{exercise}} Title\n:label: ex-01-{0}\n\nWhy?\n```\n\n```{{solution}} ex-01-{0}\nSo.\n```"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A repository with one sound chapter, one record and one test of its one equation."""
    for folder in ("book", "tests", "cosnorm/records/mnist"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "cosnorm/records/mnist/one.json").write_text("{}")
    (tmp_path / "tests/test_it.py").write_text(
        'import pytest\n\n\n@pytest.mark.equation("eq-one")\ndef test_one():\n    assert 1 == 1\n'
    )
    nbformat.write(sound(tmp_path), chapter(tmp_path))
    equations.PAGE.write(tmp_path)
    return tmp_path


def sound(root: Path) -> NotebookNode:
    figure = new_output("display_data", {"image/svg+xml": "<svg/>", "text/plain": "<Figure>"})
    cells = [
        new_markdown_cell("# 1. Title\n\n```{math}\n:label: eq-one\n\n1 = 1\n```", id="title"),
        new_code_cell(chapters.bootstrap(root), id="bootstrap", execution_count=1),
        new_code_cell(DRAWING, id="draw", execution_count=2, outputs=[figure], metadata=SHOWN),
        new_code_cell("1 + 1", id="add", execution_count=3, outputs=[result("2")]),
        *(new_markdown_cell(EXERCISE.format(name), id=f"ex-{name}") for name in "abc"),
    ]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "cosnorm": {"records": ["mnist/*.json"]},
    }
    notebook = new_notebook(cells=cells, metadata=metadata)
    notebook.metadata.cosnorm["digest"] = chapters.digest(notebook, root)
    return notebook


def result(text: str) -> NotebookNode:
    return new_output("execute_result", {"text/plain": text}, execution_count=3)


def chapter(root: Path) -> Path:
    return root / "book" / "01-title.ipynb"


def test_a_sound_chapter_has_no_problems(book: Path) -> None:
    assert inspection.problems(chapter(book), book) == []
    assert inspection.repeated_labels(book) == []
    assert equations.problems(book) == []


def outputs(*outputs: NotebookNode) -> Callable[[NotebookNode], None]:
    """A fault: other outputs of the cell that adds."""
    return lambda notebook: notebook.cells[3].update(outputs=list(outputs))


def drawing(mime: str, content: str) -> Callable[[NotebookNode], None]:
    """A fault: another picture in the cell that draws."""
    return lambda notebook: notebook.cells[2].update(outputs=[new_output("display_data", {mime: content})])


def metadata(**settings: Any) -> Callable[[NotebookNode], None]:
    """A fault: other metadata of the cell that draws."""
    return lambda notebook: notebook.cells[2].update(metadata=settings)


def book_metadata(**settings: Any) -> Callable[[NotebookNode], None]:
    """A fault: other settings of the chapter."""
    return lambda notebook: notebook.metadata.cosnorm.update(settings)


def training(define: str, shows: str, text: str) -> Callable[[NotebookNode], None]:
    """A fault: cells that train and print what came of it."""
    return lambda notebook: add_cells(notebook, define, shows, text)


def strip(notebook: NotebookNode) -> None:
    for cell in notebook.cells[1:4]:
        cell.execution_count, cell.outputs = None, []


def append(text: str) -> Callable[[NotebookNode], None]:
    """A fault: more text after the last exercise."""
    return lambda notebook: notebook.cells.append(new_markdown_cell(text, id="more"))


LOOP = "for x in data:\n    loss = f(x)\n    loss.backward()\n    optimizer.step()"


def add_cells(notebook: NotebookNode, trains: str, shows: str, text: str, **metadata: object) -> None:
    """Two cells more: one that trains, and a later one that prints a text."""
    printed = new_output("stream", name="stdout", text=text)
    notebook.cells += [
        new_code_cell(trains, id="trains", execution_count=4),
        new_code_cell(shows, id="shown", execution_count=5, outputs=[printed], metadata=metadata),
    ]


@pytest.mark.parametrize(
    ("trains", "shows", "text", "tags"),
    [
        ("nets = train(net, 0.1)", "print('fewer than 20:', wrong(nets) < 20)", "fewer than 20: True", []),
        ("nets = train(net, 0.1)", "print(wrong(nets))", "12", ["nbval-ignore-output"]),
        ("net = mlp((64, 10))", "print(wrong(net))", "12", []),
        ("nets = train(net, 0.1)", "nets = 12\nprint(nets + 1)", "13", []),
        ("for x in data:\n    g = grad(x)\n    total += g", "print(total)", "12", []),
    ],
)
def test_what_does_not_depend_on_training_or_holds_with_a_margin_may_be_printed(
    trains: str, shows: str, text: str, tags: list[str], book: Path
) -> None:
    notebook = chapters.read(chapter(book))
    add_cells(notebook, trains, shows, text, tags=tags)
    assert list(inspection.training(notebook)) == []


SVG = "image/svg+xml"
IMAGE, CAPTION, RECORDS = FIGURE["image"], FIGURE["figure"], {"records": ["mnist/*.json"]}
FIT = f"def fit(net):\n{indent(LOOP, '    ')}\n    return net\n\nnet = start()\nfit(net)"
FAULTS: list[tuple[str, Callable[[NotebookNode], Any]]] = [
    ("stale", lambda notebook: notebook.cells[3].update(source="1 + 2")),
    ("not the bootstrap cell", lambda notebook: notebook.cells[1].update(source="import cosnorm")),
    ("does not open", lambda notebook: notebook.cells[0].update(source="Title")),
    ("21 lines", lambda notebook: notebook.cells[3].update(source="\n".join(["1"] * 21))),
    ("not executed", strip),
    ("ended in ValueError", outputs(new_output("error", ename="ValueError", evalue="no", traceback=[]))),
    ("standard error", outputs(new_output("stream", name="stderr", text="UserWarning: no"))),
    ("differs between machines", outputs(result("<object at 0x7f0123456789>"))),
    ("differs between machines", outputs(result("/home/me/file"))),
    ("no alternative text", metadata(mystnb={"figure": CAPTION})),
    ("no caption", metadata(mystnb={"image": IMAGE, "figure": {"name": "fig-01-line"}})),
    ("not SVG", drawing("image/png", "AAAA")),
    ("holds a date", drawing(SVG, "<svg><dc:date>2026</dc:date></svg>")),
    ("at most 150,000", drawing(SVG, "<svg>" + " " * 150_000 + "</svg>")),
    ("no record matches", book_metadata(records=["cifar/*.json"])),
    ("cell draw shows stored results; name their records", metadata(mystnb=FIGURE)),
    ("names 'mnist/*.json', and no cell does", metadata(mystnb=FIGURE)),
    ("a cell names 'mnist/*.json', and the notebook's metadata does not", book_metadata(records=[])),
    (
        "cell draw names 'cifar/*.json', which matches no record",
        metadata(mystnb=FIGURE, cosnorm={"records": ["mnist/*.json", "cifar/*.json"]}),
    ),
    ("kernel", lambda notebook: notebook.metadata.kernelspec.update(name="my-env")),
    ("widgets", lambda notebook: notebook.metadata.update(widgets={})),
    ("nbval would compare nothing", book_metadata(nbval="lax")),
    (
        "cell shown shows what training led to and prints 12",
        training("nets = [train(net, 0.1)]", "print(f'{wrong(nets[0])} errors')", "12 errors"),
    ),
    ("prints 0.25", training(LOOP, "print(loss)", "0.25")),
    ("prints 12", training(FIT, "print(wrong(net))", "12")),
    ("no solution", append("```{exercise} Title\n:label: ex-01-d\n\nWhy?\n```")),
    ("2 solutions", append("```{solution} ex-01-c\nAgain.\n```")),
    ("a solution names ex-01-d", append("```{solution} ex-01-d\nSo.\n```")),
    ("2 exercises", lambda notebook: notebook.cells.pop()),
]


@pytest.mark.parametrize(("said", "fault"), FAULTS)
def test_a_fault_is_found_and_named(fault: Callable[[NotebookNode], None], said: str, book: Path) -> None:
    notebook = chapters.read(chapter(book))
    fault(notebook)
    nbformat.write(notebook, chapter(book))
    problems = inspection.problems(chapter(book), book)
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith("01-title.ipynb: ") for problem in problems)


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["records = evidence.load('a', 'b')", "draw(records)"], [0, 1]),
        (["records = evidence.load('a', 'b')", "records = 3", "draw(records)"], [0]),
        (
            ["r = evidence.load('a', 'b')", "mean = sum(r)\nfor x in r:\n    y = x", "draw(mean)", "draw(y)"],
            [0, 1, 2, 3],
        ),
        (["def mine():\n    return claims.ledger()", "draw(mine())"], [0, 1]),
        (["r = evidence.load('a', 'b')", "runs = experiments.run('a', seeds=len(r))", "draw(runs)"], [0, 1]),
        (["rows = []", "rows += evidence.load('a', 'b')", "rows += [1]", "draw(rows)"], [1, 3]),
        (["%env A=1", "draw(1)", "draw(plots)", "1 +"], []),
        (
            [
                "for x in a:\n    y = evidence.load(x, 'b')",
                "for x in c:\n    y = 3\n    draw(x, y)",
                "draw(y)",
            ],
            [0],
        ),
        (
            ["r = evidence.load('a', 'b')", "if a:\n    s = r\nelse:\n    t = 1", "draw(t)", "draw(s)"],
            [0, 1, 3],
        ),
        (["r = evidence.load('a', 'b')", "f = [r for r in c]", "def g(r):\n    return r", "g(f)"], [0]),
        (["try:\n    1\nexcept E:\n    r = claims.entry(3)", "draw(r)"], [0, 1]),
        (["a = 1; b = evidence.receipt(run)\na = b", "draw(a)"], [0, 1]),
    ],
)
def test_stored_results_are_followed_from_cell_to_cell(sources: list[str], found: list[int]) -> None:
    notebook = new_notebook(cells=[new_code_cell(source, id=str(k)) for k, source in enumerate(sources)])
    assert [cell.id for cell in stored_results.cells(notebook)] == [str(k) for k in found]


def test_printed_lines_need_no_name_of_records(book: Path) -> None:
    notebook = chapters.read(chapter(book))
    notebook.cells[3].source = "print(evidence.load('mnist', 'short'))"
    notebook.metadata.cosnorm["digest"] = chapters.digest(notebook, book)
    nbformat.write(notebook, chapter(book))
    assert inspection.problems(chapter(book), book) == []


@pytest.mark.parametrize("name", ["one.json", "two.json"])
def test_a_changed_or_a_further_record_makes_outputs_stale(name: str, book: Path) -> None:
    (book / "cosnorm/records/mnist" / name).write_text('{"error": 1}')
    assert any("stale" in problem for problem in inspection.problems(chapter(book), book))


def test_a_changed_address_makes_nothing_stale(book: Path) -> None:
    notebook = chapters.read(chapter(book))
    (book / "_config.yml").write_text(CONFIG.replace("some/book", "other/text"))
    notebook.cells[1].source = chapters.bootstrap(book)
    nbformat.write(notebook, chapter(book))
    assert inspection.problems(chapter(book), book) == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"nbformat": 3}'])
def test_a_file_that_is_no_notebook_is_named(content: str, book: Path) -> None:
    chapter(book).write_text(content)
    (problem,) = inspection.problems(chapter(book), book)
    assert "01-title.ipynb" in problem


def test_a_label_used_twice_is_found(book: Path) -> None:
    (book / "book" / "notation.md").write_text("# Notation\n\n(ex-01-a)=\n## Signs\n")
    assert inspection.repeated_labels(book) == ["label ex-01-a is defined 2 times"]


# -- equations -----------------------------------------------------------------------------------------


def test_an_equation_without_a_test_is_found(book: Path) -> None:
    (book / "tests/test_it.py").write_text("def test_one():\n    assert 1 == 1\n")
    assert any("eq-one has no test" in problem for problem in equations.problems(book))


def test_a_mark_without_an_equation_is_found(book: Path) -> None:
    path = book / "tests/test_it.py"
    path.write_text(path.read_text().replace('"eq-one"', '"eq-one", "eq-two"'))
    assert any("'eq-two', which no page defines" in problem for problem in equations.problems(book))


def test_the_page_of_equations_links_each_to_its_tests(book: Path) -> None:
    path = book / "tests/test_it.py"
    path.write_text(path.read_text().replace("test_one", "test_other"))
    assert any("stale" in problem for problem in equations.problems(book))
    link = "[other](https://github.com/some/book/blob/main/tests/test_it.py)"
    assert f"{{eq}}`eq-one`\n: {link}" in equations.text(book)


def test_marks_on_classes_and_methods_count(book: Path) -> None:
    (book / "tests/test_it.py").write_text(
        "import pytest\n\n\n"
        '@pytest.mark.equation("eq-a")\nclass TestIt:\n'
        '    @pytest.mark.equation("eq-b")\n    def test_one(self):\n        assert 1 == 1\n'
    )
    found = [(item.label, item.test) for item in equations.verifications(book)]
    assert found == [("eq-a", "TestIt"), ("eq-b", "TestIt::test_one")]


def test_a_mark_that_is_not_a_plain_string_is_refused(book: Path) -> None:
    (book / "tests/test_it.py").write_text(
        "import pytest\n\n\n@pytest.mark.equation(LABEL)\ndef test_one():\n    assert 1\n"
    )
    with pytest.raises(ValueError, match="labels in quotes"):
        equations.verifications(book)


def test_an_equation_defined_twice_is_refused(book: Path) -> None:
    (book / "book" / "notation.md").write_text("# N\n\n```{math}\n:label: eq-one\n\n1\n```\n")
    with pytest.raises(ValueError, match="eq-one is labelled in"):
        equations.equation_labels(book)
