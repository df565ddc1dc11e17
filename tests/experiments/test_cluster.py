"""A sweep: tasks, lost workers and lost nodes, and the records of a local run at the end of it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import repeatable

import cosnorm
from cosnorm import experiments, record
from cosnorm.experiments import cluster as clusters
from cosnorm.experiments import runner
from cosnorm.experiments.cluster import (
    RETRIES,
    Epoch,
    Progress,
    Run,
    SweepError,
    Task,
    Work,
    sweep,
    train_task,
)
from cosnorm.record import Record

NO_RAY = importlib.util.find_spec("ray") is None
needs_ray = pytest.mark.skipif(NO_RAY, reason="ray is not installed (pip install 'cosnorm[sweep]')")


def results(records: list[Record]) -> list[dict[str, Any]]:
    return [repeatable(each) for each in records]


def task(runs: list[Run], **changes: Any) -> Task:
    planned = experiments.plan("mnist", {run[0] for run in runs}, "smoke", {run[1] for run in runs}, "cpu")
    made = Task(0, "mnist", "smoke", "cpu", {run: planned.replica(*run) for run in runs}, 1, None, 0.0)
    return dataclasses.replace(made, **changes)


# -- without a cluster: what a worker and the driver do by themselves ----------------------------------


class Reports:
    """What a worker has reported."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.epochs: list[tuple[Run, Epoch]] = []
        self.records: list[Record] = []

    def __call__(self, report: tuple[int, Any]) -> None:
        _, content = report
        if isinstance(content, Work):
            self.works.append(content)
        elif isinstance(content, Record):
            self.records.append(content)
        else:
            self.epochs += content.items()


def test_a_task_gives_the_records_of_a_local_run() -> None:
    reports = Reports()
    train_task(task([("none", 0), ("cosine", 1)]), reports)
    local = experiments.run("mnist", ["none", "cosine"], "smoke", [0, 1], device="cpu")
    wanted = [r for r in local if (r.technique, r.seed) in {("none", 0), ("cosine", 1)}]
    assert results(reports.records) == results(wanted)
    assert [work.pid for work in reports.works] == [os.getpid()]
    command = reports.records[0].provenance["command"]
    assert command.startswith("cosnorm run mnist --norm none --scale smoke --seeds 0-0")


def test_a_task_computes_with_the_processors_that_it_has_reserved() -> None:
    before = torch.get_num_threads()
    try:
        for cpus in (2, 1):
            reports = Reports()
            train_task(task([("none", 0), ("none", 1)], cpus=cpus), reports)
            assert [r.cost["runs_at_once"] for r in reports.records] == [cpus, cpus]
            assert [r.provenance["threads"] for r in reports.records] == [1, 1], "each run has its own thread"
    finally:
        torch.set_num_threads(before)


class LostError(Exception):
    """Stands for the end of a worker."""


class LosingReports(Reports):
    """A worker that reports here is lost after some epochs."""

    def __call__(self, report: tuple[int, Any]) -> None:
        super().__call__(report)
        if len(self.epochs) == 3:
            raise LostError


