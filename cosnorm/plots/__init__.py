"""Every figure of the book, drawn from records: one color and marker a technique, the same SVG each time."""

from cosnorm.plots.curves import test_error_curves
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
from cosnorm.plots.placing import place_in_distribution
from cosnorm.plots.style import SIZE, new_figure, to_svg, use_book_style

__all__ = [
    "COLORS",
    "LABELS",
    "LINE_STYLES",
    "MARKERS",
    "REFERENCE",
    "SIZE",
    "label",
    "line_styles",
    "new_figure",
    "norm_of",
    "place_in_distribution",
    "test_error_curves",
    "to_svg",
    "use_book_style",
]
