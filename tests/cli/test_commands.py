"""The commands as typed: what they print, where they write, and how they fail."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import make_record
from typer.testing import CliRunner, Result

import cosnorm
from cosnorm import claims, evidence, experiments
from cosnorm.cli import app
from cosnorm.cli.runs import RunDisplay, Tally
from cosnorm.experiments import runner
from cosnorm.experiments.checkpoint import RunLock
from cosnorm.record import path_of, read, write
from cosnorm.training import Curves


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def run(folder: Path, *words: object) -> Result:
    return invoke("run", "mnist", "--scale", "smoke", "--device", "cpu", "--records", folder, *words)


def test_help_names_every_command() -> None:
    text = invoke("--help").output
    for command in ("list", "run", "reproduce", "sweep", "report", "claims", "data", "doctor"):
        assert re.search(rf"\b{command}\b", text)
    for option in ("--norm", "--scale", "--seeds", "--device", "--records", "--threads"):
        assert option in invoke("run", "--help").output


def test_version() -> None:
    assert invoke("--version").output.strip() == cosnorm.__version__


def test_list_shows_every_experiment_and_scale() -> None:
    text = invoke("list").output
    for name, experiment in experiments.registry().items():
        assert f"{name}: {experiment.title}" in text
        for key, scale in experiment.scales.items():
            row = rf"^{key} +{re.escape(scale.dataset)} .* {scale.epochs} +{scale.seeds} "
            assert re.search(row, text, re.MULTILINE)


@pytest.mark.parametrize("name", ["mnist", "noise"])
def test_list_of_one_shows_every_technique_with_its_rates(name: str) -> None:
    text = invoke("list", name).output
    experiment = experiments.get(name)
    for technique, rival in experiment.techniques.items():
        rates = [scale.rates.get(technique, rival.learning_rate) for scale in experiment.scales.values()]
        row = rf"^{technique} +{' +'.join(f'{rate:g}' for rate in rates)} +{rival.source} "
        assert re.search(row, text, re.MULTILINE)


def test_run_writes_the_records_that_were_asked_for(tmp_path: Path) -> None:
    result = run(tmp_path, "--norm", "none,batch", "--seeds", "2-3")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in tmp_path.rglob("*.json")) == [
        "batch-seed2.json",
        "batch-seed3.json",
        "none-seed2.json",
        "none-seed3.json",
    ]
    kept = read(path_of(tmp_path, "mnist", "smoke", "none", 2))
    assert f"none-seed2: {kept.final['test_error_mean']:.1f} test errors of 355" in result.output
    assert f"cosnorm report mnist --scale smoke --records {tmp_path}" in result.output
    again = run(tmp_path, "--norm", "none", "--seeds", "0,2")
    assert again.output.count("kept from before") == 1
    assert read(path_of(tmp_path, "mnist", "smoke", "none", 2)) == kept


def test_records_go_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSNORM_SCALE", "smoke")
    packaged = evidence.available()
    assert invoke("run", "mnist", "--norm", "none", "--seeds", "1").exit_code == 0
    assert [p.name for p in (tmp_path / "cosnorm-records").rglob("*.json")] == ["none-seed0.json"]
    assert evidence.available() == packaged


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "minst"), "no experiment 'minst'; choose from mnist"),
        (
            ("run", "mnist", "--norm", "cosin"),
            "choose from none, cosine, centered, batch, weight",
        ),
        (("run", "mnist", "--scale", "big"), "choose one of smoke, short, paper"),
        (("run", "mnist", "--seeds", "many"), "write how many (5), a range (3-4) or a list (0,2)"),
        (("run", "mnist", "--seeds", "0"), "write how many"),
        (("run", "mnist", "--device", "gpu"), "use auto, cpu or cuda"),
        (("run", "mnist", "--device", "mps"), "use auto, cpu or cuda"),
        (("run", "mnist", "--threads", "0"), "--threads must be at least 1"),
        (("run", "mnist", "--threads", "100000"), "on this machine at most"),
        (("run", "mnist", "--seeds", "9999999999"), "asks for more than 10,000 seeds"),
        (("run", "mnist", "--seeds", "0,99999999999999999999999"), "has a seed above the largest one"),
        (("report", "minst"), "choose from mnist"),
        (("report", "mnist", "--records", "nowhere"), "no records of mnist"),
        (("claims", "30"), "there is no claim 30; they are numbered from 1 to 29"),
        (("claims", "3"), "there is no claim 3; it has the parts 3a and 3b"),
        (("claims", "--records", "nowhere"), "there is no folder nowhere"),
        (("data", "minst"), "no dataset 'minst'"),
    ],
)
def test_mistakes_are_explained_on_stderr(words: tuple[str, ...], message: str) -> None:
    result = invoke(*words)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_an_unwritable_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "file" / "records")
    assert result.exit_code == 1
    assert "choose another folder with --records" in result.stderr


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    path = write(make_record("cosine", 0, [1, 2], scale="smoke"), tmp_path)
    path.write_text("{")
    for result in (run(tmp_path), invoke("report", "mnist", "--scale", "smoke", "--records", tmp_path)):
        assert result.exit_code == 1
        assert f"{path} is damaged" in result.stderr


def test_report_shows_ours_beside_the_papers(tmp_path: Path) -> None:
    curves = {"none": [[210, 211], [214, 217]], "cosine": [[135, 137], [139, 141]]}
    for technique, runs in curves.items():
        for seed, curve in enumerate(runs):
            write(make_record(technique, seed, curve), tmp_path)
    result = invoke("report", "mnist", "--scale", "short", "--records", tmp_path)
    assert result.exit_code == 0
    row = next(line for line in result.output.splitlines() if line.startswith("cosine"))
    # Of two epochs the last one scores: 137 and 141, mean 139, sd 2.83; interval 139 +- 12.706 * 2;
    # variances 2 and 2. Against the baseline's 211 and 217 the standard error is the root of 9 + 4, with
    # 169 / 97 degrees of freedom, where Student's t is 4.974.
    assert row.split()[:4] == ["cosine", "0.5", "2", "139.0"]
    assert "-75.0 (-92.9 to -57.1)" in row
    assert row.split()[8:13] == ["113.6", "to", "164.4", "2.8", "2.00"]
    assert row.endswith("143.922     0.074")
    for fact in ("scale short", "a made-up processor", "4 records", "Table 1", str(tmp_path)):
        assert fact in result.output


def test_report_reads_the_package_without_a_folder() -> None:
    result = invoke("report", "mnist", "--scale", "smoke")
    assert result.exit_code == 0
    assert str(evidence.table(evidence.load("mnist", "smoke"))) in result.output
    assert "the package's own" in result.output
    assert "no evidence for a ranking" in result.output


def test_claims_shows_the_ledger_and_all_about_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for seed, (ours, theirs) in enumerate(((135, 210), (139, 214), (138, 209))):
        write(make_record("cosine", seed, [300, *[ours] * 5]), tmp_path)
        write(make_record("none", seed, [300, *[theirs] * 5]), tmp_path)
    result = invoke("claims", "--records", tmp_path)
    assert result.exit_code == 0
    for key in claims.CLAIMS:
        assert re.search(rf"^{key}\. ", result.output, re.MULTILINE)
    assert re.search(
        r"^1\. .* holds in part, short +cosine . none, mnist: .73\.7 errors", result.output, re.MULTILINE
    )
    assert "Of 27 claims" in result.output
    assert "The rules were last written down on" in result.output
    one = invoke("claims", "1", "--records", tmp_path)
    assert one.exit_code == 0
    assert one.output.strip() == str(claims.entry(1, tmp_path))
    assert "cosnorm run newsgroups --norm cosine,none --scale short" in one.output


def test_data_shows_the_state_of_all_or_loads_one() -> None:
    assert re.search(r"^digits: embedded", invoke("data").output, re.MULTILINE)
    assert re.search(r"^mnist: ", invoke("data").output, re.MULTILINE)
    result = invoke("data", "digits")
    assert result.exit_code == 0
    assert "10 classes" in result.output
    assert re.search(r"sha256 [0-9a-f]{64}", result.output)


def test_doctor_shows_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(make_record("none", 0, [1, 2]), tmp_path / "cosnorm-records")
    result = invoke("doctor")
    assert result.exit_code == 0
    import torch

    assert f"cosnorm {cosnorm.__version__}" in result.output
    assert re.search(rf"^torch +{re.escape(torch.__version__)} ", result.output, re.MULTILINE)
    assert re.search(r"^device (cpu|cuda): .+ processor threads", result.output, re.MULTILINE)
    assert "digits: embedded" in result.output
    assert "records in cosnorm-records: 1 of mnist at scale short" in result.output
    count = evidence.available()["mnist", "smoke"]
    assert f"{count} of mnist at scale smoke" in result.output


def test_the_bar_counts_the_epochs_of_all_runs() -> None:
    """Epochs of runs that go on side by side come as they happen, and a resumed run skips some."""
    display = RunDisplay(Console(file=io.StringIO(), width=200))
    plan = experiments.plan("depth", scale="smoke", seeds=1)
    first, second, *_ = (plan.replica(*run) for run in plan.runs)
    seen: list[tuple[str, float, float | None]] = []

    def look() -> None:
        assert display._bar is not None
        task = display._bar.tasks[0]
        seen.append((task.description.split("  loss")[0], task.completed, task.total))

    with display.start(plan):
        for replica, epochs in ((first, 1), (second, 1), (first, 2), (second, 7)):
            display.on_epoch(replica, curves_of(epochs))
            look()
        display.on_record(make_record("cosine-3-layers", 0, [3, 2], epochs=20, scale="smoke"), False)
        look()
        display.on_epoch(first, curves_of(3))
        look()
    assert seen == [
        ("cosine-2-layers seed 0  epoch 1/20", 1, 80),
        ("cosine-3-layers seed 0  epoch 1/20", 2, 80),
        ("cosine-2-layers seed 0  epoch 2/20", 3, 80),
        ("cosine-3-layers seed 0  epoch 7/20", 9, 80),
        ("cosine-3-layers seed 0 done", 22, 80),
        ("cosine-2-layers seed 0  epoch 3/20", 23, 80),
    ]


def curves_of(epochs: int) -> Curves:
    losses, errors = [0.5] * epochs, [9] * epochs
    return Curves(losses, errors, losses, errors, seconds=1.0)


def test_all_runs_of_a_plan_are_told_of_and_done_at_the_end(tmp_path: Path) -> None:
    tally = Tally(experiments.plan("mnist", "none,cosine", "smoke", 2))
    assert (tally.done, tally.total) == (0, 80)
    run(tmp_path, "--norm", "none", "--seeds", "1")
    tally.finish(read(path_of(tmp_path, "mnist", "smoke", "none", 0)))
    assert tally.done == 20


def test_runs_of_another_process_are_said_to_be_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That process gives its two runs up, one after the other, and this one makes them."""
    monkeypatch.setattr(runner, "WAIT_SECONDS", 0.01)
    held = [RunLock(path_of(tmp_path, "mnist", "smoke", "none", seed)) for seed in (0, 1)]
    monkeypatch.setattr(runner.time, "sleep", lambda _: held.pop().release() if held else None)
    result = run(tmp_path, "--norm", "none", "--seeds", "3")
    assert result.exit_code == 0, result.output
    said = [line for line in result.output.splitlines() if "waiting" in line]
    assert said == [
        "waiting for 2 runs that another process is making",
        "waiting for 1 run that another process is making",
    ]
    assert len(list(tmp_path.rglob("[!.]*.json"))) == 3
