"""The command as a process: Ctrl-C in the middle; and runs without what only the command needs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cosnorm.record import read

#: Runs one experiment with some imports forbidden, as if they were not installed.
BLOCKED = """
import importlib.util, sys
blocked, folder = sys.argv[1].split(","), sys.argv[2]

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name.split(".")[0] in blocked else found(name, *a)
sys.meta_path.insert(0, Blocker())
from cosnorm import experiments
experiments.run("mnist", "cosine", "smoke", 1, device="cpu", records=folder, progress=True)
"""
#: Starts the command line with epochs that last at least a tenth of a second, and a line about each.
SLOW = """
import time
from cosnorm.cli import main, runs
told = runs.RunDisplay.on_epoch
def slowly(self, replica, curves):
    told(self, replica, curves)
    time.sleep(0.1)
runs.RunDisplay.on_epoch = slowly
runs.RunDisplay.line_seconds = 0
main()
"""
OPTIONAL = "typer,rich,pooch,matplotlib,scipy,sympy,tqdm"


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent differently on Windows")
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    records = tmp_path / "my records"
    words = ["run", "mnist", "--norm", "none", "--scale", "smoke", "--seeds", "40", "--device", "cpu"]
    command = [sys.executable, "-m", "cosnorm", *words, "--records", str(records)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + 60
        while len(list(records.rglob("*.json"))) < 2 and time.monotonic() < limit:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    finished = sorted(records.rglob("*.json"))
    assert 2 <= len(finished) < 40
    others = {path.suffix for path in records.rglob("*") if path.is_file()} - {".json"}
    assert others <= {".checkpoint"}, "no half-written file and no lock"
    assert all(len(read(path).curves["test_error"]) == 20 for path in finished)
    assert f"{len(finished)} of 40 runs are finished" in out
    assert "each run in progress keeps its state at the end of its epoch" in " ".join(out.split())
    assert "Runs in progress have kept their state" in " ".join(out.split())
    said = re.search(r"with the same command: (.+)", out)
    assert said is not None
    again = shlex.split(said[1])
    assert again[:3] == ["python", "-m", "cosnorm"]
    assert again[3:] == [*words, "--records", str(records)]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM on Windows")
def test_a_terminated_run_keeps_the_epoch_that_it_was_in(tmp_path: Path) -> None:
    """The message is true: the same command goes on with the next epoch."""
    words = ["run", "mnist", "--norm", "none", "--scale", "smoke", "--seeds", "1", "--device", "cpu"]
    command = [sys.executable, "-c", SLOW, *words, "--records", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while "epoch 3/20" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "Runs in progress have kept their state" in out
    done = int(["3", *re.findall(r"epoch (\d+)/20", out)][-1])
    assert done < 20
    assert (tmp_path / "mnist" / "smoke" / ".none-seed0.checkpoint").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert re.findall(r"epoch (\d+)/20", again)[0] == str(done + 1)


def test_a_run_needs_only_torch_and_numpy_and_writes_the_record_of_the_command(tmp_path: Path) -> None:
    """Besides torch and numpy only, for the embedded digits, scikit-learn with its scipy."""
    function, command = tmp_path / "function", tmp_path / "command"
    blocked = OPTIONAL.replace("scipy,", "")
    words = ["run", "mnist", "--norm", "cosine", "--scale", "smoke", "--seeds", "1", "--device", "cpu"]
    bare = ["-c", BLOCKED, blocked, str(function)]
    for start in (bare, ["-m", "cosnorm", *words, "--records", str(command)]):
        done = subprocess.run(
            [sys.executable, *start], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "mnist/smoke/cosine-seed0: " in done.stdout
    assert [path.name for path in function.rglob("*.json")] == ["cosine-seed0.json"]
    one, two = (read(folder / "mnist" / "smoke" / "cosine-seed0.json") for folder in (function, command))
    assert (one.settings, one.curves, one.final) == (two.settings, two.curves, two.final)


def test_the_package_is_imported_without_anything_optional() -> None:
    parts = ("networks", "training", "experiments", "evidence", "plots")
    ours = "import cosnorm, " + ", ".join(f"cosnorm.{part}" for part in parts)
    # torch itself brings some of these along; ours must not add any.
    assert brought_by(ours) == brought_by("import torch, numpy")


def brought_by(imports: str) -> str:
    """The optional libraries that are loaded after these imports."""
    loaded = "{name.split('.')[0] for name in sys.modules}"
    program = f"{imports}; import sys; print(*sorted({loaded} & set(sys.argv)))"
    command = [sys.executable, "-c", program, *OPTIONAL.split(","), "sklearn", "IPython"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("entry", [["-m", "cosnorm"], ["-c", "from cosnorm.cli import main; main()"]])
def test_module_and_command_are_the_same(entry: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *entry, "list", "mnist"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("mnist: ")
