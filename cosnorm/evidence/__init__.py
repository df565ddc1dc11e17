"""Records in, numbers out: every figure and table of the book is made from what these functions return."""

from cosnorm.evidence.loading import PACKAGE_RECORDS, available, load
from cosnorm.evidence.receipt import Receipt, receipt
from cosnorm.evidence.speed import Reach, lowest, reach, steps_of_epoch
from cosnorm.evidence.statistics import (
    Difference,
    Interval,
    difference,
    differences,
    errors_of_guessing,
    fewest,
    headline,
    holm,
    interval,
    learned,
    prediction,
    score,
    scores,
    unrest,
)
from cosnorm.evidence.table import Row, Table, network, table

__all__ = [
    "PACKAGE_RECORDS",
    "Difference",
    "Interval",
    "Reach",
    "Receipt",
    "Row",
    "Table",
    "available",
    "difference",
    "differences",
    "errors_of_guessing",
    "fewest",
    "headline",
    "holm",
    "interval",
    "learned",
    "load",
    "lowest",
    "network",
    "prediction",
    "reach",
    "receipt",
    "score",
    "scores",
    "steps_of_epoch",
    "table",
    "unrest",
]
