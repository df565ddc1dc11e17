"""Steps to a number of errors: whole epochs, paired by seed, and nobody counted who did not get there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import make_record

from cosnorm import evidence, experiments
from cosnorm.evidence.statistics import arrival, errors_by_step, fewest_errors, lowest, reach, steps_of_epoch
from cosnorm.record import Record, RecordError


def run(technique: str, seed: int, curve: Sequence[int], **options: Any) -> Record:
    """A run of ``cifar10`` on 50 000 examples in batches of 128: 391 steps per epoch."""
    chosen = {"train_examples": 50_000, "batch_size": 128, **options}
    return make_record(technique, seed, curve, experiment="cifar10", **chosen)


def test_the_last_batch_of_an_epoch_is_a_step_too() -> None:
    assert steps_of_epoch(run("none", 0, [1, 1])) == 391
    assert steps_of_epoch(run("none", 0, [1, 1], train_examples=1000, batch_size=100)) == 10
    assert steps_of_epoch(run("none", 0, [1, 1], train_examples=1001, batch_size=100)) == 11


def test_each_seed_has_its_own_target() -> None:
    base = [run("none", 0, [900, 500, 510, 500]), run("none", 1, [900, 800, 700, 600])]
    fast = [run("cosine", 0, [600, 500, 100, 100]), run("cosine", 1, [600, 650, 100, 100])]
    assert lowest([*base, *fast], "none") == {0: 500.0, 1: 600.0}
    found = reach([*base, *fast], "cosine", lowest(base, "none"))
    # Seed 0 gets to 500 after its second epoch, seed 1 to 600 after its first.
    assert found == evidence.Reach(target=550.0, steps=391 * 1.5, n=2, runs=2)
    itself = reach(base, "none", lowest(base, "none"))
    assert itself == evidence.Reach(target=550.0, steps=391 * 3.0, n=2, runs=2)


def test_runs_that_do_not_get_there_are_counted_and_not_averaged() -> None:
    runs = [run("cosine", 0, [900, 400]), run("cosine", 1, [900, 501]), run("cosine", 2, [900, 500])]
    assert reach(runs, "cosine", dict.fromkeys(range(3), 500)) == evidence.Reach(500.0, 391 * 2.0, 2, 3)
    assert reach(runs, "cosine", dict.fromkeys(range(3), 1)) == evidence.Reach(1.0, None, 0, 3)
    assert reach(runs, "cosine", {2: 500}) == evidence.Reach(500.0, 391 * 2.0, 1, 1)
    assert reach(runs, "cosine", {7: 500}) is None


def test_diverged_runs_set_and_reach_no_target() -> None:
    lost = run("none", 0, [3, 2], epochs=5)
    assert lowest([lost], "none") == {}
    assert reach([lost], "none", {0: 10}) is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=9), st.integers(0, 50))
def test_the_first_epoch_with_no_more_errors(curve: list[int], target: int) -> None:
    found = reach([run("none", 0, curve)], "none", {0: target})
    assert found is not None
    if found.steps is None:
        assert min(curve) > target
        return
    epoch = round(found.steps / 391)
    assert curve[epoch - 1] <= target < min([*curve[: epoch - 1], target + 1])


def cifar(plain: Sequence[int] = (9000, 4000, 3600), **options: object) -> list[Record]:
    still, moved = {"augment": False}, {"augment": True}
    return [
        run("none", 0, plain, images=still, **options),
        run("cosine", 0, [3600, 3000, 2800], images=still, **options),
        run("none-augmented", 0, [8000, 3000, 2500], images=moved, **options),
        run("cosine-augmented", 0, [4000, 3500, 2500], images=moved, **options),
    ]


def test_tables_4_and_5() -> None:
    table = evidence.table(cifar())
    shown = {cells[0]: dict(zip(table.header, cells, strict=True)) for cells in table.cells()}
    cosine, augmented = shown["cosine"], shown["cosine-augmented"]
    assert cosine["lowest"] == "2800.0 (0.2800)"
    assert cosine["paper lowest"] == "2700 (0.27)"
    assert cosine["steps to baseline's lowest"] == "391"
    assert cosine["steps to paper's"] == "782", "the first epoch with no more than 3510"
    assert (cosine["paper steps"], shown["none"]["paper steps"]) == ("2,000", "66,000")
    assert shown["none"]["steps to baseline's lowest"] == "1,173"
    assert shown["none"]["steps to paper's"] == "not reached by 1"
    assert augmented["difference"] == "+250.0 against none-augmented"
    assert augmented["steps to baseline's lowest"] == "1,173"
    assert cosine["difference"] == "-900.0 against none"
    assert "paper mean" not in table.header
    assert table._repr_markdown_().count("\n") == 7


def test_on_other_data_the_papers_targets_are_left_out() -> None:
    table = evidence.table(cifar((330, 140, 36), test_examples=355))
    assert "paper" not in " ".join(table.header)
    assert "steps to baseline's lowest" in table.header
    assert table["cosine"].reach_printed is None
    assert table["cosine"].reach is not None
    assert experiments.get("cifar10").printed, "or the columns would be missing anyway"


def test_only_declared_differences_may_stand_in_one_table() -> None:
    with pytest.raises(RecordError, match="differ in average"):
        evidence.table([run("none", 0, [5, 4]), run("cosine", 0, [5, 4], average=0.5)])


def test_evaluations_between_epochs_are_counted_too() -> None:
    between = {"test_error_steps": [[950], [400, 600]]}
    fine = run("cosine", 0, [900, 500], error_steps=200, extra=between)
    assert errors_by_step(fine) == [(200, 950), (391, 900), (400, 400), (600, 600), (782, 500)]
    assert fewest_errors(fine) == 400
    found = arrival(fine, 500)
    assert (found.after, found.by) == (391, 400)


def test_an_arrival_lies_between_two_evaluations() -> None:
    between = arrival(run("cosine", 0, [900, 500]), 500)
    rng = np.random.default_rng(0)
    steps = np.log(rng.uniform(between.after, between.by, 200_000))
    assert between.log == pytest.approx(steps.mean(), abs=0.05)
    assert between.log_variance == pytest.approx(steps.var(), rel=0.15)
    first = arrival(run("cosine", 0, [500, 400]), 500)
    steps = np.log(rng.uniform(0, first.by, 200_000))
    assert (first.log, first.log_variance) == pytest.approx((steps.mean(), steps.var()), abs=0.03)
    never = arrival(run("cosine", 0, [900, 800]), 500)
    assert not never.reached
    assert never.log == pytest.approx(np.log(782))
