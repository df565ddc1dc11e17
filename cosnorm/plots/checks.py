"""What a figure asks of the records that it is drawn from."""

from __future__ import annotations

from collections.abc import Sequence

from cosnorm.record import Record


def require_one_kind(records: Sequence[Record]) -> None:
    """Raise ValueError unless there are records, all of one experiment at one scale."""
    if len({(r.experiment, r.scale) for r in records}) != 1:
        raise ValueError("a figure needs records of one experiment at one scale, and at least one record")
