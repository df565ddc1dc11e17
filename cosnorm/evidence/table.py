"""The tables of the book: one row a technique, our figures beside the paper's."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cosnorm import experiments
from cosnorm.evidence.loading import check_comparable
from cosnorm.evidence.spread import Difference, Interval, difference, interval
from cosnorm.experiments import Printed
from cosnorm.record import Record

#: Stands in a table for a figure that is not defined, such as the spread of a single run.
_UNDEFINED = "\u2013"


@dataclass(frozen=True)
class Row:
    """One technique's results over its seeds; errors are counts of test examples.

    Attributes
    ----------
    technique, learning_rate
        What was run.
    n, diverged
        Runs that finished, and runs that diverged and enter none of the figures below.
    mean, sd
        Mean and standard deviation (divisor n - 1) over seeds of each run's mean test error over its
        last ``tail`` epochs.
    interval
        95 % interval of the mean.
    within_variance
        Mean over seeds of the variance of the test error over the last epochs: what the paper calls
        the variance.
    lowest
        Mean over seeds of the lowest test error of a run.
    seconds
        Mean wall time of a run.
    difference
        Against the table's baseline; ``None`` for the baseline itself, or without common seeds.
    printed
        The paper's figures, where it has some for this technique on this data.
    """

    technique: str
    learning_rate: float
    n: int
    diverged: int
    mean: float | None
    sd: float | None
    interval: Interval | None
    within_variance: float | None
    lowest: float | None
    seconds: float
    difference: Difference | None
    printed: Printed | None


@dataclass(frozen=True)
class Table(Sequence[Row]):
    """Rows by technique; prints as text, and shows as a table in a notebook.

    Attributes
    ----------
    rows
        In the experiment's order.
    caption
        What the figures are: experiment, scale, data, epochs, devices and number of records.
    """

    rows: tuple[Row, ...]
    caption: str

    def __getitem__(self, index):  # type: ignore[override]
        """A row by number, or by the name of its technique."""
        if isinstance(index, str):
            for row in self.rows:
                if row.technique == index:
                    return row
            raise KeyError(f"no row {index!r}; there are {', '.join(row.technique for row in self.rows)}")
        return self.rows[index]

    def __len__(self) -> int:
        """Number of techniques."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        """The rows in order."""
        return iter(self.rows)

    @property
    def header(self) -> tuple[str, ...]:
        """Titles of :meth:`cells`."""
        titles = ("technique", "rate", "n", "mean", "sd", "95 % interval", "variance within", "against none")
        return (*titles, "paper mean", "paper variance") if self._has_printed else titles

    def cells(self) -> list[tuple[str, ...]]:
        """The table as rounded text, one tuple a row; a dash where a figure is not defined."""
        return [_cells(row, self._has_printed) for row in self.rows]

    @property
    def _has_printed(self) -> bool:
        return any(row.printed is not None for row in self.rows)

    def __str__(self) -> str:
        """The table in columns of plain text, the caption below."""
        lines = [self.header, *self.cells()]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.header))]
        text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([*text, "", self.caption])

    def _repr_markdown_(self) -> str:
        rule = ("---", *["---:"] * (len(self.header) - 1))
        lines = ["| " + " | ".join(line) + " |" for line in (self.header, rule, *self.cells())]
        unbroken = [line.replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}") for line in lines]
        return "\n".join([*unbroken, "", self.caption])


def table(records: Sequence[Record], baseline: str = "none") -> Table:
    """One row a technique: mean over seeds, spread, interval, difference to a baseline, the paper's figures.

    Parameters
    ----------
    records
        Of one experiment at one scale, as from :func:`load` or :func:`cosnorm.experiments.run`.
    baseline
        The technique that the others are compared with in pairs.

    Raises
    ------
    ValueError
        If there are no records, or they are of several experiments or scales.
    """
    if len({(r.experiment, r.scale) for r in records}) != 1:
        raise ValueError("a table needs records of one experiment at one scale, and at least one record")
    check_comparable(records)
    techniques = dict.fromkeys(r.technique for r in records)
    return Table(tuple(_row(records, technique, baseline) for technique in techniques), caption(records))


def _row(records: Sequence[Record], technique: str, baseline: str) -> Row:
    runs = [r for r in records if r.technique == technique]
    finished = [r for r in runs if not r.diverged]
    means = [r.final["test_error_mean"] for r in finished]
    variances = [v for r in finished if (v := r.final["test_error_variance"]) is not None]
    experiment = experiments.get(runs[0].experiment)
    # The paper's counts are of its own test set; beside another they would mislead.
    same_data = runs[0].settings["test_examples"] == experiment.test_examples
    return Row(
        technique=technique,
        learning_rate=runs[0].settings["learning_rate"],
        n=len(finished),
        diverged=len(runs) - len(finished),
        mean=statistics.fmean(means) if means else None,
        sd=statistics.stdev(means) if len(means) > 1 else None,
        interval=interval(means),
        within_variance=statistics.fmean(variances) if variances else None,
        lowest=statistics.fmean(r.final["test_error_min"] for r in finished) if finished else None,
        seconds=statistics.fmean(r.cost["seconds"] for r in runs),
        difference=None if technique == baseline else difference(records, technique, baseline),
        printed=experiment.printed.get(technique) if same_data else None,
    )


def caption(records: Sequence[Record]) -> str:
    """In words: what was run, on what, and what the figures count."""
    settings = records[0].settings
    devices = sorted({r.provenance["device_name"] for r in records})
    net = "-".join(map(str, settings["sizes"]))
    text = (
        f"{records[0].experiment}, scale {records[0].scale}: {net} on {settings['dataset']}, "
        f"{settings['epochs']} epochs, batches of {settings['batch_size']}; test errors of "
        f"{settings['test_examples']}, mean of the last {settings['tail']} epochs; n seeds; "
        f"{len(records)} record{'s' if len(records) > 1 else ''} from {', '.join(devices)}."
    )
    experiment = experiments.get(records[0].experiment)
    full = experiment.scales["paper"]
    if settings["test_examples"] == experiment.test_examples and settings["epochs"] != full.epochs:
        text += f" The paper's figures are the last {full.tail} of {full.epochs} epochs of one run."
    return text


def _cells(row: Row, with_printed: bool) -> tuple[str, ...]:
    cells = (
        row.technique,
        f"{row.learning_rate:g}",
        f"{row.n}" + (f" (+{row.diverged} diverged)" if row.diverged else ""),
        _number(row.mean),
        _number(row.sd),
        _range(row.interval),
        _number(row.within_variance, 2),
        _against(row.difference),
    )
    if not with_printed:
        return cells
    if row.printed is None:
        return (*cells, _UNDEFINED, _UNDEFINED)
    return (*cells, f"{row.printed.mean:g}", f"{row.printed.variance:g}")


def _number(value: float | None, digits: int = 1) -> str:
    return _UNDEFINED if value is None else f"{value:.{digits}f}"


def _range(value: Interval | None) -> str:
    return _UNDEFINED if value is None else f"{value.low:.1f} to {value.high:.1f}"


def _against(value: Difference | None) -> str:
    if value is None:
        return _UNDEFINED
    if value.interval is None:
        return f"{value.mean:+.1f}"
    return f"{value.mean:+.1f} ({_range(value.interval)})"
