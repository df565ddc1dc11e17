"""The command ``cosnorm reproduce``: what the verdicts still need, what it costs here, and how to make it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cosnorm import claims
from cosnorm._cli.shared import (
    EXPLAINED,
    INTERRUPTED,
    STOPPING,
    check_device,
    complain,
    set_threads,
    stoppable,
)
from cosnorm.experiments.campaign import OPEN, Campaign, Due, Outcome, Progress
from cosnorm.record import RecordError

#: What the options of ``cosnorm reproduce`` say that ``cosnorm run`` has not.
HELP = {
    "scale": "paper, short or smoke. The plan at scale paper begins with short runs that settle something.",
    "stage": "Only this stage of the plan.",
    "claims": "Only the runs that these claims read, such as 1,2 or 3a; `cosnorm claims` shows them.",
    "budget": "Stop after this time, such as 3h, 90m or 1h30m; what is in progress keeps its state.",
    "dry_run": "Show what is needed and what it costs on this machine, and train nothing.",
    "threads": "Runs at a time, each on one thread of the processor; default one for each core.",
    "records": "Folder for the records; finished ones found there are kept.",
}

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


class Display(Protocol):
    """Shows a campaign; a context manager, so that a terminal is left clean."""

    def start(self) -> AbstractContextManager[object]:
        """Begin to show progress."""
        ...

    def on_progress(self, progress: Progress) -> None:
        """Show how things stand."""
        ...

    def say(self, text: str) -> None:
        """Print a line that stays."""
        ...


@dataclass(frozen=True)
class Options:
    """The command line as it was written."""

    scale: str
    stage: int | None
    claims: str | None
    budget: str | None
    dry_run: bool
    threads: int | None
    records: Path
    device: str

    @property
    def again(self) -> str:
        """The command that does what is left."""
        words = ["python", "-m", "cosnorm", "reproduce", "--scale", self.scale]
        for name in ("stage", "claims", "budget", "threads", "records", "device"):
            value = getattr(self, name)
            words += [] if value is None else [f"--{name}", str(value)]
        return shlex.join(words)


def reproduce_command(display: Display, options: Options) -> int:
    """Do what is asked; returns the exit code after saying what was done, or why not."""
    try:
        campaign = _campaign(options)
        budget = None if options.budget is None else parse_duration(options.budget)
        due = campaign.measure(_trials(display))
    except EXPLAINED as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    for line in plan_lines(campaign, due):
        display.say(line)
    if options.dry_run or not due:
        return 0
    before = verdicts(options.records)
    code = INTERRUPTED
    try:
        with stoppable(display.say, STOPPING) as stop, display.start():
            try:
                outcome = campaign.run(
                    budget=budget, stop=stop, on_line=display.say, on_progress=display.on_progress
                )
            finally:
                code = stop.code
    except KeyboardInterrupt:
        display.say("Ended at once. Runs in progress go on from the last state that they kept.")
        display.say(f"To go on: {options.again}")
        return code
    except EXPLAINED as error:
        return complain(str(error))
    for line in (*_ended(options, outcome), "", *verdict_lines(before, verdicts(options.records))):
        display.say(line)
    if outcome.reason == "signal":
        return code
    return 1 if outcome.failed else 0


def _campaign(options: Options) -> Campaign:
    set_threads(options.threads)
    check_device(options.device)
    experiments = None
    if options.claims is not None:
        experiments = sorted(
            {name for key in parse_claims(options.claims) for name in claims.CLAIMS[key].experiments}
        )
    return Campaign(
        options.scale,
        stage=options.stage,
        experiments=experiments,
        records=options.records,
        device=options.device,
        threads=options.threads,
    )


def parse_claims(text: str) -> list[str]:
    """Claims by number, with commas; a number alone stands for all parts of its claim.

    Raises
    ------
    ValueError
        If there is no such claim.

    Examples
    --------
    >>> parse_claims("1,3"), parse_claims("3b")
    (['1', '3a', '3b'], ['3b'])
    """
    found: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        keys = [key for key, claim in claims.CLAIMS.items() if part in (key, str(claim.number))]
        if not keys:
            raise ValueError(
                f"--claims {text!r} is not understood; write numbers of claims with commas, such as 1,2, "
                f"out of {', '.join(claims.CLAIMS)}"
            )
        found += keys
    return found


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``3h``, ``90m`` or ``1h30m``.

    Raises
    ------
    ValueError
        If it is not understood.

    Examples
    --------
    >>> parse_duration("1h30m"), parse_duration("0.5h")
    (5400.0, 1800.0)
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise ValueError(f"--budget {text!r} is not understood; write a time such as 3h, 90m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def duration(seconds: float) -> str:
    """A time in words, to two places of what matters.

    Examples
    --------
    >>> duration(42), duration(125), duration(3 * 3600 + 600), duration(3 * 86400)
    ('42 s', '2 min', '3.2 h', '3.0 days')
    """
    if seconds < 90:
        return f"{max(1, seconds):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} days"


def _trials(display: Display):
    """Says at the first trial that some are made, for they take a while."""

    def on_trial(done: int, total: int) -> None:
        if done == 0 or done == total:
            return
        if done == 1:
            display.say(f"Timing some steps of {total} networks on this machine, once.")

    return on_trial


def plan_lines(campaign: Campaign, due: Sequence[Due]) -> list[str]:
    """The runs that are needed and what they cost, by stage, experiment and technique."""
    lines: list[str] = []
    for stage in campaign.stages:
        jobs = [job for job in campaign.jobs if job.stage == stage.number]
        needed = [one for one in due if one.job.stage == stage.number]
        kept = len(jobs) - len(needed)
        cost = duration(sum(one.seconds for one in needed))
        lines.append(
            f"Stage {stage.number}, {stage.title}: {len(needed)} of {len(jobs)} runs are needed"
            + (f", {cost} of one core" if needed else "")
            + (f"; {kept} are there or are the same as another" if kept else "")
        )
        lines += [f"  {line}" for line in _needed_lines(needed)]
        if stage.number in OPEN and campaign.scale == "paper":
            lines.append(f"  not in the plan yet, for no experiment offers it: {OPEN[stage.number]}")
    if campaign.unknown:
        lines.append(f"Left out, for there is no such experiment or technique: {', '.join(campaign.unknown)}")
    total = sum(one.seconds for one in due)
    at_once = "1 at a time" if campaign.slots == 1 else f"{campaign.slots} at a time"
    lines.append(
        f"{len(due)} runs are needed: {duration(total)} of one core, about "
        f"{duration(total / campaign.slots)} with {at_once}."
        if due
        else "Nothing is needed: every run of the plan has its record."
    )
    return lines


def _needed_lines(needed: Sequence[Due]) -> list[str]:
    """One line for runs that differ in nothing but their seeds and the rates that are searched."""
    groups: dict[tuple[str, str, str], list[Due]] = {}
    for one in needed:
        place = one.home or one.job.place
        technique, searched, _ = place.technique.partition("-at-")
        groups.setdefault((place.experiment, place.scale, technique + searched), []).append(one)
    return [_needed_line(*key, runs) for key, runs in groups.items()]


def _needed_line(experiment: str, scale: str, technique: str, runs: Sequence[Due]) -> str:
    names = {(one.home or one.job.place).technique for one in runs}
    seeds = sorted({one.job.seed for one in runs})
    each = sum(one.seconds for one in runs) / len(runs)
    what = f"{experiment}/{scale}/{technique}"
    what += f"* ({len(names)} rates)" if technique.endswith("-at-") else ""
    asked = sorted(
        {f"{one.job.place.experiment}/{one.job.place.scale}" for one in runs} - {f"{experiment}/{scale}"}
    )
    return (
        f"{what}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}: "
        f"{len(runs)} x {runs[0].epochs} epochs, {duration(each)} each"
        + (f" (for {', '.join(asked)})" if asked else "")
        + (" (once its learning rate is chosen)" if runs[0].home is None else "")
    )


def verdicts(folder: Path) -> dict[str, str] | str:
    """The verdict on each claim by the records of a folder, or why there is none."""
    try:
        return {entry.claim.key: entry.verdict for entry in claims.ledger(folder)}
    except (RecordError, ValueError) as error:
        return str(error)


def verdict_lines(before: Mapping[str, str] | str, after: Mapping[str, str] | str) -> list[str]:
    """Which verdicts are not what they were.

    Examples
    --------
    >>> verdict_lines({"7": "untested", "8": "holds"}, {"7": "holds", "8": "holds"})[0]
    '1 verdict has changed:'
    """
    if isinstance(before, str):
        return [f"The claims cannot be judged: {before}"]
    if isinstance(after, str):
        return [f"The claims cannot be judged: {after}"]
    changed = [key for key, verdict in after.items() if before.get(key) != verdict]
    if not changed:
        return ["No verdict has changed."]
    lines = [
        f"  claim {key}, {claims.CLAIMS[key].title}: {before.get(key, 'untested')} -> {after[key]}"
        for key in changed
    ]
    return [f"{len(changed)} verdict{' has' if len(changed) == 1 else 's have'} changed:", *lines]


def _ended(options: Options, outcome: Outcome) -> list[str]:
    """What was done and what is left."""
    count = len(outcome.finished)
    lines = [f"{count} run{' was' if count == 1 else 's were'} made; the records are in {options.records}."]
    if outcome.failed:
        lines.append(f"{len(outcome.failed)} failed: {', '.join(outcome.failed)}.")
    if outcome.reason is not None:
        why = "The time is up" if outcome.reason == "budget" else "Stopped"
        lines.append(
            f"{why}: {outcome.left} runs are left, and those that were in progress have kept their state. "
            f"To go on: {options.again}"
        )
    if options.scale == "smoke":
        lines.append("Runs at scale smoke show that the code works; no claim is judged by them.")
    return lines
