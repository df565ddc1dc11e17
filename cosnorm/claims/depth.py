"""Claim 7: more layers, fewer errors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from cosnorm.claims.comparing import Contrast
from cosnorm.claims.criteria import Less
from cosnorm.claims.measures import PAIRED, fewer
from cosnorm.claims.model import Claim
from cosnorm.claims.sources import Run
from cosnorm.claims.wording import printed
from cosnorm.evidence.judging import final_error
from cosnorm.experiments.depth import MINIMA, competitor
from cosnorm.record import Record

_NETWORKS = tuple(competitor(layers) for layers in MINIMA)


def slope(*runs: Record) -> float:
    """Errors that one more layer adds: the line of least squares through runs of one seed by depth."""
    from scipy.stats import linregress

    layers = [len(run.settings["sizes"]) - 1 for run in runs]
    line: Any = linregress(layers, [final_error(run) for run in runs])
    return float(line.slope)


CLAIMS = (
    Claim(
        number=7,
        title="deeper is better, up to five layers",
        statement="A cosine network makes fewer test errors with each weight layer, from two to five.",
        source="Luo et al. (2017), section 5.1.4 and Figure 5",
        paper=f"lowest errors {printed('depth', _NETWORKS, 'minimum')}",
        rule="Each depth minus the next smaller one, and the slope of the errors over the depths, in mean "
        "test errors over the last epochs; the paper's minima are chosen on the test set. It holds where "
        f"the whole interval is below 0. {PAIRED}.",
        comparisons=(
            *(fewer("depth", deeper, shallower) for shallower, deeper in pairwise(_NETWORKS)),
            Contrast(
                "slope over the depths",
                "errors for each layer",
                tuple(Run("depth", name) for name in _NETWORKS),
                slope,
                Less(),
            ),
        ),
        experiments=("depth",),
        chapters=(15,),
    ),
)
