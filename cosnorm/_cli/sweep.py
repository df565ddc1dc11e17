"""The command ``cosnorm sweep``: reads its options, shows the tasks, and stops politely."""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cosnorm import experiments
from cosnorm._cli.shared import EXPLAINED, INTERRUPTED, complain, parse_seeds
from cosnorm.experiments.campaign import Campaign, commands
from cosnorm.experiments.cluster import Progress, SweepError, sweep
from cosnorm.record import Record

#: What the options of ``cosnorm sweep`` say that ``cosnorm run`` has not.
HELP = {
    "name": "The experiment; `cosnorm list` shows them. Without one, a stage of the plan is made.",
    "stage": "In place of an experiment: this stage of the plan of `cosnorm reproduce`.",
    "device": "auto, cpu or cuda; auto is cuda if the cluster has a GPU.",
    "records": "Folder on this machine for the records; finished ones found there are kept.",
    "address": "auto (this machine's cluster), local (this machine alone) or HOST:PORT of the head node.",
    "num_gpus": "GPUs a task reserves, from 0 to 1; default 1 on cuda. With 0.25 four tasks share one.",
    "num_cpus": "Processors a task reserves; default what one run takes.",
    "group": "Runs a task; default 1 on a CPU, and on a GPU as many as can be stacked.",
    "checkpoints": "Folder that all nodes share; lost tasks then go on where they were.",
}


class Display(Protocol):
    """Shows a sweep; a context manager, so that a terminal is left clean."""

    def start(self, title: str) -> AbstractContextManager[object]:
        """Begin to show a sweep."""
        ...

    def on_progress(self, progress: Progress) -> None:
        """Show how things stand."""
        ...

    def on_record(self, record: Record, present: bool) -> None:
        """Show a run that is finished, or ``present`` from before."""
        ...

    def say(self, text: str) -> None:
        """Print a line that stays."""
        ...


@dataclass(frozen=True)
class Options:
    """The command line as it was written."""

    name: str
    norm: str
    scale: str | None
    seeds: str | None
    device: str
    records: Path
    address: str
    num_gpus: float | None
    num_cpus: int | None
    group: int | None
    checkpoints: Path | None
    stage: int | None = None

    def again(self, scale: str) -> str:
        """The command that does what is left, whatever ``$COSNORM_SCALE`` is then."""
        words = ["python", "-m", "cosnorm", "sweep", self.name, "--scale", scale]
        for option in ("norm", "seeds", "device", "records", "address", *_RESOURCES):
            value = getattr(self, option)
            words += [] if value is None else [f"--{option.replace('_', '-')}", str(value)]
        return shlex.join(words)


_RESOURCES = ("num_gpus", "num_cpus", "group", "checkpoints")


def stage_command(display: Display, options: Options) -> int:
    """Sweep the parts of a stage of the plan, one after the other; the first that fails ends it."""
    try:
        campaign = Campaign(
            options.scale or "paper", stage=options.stage, records=options.records, device="cpu"
        )
    except EXPLAINED as error:
        return complain(str(error))
    for experiment, scale, techniques, seeds in commands(campaign):
        listed = ",".join(map(str, seeds)) if len(seeds) > 1 else f"{seeds[0]}-{seeds[0]}"
        part = replace(
            options, name=experiment, norm=",".join(techniques), scale=scale, seeds=listed, stage=None
        )
        code = sweep_command(display, part)
        if code:
            return code
    return 0


def sweep_command(display: Display, options: Options) -> int:
    """Sweep as asked; returns the exit code after saying what was done, or why not."""
    if (options.stage is None) == (not options.name):
        return complain("name an experiment, or a stage of the plan with --stage, and not both")
    if options.stage is not None:
        return stage_command(display, options)
    try:
        seeds = parse_seeds(options.seeds)
        plan = experiments.plan(options.name, options.norm, options.scale, seeds, "cpu", options.records)
    except EXPLAINED as error:
        return complain(str(error))
    title = f"{plan.experiment.title}: scale {plan.scale}, {len(plan.runs)} runs on Ray"
    try:
        with display.start(title):
            finished = sweep(
                options.name,
                plan.techniques,
                plan.scale,
                plan.seeds,
                device=options.device,
                records=options.records,
                address=options.address,
                **{name: getattr(options, name) for name in _RESOURCES},
                on_record=display.on_record,
                on_progress=display.on_progress,
            )
    except KeyboardInterrupt:
        count = _count(plan, options.records)
        display.say(f"Stopped. {count} of {len(plan.runs)} runs are finished and kept in {options.records}.")
        display.say(f"To go on: {options.again(plan.scale)}")
        return INTERRUPTED
    except SweepError as error:
        count = _count(plan, options.records)
        kept = (
            f"\n{count} of {len(plan.runs)} runs are finished and kept in {options.records}." if count else ""
        )
        return complain(f"{error}{kept}")
    except EXPLAINED as error:
        return complain(str(error))
    report = ["cosnorm", "report", options.name, "--scale", plan.scale, "--records", str(options.records)]
    display.say(f"{len(finished)} records in {options.records}. Next: {shlex.join(report)}")
    return 0


def _count(plan: experiments.Plan, records: Path) -> int:
    return len(experiments.stored(plan, records, supersede=True))
