"""``cosnorm reproduce``: what it says before, while and after, and when it stops."""

from __future__ import annotations

import io
import itertools
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
from synthetic import record_of
from typer.testing import CliRunner, Result

from cosnorm import claims
from cosnorm.cli import app, campaign, runs
from cosnorm.cli.campaign import CampaignDisplay, summary
from cosnorm.experiments.campaign import Campaign, Progress, Running
from cosnorm.experiments.sharing import Place
from cosnorm.record import read, write


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, ["reproduce", *map(str, words)])


def smoke(folder: Path, *words: object) -> Result:
    """The two runs of the depth study that the plan at scale smoke has."""
    return invoke("--scale", "smoke", "--claims", "7", "--records", folder, "--device", "cpu", *words)


def records_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.rglob("[!.]*.json"))


def test_a_dry_run_shows_what_is_needed_and_trains_nothing(tmp_path: Path) -> None:
    result = smoke(tmp_path, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "2 of 2 runs are needed" in result.output
    assert re.search(r"depth/smoke/cosine-2-layers, seed 0: 1 x 20 epochs, \d+ s each", result.output)
    assert "mnist/smoke/cosine, seed 0: 1 x 20 epochs" in result.output
    assert "(for depth/smoke)" in result.output
    assert re.search(r"2 runs are needed: \d+ s of one core, about \d+ s with", result.output)
    assert records_in(tmp_path) == []
    write(record_of(Place("mnist", "smoke", "cosine"), 0), tmp_path)
    again = smoke(tmp_path, "--dry-run").output
    assert "1 of 2 runs are needed" in again
    assert "1 are there or are the same as another" in again


def test_it_makes_what_is_needed_once_and_says_which_verdicts_changed(tmp_path: Path) -> None:
    result = smoke(tmp_path, "--threads", "2")
    assert result.exit_code == 0, result.output
    assert records_in(tmp_path) == ["cosine-2-layers-seed0", "cosine-seed0"]
    made = read(tmp_path / "mnist" / "smoke" / "cosine-seed0.json")
    assert (
        f"mnist/smoke/cosine-seed0: {made.final['test_error_mean']:.1f} test errors of 355" in result.output
    )
    assert f"2 runs were made; the records are in {tmp_path}." in result.output
    assert "no claim is judged by them" in result.output
    assert "No verdict has changed." in result.output
    again = smoke(tmp_path)
    assert again.exit_code == 0
    assert "Nothing is needed: every run of the plan has its record." in again.output


def test_the_budget_stops_it_and_it_says_how_to_go_on(tmp_path: Path) -> None:
    result = smoke(tmp_path, "--budget", "0s", "--threads", "1")
    assert result.exit_code == 0, result.output
    assert "The time is up: 2 runs are left" in result.output
    said = re.search(r"To go on: (.+)", result.output)
    assert said is not None
    words = shlex.split(said[1])
    assert words[:4] == ["python", "-m", "cosnorm", "reproduce"]
    assert ("--claims", "7") in list(itertools.pairwise(words))
    assert ("--records", str(tmp_path)) in list(itertools.pairwise(words))


def test_changed_verdicts_are_told_with_before_and_after() -> None:
    titles = {key: claim.title for key, claim in claims.CLAIMS.items()}
    before = {"1": "untested", "2": "holds", "7": "untested"}
    assert campaign.verdict_lines(before, dict(before)) == ["No verdict has changed."]
    lines = campaign.verdict_lines(before, {**before, "7": "holds", "1": "undecided"})
    assert lines == [
        "2 verdicts have changed:",
        f"  claim 1, {titles['1']}: untested -> undecided",
        f"  claim 7, {titles['7']}: untested -> holds",
    ]
    assert campaign.verdict_lines("damaged", before) == ["The claims cannot be judged: damaged"]


def test_verdicts_are_those_of_the_ledger(tmp_path: Path) -> None:
    for seed in range(3):
        for technique, best in (("none", 200), ("cosine", 130)):
            place = Place("mnist", "short", technique)
            write(record_of(place, seed, [best + 5 * seed + k % 3 for k in range(20)]), tmp_path)
    found = campaign.verdicts(tmp_path)
    assert found == {entry.claim.key: entry.verdict for entry in claims.ledger(tmp_path)}
    assert isinstance(found, dict)
    nothing = campaign.verdicts(tmp_path / "nowhere")
    assert isinstance(nothing, dict)
    assert found != nothing
    assert nothing["14"] == found["14"] == "identity", "no record is needed for what is true by construction"
    assert "claim 1, " in "\n".join(campaign.verdict_lines(nothing, found))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scale", "tiny"), "there is no plan at scale 'tiny'; choose one of smoke, short, paper"),
        (("--stage", "9"), "there is no stage 9 at scale paper; choose from 1, 2, 3, 4, 5, 6"),
        (("--claims", "99"), "--claims '99' is not understood; write numbers of claims with commas"),
        (("--claims", "all"), "is not understood"),
        (("--budget", "soon"), "--budget 'soon' is not understood; write a time such as 3h, 90m or 1h30m"),
        (("--threads", "0"), "--threads must be at least 1"),
        (("--threads", "100000"), "--threads must be at least 1 and on this machine at most"),
        (("--device", "tpu"), "unknown device"),
    ],
)
def test_mistakes_are_explained(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = invoke(*words, "--records", tmp_path, "--dry-run")
    assert result.exit_code == 1
    assert message in result.stderr


def progress(**changes: object) -> Progress:
    run = Running("mnist/paper/cosine-seed0", 3, 200, 0.123456, 187)
    facts = {"finished": 1, "failed": 0, "total": 4, "share": 0.25, "seconds_left": 7200.0}
    return Progress(**{**facts, "running": (run,), "stopping": False, **changes})  # type: ignore[arg-type]


def test_without_a_terminal_there_is_a_line_a_minute_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(runs.time, "monotonic", lambda: now)
    display = CampaignDisplay(Console(file=io.StringIO(), width=60, soft_wrap=True))
    with display.start():
        for moment in (1.0, 59.0, 60.5, 61.0, 119.0, 121.0):
            now = moment
            display.on_progress(progress())
    lines = display.console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert (
        lines
        == [
            "2.0 h left; 25% of the work; 1 of 4 runs made; "
            "mnist/paper/cosine-seed0: epoch 3/200, loss 0.123, test errors 187"
        ]
        * 2
    )


def test_on_a_terminal_there_is_one_display(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=80, height=20, force_terminal=True)
    display = CampaignDisplay(console)
    with display.start():
        display.on_progress(progress())
        display.say("a line that stays")
        display.on_progress(progress(failed=1))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "2.0 h left" in text
    assert "1 failed" in text
    assert "a line that stays" in text
    assert summary(progress(stopping=True)) == "stopping: 1 run finishes its epoch"


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent differently on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_states_kept(tmp_path: Path, number: signal.Signals) -> None:
    words = ["reproduce", "--scale", "smoke", "--records", str(tmp_path), "--threads", "1", "--device", "cpu"]
    command = [sys.executable, "-m", "cosnorm", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + 90
        while not records_in(tmp_path) and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert "Stopping: each run in progress keeps its state at the end of its epoch" in out
    assert re.search(
        r"Stopped: \d+ runs are left, and those that were in progress have kept their state", out
    )
    assert f"python -m cosnorm reproduce --scale smoke --threads 1 --records {tmp_path}" in out
    assert {path.suffix for path in tmp_path.rglob(".*-seed*")} <= {".checkpoint"}


def test_durations_are_read_and_written() -> None:
    assert campaign.parse_duration("3h") == 10_800
    assert campaign.parse_duration("90m") == 5400
    assert campaign.parse_duration("1d2h") == 93_600
    for wrong in ("", "3", "h", "3 weeks", "-1h", "1hh"):
        with pytest.raises(ValueError, match="is not understood"):
            campaign.parse_duration(wrong)
    assert campaign.duration(0.2) == "1 s"


def test_sweep_takes_a_stage_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[tuple[str, str | None, str, str | None]] = []

    def note(name: str, norm: str, scale: str | None, seeds: str | None, options: dict[str, Any]) -> int:
        swept.append((name, scale, norm, seeds))
        return 0

    monkeypatch.setattr(runs, "sweep_experiment", note)
    result = CliRunner().invoke(app, ["sweep", "--stage", "3", "--records", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert ("depth", "paper", "cosine-2-layers,cosine-4-layers,cosine-5-layers", "0,1,2") in swept
    assert len(swept) == len(Campaign("paper", stage=3, records=tmp_path).stages[0].parts)


@pytest.mark.parametrize("words", [(), ("mnist", "--stage", "1")])
def test_sweep_wants_an_experiment_or_a_stage(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["sweep", *words])
    assert result.exit_code == 1
    assert "name an experiment, or a stage of the plan with --stage, and not both" in result.stderr
