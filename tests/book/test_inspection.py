"""The checks on chapters find the faults they are for: each fault is made on purpose in a sound chapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import indent

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
    store(tmp_path, sound(tmp_path))
    equations.write_page(tmp_path)
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


def store(root: Path, notebook: NotebookNode) -> None:
    nbformat.write(notebook, chapter(root))


def test_a_sound_chapter_has_no_problems(book: Path) -> None:
    assert inspection.problems(chapter(book), book) == []
    assert inspection.repeated_labels(book) == []
    assert equations.problems(book) == []


def edit_code(notebook: NotebookNode) -> None:
    notebook.cells[3].source = "1 + 2"


def edit_bootstrap(notebook: NotebookNode) -> None:
    notebook.cells[1].source += "\n"


def strip(notebook: NotebookNode) -> None:
    for cell in notebook.cells[1:4]:
        cell.execution_count, cell.outputs = None, []


def fail(notebook: NotebookNode) -> None:
    notebook.cells[3].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]


def complain(notebook: NotebookNode) -> None:
    notebook.cells[3].outputs = [new_output("stream", name="stderr", text="UserWarning: no")]


def show_address(notebook: NotebookNode) -> None:
    notebook.cells[3].outputs = [result("<object at 0x7f0123456789>")]


def show_path(notebook: NotebookNode) -> None:
    notebook.cells[3].outputs = [result("/home/me/file")]


def drop_alt(notebook: NotebookNode) -> None:
    notebook.cells[2].metadata["mystnb"] = {"figure": FIGURE["figure"]}


def drop_caption(notebook: NotebookNode) -> None:
    notebook.cells[2].metadata["mystnb"] = {"image": FIGURE["image"], "figure": {"name": "fig-01-line"}}


def use_png(notebook: NotebookNode) -> None:
    notebook.cells[2].outputs = [new_output("display_data", {"image/png": "AAAA"})]


def date_figure(notebook: NotebookNode) -> None:
    notebook.cells[2].outputs[0].data["image/svg+xml"] = "<svg><dc:date>2026</dc:date></svg>"


def bloat_figure(notebook: NotebookNode) -> None:
    notebook.cells[2].outputs[0].data["image/svg+xml"] = "<svg>" + " " * 150_000 + "</svg>"


def lengthen(notebook: NotebookNode) -> None:
    notebook.cells[3].source = "\n".join(["1"] * 21)


def untitle(notebook: NotebookNode) -> None:
    notebook.cells[0].source = "Title"


def lose_records(notebook: NotebookNode) -> None:
    notebook.metadata.cosnorm["records"] = ["cifar/*.json"]


def forget_records(notebook: NotebookNode) -> None:
    notebook.cells[2].metadata = {"mystnb": FIGURE}


def forget_records_of_chapter(notebook: NotebookNode) -> None:
    notebook.metadata.cosnorm["records"] = []


def name_nothing(notebook: NotebookNode) -> None:
    notebook.cells[2].metadata["cosnorm"] = {"records": ["mnist/*.json", "cifar/*.json"]}


def change_kernel(notebook: NotebookNode) -> None:
    notebook.metadata.kernelspec["name"] = "my-env"


def leave_widgets(notebook: NotebookNode) -> None:
    notebook.metadata["widgets"] = {}


def go_lax(notebook: NotebookNode) -> None:
    notebook.metadata.cosnorm["nbval"] = "lax"


def print_outcome_of_training(notebook: NotebookNode) -> None:
    add_cells(notebook, "nets = [train(net, 0.1)]", "print(f'{wrong(nets[0])} errors')", "12 errors")


def print_loss_of_a_loop(notebook: NotebookNode) -> None:
    add_cells(notebook, LOOP, "print(loss)", "0.25")


def print_outcome_of_own_function(notebook: NotebookNode) -> None:
    define = f"def fit(net):\n{indent(LOOP, '    ')}\n    return net\n\nnet = start()\nfit(net)"
    add_cells(notebook, define, "print(wrong(net))", "12")


def leave_unsolved(notebook: NotebookNode) -> None:
    notebook.cells[-1].source = notebook.cells[-1].source.split("```{solution}")[0]


def lose_exercise(notebook: NotebookNode) -> None:
    notebook.cells.pop()


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


FAULTS: list[tuple[Callable[[NotebookNode], None], str]] = [
    (edit_code, "stale"),
    (edit_bootstrap, "not the bootstrap cell"),
    (strip, "not executed"),
    (fail, "ended in ValueError"),
    (complain, "standard error"),
    (show_address, "differs between machines"),
    (show_path, "differs between machines"),
    (drop_alt, "no alternative text"),
    (drop_caption, "no caption"),
    (use_png, "not SVG"),
    (date_figure, "holds a date"),
    (bloat_figure, "at most 150,000"),
    (lengthen, "21 lines"),
    (untitle, "does not open"),
    (lose_records, "no record matches"),
    (forget_records, "cell draw shows stored results; name their records"),
    (forget_records, "names 'mnist/*.json', and no cell does"),
    (forget_records_of_chapter, "a cell names 'mnist/*.json', and the notebook's metadata does not"),
    (name_nothing, "cell draw names 'cifar/*.json', which matches no record"),
    (change_kernel, "kernel"),
    (leave_widgets, "widgets"),
    (go_lax, "nbval would compare nothing"),
    (print_outcome_of_training, "cell shown shows what training led to and prints 12"),
    (print_loss_of_a_loop, "prints 0.25"),
    (print_outcome_of_own_function, "prints 12"),
    (leave_unsolved, "no solution"),
    (lose_exercise, "2 exercises"),
]


@pytest.mark.parametrize(
    ("fault", "said"), FAULTS, ids=[f"{fault.__name__}-{said}" for fault, said in FAULTS]
)
def test_a_fault_is_found_and_named(fault: Callable[[NotebookNode], None], said: str, book: Path) -> None:
    notebook = chapters.read(chapter(book))
    fault(notebook)
    store(book, notebook)
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
    store(book, notebook)
    assert inspection.problems(chapter(book), book) == []


def test_a_changed_record_makes_outputs_stale(book: Path) -> None:
    (book / "cosnorm/records/mnist/one.json").write_text('{"error": 1}')
    assert any("stale" in problem for problem in inspection.problems(chapter(book), book))


def test_a_further_record_makes_outputs_stale(book: Path) -> None:
    (book / "cosnorm/records/mnist/two.json").write_text("{}")
    assert any("stale" in problem for problem in inspection.problems(chapter(book), book))


def test_a_changed_address_makes_nothing_stale(book: Path) -> None:
    notebook = chapters.read(chapter(book))
    (book / "_config.yml").write_text(CONFIG.replace("some/book", "other/text"))
    notebook.cells[1].source = chapters.bootstrap(book)
    store(book, notebook)
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


def test_a_stale_page_is_found_and_mended(book: Path) -> None:
    path = book / "tests/test_it.py"
    path.write_text(path.read_text().replace("test_one", "test_other"))
    assert any("stale" in problem for problem in equations.problems(book))
    equations.write_page(book)
    assert equations.problems(book) == []
    page = (book / equations.PAGE).read_text()
    assert "{eq}`eq-one`\n: [other](https://github.com/some/book/blob/main/tests/test_it.py)" in page


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
        chapters.equation_labels(book)