@pytest.mark.parametrize("shared", [True, False])
def test_a_lost_task_goes_on_from_its_checkpoint_where_there_is_one(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "REPORT_SECONDS", 0.0)
    lost, reports = LosingReports(), Reports()
    work = task([("cosine", 0)], checkpoints=str(tmp_path) if shared else None)
    with pytest.raises(LostError):
        train_task(work, lost)
    assert [epoch.number for _, epoch in lost.epochs] == [1, 2, 3]
    train_task(work, reports)
    # The state is kept after an epoch is reported, so that of epoch 3 is lost.
    assert [epoch.number for _, epoch in reports.epochs] == list(range(3 if shared else 1, 21))
    assert results(reports.records) == results(experiments.run("mnist", "cosine", "smoke", 1, device="cpu"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "no state is left, and no record"


def test_a_task_reports_no_more_often_than_anybody_looks() -> None:
    counted: list[Any] = []
    begin = time.monotonic()
    train_task(task([("none", 0), ("none", 1), ("none", 2)]), lambda report: counted.append(report[1]))
    epochs = [content for content in counted if isinstance(content, dict)]
    assert len(epochs) <= (time.monotonic() - begin) / clusters.REPORT_SECONDS


class FakeRay:
    """As much of Ray as the driver uses, with tasks that end as told."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            """Ray's base class."""

        class RayTaskError(RayError):
            """A task has raised."""

    def __init__(self) -> None:
        self.sent: list[Task] = []

    def remote(self, task: Task, reports: object) -> int:
        del reports
        self.sent.append(task)
        return len(self.sent)

    def get(self, reference: int) -> None:
        raise self.exceptions.RayError(f"the worker of {reference} is gone")


def losing_driver(tasks: list[Task]) -> tuple[Any, FakeRay]:
    planned = experiments.plan("mnist", "none", "smoke", 2, "cpu")
    driver: Any = clusters._Driver(planned, None, None, None)
    ray = FakeRay()
    driver.ray = driver._remote = ray
    driver._reports, driver._pending = None, {ray.remote(each, None): each for each in tasks}
    driver._works, driver._losses, driver._finished = {}, {}, set()
    return driver, ray


def lose(driver: Any) -> None:
    ((reference, lost),) = driver._pending.items()
    del driver._pending[reference]
    driver._end(reference, lost)


def test_a_task_begun_again_leaves_out_what_is_finished() -> None:
    driver, ray = losing_driver([task([("none", 0), ("none", 1)])])
    driver._finished.add("mnist/smoke/none-seed0")
    lose(driver)
    assert [list(each.replicas) for each in ray.sent] == [[("none", 0), ("none", 1)], [("none", 1)]]
    driver._finished.add("mnist/smoke/none-seed1")
    lose(driver)
    assert driver._pending == {}, "everything is finished"


def test_of_two_records_of_a_run_the_first_stays() -> None:
    (first,) = experiments.run("mnist", "none", "smoke", 1, device="cpu")
    driver, _ = losing_driver([])
    driver._finish(first)
    driver._finish(dataclasses.replace(first, cost={**first.cost, "seconds": 1e6}))
    assert driver.results == {("none", 0): first}


def test_a_task_that_is_lost_time_and_again_is_given_up() -> None:
    driver, ray = losing_driver([task([("none", 0)])])
    for _ in range(RETRIES):
        lose(driver)
    with pytest.raises(SweepError, match=rf"lost {RETRIES + 1} times.*--num-cpus"):
        lose(driver)
    assert len(ray.sent) == RETRIES + 1


def test_a_worker_with_other_code_is_refused(tmp_path: Path) -> None:
    for changes, message in (
        ({"version": "0.0.1"}, f"has cosnorm {cosnorm.__version__}, and the sweep was started by 0.0.1"),
        ({"checkpoints": str(tmp_path / "elsewhere")}, "no folder .*elsewhere.*all nodes share"),
    ):
        with pytest.raises(SweepError, match=message):
            train_task(task([("none", 0)], **changes), Reports())
    other = task([("none", 0)])
    other.replicas["none", 0] = dataclasses.replace(other.replicas["none", 0], learning_rate=7.0)
    with pytest.raises(SweepError, match="other settings on this node"):
        train_task(other, Reports())


def test_runs_are_grouped_by_what_can_be_stacked_on_a_gpu_alone() -> None:
    planned = experiments.plan("mnist", ["none", "cosine"], "smoke", 3, "cpu")

    def groups(device: str, group: int | None) -> list[list[Run]]:
        wanted = clusters.Resources(device, 1, 0.0)
        return [list(t.replicas) for t in clusters.split(planned, planned.runs, wanted, group, None, 1.0)]

    none, cosine = ([(name, seed) for seed in range(3)] for name in ("none", "cosine"))
    assert groups("cuda", None) == [none, cosine]
    assert groups("cuda", 2) == [none[:2], none[2:], cosine[:2], cosine[2:]]
    assert groups("cpu", None) == [[run] for run in planned.runs]
    assert groups("cpu", 4) == [planned.runs[:4], planned.runs[4:]]


def test_no_group_on_a_gpu_is_larger_than_a_stack() -> None:
    planned = experiments.plan("mnist", "none", "smoke", 100, "cpu")
    wanted = clusters.Resources("cuda", 1, 1.0)
    tasks = clusters.split(planned, planned.runs, wanted, 1000, None, 1.0)
    assert [len(t.replicas) for t in tasks] == [64, 36]
    assert [t.number for t in tasks] == [0, 1]


def test_what_is_there_already_needs_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = experiments.run("mnist", "none", "smoke", 2, device="cpu", records=tmp_path)
    monkeypatch.setattr(clusters, "connected", lambda address: pytest.fail("nothing is left to run"))
    told: list[tuple[str, bool]] = []
    kept = sweep(
        "mnist", "none", "smoke", 2, records=tmp_path, on_record=lambda r, old: told.append((r.name, old))
    )
    assert kept == made
    assert told == [(r.name, True) for r in made]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norms": "cosin"}, "no technique 'cosin'"),
        ({"address": "nowhere"}, "write auto, local or HOST:PORT"),
        ({"address": "ray://head:10001"}, "write auto, local or HOST:PORT"),
        ({"device": "tpu"}, "use auto, cpu or cuda"),
        ({"num_gpus": 2}, "num_gpus is from 0 to 1, got 2"),
        ({"num_gpus": float("nan")}, "num_gpus is from 0 to 1"),
        ({"num_gpus": 0.5, "device": "cpu"}, "the device is cpu, and num_gpus is 0.5"),
        ({"num_gpus": 0, "device": "cuda"}, "the device is cuda, and num_gpus is 0"),
        ({"num_cpus": 0}, "num_cpus must be at least 1, got 0"),
        ({"group": 0}, "group must be at least 1, got 0"),
        ({"checkpoints": "/no/such/folder"}, "no folder /no/such/folder for checkpoints"),
    ],
)
def test_wrong_requests_are_explained_before_anything_starts(
    options: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "connected", lambda address: pytest.fail("too late"))
    with pytest.raises(ValueError, match=message):
        sweep("mnist", scale="smoke", **options)


