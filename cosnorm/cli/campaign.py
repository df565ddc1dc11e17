"""The command ``cosnorm reproduce``: which runs the verdicts still need, what they cost, and making them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cosnorm import claims as ledger
from cosnorm.cli.runs import (
    DEFAULT_RECORDS,
    INTERRUPTED,
    STOPPING,
    Device,
    Display,
    Records,
    about,
    check_device,
    command_again,
    explained,
    set_threads,
    stoppable,
)
from cosnorm.experiments import Campaign, Outcome
from cosnorm.experiments.campaign import OPEN
from cosnorm.record import RecordError

if TYPE_CHECKING:
    from cosnorm.experiments.campaign import Due, Progress, Running

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


class CampaignDisplay(Display):
    """Finished and failed runs as lines that stay; below them, on a terminal, a bar and the runs at work."""

    @contextmanager
    def start(self) -> Iterator[None]:
        """Show progress while the campaign goes on."""
        with self.live():
            yield

    def on_progress(self, progress: Progress) -> None:
        """Show the share of the work that is done, the time left and the runs in progress."""
        view = Table.grid()
        view.add_row(ProgressBar(total=1.0, completed=progress.share, width=40))
        lines = [summary(progress), *map(_describe, progress.running)]
        for number, line in enumerate(lines):
            view.add_row(Text("  " * (number > 0) + line))
        self.show(view, "; ".join(lines))


def summary(progress: Progress) -> str:
    """The state of a campaign in one line."""
    if progress.stopping:
        left = len(progress.running)
        return f"stopping: {left} run{' finishes its' if left == 1 else 's finish their'} epoch"
    failed = f", {progress.failed} failed" if progress.failed else ""
    return (
        f"{duration(progress.seconds_left)} left; {progress.share:.0%} of the work; "
        f"{progress.finished} of {progress.total} runs made{failed}"
    )


def _describe(run: Running) -> str:
    if run.loss is None:
        return f"{run.name}: starting"
    return f"{run.name}: epoch {run.epoch}/{run.epochs}, loss {run.loss:.3g}, test errors {run.errors}"


@explained
def reproduce(
    scale: Annotated[
        str, about("paper, short or smoke. The plan for paper begins with short runs that decide something.")
    ] = "paper",
    stage: Annotated[int | None, about("Only this stage of the plan.")] = None,
    claims: Annotated[
        str | None,
        about("Only the runs that these claims read, such as 1,2 or 3a; `cosnorm claims` shows them."),
    ] = None,
    budget: Annotated[
        str | None,
        about("Stop after this time, such as 3h, 90m or 1h30m; runs in progress keep their state."),
    ] = None,
    dry_run: Annotated[
        bool, about("Show what is needed and what it costs on this machine, and train nothing.", "--dry-run")
    ] = False,
    threads: Annotated[
        int | None, about("Runs at a time, each on one processor thread; default one per core.")
    ] = None,
    records: Records = DEFAULT_RECORDS,
    device: Device = "auto",
) -> int:
    """Reproduce the paper: make every run that a verdict still needs, those that decide most first."""
    set_threads(threads)
    check_device(device)
    campaign = Campaign(
        scale,
        stage=stage,
        experiments=None if claims is None else _experiments_of(claims),
        records=records,
        device=device,
        threads=threads,
    )
    limit = None if budget is None else parse_duration(budget)
    display = CampaignDisplay()
    due = campaign.measure(_announce_trials(display.say))
    for line in plan_lines(campaign, due):
        display.say(line)
    if dry_run or not due:
        return 0
    before, code = verdicts(records), INTERRUPTED
    options = {"stage": stage, "claims": claims, "budget": budget, "threads": threads, "records": records}
    again = command_again("reproduce", scale=scale, **options, device=device)
    try:
        with stoppable(display.say, STOPPING) as stop, display.start():
            try:
                outcome = campaign.run(
                    budget=limit, stop=stop, on_line=display.say, on_progress=display.on_progress
                )
            finally:
                code = stop.code
    except KeyboardInterrupt:
        display.say("Ended at once. Runs in progress go on from the last state that they kept.")
        display.say(f"To go on: {again}")
        return code
    for line in (
        *_outcome_lines(outcome, scale, records, again),
        "",
        *verdict_lines(before, verdicts(records)),
    ):
        display.say(line)
    if outcome.reason == "signal":
        return code
    return 1 if outcome.failed else 0


def _experiments_of(claims: str) -> list[str]:
    return sorted({name for key in parse_claims(claims) for name in ledger.CLAIMS[key].experiments})


def parse_claims(text: str) -> list[str]:
    """Claims by number, with commas; a number alone stands for all parts of its claim.

    Examples
    --------
    >>> parse_claims("1,3"), parse_claims("3b")
    (['1', '3a', '3b'], ['3b'])
    """
    found: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        keys = [key for key, claim in ledger.CLAIMS.items() if part in (key, str(claim.number))]
        if not keys:
            raise ValueError(
                f"--claims {text!r} is not understood; write numbers of claims with commas, such as 1,2, "
                f"out of {', '.join(ledger.CLAIMS)}"
            )
        found += keys
    return found


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``3h``, ``90m`` or ``1h30m``.

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
    """A duration in the unit that suits it.

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


