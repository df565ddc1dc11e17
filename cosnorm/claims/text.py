"""Claim 12: batch norm on 20 Newsgroups."""

from __future__ import annotations

from cosnorm.claims.comparing import Contrast
from cosnorm.claims.criteria import Less, More
from cosnorm.claims.measures import PAIRED, last
from cosnorm.claims.model import Claim
from cosnorm.claims.sources import Run
from cosnorm.claims.wording import printed
from cosnorm.evidence.judging import final_error
from cosnorm.record import Record

_BATCH, _COSINE = Run("newsgroups", "batch"), Run("newsgroups", "cosine")


def rise(record: Record) -> float:
    """Mean test error over the last epochs, less the lowest of the run."""
    return final_error(record) - record.final["test_error_min"]


def _extra_rise(ours: Record, theirs: Record) -> float:
    return rise(ours) - rise(theirs)


def still_learning(record: Record) -> float:
    """Training errors over the last epochs, less those of the epoch with the fewest test errors."""
    tests = record.curves["test_error"]
    return last(record, "train_error") - record.curves["train_error"][tests.index(min(tests))]


CLAIMS = (
    Claim(
        number=12,
        title="batch norm overfits heavily on 20 Newsgroups",
        statement="With batch norm the test error on 20 Newsgroups reaches its lowest value early and "
        "rises from there while training goes on.",
        source="Luo et al. (2017), section 5.2 and Figure 6",
        paper=f"lowest 0.419 at epoch 7, mean at the end {printed('newsgroups', ('batch',), 'mean')}, "
        "shares of test documents",
        rule="Rise: mean test error over the last epochs less the lowest of the run. That cannot be "
        "negative, so batch norm's is compared with cosine's, and the whole interval of the difference "
        "must be above 0. And since its epoch of fewest test errors its training errors must have fallen: "
        f"the whole interval of the change below 0. {PAIRED}.",
        comparisons=(
            Contrast("rise, batch \u2212 cosine", "errors", (_BATCH, _COSINE), _extra_rise, More()),
            Contrast(
                "training errors since the lowest test error, batch",
                "errors",
                (_BATCH,),
                still_learning,
                Less(),
            ),
        ),
        experiments=("newsgroups",),
        chapters=(16,),
    ),
)
