"""What a campaign consists of: runs of the plan, and those of them that are still needed."""

from __future__ import annotations

from dataclasses import dataclass

from cosnorm.experiments.sharing import Place


@dataclass(frozen=True)
class Job:
    """A run of the plan.

    Attributes
    ----------
    stage
        Number of its stage.
    place, seed
        Which run, under the name that the plan has for it.
    """

    stage: int
    place: Place
    seed: int

    @property
    def name(self) -> str:
        """Such as ``mnist/paper/cosine-seed0``."""
        return self.place.name(self.seed)


@dataclass(frozen=True)
class Due:
    """A run that is still needed.

    Attributes
    ----------
    job
        Of the plan.
    home
        Where its record will be written; ``None`` while other records have to choose its learning rate.
    epochs, seconds
        How long it is, and how long that takes on one core of this machine.
    """

    job: Job
    home: Place | None
    epochs: int
    seconds: float
