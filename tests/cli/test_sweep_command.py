"""``cosnorm sweep`` as one types it: options, the display, and Ctrl-C on a cluster of this machine."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cosnorm import experiments
from cosnorm.cli import app, runs
from cosnorm.cli.runs import SweepDisplay
from cosnorm.experiments.cluster import Epoch, Progress, SweepError, Task, Work
from cosnorm.record import read, write

NO_RAY = importlib.util.find_spec("ray") is None


def invoke(*words: object) -> Any:
    return CliRunner().invoke(app, ["sweep", *map(str, words)])


def progress(tasks: int = 1, attempt: int = 1, epoch: int = 7) -> Progress:
    settled = experiments.plan("mnist", "none", "smoke", 3 * tasks, "cpu")
    works = []
    for number in range(tasks):
        runs = [("none", seed) for seed in range(3 * number, 3 * number + 3)]
        replicas = {run: settled.replica(*run) for run in runs}
        task = Task(number, "mnist", "smoke", "cpu", replicas, 1, None, 30.0)
        epochs = {runs[0]: Epoch(20, 0.01, 9), runs[1]: Epoch(epoch, 0.12345, 31)}
        works.append((task, Work(f"host-{number}", 1234, attempt, epochs)))
    return Progress(works, waiting=5, finished=2, runs=20, nodes=1)


def displayed(terminal: bool) -> tuple[SweepDisplay, io.StringIO]:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=120, color_system=None, soft_wrap=True)
    return SweepDisplay(console), written


def test_a_terminal_shows_the_tasks_at_work() -> None:
    display, written = displayed(terminal=True)
    with display.start("title"):
        display.on_progress(progress())
        text = written.getvalue()
        assert re.search(r"none seed 0 and 2 more +host-0 +7/20 +0\.123 +31", text)
        assert "2 of 20 runs finished; 1 task at work, 5 waiting; 1 node" in text
        display.on_progress(progress(attempt=2))
        assert "host-0 (attempt 2)" in written.getvalue()
    assert text.startswith("title\n")


def test_a_long_table_is_cut_and_says_so() -> None:
    display, written = displayed(terminal=True)
    with display.start("title"):
        display.on_progress(progress(tasks=25))
    assert f"host-{runs.ROWS - 1}" in written.getvalue()
    assert f"host-{runs.ROWS} " not in written.getvalue()
    assert "and 5 more" in written.getvalue()


def test_without_a_terminal_there_are_lines_and_few_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(runs.time, "monotonic", lambda: now)
    display, written = displayed(terminal=False)
    with display.start("title"):
        for _ in range(10):
            display.on_progress(progress())
        assert written.getvalue() == "title\n"
        now += SweepDisplay.line_seconds
        display.on_progress(progress())
        display.on_progress(progress())
    assert written.getvalue() == "title\n2 of 20 runs finished; 1 task at work, 5 waiting; 1 node\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_lost_worker_is_told_of_once(terminal: bool) -> None:
    display, written = displayed(terminal)
    with display.start("title"):
        for attempt in (1, 2, 2):
            display.on_progress(progress(attempt=attempt))
    line = "none seed 0 and 2 more: its worker was lost; begun again on host-0"
    assert written.getvalue().count(line) == 1


def test_options_reach_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def sweep(*arguments: Any, **options: Any) -> list:
        asked.update(arguments=arguments, **options)
        return []

    monkeypatch.setattr(experiments, "sweep", sweep)
    words = [
        "mnist",
        "--norm",
        "none,cosine",
        "--scale",
        "short",
        "--seeds",
        "3-4",
        "--device",
        "cuda",
        "--address",
        "head:6379",
    ]
    words += ["--num-gpus", "0.25", "--num-cpus", "2", "--group", "8"]
    result = invoke(*words, "--records", tmp_path, "--checkpoints", tmp_path)
    assert result.exit_code == 0, result.output
    assert asked.pop("arguments") == ("mnist", ("none", "cosine"), "short", (3, 4))
    assert callable(asked.pop("on_record"))
    assert callable(asked.pop("on_progress"))
    assert asked == {
        "device": "cuda",
        "records": tmp_path,
        "address": "head:6379",
        "num_gpus": 0.25,
        "num_cpus": 2,
        "group": 8,
        "checkpoints": tmp_path,
    }
    assert f"Next: cosnorm report mnist --scale short --records {tmp_path}" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cifra"], "there is no experiment 'cifra'"),
        (["mnist", "--seeds", "x"], "--seeds 'x' is not understood"),
        (["mnist", "--address", "nowhere"], "write auto, local or HOST:PORT"),
        (["mnist", "--device", "cpu", "--num-gpus", "1"], "the device is cpu, and num_gpus is 1"),
    ],
)
def test_wrong_options_are_explained(words: list[str], message: str, tmp_path: Path) -> None:
    result = invoke(*words, "--records", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("cosnorm: ")
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_sweep_that_fails_says_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = experiments.run("mnist", "none", "smoke", 1, device="cpu")

    def sweep(*arguments: Any, **options: Any) -> list:
        write(made, tmp_path)
        raise SweepError("none seed 1 failed on host-7: out of luck")

    monkeypatch.setattr(experiments, "sweep", sweep)
    result = invoke("mnist", "--norm", "none", "--scale", "smoke", "--seeds", 2, "--records", tmp_path)
    assert result.exit_code == 1
    assert "cosnorm: none seed 1 failed on host-7: out of luck" in result.stderr
    assert f"1 of 2 runs are finished and kept in {tmp_path}" in result.stderr


#: So many short runs are not finished before the key is pressed, however late a busy machine notices two.
MANY = 400


def interrupted(words: list[str], records: Path) -> tuple[int, str, str]:
    """Exit code and output of a sweep that is stopped by Ctrl-C after two records."""
    command = [sys.executable, "-m", "cosnorm", *words]
    environment = {**os.environ, "RAY_worker_niceness": "0"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, env=environment)
    try:
        limit = time.monotonic() + 150
        while len(list(records.rglob("*.json"))) < 2 and time.monotonic() < limit and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.skipif(NO_RAY, reason="ray is not installed (pip install 'cosnorm[sweep]')")
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent differently on Windows")
@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    records = tmp_path / "my records"
    words = ["sweep", "mnist", "--norm", "none", "--scale", "smoke", "--seeds", str(MANY), "--device", "cpu"]
    words += ["--address", "local", "--records", str(records)]
    # Ray ends a node whose helpers need more than 15 s to start (ray-project/ray#65983), so try again.
    for _ in range(3):
        code, out, err = interrupted(words, records)
        if "Ray cannot be started" not in err:
            break
    assert code == 130, out + err
    assert err == ""
    finished = sorted(records.rglob("*.json"))
    assert 2 <= len(finished) < MANY
    assert sorted(path for path in records.rglob("*") if path.is_file()) == finished, "no half-written file"
    assert all(len(read(path).curves["test_error"]) == 20 for path in finished)
    told = [line for line in out.splitlines() if line.startswith("mnist/smoke/none-seed")]
    # The key may come between the writing of a record and the word about it.
    assert len(finished) - 1 <= len(told) <= len(finished)
    assert f"Stopped. {len(finished)} of {MANY} runs are finished and kept in {records}." in out
    said = re.search(r"To go on: (.+)", out)
    assert said is not None
    assert shlex.split(said[1])[:3] == ["python", "-m", "cosnorm"]
    assert sorted(shlex.split(said[1])[3:]) == sorted(words)