def test_without_ray_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(SweepError, match=r"pip install 'cosnorm\[sweep\]'"):
        sweep("mnist", "none", "smoke", 1, address="local")


@needs_ray
@pytest.mark.parametrize("by_variable", [True, False])
def test_an_address_where_nobody_listens_is_found_out_at_once(
    by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address if by_variable else "127.0.0.1:1")
    begin = time.monotonic()
    with pytest.raises(
        SweepError, match=rf"no Ray cluster at the address {address} .*ray start --head.*local"
    ):
        sweep("mnist", "none", "smoke", 1, address="auto" if by_variable else address)
    assert time.monotonic() - begin < 20


# -- two nodes on 127.0.0.1 ----------------------------------------------------------------------------


def started(start: Callable[[], Any]) -> Any:
    """Ray ends a node whose helpers need more than 15 s to start (ray-project/ray#65983), so try again."""
    for attempt in range(3):
        try:
            return start()
        except Exception:
            if attempt == 2:
                raise
    return None


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        for variable in ("RAY_ADDRESS", "RAY_RUNTIME_ENV_HOOK"):
            patch.delenv(variable, raising=False)
        ray = clusters.import_ray(loopback=True)
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
        nodes = started(lambda: Cluster(initialize_head=True, head_node_args=node))
        try:
            started(lambda: nodes.add_node(**node))
            ray.init(nodes.address, log_to_driver=False, logging_level="error")
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()


