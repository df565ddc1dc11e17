"""What a cosine costs beside the layer that it replaces and beside other ways to compute it, measured."""

from cosnorm.benchmarking.cases import CASES, Case
from cosnorm.benchmarking.comparing import DTYPES, Comparison, Cost, compare
from cosnorm.benchmarking.result import PACKAGE_RESULTS, Result, measure, read, write

__all__ = [
    "CASES",
    "DTYPES",
    "PACKAGE_RESULTS",
    "Case",
    "Comparison",
    "Cost",
    "Result",
    "compare",
    "measure",
    "read",
    "write",
]
