"""What figures ask of records, and the bands that they draw around means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cosnorm import evidence
from cosnorm.evidence import Interval
from cosnorm.record import Record


def require_one_kind(records: Sequence[Record]) -> None:
    """Raise ValueError unless there are records, all of one experiment at one scale."""
    if len({(r.experiment, r.scale) for r in records}) != 1:
        raise ValueError("a figure needs records of one experiment at one scale, and at least one record")


def bands(columns: Iterable[Sequence[float]]) -> list[Interval]:
    """The 95 % interval of each mean, without width where all runs agree; empty for single runs."""
    found = []
    for values in columns:
        if len(values) > 1:
            found.append(evidence.interval(values) or Interval(values[0], values[0]))
    return found
