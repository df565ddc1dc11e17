"""How the matrix is measured: points, transformations, verdicts, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cosnorm.invariances import (
    PLACE,
    SYMBOLS,
    TRANSFORMATIONS,
    Cell,
    Changed,
    Matrix,
    Point,
    Row,
    Setting,
    Transformation,
    figure,
    matrix,
    random_point,
)

Array = NDArray[Any]
BY_KEY = {t.key: t for t in TRANSFORMATIONS}


@pytest.fixture
def point() -> Point:
    return random_point("none")


def applied(key: str, setting: Setting, amount: float = 3.0) -> Changed:
    return BY_KEY[key].apply(setting, amount, torch.Generator().manual_seed(0))


def arrays(setting: Setting) -> dict[str, Array]:
    return {name: getattr(setting, name).numpy().copy() for name in ("weight", "dataset", "batch")}


#: What each transformation makes of each tensor, in NumPy.
def at(dim: int, change: str, amount: float) -> Callable[[Array], Array]:
    def apply(values: Array) -> Array:
        values = values.copy()
        where = (slice(None),) * dim + (PLACE,)
        values[where] = values[where] * amount if change == "scale" else values[where] + amount
        return values

    return apply


WHOLE = {
    "row_scale": {"weight": at(0, "scale", 3.0)},
    "row_shift": {"weight": at(0, "shift", 3.0)},
    "matrix_scale": {"weight": lambda v: 3.0 * v},
    "matrix_shift": {"weight": lambda v: 3.0 + v},
    "example_scale": {"batch": at(0, "scale", 3.0)},
    "example_shift": {"batch": at(0, "shift", 3.0)},
    "batch_scale": {"batch": lambda v: 3.0 * v},
    "batch_shift": {"batch": lambda v: 3.0 + v},
    "feature_scale": {"batch": at(1, "scale", 3.0)},
    "feature_shift": {"batch": at(1, "shift", 3.0)},
    "dataset_scale": {"batch": lambda v: 3.0 * v, "dataset": lambda v: 3.0 * v},
    "dataset_shift": {"batch": lambda v: 3.0 + v, "dataset": lambda v: 3.0 + v},
    "mode": {},
}


@pytest.mark.parametrize("key", WHOLE)
@pytest.mark.parametrize("convolution", [False, True])
def test_a_transformation_changes_what_it_says_and_nothing_else(key: str, convolution: bool) -> None:
    start = random_point("none", convolution=convolution).start
    before = arrays(start)
    changed = applied(key, start).setting
    for name, values in arrays(changed).items():
        expected = WHOLE[key].get(name, lambda v: v)(before[name])
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(getattr(start, name), before[name])  # the start is not touched
    assert changed.training is (key != "mode")


def test_one_vector_is_added_to_all_rows(point: Point) -> None:
    change = applied("matrix_vector", point.start).setting.weight - point.start.weight
    assert torch.allclose(change, change[:1].expand_as(change), atol=1e-12)
    assert change[0].std() > 0.1


def test_the_order_moves_every_example(point: Point) -> None:
    changed = applied("order", point.start)
    assert sorted(changed.setting.batch.tolist()) == sorted(point.start.batch.tolist())
    assert not (changed.setting.batch == point.start.batch).all(1).any()
    assert torch.equal(changed.same(point.start.batch), changed.setting.batch)


def test_other_examples_are_other_but_for_the_last(point: Point) -> None:
    changed = applied("company", point.start)
    equal = (changed.setting.batch == point.start.batch).all(1)
    assert equal.tolist() == [False] * (len(equal) - 1) + [True]
    assert torch.equal(changed.seen(changed.setting.batch), changed.same(point.start.batch))


@pytest.mark.parametrize(
    ("key", "shape"), [("row_scale", (slice(None), PLACE)), ("example_scale", (PLACE,)), ("batch_scale", ())]
)
def test_where_the_factor_is_taken_up(key: str, shape: tuple[Any, ...], point: Point) -> None:
    output = np.arange(1.0, 43.0).reshape(7, 6)
    along = applied(key, point.start).along
    assert along is not None
    expected = output.copy()
    expected[shape] *= 3.0
    np.testing.assert_array_equal(along(torch.tensor(output)), expected)


def test_a_point_is_the_same_for_a_seed_and_leaves_torch_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (random_point("batch", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.output(first.start), second.output(second.start))
    assert not torch.equal(first.start.weight, other.start.weight)


def test_an_output_is_the_layers_own_equation() -> None:
    for technique in ("none", "batch", "layer", "max_norm"):
        point = random_point(technique)
        w, x = point.start.weight.numpy(), point.start.batch.numpy()
        gain = next((p.detach().numpy() for n, p in point.layer.named_parameters() if n == "1.weight"), 1.0)
        if technique == "max_norm":
            lengths = np.linalg.norm(w, axis=1, keepdims=True)
            assert (lengths > 2).any()
            w = w * np.minimum(1, 2 / lengths)
        a = x @ w.T
        if technique in ("batch", "layer"):
            axis = 0 if technique == "batch" else 1
            a = gain * (a - a.mean(axis, keepdims=True)) / a.std(axis, keepdims=True)
        np.testing.assert_allclose(point.output(point.start), a, rtol=1e-10, atol=1e-12)


def test_inference_uses_the_data_set_and_the_weights_from_before() -> None:
    point = random_point("batch")
    start = Setting(3 * point.start.weight, point.start.dataset, point.start.batch, training=False)
    a = (point.start.dataset @ point.start.weight.T).numpy()
    gain = dict(point.layer.named_parameters())["1.weight"].detach().numpy()
    changed = (point.start.batch @ start.weight.T).numpy()
    np.testing.assert_allclose(point.output(start), gain * (changed - a.mean(0)) / a.std(0), rtol=1e-9)


def test_measuring_leaves_the_point_alone(point: Point) -> None:
    before = {name: value.clone() for name, value in point.layer.state_dict().items()}
    point.output(applied("row_scale", point.start).setting)
    assert all(torch.equal(before[name], value) for name, value in point.layer.state_dict().items())


def test_verdicts() -> None:
    assert Cell(1e-12, 0.9).verdict == "same"
    assert Cell(0.9, 1e-12).verdict == "scales"
    assert Cell(0.9, 0.9).verdict == Cell(0.9).verdict == Cell(float("inf")).verdict == "changes"


def test_an_output_that_is_not_finite_is_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Transformation(
        "broken",
        "broken",
        "inputs",
        "none",
        lambda s, *_: Changed(Setting(s.weight, s.dataset, s.batch / 0, True)),
    )
    mode = BY_KEY["mode"]
    monkeypatch.setattr("cosnorm.invariances.TRANSFORMATIONS", (broken, mode))
    assert matrix(["none"], seeds=[0])["none"].cells["broken"].verdict == "changes"


def test_rows_are_found_by_name_and_mode() -> None:
    found = matrix(["none", "batch"], seeds=[0])
    assert [row.mode for row in found] == ["both", "training", "inference"]
    assert found["batch"] is found["batch", "training"] is found.rows[1]
    assert found["batch", "inference"] is found.rows[2]
    assert found["none"] is found["none", "inference"] is found.rows[0]
    with pytest.raises(KeyError, match="cosine"):
        found["cosine"]


def test_rows_that_nothing_tells_apart_are_grouped() -> None:
    found = matrix(["none", "cosine", "weight_decay"], seeds=[0])
    assert [[row.technique for row in rows] for rows in found.grouped().values()] == [
        ["none", "weight_decay"],
        ["cosine"],
    ]


def test_text_and_table_show_every_verdict() -> None:
    found = matrix(["none", "cosine"], seeds=[0])
    lines = str(found).splitlines()
    html = found._repr_html_()
    for row, line in zip(found, lines, strict=False):
        signs = "".join(SYMBOLS[verdict] for verdict in row.pattern)
        assert line.replace(" ", "").endswith(signs)
        cells = re.search(rf">{row.label}</th>(.*?)</tr>", html)
        assert cells
        assert "".join(re.findall(r"<td[^>]*>(.)</td>", cells[1])) == signs
    assert lines[-1].count(";") == 2
    assert all(t.label in html for t in TRANSFORMATIONS)


def test_the_figure_has_a_sign_for_every_cell() -> None:
    from cosnorm import plots

    found = matrix(["none", "cosine", "weight_decay"], seeds=[0])
    drawn = figure(found, "an answer")
    axes = drawn.axes[0]
    signs = [line for line in axes.lines if np.size(line.get_xdata()) == 1]
    assert len(signs) == 2 * len(TRANSFORMATIONS)
    full = sum(line.get_fillstyle() == "full" and line.get_marker() == "o" for line in signs)
    assert full == sum(row.pattern.count("same") for row in found.rows[:2])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["none; weight decay", "cosine"]
    assert "an answer" not in axes.get_title()
    assert plots.to_svg(drawn).startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"techniques": ["cosinus"]}, "unknown technique 'cosinus'; choose from none, cosine"),
        ({"techniques": ["instance"]}, "convolution=True"),
        ({"techniques": []}, "at least one technique"),
        ({"seeds": []}, "one seed"),
    ],
)
def test_bad_input_is_explained(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matrix(**arguments)  # type: ignore[arg-type]


def test_a_row_says_its_mode() -> None:
    cells = {"mode": Cell(0.0)}
    assert Row("batch", "inference", cells).label == "batch norm, inference"
    assert Row("cosine", "both", cells).label == "cosine"
    assert len(Matrix((Row("cosine", "both", cells),))) == 1
