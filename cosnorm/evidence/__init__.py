"""Records in, numbers out: every figure and table of the book is made from what these functions return."""

from cosnorm.evidence.loading import PACKAGE_RECORDS, available, load
from cosnorm.evidence.placing import Receipt, receipt
from cosnorm.evidence.reaching import Reach, lowest, reach
from cosnorm.evidence.spread import Difference, Interval, difference, interval, prediction, scores
from cosnorm.evidence.table import Row, Table, table

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
    "interval",
    "load",
    "lowest",
    "prediction",
    "reach",
    "receipt",
    "scores",
    "table",
]
