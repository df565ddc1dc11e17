"""Loading and tabulating: numbers against NumPy, and no table of runs that do not belong together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import make_record, store

from cosnorm import evidence, experiments
from cosnorm.record import Record, RecordError

curves = st.lists(st.lists(st.integers(0, 10_000), min_size=6, max_size=6), min_size=2, max_size=5)


@settings(deadline=None, max_examples=30)
@given(curves, st.integers(2, 6))
def test_figures_against_numpy(runs: list[list[int]], tail: int) -> None:
    row = evidence.table([make_record("cosine", k, run, tail=tail) for k, run in enumerate(runs)])["cosine"]
    last = np.array(runs, dtype=float)[:, -tail:]
    scored = np.median(np.array(runs, dtype=float)[:, -3:], axis=1)  # of six epochs never more than half
    assert row.n == len(runs)
    assert row.mean == pytest.approx(scored.mean(), abs=1e-5)
    assert row.sd == pytest.approx(scored.std(ddof=1), abs=1e-5)
    assert row.within_variance == pytest.approx(last.var(1, ddof=1).mean(), abs=1e-5)
    assert row.lowest == pytest.approx(np.array(runs).min(1).mean())


def test_one_seed_shows_its_spread_as_undefined() -> None:
    table = evidence.table([make_record("cosine", 0, [150, 140])])
    row = table["cosine"]
    assert (row.mean, row.sd, row.interval) == (140.0, None, None)
    cells = dict(zip(table.header, table.cells()[0], strict=True))
    assert cells["mean"] == "140.0"
    assert cells["sd"] == cells["95 % interval"] == "\u2013"


def test_diverged_runs_are_counted_and_not_averaged() -> None:
    runs = [make_record("none", 0, [10, 20]), make_record("none", 1, [500], epochs=2)]
    table = evidence.table(runs)
    assert (table["none"].n, table["none"].diverged, table["none"].mean) == (1, 1, 20.0)
    assert "1 (+1 diverged)" in str(table)
    hopeless = evidence.table(runs[1:])
    assert (hopeless["none"].n, hopeless["none"].mean) == (0, None)
    assert "0 (+1 diverged)" in str(hopeless)


def test_the_papers_figures_stand_beside_ours_on_its_data_only() -> None:
    records = [make_record(technique, 0, [150, 140]) for technique in ("cosine", "centered")]
    table = evidence.table(records)
    printed = experiments.get("mnist").printed["cosine"]
    assert table["cosine"].printed == printed
    assert table["centered"].printed is None
    assert f"{printed.mean:g}" in str(table)
    other = evidence.table([make_record("cosine", 0, [15, 14], test_examples=355)])
    assert other["cosine"].printed is None
    assert "paper" not in str(other)


def test_shows_as_text_and_as_markdown() -> None:
    levels = {"none": 200, "cosine": 140}
    records = [make_record(t, s, [e + s, e + 3 * s]) for t, e in levels.items() for s in (0, 1)]
    table = evidence.table(records)
    lines = table._repr_markdown_().splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert lines[3].startswith("| cosine | 0.5 | 2 | 141.5 |")
    assert str(table).splitlines()[2].split()[:4] == ["cosine", "0.5", "2", "141.5"]
    assert len(table) == 2
    assert [row.technique for row in table] == ["none", "cosine"]
    assert table["cosine"].difference is not None
    assert table["cosine"].difference.mean == pytest.approx(-60.0)
    assert table["none"].difference is None
    with pytest.raises(KeyError, match="no row 'batch'; there are none, cosine"):
        table["batch"]


def test_a_table_needs_runs_of_one_kind() -> None:
    one = make_record("none", 0, [1, 2])
    with pytest.raises(ValueError, match="at least one record"):
        evidence.table([])
    with pytest.raises(ValueError, match="one scale"):
        evidence.table([one, make_record("none", 1, [1, 2], scale="paper")])
    with pytest.raises(RecordError, match="other data"):
        evidence.table([one, make_record("cosine", 0, [1, 2], dataset_sha256="1" * 64)])
    with pytest.raises(RecordError, match="differ in batch_size"):
        evidence.table([one, make_record("cosine", 0, [1, 2], batch_size=50)])
    with pytest.raises(RecordError, match="differ in learning_rate"):
        evidence.table([one, make_record("none", 1, [1, 2], learning_rate=0.7)])


def test_records_come_in_the_order_of_techniques_and_seeds(tmp_path: Path) -> None:
    made = [make_record(t, s, [5, 5]) for t in ("batch", "none", "cosine") for s in (10, 2)]
    loaded = evidence.load("mnist", "short", store(tmp_path, *made))
    assert [(r.technique, r.seed) for r in loaded] == [
        (t, s) for t in ("none", "cosine", "batch") for s in (2, 10)
    ]


def test_one_damaged_record_stops_the_loading(tmp_path: Path) -> None:
    store(tmp_path, make_record("none", 0, [5, 5]), make_record("none", 1, [5, 5]))
    (tmp_path / "mnist" / "short" / "none-seed1.json").write_text("{}")
    with pytest.raises(RecordError, match=r"none-seed1\.json"):
        evidence.load("mnist", "short", tmp_path)


def test_missing_records_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no records of mnist .*cosnorm run mnist --scale short"):
        evidence.load("mnist", "short", tmp_path)
    with pytest.raises(ValueError, match="choose from mnist"):
        evidence.load("minst", "short", tmp_path)
    with pytest.raises(ValueError, match="smoke, short, paper"):
        evidence.load("mnist", "big", tmp_path)


def as_of(experiment: str, *records: Record) -> list[Record]:
    """The same runs, said to be of another experiment."""
    return [dataclasses.replace(record, experiment=experiment) for record in records]


def shown(records: list[Record]) -> dict[str, dict[str, str]]:
    """The cells of a table by technique and title."""
    table = evidence.table(records)
    return {cells[0]: dict(zip(table.header, cells, strict=True)) for cells in table.cells()}


def test_text_shows_counts_and_fractions() -> None:
    made = [make_record("none", s, [3500, 3420 + s], tail=1, test_examples=7500) for s in (0, 2)]
    cells = shown(as_of("newsgroups", *made))["none"]
    assert cells["mean"] == "3421.0 (0.4561)"
    assert cells["paper mean"] == "3427.5 (0.457)"
    assert cells["paper variance"] == "120.7 (2.146e-06)"
    assert cells["sd"] == "1.4"


def test_lowest_errors_stand_beside_the_papers_where_it_prints_them() -> None:
    made = [
        make_record(f"cosine-{n}-layers", s, [200 - n, 150 - n + s], sizes=[784, *[5] * (n - 1), 10])
        for n in (2, 3)
        for s in (0, 2)
    ]
    records = as_of("depth", *made)
    cells = shown(records)
    assert cells["cosine-3-layers"]["lowest"] == "148.0"
    assert cells["cosine-3-layers"]["paper lowest"] == "143"
    assert cells["cosine-2-layers"]["against cosine-2-layers"] == "\u2013"
    assert cells["cosine-3-layers"]["against cosine-2-layers"].startswith("-1.0 (")
    assert "784-5-10, 784-5-5-10" in evidence.table(records).caption
    assert "lowest" not in evidence.table([make_record("none", 0, [5, 4])]).header


def test_a_competitor_is_compared_as_its_experiment_declares() -> None:
    made = [
        make_record("none-dropout", 0, [130, 130]),
        make_record("cosine-dropout", 0, [110, 110]),
        make_record("cosine-batch-1", 0, [120, 120], batch_size=1),
    ]
    records = as_of("noise", *made)
    cells = shown(records)
    assert cells["cosine-dropout"]["against none-dropout"] == "-20.0"
    assert cells["cosine-batch-1"]["against none-dropout"] == "\u2013"
    assert evidence.table(records, "cosine-batch-1")["cosine-dropout"].difference.mean == -10.0
    assert "batches of 100 or 1;" in evidence.table(records).caption
    lone = as_of("rates", make_record("none-at-0.1", 0, [5, 4], held_out="the last ones"))
    assert not any(title.startswith(("against", "difference")) for title in evidence.table(lone).header)
    assert "validation errors of" in evidence.table(lone).caption


def test_conditions_may_differ_where_the_experiment_declares_it() -> None:
    usual = make_record("cosine", 0, [5, 4], initial_std=0.1, hidden_bias=None, output_layer="a")
    other = make_record("none-variance", 0, [5, 4], initial_std=0.316, hidden_bias=None, output_layer="b")
    evidence.table(as_of("ambiguity", usual, other))
    with pytest.raises(RecordError, match="differ in initial_std;"):
        evidence.table([usual, other])
    twice = make_record("none-variance", 1, [5, 4], initial_std=0.2, hidden_bias=None, output_layer="b")
    with pytest.raises(RecordError, match="differ in initial_std"):
        evidence.table(as_of("ambiguity", other, twice))


def test_available_counts_files(tmp_path: Path) -> None:
    assert evidence.available(tmp_path) == {}
    store(tmp_path, make_record("none", 0, [5, 5]), make_record("none", 1, [5, 5]))
    store(tmp_path, make_record("none", 1, [5, 5], scale="paper"))
    assert evidence.available(tmp_path) == {("mnist", "short"): 2, ("mnist", "paper"): 1}
