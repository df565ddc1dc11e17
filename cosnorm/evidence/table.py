"""The tables of the book: one row per technique, our figures beside the paper's."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cosnorm import experiments
from cosnorm.evidence import statistics as stats
from cosnorm.evidence.load import check_comparable
from cosnorm.evidence.statistics import Difference, Interval, Reach
from cosnorm.experiments import Experiment, Printed
from cosnorm.experiments.experiment import PRINTED_TAIL
from cosnorm.record import Record


@dataclass(frozen=True)
class Row:
    """One technique's results over its seeds; errors are counts of test examples."""

    technique: str
    learning_rate: float | None
    n: int  #: number of runs that finished
    diverged: int  #: number of runs that diverged, which enter none of the figures below
    mean: float | None  #: over seeds, of each run's :func:`cosnorm.evidence.score`
    sd: float | None  #: its standard deviation over seeds, divisor n - 1
    interval: Interval | None  #: the 95 % interval of the mean; ``None`` without a spread
    within_variance: float | None  #: mean over seeds of the variance over the last epochs, as in the paper
    lowest: float | None  #: mean over seeds of the lowest test error of a run
    seconds: float  #: mean over seeds of the wall time
    against: str | None  #: the technique that it is compared with; ``None`` for a baseline
    difference: Difference | None  #: from that technique
    reach: Reach | None  #: to the lowest error of that technique's run with the same seed, or of its own run
    reach_printed: Reach | None  #: to the lowest error of that technique in the paper
    printed: Printed | None  #: the paper's figures, where it has some on this data


#: A column of a table: its title, and its text for a row.
Column = tuple[str, Callable[[Row], str]]


@dataclass(frozen=True)
class Table(Sequence[Row]):
    """Rows by number or by technique; prints as text, and shows as a table in a notebook."""

    rows: tuple[Row, ...]  #: in the experiment's order
    caption: str  #: what the figures are: experiment, scale, data, epochs, devices and number of records
    minima: bool = False  #: whether the lowest errors are shown
    speed: bool = False  #: whether the steps to the baseline's lowest error are shown
    total: int | None = None  #: number of test examples, if errors are also shown as fractions of it

    def __getitem__(self, index):  # type: ignore[override]
        if isinstance(index, str):
            for row in self.rows:
                if row.technique == index:
                    return row
            raise KeyError(f"no row {index!r}; there are {', '.join(row.technique for row in self.rows)}")
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def header(self) -> tuple[str, ...]:
        """Titles of :meth:`cells`."""
        return tuple(title for title, _ in self._columns())

    def cells(self) -> list[tuple[str, ...]]:
        """The table as rounded text, one tuple per row; a dash where a figure is not defined."""
        columns = self._columns()
        return [tuple(text(row) for _, text in columns) for row in self.rows]

    def _columns(self) -> list[Column]:
        # First what answers the question: a narrow page shows no more without scrolling.
        rivals = list(dict.fromkeys(row.against for row in self.rows if row.difference is not None))
        several = len(rivals) > 1
        printed = any(row.reach_printed for row in self.rows)
        columns: list[tuple[bool, str, Callable[[Row], str]]] = [
            (True, "technique", lambda row: row.technique),
            (True, "rate", lambda row: _show(row.learning_rate, "{:g}".format)),
            (True, "n", lambda row: f"{row.n}" + (f" (+{row.diverged} diverged)" if row.diverged else "")),
            (True, "mean", lambda row: _show(row.mean, self._count)),
            (len(rivals) == 1, f"against {rivals[0]}" if rivals else "", lambda row: _against(row)),
            (several, "difference", lambda row: _against(row, named=True)),
            (True, "95 % interval", lambda row: _show(row.interval, _range)),
            (True, "sd", lambda row: _show(row.sd, "{:.1f}".format)),
            (True, "variance within", lambda row: _show(row.within_variance, "{:.2f}".format)),
            (self.minima, "lowest", lambda row: _show(row.lowest, self._count)),
            (self.speed, "steps to baseline's lowest", lambda row: _show(row.reach, _steps)),
            (printed, "steps to paper's", lambda row: _show(row.reach_printed, _steps)),
        ]
        return [(title, text) for shown, title, text in columns if shown] + self._papers()

    def _papers(self) -> list[Column]:
        # Columns in which the paper prints no figure are left out.
        columns: list[tuple[str, str, Callable[[float], str]]] = [
            ("paper mean", "mean", self._exact),
            ("paper variance", "variance", partial(self._exact, power=2)),
            ("paper lowest", "minimum", self._exact),
            ("paper steps", "steps", "{:,}".format),
        ]
        return [
            (title, lambda row, name=name, text=text: _show(getattr(row.printed, name, None), text))
            for title, name, text in columns
            if any(getattr(row.printed, name, None) is not None for row in self.rows)
        ]

    def _count(self, value: float) -> str:
        return f"{value:.1f}" + (f" ({value / self.total:.4f})" if self.total else "")

    def _exact(self, value: float, power: int = 1) -> str:
        if self.total is None:
            return f"{value:g}"
        count = f"{value:g}" if power == 1 else f"{value:.1f}"
        return f"{count} ({value / self.total**power:.4g})"

    def __str__(self) -> str:
        lines = [self.header, *self.cells()]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.header))]
        text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([*text, "", self.caption])

    def _repr_markdown_(self) -> str:
        rule = ("---", *["---:"] * (len(self.header) - 1))
        lines = ["| " + " | ".join(line) + " |" for line in (self.header, rule, *self.cells())]
        unbroken = [line.replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}") for line in lines]
        return "\n".join([*unbroken, "", self.caption])


