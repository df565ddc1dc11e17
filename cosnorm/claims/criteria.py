"""When a comparison holds: what its interval must do, and the test that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cosnorm.claims.model import Outcome


class Criterion(Protocol):
    """Decides about an interval, and gives the p-value of the same question."""

    def outcome(self, low: float, high: float) -> Outcome:
        """``"holds"``, ``"reversed"`` or ``"undecided"``."""
        ...

    def p(self, values: Sequence[float]) -> float:
        """From the values of the seeds, which are not all equal."""
        ...


@dataclass(frozen=True)
class Less:
    """The whole interval is below a bound; reversed if it is above.

    Examples
    --------
    >>> Less().outcome(-3.0, -1.0), Less().outcome(-1.0, 2.0), Less().outcome(1.0, 2.0)
    ('holds', 'undecided', 'reversed')
    """

    bound: float = 0.0

    def outcome(self, low: float, high: float) -> Outcome:
        """By the side of the bound on which the interval lies."""
        if high < self.bound:
            return "holds"
        return "reversed" if low > self.bound else "undecided"

    def p(self, values: Sequence[float]) -> float:
        """Two-sided, of Student's test that the mean is the bound."""
        return _student(values, self.bound, "two-sided")


@dataclass(frozen=True)
class More:
    """The whole interval is above a bound; reversed if it is below."""

    bound: float = 0.0

    def outcome(self, low: float, high: float) -> Outcome:
        """As for :class:`Less`, mirrored."""
        return Less(-self.bound).outcome(-high, -low)

    def p(self, values: Sequence[float]) -> float:
        """Two-sided, of Student's test that the mean is the bound."""
        return Less(self.bound).p(values)


@dataclass(frozen=True)
class Within:
    """The whole interval is inside a margin on both sides of 0; reversed if it is wholly outside.

    That two things are equal cannot be shown; that they differ by less than a margin can, with two
    one-sided tests.
    """

    margin: float

    def outcome(self, low: float, high: float) -> Outcome:
        """By where the interval lies to the margin."""
        if -self.margin < low and high < self.margin:
            return "holds"
        return "reversed" if low > self.margin or high < -self.margin else "undecided"

    def p(self, values: Sequence[float]) -> float:
        """The larger of the two one-sided tests'."""
        sides = ((-self.margin, "greater"), (self.margin, "less"))
        return max(_student(values, bound, side) for bound, side in sides)


def _student(values: Sequence[float], bound: float, side: str) -> float:
    """p-value of SciPy's one-sample test that the mean of the values is a bound."""
    from scipy.stats import ttest_1samp

    result: Any = ttest_1samp(values, bound, alternative=side)
    return float(result.pvalue)
