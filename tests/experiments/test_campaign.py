"""The plan at work: what it names exists, each run is made once, and whatever ends it, it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import record_of, repeatable

from cosnorm import experiments, record
from cosnorm.experiments import campaign, execution
from cosnorm.experiments.campaign import COMPARED, Campaign, Due, Job, commands, stages
from cosnorm.experiments.checkpoint import RunLock
from cosnorm.experiments.costing import trial
from cosnorm.experiments.processes import Process
from cosnorm.experiments.sharing import Place
from cosnorm.record import read, write

#: Claim 7 reads the depth study: at scale smoke two runs, of which `mnist` makes one.
DEPTH = ["depth"]
MADE = ["depth/smoke/cosine-2-layers-seed0", "mnist/smoke/cosine-seed0"]


def made_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("[!.]*.json"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of the runs of most tests here, made without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    outcome = Campaign("smoke", experiments=DEPTH, records=folder, device="cpu", threads=2).run()
    assert (outcome.failed, outcome.left, outcome.reason) == ({}, 0, None)
    assert sorted(outcome.finished) == MADE
    return folder


def same(one: Path, other: Path) -> None:
    assert made_in(one) == made_in(other) == MADE
    for name in MADE:
        assert repeatable(read(one / f"{name}.json")) == repeatable(read(other / f"{name}.json"))


# -- the plan ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["smoke", "short", "paper"])
def test_all_that_the_plan_names_exists(scale: str) -> None:
    assert [name for stage in stages(scale) for part in stage.parts for name in part.unknown()] == []


def test_all_techniques_of_one_seed_come_before_the_next_seed() -> None:
    part = next(part for part in stages("paper")[1].parts if part.experiment == "mnist")
    runs = part.runs()
    assert [place.technique for place, _ in runs[:7]] == list(COMPARED)
    assert [seed for _, seed in runs] == [seed for seed in part.seeds for _ in range(7)]


def test_the_smoke_plan_has_every_experiment(tmp_path: Path) -> None:
    jobs = Campaign("smoke", records=tmp_path, device="cpu").jobs
    assert {job.place.experiment for job in jobs} == set(experiments.registry())


def test_a_run_that_two_parts_name_is_due_once_and_what_is_there_is_not(tmp_path: Path) -> None:
    made = Campaign("smoke", records=tmp_path, device="cpu")
    names = [one.home.name(one.job.seed) for one in made.due() if one.home is not None]
    assert len(names) == len(set(names))
    assert "mnist/smoke/cosine-seed0" in names
    assert not any(name.startswith("depth/smoke/cosine-3-layers") for name in names)
    assert "ambiguity/smoke/cosine-seed0" not in names, "mnist's longer run comes before it"
    write(record_of(Place("mnist", "smoke", "cosine"), 0), tmp_path)
    again = [one.home.name(one.job.seed) for one in made.due() if one.home is not None]
    assert set(names) - set(again) == {"mnist/smoke/cosine-seed0"}


def test_claims_choose_what_their_experiments_read_and_the_search_of_its_rates(tmp_path: Path) -> None:
    depth = Campaign("smoke", experiments=DEPTH, records=tmp_path, device="cpu")
    names = {job.place for job in depth.jobs}
    assert {place.experiment for place in names} == {"depth"}, "the plan has its runs"
    paper = Campaign("paper", experiments=DEPTH, records=tmp_path, device="cpu")
    shared = {job.place for job in paper.jobs if job.place.experiment != "depth"}
    assert shared == {Place("mnist", "paper", "cosine")}, "the network of three layers is not named apart"
    seen = Campaign("paper", stage=2, experiments=["preactivation"], records=tmp_path, device="cpu")
    assert {job.place for job in seen.jobs} == {Place("mnist", "paper", name) for name in COMPARED}
    fair = Campaign("smoke", experiments=["fair_newsgroups"], records=tmp_path, device="cpu")
    assert {"fair_newsgroups", "rates_newsgroups"} <= {job.place.experiment for job in fair.jobs}
    with pytest.raises(ValueError, match="no experiment 'minst'"):
        Campaign("smoke", experiments=["minst"], records=tmp_path)
    with pytest.raises(ValueError, match="there is no stage 9 at scale paper; choose from 1, 2, 3"):
        Campaign("paper", stage=9, records=tmp_path)
    with pytest.raises(ValueError, match="no plan at scale 'tiny'"):
        Campaign("tiny", records=tmp_path)


def test_the_plan_as_sweeps_take_it(tmp_path: Path) -> None:
    parts = list(commands(Campaign("paper", stage=2, records=tmp_path, device="cpu")))
    assert parts[0] == ("mnist", "paper", list(COMPARED), [0, 1, 2])
    assert [part[0] for part in parts] == ["mnist", "newsgroups"]


# -- costs ---------------------------------------------------------------------------------------------


def test_a_trial_measures_what_an_epoch_takes() -> None:
    mnist = experiments.get("mnist")
    small, large = (trial(mnist, scale, "none") for scale in ("smoke", "paper"))
    assert small.key != large.key
    assert (
        trial(experiments.get("rates"), "short", "none-at-3").key
        == trial(experiments.get("rates"), "short", "none-at-0.1").key
    )
    assert 10 < large.seconds() / small.seconds() < 10_000, "about 250 times the operations"


def test_trials_are_made_once_on_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "_WORTH_SECONDS", 0.0)
    told: list[tuple[int, int]] = []
    made = Campaign("smoke", experiments=DEPTH, records=tmp_path, device="cpu", threads=2)
    guessed = made.due()
    due = made.measure(lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {2}
    assert [one.job for one in due] == [one.job for one in guessed]
    assert all(one.seconds > 0 for one in due)
    again = Campaign("smoke", experiments=DEPTH, records=tmp_path, device="cpu", threads=2)
    told.clear()
    assert again.measure(lambda done, total: told.append((done, total))) == due
    assert told == []


# -- at work -------------------------------------------------------------------------------------------


def test_nothing_is_needed_where_everything_is_there(whole: Path) -> None:
    again = Campaign("smoke", experiments=DEPTH, records=whole, device="cpu", threads=1)
    assert again.due() == []
    assert again.run().finished == []
    assert made_in(whole) == MADE


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


PROGRAM = """
import sys
from pathlib import Path
from cosnorm.experiments import runner
runner.CHECKPOINT_SECONDS = 0.0
from cosnorm.experiments.campaign import Campaign
done = Campaign("smoke", experiments=["depth"], records=Path(sys.argv[1]), device="cpu", threads=1).run(
    on_progress=lambda progress: print(*(run.epoch for run in progress.running), flush=True)
)
print("ended", done.left)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes as Linux does")
@pytest.mark.parametrize("orphan", [True, False])
def test_killed_in_the_middle_it_goes_on_to_the_same_records(
    tmp_path: Path, whole: Path, orphan: bool
) -> None:
    """With ``kill -9``: of the process in charge alone, whose worker then keeps its state; and of both."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if any(word.isdecimal() and 0 < int(word) < 18 for word in line.split()):
            break
    workers = children(process.pid)
    assert len(workers) == 1
    process.kill()
    process.wait()
    process.stdout.close()
    if not orphan:
        with contextlib.suppress(ProcessLookupError):
            os.kill(workers[0], signal.SIGKILL)
    limit = time.monotonic() + 60
    while Path(f"/proc/{workers[0]}").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert not Path(f"/proc/{workers[0]}").exists(), "no worker outlives the process in charge by long"
    before = made_in(tmp_path)
    assert len(before) < 2
    assert orphan is False or list(tmp_path.rglob(".*.checkpoint")) or before
    outcome = Campaign("smoke", experiments=DEPTH, records=tmp_path, device="cpu", threads=2).run()
    assert outcome.failed == {}
    same(tmp_path, whole)
    assert list(tmp_path.rglob(".*.checkpoint")) == list(tmp_path.rglob(".*.lock")) == []


def test_told_to_stop_it_keeps_states_and_goes_on(tmp_path: Path, whole: Path) -> None:
    stop = threading.Event()

    def look(progress: campaign.Progress) -> None:
        if any(0 < run.epoch < run.epochs for run in progress.running):
            stop.set()

    made = Campaign("smoke", experiments=DEPTH, records=tmp_path, device="cpu", threads=1)
    outcome = made.run(stop=stop, on_progress=look)
    assert outcome.reason == "signal"
    assert outcome.left + len(outcome.finished) == 2
    assert outcome.left > 0
    assert outcome.failed == {}
    assert made.run().left == 0
    same(tmp_path, whole)


def test_a_budget_ends_it(tmp_path: Path) -> None:
    made = Campaign("smoke", experiments=DEPTH, records=tmp_path, device="cpu", threads=1)
    outcome = made.run(budget=0.0)
    assert (outcome.reason, outcome.left, outcome.finished) == ("budget", 2, [])
    assert made_in(tmp_path) == []


def test_a_run_that_fails_and_a_process_that_is_lost_do_not_end_the_others(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged record is reported; a killed process is replaced by another one, at most twice."""
    path = record.path_of(tmp_path, "mnist", "smoke", "none", 0)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    send, killed = Process.send, []

    def kill_once(self: Process, order: dict[str, Any]) -> None:
        if not killed:
            killed.append(order)
            self.process.kill()
        send(self, order)

    monkeypatch.setattr(Process, "send", kill_once)
    lines: list[str] = []
    made = Campaign("smoke", experiments=DEPTH, records=tmp_path, device="cpu", threads=1)
    made.jobs.insert(1, Job(1, Place("mnist", "smoke", "none"), 0))
    due = [Due(job, job.place, 20, 1.0) for job in made.jobs]
    monkeypatch.setattr(made, "due", lambda: due)
    outcome = made.run(on_line=lines.append)
    assert list(outcome.failed) == ["mnist/smoke/none-seed0"]
    assert "is damaged" in outcome.failed["mnist/smoke/none-seed0"]
    assert sum("its process ended with signal 9; the run goes on" in line for line in lines) == 1
    path.unlink()
    same(tmp_path, whole)


