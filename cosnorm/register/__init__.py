"""The ambiguity register: what the paper leaves open, how we read it, and whether that changes a ranking."""

from cosnorm.register.points import POINTS
from cosnorm.register.register import (
    VERDICTS,
    Comparison,
    Gap,
    Judgement,
    Move,
    OpenPoint,
    Reading,
    Score,
    judge,
)


def get(key: str) -> OpenPoint:
    """An open point by its key.

    Examples
    --------
    >>> get("drop-rate").ours.label
    '0.8 is kept'
    """
    for point in POINTS:
        if point.key == key:
            return point
    raise ValueError(f"there is no open point {key!r}; choose from {', '.join(p.key for p in POINTS)}")


__all__ = [
    "POINTS",
    "VERDICTS",
    "Comparison",
    "Gap",
    "Judgement",
    "Move",
    "OpenPoint",
    "Reading",
    "Score",
    "get",
    "judge",
]
