"""What the claims measure of a run or of several with one seed, and the contrasts that many of them use."""

from __future__ import annotations

import statistics

from cosnorm.claims.comparing import Contrast
from cosnorm.claims.criteria import Criterion, Less
from cosnorm.claims.sources import Run
from cosnorm.evidence.judging import final_error, unrest
from cosnorm.record import Record

#: What is taken for no difference worth having: a tenth of a percentage point on MNIST's 10 000 test images.
MARGIN = 10.0

#: Said in the rule of each claim that compares runs by seed.
PAIRED = "Runs are paired by seed, and Student's 95 % intervals are simultaneous"


def excess(ours: Record, theirs: Record) -> float:
    """How many more errors the first run makes, in means over the last epochs."""
    return final_error(ours) - final_error(theirs)


def excess_unrest(ours: Record, theirs: Record) -> float:
    """By how much the first run's errors vary more over its last epochs, in standard deviations."""
    return unrest(ours) - unrest(theirs)


def last(record: Record, curve: str) -> float:
    """Mean of a curve over the last epochs that a run is judged by.

    An entry that is a list counts with the mean of its numbers.
    """
    entries = record.curves[curve][-record.settings["tail"] :]
    return statistics.fmean(statistics.fmean(e) if isinstance(e, list) else e for e in entries)


def fewer(experiment: str, ours: str, theirs: str, criterion: Criterion | None = None) -> Contrast:
    """Errors of one competitor minus those of another of the same experiment; below 0 by default."""
    return Contrast(
        name=f"{ours} \u2212 {theirs}, {experiment}",
        unit="errors",
        needs=(Run(experiment, ours), Run(experiment, theirs)),
        value=excess,
        criterion=criterion or Less(),
        favored=ours if criterion is None else None,
        rival=theirs if criterion is None else None,
    )