def _announce_trials(say: Callable[[str], None]) -> Callable[[int, int], None]:
    def on_trial(done: int, total: int) -> None:
        if done == 1 and done != total:  # they take a while
            say(f"Timing some steps of {total} networks on this machine, once.")

    return on_trial


def plan_lines(campaign: Campaign, due: Sequence[Due]) -> list[str]:
    """The runs that are needed and what they cost, by stage, experiment and technique."""
    lines: list[str] = []
    for stage in campaign.stages:
        count = sum(job.stage == stage.number for job in campaign.jobs)
        needed = [one for one in due if one.job.stage == stage.number]
        kept = count - len(needed)
        lines.append(
            f"Stage {stage.number}, {stage.title}: {len(needed)} of {count} runs are needed"
            + (f", {duration(sum(one.seconds for one in needed))} of one core" if needed else "")
            + (f"; {kept} are there or are the same as another" if kept else "")
        )
        lines += [f"  {line}" for line in _needed_lines(needed)]
        if stage.number in OPEN and campaign.scale == "paper":
            lines.append(f"  not in the plan yet, for no experiment offers it: {OPEN[stage.number]}")
    if campaign.unknown:
        lines.append(f"Left out, for there is no such experiment or technique: {', '.join(campaign.unknown)}")
    total = sum(one.seconds for one in due)
    lines.append(
        f"{len(due)} runs are needed: {duration(total)} of one core, about "
        f"{duration(total / campaign.slots)} with {campaign.slots} at a time."
        if due
        else "Nothing is needed: every run of the plan has its record."
    )
    return lines


def _needed_lines(needed: Sequence[Due]) -> list[str]:
    # One line for runs that differ only in their seeds and the learning rates that are searched.
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
    rates = f"* ({len(names)} rates)" if technique.endswith("-at-") else ""
    asked = sorted(
        {f"{one.job.place.experiment}/{one.job.place.scale}" for one in runs} - {f"{experiment}/{scale}"}
    )
    return (
        f"{experiment}/{scale}/{technique}{rates}, seed{'s' if len(seeds) > 1 else ''} "
        f"{', '.join(map(str, seeds))}: {len(runs)} x {runs[0].epochs} epochs, {duration(each)} each"
        + (f" (for {', '.join(asked)})" if asked else "")
        + (" (once its learning rate is chosen)" if runs[0].home is None else "")
    )


def verdicts(folder: Path) -> dict[str, str] | str:
    """The verdict on each claim by the records of a folder, or why there is none."""
    try:
        return {entry.claim.key: entry.verdict for entry in ledger.ledger(folder)}
    except (RecordError, ValueError) as error:
        return str(error)


def verdict_lines(before: Mapping[str, str] | str, after: Mapping[str, str] | str) -> list[str]:
    """Which verdicts have changed.

    Examples
    --------
    >>> verdict_lines({"7": "untested", "8": "holds"}, {"7": "holds", "8": "holds"})[0]
    '1 verdict has changed:'
    """
    if isinstance(before, str) or isinstance(after, str):
        return [f"The claims cannot be judged: {before if isinstance(before, str) else after}"]
    changed = [key for key, verdict in after.items() if before.get(key) != verdict]
    if not changed:
        return ["No verdict has changed."]
    lines = [
        f"  claim {key}, {ledger.CLAIMS[key].title}: {before.get(key, 'untested')} -> {after[key]}"
        for key in changed
    ]
    return [f"{len(changed)} verdict{' has' if len(changed) == 1 else 's have'} changed:", *lines]


def _outcome_lines(outcome: Outcome, scale: str, records: Path, again: str) -> list[str]:
    count = len(outcome.finished)
    lines = [f"{count} run{' was' if count == 1 else 's were'} made; the records are in {records}."]
    if outcome.failed:
        lines.append(f"{len(outcome.failed)} failed: {', '.join(outcome.failed)}.")
    if outcome.reason is not None:
        why = "The time is up" if outcome.reason == "budget" else "Stopped"
        lines.append(
            f"{why}: {outcome.left} runs are left, and those that were in progress have kept their state. "
            f"To go on: {again}"
        )
    if scale == "smoke":
        lines.append("Runs at scale smoke show that the code works; no claim is judged by them.")
    return lines