def table(records: Sequence[Record], baseline: str | None = None) -> Table:
    """One row per technique: mean over seeds, spread, interval, difference from a baseline, paper's figures.

    Parameters
    ----------
    records
        Of one experiment at one scale, as from :func:`load` or :func:`cosnorm.experiments.run`.
    baseline
        The technique that the others are compared with; without it the one that the experiment
        names for each, or ``"none"``.
    """
    if len({(r.experiment, r.scale) for r in records}) != 1:
        raise ValueError("a table needs records of one experiment at one scale, and at least one record")
    check_comparable(records)
    experiment = experiments.get(records[0].experiment)
    techniques, printed = dict.fromkeys(r.technique for r in records), experiment.printed.values()
    return Table(
        tuple(_row(experiment, records, name, _rival(experiment, name, baseline)) for name in techniques),
        caption(records),
        minima=any(figure.minimum is not None for figure in printed),
        speed=any(figure.steps is not None for figure in printed),
        total=records[0].settings["test_examples"] if experiment.fractions else None,
    )


def _rival(experiment: Experiment, technique: str, baseline: str | None) -> str | None:
    declared = experiment.techniques.get(technique)
    default = "none" if "none" in experiment.techniques else None
    rival = baseline or (declared and declared.against) or default
    return None if rival == technique else rival


def _row(experiment: Experiment, records: Sequence[Record], technique: str, rival: str | None) -> Row:
    runs = [r for r in records if r.technique == technique]
    finished = stats.finished(runs, technique)
    means = [stats.score(r) for r in finished]
    variances = [v for r in finished if (v := r.final["test_error_variance"]) is not None]
    # The paper's counts are of its own test set; beside another they would mislead.
    printed = experiment.printed if _on_the_papers_data(experiment, runs[0]) else {}
    goal = printed[rival or technique].minimum if (rival or technique) in printed else None
    goals = {} if goal is None else {r.seed: goal for r in runs}
    return Row(
        technique=technique,
        learning_rate=runs[0].settings["learning_rate"],
        n=len(finished),
        diverged=len(runs) - len(finished),
        mean=statistics.fmean(means) if means else None,
        sd=statistics.stdev(means) if len(means) > 1 else None,
        interval=stats.interval(means),
        within_variance=statistics.fmean(variances) if variances else None,
        lowest=statistics.fmean(map(stats.fewest_errors, finished)) if finished else None,
        seconds=statistics.fmean(r.cost["seconds"] for r in runs),
        against=rival,
        difference=None if rival is None else stats.difference(records, technique, rival),
        reach=stats.reach(records, technique, stats.lowest(records, rival or technique)),
        reach_printed=stats.reach(records, technique, goals),
        printed=printed.get(technique),
    )


def _on_the_papers_data(experiment: Experiment, run: Record) -> bool:
    return run.settings["test_examples"] == experiment.test_examples


def caption(records: Sequence[Record]) -> str:
    """In words: what was run, on what, and what the figures count."""
    first, experiment = records[0], experiments.get(records[0].experiment)
    networks = dict.fromkeys(network(r.settings["sizes"], r.settings.get("channels")) for r in records)
    batches = dict.fromkeys(str(r.settings["batch_size"]) for r in records)
    kind = "validation" if first.settings.get("held_out") else "test"
    devices = sorted({r.provenance["device_name"] for r in records})
    text = (
        f"{first.experiment}, scale {first.scale}: {', '.join(networks)} on {first.settings['dataset']}, "
        f"{first.settings['epochs']} epochs, batches of {' or '.join(batches)}; {kind} errors of "
        f"{first.settings['test_examples']}, {_scored(first)}; n seeds; "
        f"{len(records)} record{'s' if len(records) > 1 else ''} from {', '.join(devices)}."
    )
    if _on_the_papers_data(experiment, first) and experiment.printed:
        text += f" The paper's figures are of one run and {_epochs_printed(experiment)}."
    return text


def _scored(run: Record) -> str:
    paper = run.scale == "paper"
    number = run.settings["tail"] if paper else stats.evaluations(run)
    return f"{'mean' if paper else 'median'} of the last {number} epochs" if number > 1 else "last epoch"


def _epochs_printed(experiment: Experiment) -> str:
    whole = experiment.printed_epochs
    number = "a number of epochs that it does not name" if whole is None else f"{whole} epochs"
    means = any(figure.mean is not None for figure in experiment.printed.values())
    return f"the last {PRINTED_TAIL} of {number}" if means else number


def network(sizes: Sequence[int], channels: Sequence[int] | None) -> str:
    """Widths in words, such as ``784-1000-10``, convolutions before the dense layers.

    Examples
    --------
    >>> network((1728, 384, 192, 10), (64, 64)), network((784, 1000, 10), None)
    ('conv 64-64, 384-192-10', '784-1000-10')
    """
    if not channels:
        return "-".join(map(str, sizes))
    return f"conv {'-'.join(map(str, channels))}, {'-'.join(map(str, sizes[1:]))}"


def _show(value: Any, text: Callable[[Any], str]) -> str:
    return "\u2013" if value is None else text(value)


def _range(value: Interval) -> str:
    return f"{value.low:.1f} to {value.high:.1f}"


def _against(row: Row, named: bool = False) -> str:
    if row.difference is None:
        return _show(None, str)
    band = row.difference.interval
    between = "" if band is None else f" ({_range(band)})"
    rival = f" against {row.against}" if named and row.against else ""
    return f"{row.difference.mean:+.1f}{between}{rival}"


def _steps(value: Reach) -> str:
    if value.steps is None:
        return f"not reached by {value.runs}"
    return f"{value.steps:,.0f}" + (f" ({value.n} of {value.runs})" if value.n < value.runs else "")
