"""The claim ledger: what the paper and the related work say, and what the records say to it.

Each claim carries its rule: the statistic, the threshold and the test. The rules were written before there
was any record at the paper's scale, though not before those at scale short. Verdicts are computed from the
records, and smoke records never judge.
"""

from cosnorm.claims.ledger import CLAIMS, Ledger, entry, ledger
from cosnorm.claims.model import OUTCOMES, VERDICTS, Claim, Effect, Entry, verdict
from cosnorm.claims.sources import best_scale

__all__ = [
    "CLAIMS",
    "OUTCOMES",
    "VERDICTS",
    "Claim",
    "Effect",
    "Entry",
    "Ledger",
    "best_scale",
    "entry",
    "ledger",
    "verdict",
]
