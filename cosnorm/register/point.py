"""What an open point is: a question that the paper leaves open, the readings there are, and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: What a fact is computed from: a folder of records, ``None`` for the package's own.
Fact = Callable[[Path | str | None], str]


@dataclass(frozen=True)
class Reading:
    """One way to read the paper, and the runs that follow it.

    Attributes
    ----------
    label
        A few words, fit for an axis.
    experiment
        The experiment whose records follow this reading; empty where none does.
    competitors
        By technique the competitor of that experiment. Techniques that the reading does not touch keep
        their competitor; those that it would touch and that nobody trains so are left out.
    share
        The part of the epochs that is looked at, from 0 to 1: a run at a constant rate holds every shorter
        run.
    more
        So many epochs more than usual are counted as the last ones.
    """

    label: str
    experiment: str = ""
    competitors: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0
    more: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if self.more < 0:
            raise ValueError(f"more must be a number of epochs, 0 or more, got {self.more}")
        if bool(self.experiment) != bool(self.competitors):
            raise ValueError(
                f"the reading {self.label!r} needs an experiment and its competitors, or neither"
            )


@dataclass(frozen=True)
class OpenPoint:
    """An entry of the ambiguity register.

    Attributes
    ----------
    key
        Its name: lower-case words with hyphens.
    question
        What has to be decided before anything can be trained or judged.
    section
        Where in the paper, such as ``"5.1"``.
    paper
        What the paper says, in our words.
    readings
        Ours first.
    reason
        Why we read it so.
    fact
        A sentence computed without a sweep, from the package or from records of other experiments.
    settled
        Whether that sentence answers the question, so that no sweep is needed.
    missing
        What would have to be run, where no experiment asks this.
    chapter
        Number of the chapter that says more; 0 where none does.
    """

    key: str
    question: str
    section: str
    paper: str
    readings: tuple[Reading, ...]
    reason: str
    fact: Fact | None = None
    settled: bool = False
    missing: str = ""
    chapter: int = 0

    def __post_init__(self) -> None:
        if not self.readings:
            raise ValueError(f"{self.key}: an open point needs at least our own reading")
        if self.settled and self.fact is None:
            raise ValueError(f"{self.key}: a point is settled by a fact; name one")
        if not self.settled and not self.swept and not self.missing:
            raise ValueError(f"{self.key}: say what would have to be run (missing)")

    @property
    def ours(self) -> Reading:
        """The reading that every other experiment of the book follows."""
        return self.readings[0]

    @property
    def others(self) -> tuple[Reading, ...]:
        """The readings that we did not choose."""
        return self.readings[1:]

    @property
    def swept(self) -> bool:
        """Whether some experiment trains our reading and another."""
        return sum(bool(reading.experiment) for reading in self.readings) > 1

    @property
    def declared(self) -> int:
        """How many pairs of a rival and another reading there are to compare."""
        return len(self.rivals) * sum(bool(reading.experiment) for reading in self.others)

    @property
    def rivals(self) -> tuple[str, ...]:
        """Techniques that cosine is compared with under every reading that is trained."""
        trained = [reading.competitors for reading in self.readings if reading.experiment]
        return tuple(
            norm
            for norm in (trained[0] if trained else ())
            if norm != "cosine" and all(norm in names for names in trained)
        )
