"""Find, check and order the records of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cosnorm import experiments, record
from cosnorm.experiments.choosing import PACKAGE_RECORDS
from cosnorm.record import Record, RecordError

#: Settings that say which technique was run rather than under which conditions.
_OF_TECHNIQUE = ("norm", "learning_rate", "constant", "hidden_parameters", "test_statistics", "norm_settings")
#: Where a record keeps a field of a replica that a competitor may have of its own; others keep their name.
_WRITTEN_AS = {
    "layers": ("sizes",),
    "std": ("initial_std",),
    "images": ("images", "inputs"),
    "channels": ("channels", "network", "kernel_size"),
    "observe": ("observed",),
    "output_bias": ("output_layer",),
}


def load(experiment: str, scale: str, folder: Path | str | None = None) -> list[Record]:
    """Every record of an experiment at a scale, checked, in the order of techniques and seeds.

    Parameters
    ----------
    experiment, scale
        Such as ``"mnist"`` and ``"short"``.
    folder
        A records folder; ``None`` reads the records that come with the package.

    Raises
    ------
    ValueError
        If there is no such experiment or scale.
    RecordError
        If there is no record, one is damaged or foreign, or some were made under other settings or from
        other data than the rest, so that they may not be put in one table.

    Examples
    --------
    >>> {r.technique for r in load("mnist", "smoke")} >= {"none", "cosine"}
    True
    """
    settled = experiments.get(experiment)
    settled.scale(scale)
    place = Path(PACKAGE_RECORDS if folder is None else folder) / experiment / scale
    records = [record.read(path) for path in sorted(place.glob("*.json"))]
    if not records:
        raise RecordError(
            f"there are no records of {experiment} at scale {scale} in {place}; make some with "
            f"`cosnorm run {experiment} --scale {scale} --records FOLDER` and name that FOLDER here as well"
        )
    check_comparable(records)
    order = {technique: place for place, technique in enumerate(settled.techniques)}
    return sorted(records, key=lambda r: (order.get(r.technique, len(order)), r.technique, r.seed))


def available(folder: Path | str | None = None) -> dict[tuple[str, str], int]:
    """Number of record files by experiment and scale in a folder; ``None`` is the package's own.

    Files are counted, not read: see :func:`load` for their content.
    """
    place = Path(PACKAGE_RECORDS if folder is None else folder)
    counts: dict[tuple[str, str], int] = {}
    for path in sorted(place.glob("*/*/*.json")):
        key = (path.parts[-3], path.parts[-2])
        counts[key] = counts.get(key, 0) + 1
    return counts


def check_comparable(records: Sequence[Record]) -> None:
    """Raise RecordError unless all share data and conditions, and those of a technique all settings.

    Conditions in which the experiment lets its competitors differ need not be shared.
    """
    first = records[0]
    ignored = (*_OF_TECHNIQUE, *_of_competitors(first.experiment))
    of_technique: dict[str, Record] = {}
    for other in records[1:]:
        if other.provenance["dataset_sha256"] != first.provenance["dataset_sha256"]:
            raise RecordError(
                f"{other.name} was made from other data than {first.name}; they cannot be compared"
            )
        _check_same(first, other, ignored)
    for other in records:
        _check_same(of_technique.setdefault(other.technique, other), other, ())


def _of_competitors(experiment: str) -> set[str]:
    """Settings of a record in which the competitors of an experiment differ, by its declaration."""
    techniques = experiments.get(experiment).techniques.values()
    fields = {name for technique in techniques for name in technique.settings}
    return {written for name in fields for written in _WRITTEN_AS.get(name, (name,))}


def _check_same(first: Record, other: Record, ignored: Sequence[str]) -> None:
    names = sorted(first.settings.keys() | other.settings.keys())
    differing = [
        name for name in names if name not in ignored and first.settings.get(name) != other.settings.get(name)
    ]
    if differing:
        raise RecordError(
            f"{other.name} and {first.name} differ in {', '.join(differing)}; they do not belong in one table"
        )