def test_a_run_that_another_process_makes_is_left_until_later(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "BUSY_SECONDS", 0.5)
    made = Campaign("smoke", experiments=DEPTH, records=tmp_path, device="cpu", threads=1)
    first = made.due()[0]
    assert first.home is not None
    lock = RunLock(first.home.path(tmp_path, 0))
    order: list[str] = []

    def note(line: str) -> None:
        order.append(line.partition(":")[0])
        lock.release()

    outcome = made.run(on_line=note)
    assert outcome.failed == {}
    assert order[-1] == first.home.name(0), "the others were made meanwhile"
    same(tmp_path, whole)


def executed(folder: Path, jobs: list[Job], device: str = "cpu") -> execution.Execution:
    due = [Due(job, None, 3, 1.0) for job in jobs]
    nothing = threading.Event(), lambda text: None, lambda progress: None
    return execution.Execution(due, folder, torch.device(device), 1, None, *nothing)


def test_runs_wait_for_the_search_of_their_learning_rate(tmp_path: Path) -> None:
    """Otherwise a rate of the package's records, or of a part of the search, would be taken."""
    search = Job(1, Place("rates_newsgroups", "smoke", "none-at-30"), 0)
    fair = Job(1, Place("fair_newsgroups", "smoke", "none"), 0)
    going = executed(tmp_path, [fair, search])
    task = going._next()
    assert task is not None
    assert task.jobs == [search]
    going.busy[object()] = task  # type: ignore[index]
    assert going._next() is None, "it is not finished"
    going.busy.clear()
    task = going._next()
    assert task is not None
    assert task.jobs == [fair]


