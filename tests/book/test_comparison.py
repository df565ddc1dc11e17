"""Stored and new outputs are compared as a reader would: results must agree, rounding may differ."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tools import comparison


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("0.25", "0.26"),  # 0.2549 and 0.2551
        ("9.99", "10.00"),
        ("9.99e-07", "1.00e-06"),
        ("loss   9.9 after", "loss  10.0 after"),
        (" 0.0 % W", "-0.0 % W"),
        ("\u22120.0", "0.0"),  # the minus sign of figures
        ("0", "-0"),
        ("0.3", "0.30000000000000004"),
        ("1", "0.9999999"),
        ("123456789.12345", "123456789.12352"),
        ("1,442 images", "1442 images"),
        ("nan, inf", "nan, inf"),
    ],
)
def test_numbers_that_rounding_can_turn_into_each_other_agree(stored: str, new: str) -> None:
    assert comparison.same_text(stored, new)
    assert comparison.same_text(new, stored)


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("0.25", "0.27"),
        ("12 errors", "13 errors"),
        ("1e-06", "3e-06"),
        ("0.25", "-0.25"),
        ("33", "33.3"),
        ("3", "4.0"),
        ("float32", "float64"),
        ("10-20", "10-21"),
        ("same: True", "same: False"),
        ("0.25", "nan"),
        ("0.25 0.25", "0.25"),
        ("cosine", "none"),
        ("1,442", "1,443"),
        ("0.25 errors", "0.25 error"),
        ("layer 1: 0.25", "layer 2: 0.25"),
    ],
)
def test_other_results_differ(stored: str, new: str) -> None:
    assert not comparison.same_text(stored, new)
    assert not comparison.same_text(new, stored)


DETAILS: tuple[comparison.Detail, ...] = ("outline", "texts", "everything")


def drawing(change: Callable[[Figure, Axes], Any] = lambda figure, ax: None, values: Any = (1, 2, 3)) -> str:
    """A figure as a chapter stores it, after a change."""
    with matplotlib.rc_context({"svg.fonttype": "path"}):
        figure, ax = plt.subplots()
        ax.plot([0, 1, 2], values, label="measured", color="#1f77b4")
        ax.fill_between([0, 1, 2], [0, 0, 0], values, color="#aaaaaa")
        ax.set(title="Loss 0.25 after 3 epochs", xlabel="epoch", ylabel="loss")
        ax.legend()
        change(figure, ax)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
        plt.close(figure)
    return file.getvalue()


def test_a_figure_agrees_with_itself_and_with_one_whose_lines_moved_by_rounding() -> None:
    moved = drawing(values=(1, 2 + 1e-6, 3))
    assert moved != drawing()
    for detail in DETAILS:
        assert comparison.figure_differences(drawing(), drawing(), detail) == []
        assert comparison.figure_differences(drawing(), moved, detail) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda figure, ax: ax.plot([0, 1], [1, 1]), "line2d"),
        (lambda figure, ax: ax.axhspan(0, 1), "patch"),
        (lambda figure, ax: ax.scatter([0], [1]), "collection"),
        (lambda figure, ax: figure.add_axes((0.5, 0.5, 0.1, 0.1)), "axes_2"),
        (lambda figure, ax: ax.set_title("Loss 0.25 after 4 epochs"), "after 4 epochs"),
        (lambda figure, ax: ax.set_xlabel("step"), "'step'"),
        (lambda figure, ax: ax.legend(["computed"]), "'computed'"),
        (lambda figure, ax: ax.annotate("here", (1, 1)), "text"),
    ],
)
@pytest.mark.parametrize("detail", ["texts", "everything"])
def test_a_figure_in_which_something_else_is_drawn_differs(
    change: Callable[[Figure, Axes], Any], said: str, detail: comparison.Detail
) -> None:
    found = comparison.figure_differences(drawing(), drawing(change), detail)
    assert said in "\n".join(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda figure, ax: ax.lines[0].set_ydata([1, 2.01, 3]), "line2d in figure, axes_1 .* not where it"),
        (lambda figure, ax: ax.lines[0].set_color("#ff0000"), "another color"),
        (lambda figure, ax: ax.set_xticks([0, 1, 2]), "tick"),
        (lambda figure, ax: ax.set_xticks([0, 1], ["0", "3"]), "tick"),
    ],
)
def test_where_things_are_counts_in_figures_from_records(
    change: Callable[[Figure, Axes], Any], said: str
) -> None:
    stored, new = drawing(), drawing(change)
    assert comparison.figure_differences(stored, new) == []
    assert re.search(said, "\n".join(comparison.figure_differences(stored, new, "everything")))


def test_a_title_may_depend_on_the_outcome_of_training_and_a_label_may_not() -> None:
    other = drawing(lambda figure, ax: ax.set_title("No loss"))
    assert comparison.figure_differences(drawing(), other, "outline") == []
    other = drawing(lambda figure, ax: ax.set_xlabel("step"))
    assert "'step'" in "\n".join(comparison.figure_differences(drawing(), other, "outline"))
    other = drawing(lambda figure, ax: ax.plot([0, 1], [1, 1]))
    assert "line2d" in "\n".join(comparison.figure_differences(drawing(), other, "outline"))


def shown(**data: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": {}}


def printed(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def test_outputs_are_compared_kind_by_kind() -> None:
    stored = [printed("12 errors"), shown(**{"text/plain": "<Figure>"})]
    assert comparison.differences(stored, stored[::-1]) == []
    assert "12 errors" in comparison.differences(stored, [printed("13 errors"), stored[1]])[0]
    assert "text/plain" in comparison.differences(stored, stored[:1])[0]
    assert "stdout" in comparison.differences(stored[1:], stored)[0]
    failed = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    assert "error" in comparison.differences([], [failed])[0]
    # What a library says on one machine is no result.
    assert comparison.differences([], [printed("building the font cache", "stderr")]) == []


def test_figures_are_compared_even_where_texts_are_not() -> None:
    stored = [printed("12 errors"), shown(**{comparison.FIGURE: drawing()})]
    changed = drawing(lambda figure, ax: ax.set_title("Loss"))
    new = [printed("13 errors"), shown(**{comparison.FIGURE: changed})]
    found = comparison.differences(stored, new, texts=False)
    assert len(found) == 1
    assert "'Loss'" in found[0]
    assert comparison.differences(stored, [stored[1]], texts=False) == []


def test_what_differs_between_runs_is_replaced_before_texts_are_compared() -> None:
    def sanitize(text: str) -> str:
        return text.replace("17 ms", "TIME").replace("1.5 ms", "TIME")

    assert comparison.differences([printed("1.5 ms")], [printed("17 ms")], sanitize=sanitize) == []
