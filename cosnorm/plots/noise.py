"""Test errors with noise beside those without, as in the paper's Figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cosnorm.plots.curves import test_error_curves
from cosnorm.plots.identity import label
from cosnorm.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def noise_curves(
    noisy: Sequence[Record],
    quiet: Sequence[Record],
    paper: Mapping[str, float] | None = None,
    *,
    title: str = "",
) -> Figure:
    """Test error against epoch with and without noise: two experiments on the same axes.

    Parameters
    ----------
    noisy
        Runs with dropout or small batches. Competitors of which every run diverged have
        no curve, and are named in a corner.
    quiet
        The same techniques without noise, from another experiment: same data, scale and epochs.
    paper, title
        As for :func:`cosnorm.plots.test_error_curves`.

    Raises
    ------
    ValueError
        If one side has no records, or the two sides differ in scale, data, sizes or epochs.

    Examples
    --------
    >>> from cosnorm import evidence
    >>> quiet = [r for r in evidence.load("mnist", "short") if r.technique in ("none", "cosine")]
    >>> figure = noise_curves(evidence.load("noise", "short"), quiet)
    """
    if not noisy or not quiet:
        raise ValueError("the figure compares runs with noise and without; give at least one of each")
    conditions = {_conditions(r) for r in (*noisy, *quiet)}
    if len(conditions) > 1:
        raise ValueError(
            "the runs with and without noise differ in scale, data, network or epochs, so their curves do "
            "not belong on one axis; load both at one scale"
        )
    # The quiet runs are controls of the noisy ones: for the drawing they belong to the same experiment.
    controls = [replace(r, experiment=noisy[0].experiment) for r in quiet]
    figure = test_error_curves([*controls, *noisy], paper, title=title)
    for row, text in enumerate(_lost(noisy)):
        place = (0.98, 0.97 - 0.08 * row)
        figure.axes[0].annotate(text, place, xycoords="axes fraction", ha="right", va="top")
    return figure


def _lost(records: Sequence[Record]) -> list[str]:
    """A line for each competitor that has no curve because every run diverged."""
    runs: dict[str, list[Record]] = {}
    for r in records:
        runs.setdefault(r.technique, []).append(r)
    return [
        f"{label(technique)}: {len(found)} of {len(found)} runs diverged"
        for technique, found in runs.items()
        if all(r.diverged for r in found)
    ]


def _conditions(record: Record) -> tuple[object, ...]:
    settings = record.settings
    return (
        record.scale,
        record.provenance["dataset_sha256"],
        tuple(settings["sizes"]),
        settings["epochs"],
        settings["tail"],
    )