def test_on_a_gpu_one_process_gets_all_runs_of_an_experiment(tmp_path: Path) -> None:
    jobs = [Job(1, Place("mnist", "smoke", name), seed) for seed in range(2) for name in ("none", "cosine")]
    other = Job(1, Place("newsgroups", "smoke", "none"), 0)
    going = executed(tmp_path, [*jobs, other], device="cuda")
    task = going._next()
    assert task is not None
    assert task.runs == [(name, seed) for seed in range(2) for name in ("none", "cosine")]
    assert going.pending == [other]


def test_time_left_follows_the_speed_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(execution.time, "monotonic", lambda: now)
    job = Job(1, Place("mnist", "smoke", "none"), 0)
    going = executed(tmp_path, [job])
    going.estimates[job] = going.work = 2000.0  # 100 seconds an epoch
    task = going._next()
    assert task is not None
    going.busy[object()] = task  # type: ignore[index]
    assert going.progress.seconds_left == 2000.0
    for epoch in (1, 2, 3):
        now += 200.0
        going._epoch(task, {"run": ["none", 0], "epoch": epoch, "loss": 1.0, "errors": 9})
    assert going.progress.share == pytest.approx(3 / 20)
    assert going.progress.seconds_left == pytest.approx(17 * 200.0)
    assert going.progress.running[0].epoch == 3
