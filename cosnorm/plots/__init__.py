"""Every figure of the book, drawn from records: one color and marker per technique, the same SVG each time.

Every function that draws takes ``title``, the answer that the figure gives, and some take ``figsize``, its
width and height in inches. Records of several experiments or scales do not belong in one figure: they are
refused.
"""

from cosnorm.plots import speed as cost  # noqa: F401 (chapter 20 writes plots.cost.ratios)
from cosnorm.plots.curves import (
    by_depth,
    curves_by_depth,
    lowest_by_depth,
    measured_curves,
    noise_curves,
    overfitting,
    rises,
    scaled_inputs,
    test_error_curves,
)
from cosnorm.plots.scores import (
    before_and_after,
    by_rate,
    differences,
    error_against_rate,
    place_in_distribution,
    seed_scores,
)
from cosnorm.plots.special import percentiles, pictures, preactivation_percentiles, readings, ridgelines
from cosnorm.plots.speed import (
    epochs_to_errors,
    error_against_time,
    first_passages,
    ratios,
    relative_times,
    steps_to_reach,
)
from cosnorm.plots.style import (
    COLORS,
    LABELS,
    LINE_STYLES,
    MARKERS,
    REFERENCE,
    SIZE,
    ink,
    label,
    line_styles,
    new_figure,
    new_panels,
    norm_of,
    plain_ticks,
    to_svg,
    use_book_style,
)

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
    "ratios",
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