class Saboteur:
    """Does something once, as soon as a run of a task that is still at work is finished."""

    def __init__(self, action: Callable[[clusters.Work], None]) -> None:
        self.action, self.done = action, False
        self.finished: set[Run] = set()
        self.attempts: dict[int, int] = {}

    def on_record(self, result: Record, present: bool) -> None:
        assert not present
        assert (result.technique, result.seed) not in self.finished, "no run is told of twice"
        self.finished.add((result.technique, result.seed))

    def on_progress(self, progress: Progress) -> None:
        for work_task, work in progress.works:
            self.attempts[work_task.number] = work.attempt
            if not self.done and self.finished & set(work_task.replicas):
                self.done = True
                self.action(work)


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
class TestOnTwoNodes:
    def test_they_listen_on_the_loopback_alone(self, cluster: Any) -> None:
        import ray

        assert cluster.address.startswith("127.0.0.1:")
        assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"] * 2

    def test_a_killed_worker_costs_no_record(
        self, cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        saboteur = Saboteur(lambda work: os.kill(work.pid, 9))
        made = sweep(
            "mnist",
            ["none", "cosine"],
            "smoke",
            4,
            device="cpu",
            records=tmp_path,
            group=4,
            on_record=saboteur.on_record,
            on_progress=saboteur.on_progress,
        )
        assert saboteur.done
        assert sorted(saboteur.attempts.values()) == [1, 2]
        local = experiments.run("mnist", ["none", "cosine"], "smoke", 4, device="cpu")
        assert results(made) == results(local)
        planned = experiments.plan("mnist", ["none", "cosine"], "smoke", 4, "cpu")
        assert list(runner.stored(planned, tmp_path).values()) == made
        assert capfd.readouterr() == ("", ""), "what is lost is shown by the display, not by Ray"

    def test_an_error_of_a_task_is_shown_and_not_tried_again(
        self, cluster: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        split = clusters.split

        def spoilt(*arguments: Any) -> list[Task]:
            return [dataclasses.replace(t, version="0.0.1") for t in split(*arguments)]

        monkeypatch.setattr(clusters, "split", spoilt)
        begun: list[int] = []
        with pytest.raises(SweepError, match=rf"none seed 0 failed on {socket.gethostname()}: .* by 0\.0\.1"):
            sweep(
                "mnist",
                "none",
                "smoke",
                1,
                device="cpu",
                on_progress=lambda progress: begun.extend(work.attempt for _, work in progress.works),
            )
        assert set(begun) <= {1}

    def test_more_than_any_node_has_is_refused(self, cluster: Any) -> None:
        with pytest.raises(SweepError, match="no node of the cluster has 2 CPUs and 0 GPUs"):
            sweep("mnist", "none", "smoke", 1, device="cpu", num_cpus=2)
        with pytest.raises(SweepError, match=r"no node of the cluster has 1 CPUs and 0\.5 GPUs"):
            sweep("mnist", "none", "smoke", 1, num_gpus=0.5)

    def test_a_record_that_another_process_has_written_meanwhile_stays(
        self, cluster: Any, tmp_path: Path
    ) -> None:
        (theirs,) = experiments.run("mnist", "none", "smoke", 1, device="cpu")
        theirs = dataclasses.replace(theirs, cost={**theirs.cost, "seconds": 12345.0})
        told: list[bool] = []
        begun: list[Path] = []

        def write_once(progress: Progress) -> None:
            if not begun:
                begun.append(record.write(theirs, tmp_path))

        # Two runs in one task: the first look comes before the second of them is finished.
        made = sweep(
            "mnist",
            "none",
            "smoke",
            [1, 2, 3, 0],
            device="cpu",
            records=tmp_path,
            group=4,
            on_progress=write_once,
            on_record=lambda r, present: told.append(present),
        )
        assert made[-1] == theirs
        assert told == [False, False, False, True]

    def test_a_lost_node_costs_no_record(self, cluster: Any) -> None:
        (node,) = cluster.worker_nodes
        saboteur = Saboteur(lambda work: cluster.remove_node(node, allow_graceful=False))
        made = sweep(
            "mnist",
            ["none", "cosine"],
            "smoke",
            6,
            device="cpu",
            group=6,
            on_record=saboteur.on_record,
            on_progress=saboteur.on_progress,
        )
        assert saboteur.done
        assert sorted(saboteur.attempts.values()) == [1, 2]
        assert results(made) == results(
            experiments.run("mnist", ["none", "cosine"], "smoke", 6, device="cpu")
        )


def test_a_key_whose_interrupt_was_swallowed_is_remembered() -> None:
    before = signal.getsignal(signal.SIGINT)
    with clusters._remembered_interrupt() as pressed:
        assert not pressed.is_set()
        with contextlib.suppress(KeyboardInterrupt):  # as a library may do
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        assert pressed.is_set()
    assert signal.getsignal(signal.SIGINT) is before
