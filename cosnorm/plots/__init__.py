"""Every figure of the book, drawn from records: one color and marker a technique, the same SVG each time."""

from cosnorm.plots.clock import error_against_time
from cosnorm.plots.cost import relative_times
from cosnorm.plots.curves import test_error_curves
from cosnorm.plots.depths import by_depth, curves_by_depth, lowest_by_depth
from cosnorm.plots.fair import differences
from cosnorm.plots.gallery import pictures
from cosnorm.plots.identity import (
    COLORS,
    LABELS,
    LINE_STYLES,
    MARKERS,
    REFERENCE,
    label,
    line_styles,
    norm_of,
)
from cosnorm.plots.labels import ink
from cosnorm.plots.magnitudes import scaled_inputs
from cosnorm.plots.measures import measured_curves
from cosnorm.plots.noise import noise_curves
from cosnorm.plots.panels import new_panels
from cosnorm.plots.passages import epochs_to_errors, first_passages
from cosnorm.plots.placing import place_in_distribution
from cosnorm.plots.preactivations import percentiles, preactivation_percentiles
from cosnorm.plots.ranking import before_and_after
from cosnorm.plots.rates import by_rate, error_against_rate
from cosnorm.plots.reaching import steps_to_reach
from cosnorm.plots.readings import readings
from cosnorm.plots.ridges import ridgelines
from cosnorm.plots.rising import overfitting, rises
from cosnorm.plots.seeds import seed_scores
from cosnorm.plots.style import SIZE, new_figure, to_svg, use_book_style
from cosnorm.plots.ticks import plain_ticks

__all__ = [
    "COLORS",
    "LABELS",
    "LINE_STYLES",
    "MARKERS",
    "REFERENCE",
    "SIZE",
    "before_and_after",
    "by_depth",
    "by_rate",
    "curves_by_depth",
    "differences",
    "epochs_to_errors",
    "error_against_rate",
    "error_against_time",
    "first_passages",
    "ink",
    "label",
    "line_styles",
    "lowest_by_depth",
    "measured_curves",
    "new_figure",
    "new_panels",
    "noise_curves",
    "norm_of",
    "overfitting",
    "percentiles",
    "pictures",
    "place_in_distribution",
    "plain_ticks",
    "preactivation_percentiles",
    "readings",
    "relative_times",
    "ridgelines",
    "rises",
    "scaled_inputs",
    "seed_scores",
    "steps_to_reach",
    "test_error_curves",
    "to_svg",
    "use_book_style",
]
