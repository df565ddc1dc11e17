"""Kill -9 at random moments: a sweep whose process is killed again and again, beside one that is not.

``python tests/experiments/killing.py KILLS SEED SEEDS`` prints what happened as JSON and fails if a record
differs: so many kills, at moments drawn with a seed, of a sweep over so many seeds of three techniques.
The sweep runs in forked processes, so that no kill is spent on the import of torch; a checkpoint is
written after every epoch, and two runs are trained at a time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cosnorm import data, experiments, provenance
from cosnorm.record import Record, read

NORMS = ("none", "cosine", "batch")
#: A process is killed after at most this share of the time that the whole sweep takes.
LATEST = 0.4


def sweep(folder: Path, log: Path, seeds: int) -> None:
    """Run what has no record yet; each epoch leaves a line in the log."""
    torch.set_num_threads(2)
    with open(log, "a", encoding="utf-8") as file:

        def note(replica: Any, curves: Any) -> None:
            file.write(f"{os.getpid()} {replica.norm} {replica.seed} {len(curves.test_error)}\n")
            file.flush()

        experiments.run(
            "mnist", NORMS, "smoke", seeds, device="cpu", records=folder, on_epoch=note, checkpoint_every=0
        )


def forked(folder: Path, log: Path, seeds: int) -> int:
    """Start the sweep in a process of its own; returns its number."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            sweep(folder, log, seeds)
            status = 0
        finally:
            os._exit(status)
    return child


def survives(child: int, moment: float) -> bool:
    """Kill the process at a moment, in seconds from now; whether it had ended well before that."""
    limit = time.monotonic() + moment
    while time.monotonic() < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                raise SystemExit(f"the sweep ended by itself with status {status}")
            return True
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def repeatable(record: Record) -> dict[str, Any]:
    """All of a record but its cost (time, memory, how many runs shared the machine) and its dates."""
    content = asdict(record)
    del content["cost"]
    del content["provenance"]["date"]
    for contribution in content["provenance"]["contributions"]:
        del contribution["date"]
    return content


def records_in(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.name: repeatable(read(path)) for path in sorted(folder.rglob("[!.]*.json"))}


def difference(expected: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> list[str]:
    """Records and their sections that are not the same in both."""
    sections = [(name, section) for name in expected | found for section in expected.get(name, {"": None})]
    return [
        f"{name} {section}"
        for name, section in sections
        if name not in expected or name not in found or expected[name][section] != found[name][section]
    ]


def hidden_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def went_on(log: Path) -> list[int]:
    """For each run that a process did not begin with its first epoch: how many epochs it did not repeat."""
    first: dict[tuple[str, ...], int] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        *run, epoch = line.split()
        first.setdefault(tuple(run), int(epoch))
    return [epoch - 1 for epoch in first.values() if epoch > 1]


def main(kills: int, seed: int, seeds: int) -> dict[str, Any]:
    """Kill so many times; returns what happened."""
    data.load("digits")
    provenance.environment("cpu")  # notes the commit for all processes: somebody may commit meanwhile
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        whole, log = Path(place, "whole"), Path(place, "log")
        begin = time.monotonic()
        if not survives(forked(whole, log, seeds), 600):
            raise SystemExit("the sweep does not end")
        expected, duration = records_in(whole), time.monotonic() - begin
        assert len(expected) == len(NORMS) * seeds
        log.unlink()
        done, sweeps, left_behind = 0, 0, 0
        begin = time.monotonic()
        while done < kills:
            folder = Path(place, f"sweep-{sweeps}")
            sweeps += 1
            while not survives(
                forked(folder, log, seeds), moments.uniform(0, LATEST * duration) if done < kills else 600
            ):
                done += 1
                left_behind += any(name.endswith(".part") for name in hidden_in(folder))
            if differing := difference(expected, records_in(folder)):
                raise SystemExit(f"records of a killed sweep differ in {differing}")
            if hidden_in(folder):
                raise SystemExit(f"left over: {hidden_in(folder)}")
        saved = went_on(log)
        return {
            "kills": done,
            "sweeps": sweeps,
            "records_compared": sweeps * len(expected),
            "runs_resumed": len(saved),
            "epochs_not_repeated": sum(saved),
            "kills_in_the_middle_of_a_write": left_behind,
            "seconds": round(time.monotonic() - begin, 1),
            "seconds_uninterrupted": round(duration, 1),
        }


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))
