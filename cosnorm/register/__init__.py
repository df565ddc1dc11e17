"""The ambiguity register: what the paper leaves open, how we read it, and whether that changes a ranking."""

from cosnorm.register import dense, images, text
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

#: Every open point, in the order of the paper's sections.
POINTS: tuple[OpenPoint, ...] = (*dense.POINTS, *text.POINTS, *images.POINTS)


def get(key: str) -> OpenPoint:
    """An open point by its key.

    Raises
    ------
    ValueError
        If there is none; the message lists those there are.

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
