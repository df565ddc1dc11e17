"""The reader's receipt: a score from one's own machine, placed among the stored ones."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

from cosnorm.evidence.load import OF_OBSERVING, differing, load
from cosnorm.evidence.statistics import Interval, prediction, score, scores
from cosnorm.record import Record


@dataclass(frozen=True)
class Receipt:
    """One run compared with the stored runs of the same experiment, scale and technique.

    One further run falls into the ``band`` with probability 95 % if it is like the stored ones (normal values
    assumed). There is none for fewer than two stored runs, or for stored runs that agree exactly.
    """

    record: Record  #: the reader's run
    score: float | None  #: its :func:`cosnorm.evidence.score`; ``None`` if it diverged
    stored: dict[int, float]  #: scores of the stored runs, by seed
    band: Interval | None
    differing: tuple[str, ...]  #: settings in which it differs from the stored runs: then it is not compared

    @property
    def inside(self) -> bool | None:
        """Whether the score lies in the band; ``None`` where there is nothing to compare."""
        if self.score is None or self.band is None or self.differing:
            return None
        return self.band.low <= self.score <= self.band.high

    @property
    def verdict(self) -> str:
        """The comparison in one or two sentences."""
        total = self.record.settings["test_examples"]
        if self.score is None:
            return f"{self.record.name} diverged in epoch {self.record.final['diverged_epoch']}."
        text = f"{self.record.name}: {self.score:.1f} test errors of {total}."
        if self.differing:
            return f"{text} Its settings differ from the stored runs' ({', '.join(self.differing)})."
        if self.band is None:
            return f"{text} There are too few stored runs ({len(self.stored)}) to say whether that is usual."
        fewer = sum(value < self.score for value in self.stored.values())
        place = "inside" if self.inside else "outside"
        return (
            f"{text} {fewer} of the {len(self.stored)} stored runs made fewer; it lies {place} the band from "
            f"{max(self.band.low, 0):.1f} to {self.band.high:.1f} that holds 95 % of such runs."
        )

    @property
    def fingerprint(self) -> str:
        """What may make a difference between two machines, one fact per line."""
        shown = (
            *("cosnorm", "commit", "torch", "numpy", "python", "system", "device_name", "threads", "cuda"),
            *("float32_matmul_precision", "dataset_sha256", "command"),
        )
        provenance = self.record.provenance
        facts = ((name, provenance.get(name)) for name in shown)
        return "\n".join(f"{name}: {value}" for name, value in facts if value is not None)

    def __str__(self) -> str:
        return "\n".join([*textwrap.wrap(self.verdict, 88), "", self.fingerprint])


def receipt(record: Record, folder: Path | str | None = None) -> Receipt:
    """Place a run, as from :func:`cosnorm.experiments.run`, among the stored runs of its kind.

    They are read from ``folder``; ``None`` stands for the records that come with the package.

    Examples
    --------
    >>> from cosnorm import experiments
    >>> run, = experiments.run("mnist", ["cosine"], scale="smoke", seeds=1, device="cpu")
    >>> print(receipt(run).verdict)
    mnist/smoke/cosine-seed0: ...
    """
    everything = load(record.experiment, record.scale, folder)
    alike = [stored for stored in everything if stored.technique == record.technique]
    values = scores(alike, record.technique)
    differs: list[str] = []
    for stored in alike[:1]:
        differs = differing(record, stored, OF_OBSERVING)
        if record.provenance["dataset_sha256"] != stored.provenance["dataset_sha256"]:
            differs.append("the data")
    return Receipt(
        record=record,
        score=None if record.diverged else score(record),
        stored=values,
        band=prediction(list(values.values())),
        differing=tuple(differs),
    )
