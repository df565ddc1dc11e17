"""The claim ledger: what the paper and the related work say, and what the records say to it.

Each claim carries its rule: the statistic, the threshold and the test. The rules were fixed before there was
any record at the paper's length, though not before those at scale short; :func:`rules` lists every change
since. Verdicts are computed from the records, and smoke records never judge.
"""

from cosnorm.claims.ledger import CLAIMS, Ledger, Rules, best_scale, entry, ledger, of, rules, rules_digest
from cosnorm.claims.model import OUTCOMES, VERDICTS, Claim, Comparison, Effect, Entry, Run

__all__ = [
    "CLAIMS",
    "OUTCOMES",
    "VERDICTS",
    "Claim",
    "Comparison",
    "Effect",
    "Entry",
    "Ledger",
    "Rules",
    "Run",
    "best_scale",
    "entry",
    "ledger",
    "of",
    "rules",
    "rules_digest",
]
