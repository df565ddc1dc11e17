"""Find, check and order the records of an experiment."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from cosnorm import experiments
from cosnorm.experiments.identity import identity
from cosnorm.experiments.sharing import Place, Shelf, needed, read, view
from cosnorm.record import PACKAGE_RECORDS, Record, RecordError

#: Settings that say which technique was run rather than under which conditions.
_OF_TECHNIQUE = (
    "norm",
    "learning_rate",
    "constant",
    "constant_appended",
    "hidden_parameters",
    "output_layer",
    "test_statistics",
    "norm_settings",
)
#: Settings that change nothing about a run's curves of loss and error.
_OF_OBSERVING = ("observed", "error_steps")
#: Where a record keeps a field of a replica that a competitor may have of its own; others keep their name.
_WRITTEN_AS = {
    "layers": ("sizes",),
    "std": ("initial_std",),
    "images": ("images", "inputs"),
    "channels": ("channels", "network", "kernel_size"),
    "observe": ("observed",),
    "output_bias": ("output_layer",),
    "dropout_convention": ("dropout_scaled",),
}


def load(experiment: str, scale: str, folder: Path | str | None = None) -> list[Record]:
    """Every record of an experiment at a scale, checked, in the order of techniques and seeds.

    A run that another experiment has made counts as well: it comes as a view, under the name that was asked
    for and cut to the number of epochs, with :attr:`cosnorm.record.Record.stored` for the record that holds
    it. See ``cosnorm.experiments.sharing``.

    Records in the experiment's own folder may have been made under an earlier definition of the experiment,
    with fewer epochs for example. They are left out as soon as every technique that has records has some
    under the present definition. Until then techniques without such records are shown by their earlier ones,
    and the others by views of the same length. A record that only lacks what is observed now stays.

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
    shelf = Shelf(PACKAGE_RECORDS if folder is None else folder)
    present = _present(shelf, experiment, scale)
    records = [*present.values(), *_earlier(shelf, experiment, scale, present)]
    renewed = {technique for technique, _ in present}
    waiting = {r.technique for r in records if r.technique in settled.techniques} - renewed
    records = _as_long(records, present) if waiting or not present else list(present.values())
    if not records:
        place = shelf.folder / experiment / scale
        raise RecordError(
            f"there are no records of {experiment} at scale {scale} in {place}; make some with "
            f"`cosnorm run {experiment} --scale {scale} --records FOLDER` and name that FOLDER here as well"
        )
    check_comparable(records)
    order = {technique: place for place, technique in enumerate(settled.techniques)}
    return sorted(records, key=lambda r: (order.get(r.technique, len(order)), r.technique, r.seed))


def _present(shelf: Shelf, experiment: str, scale: str) -> dict[tuple[str, int], Record]:
    """The runs under the present definition of an experiment, by technique and seed."""
    found: dict[tuple[str, int], Record] = {}
    for technique in experiments.get(experiment).techniques:
        place = Place(experiment, scale, technique)
        try:
            seeds = shelf.seeds(place)
        except ValueError:  # no record says yet which learning rate is meant
            continue
        for seed in sorted(seeds):
            result = shelf.find(place, seed) or _unobserved(shelf, place, seed)
            if result is not None:
                found[technique, seed] = result
    return found


def _unobserved(shelf: Shelf, place: Place, seed: int) -> Record | None:
    """The experiment's own record of a run, made before something was observed."""
    if seed not in shelf.own(place.experiment, place.scale).get(place.technique, ()):
        return None
    wanted, found = needed(place, seed, shelf.folder), read(place.path(shelf.folder, seed))
    return view(found, place, wanted.replica.epochs) if wanted.holds(found) else None


def _earlier(
    shelf: Shelf, experiment: str, scale: str, present: Mapping[tuple[str, int], Record]
) -> list[Record]:
    """The records in the experiment's own folder that the present definition does not call for."""
    return [
        read(Place(experiment, scale, technique).path(shelf.folder, seed))
        for technique, seeds in shelf.own(experiment, scale).items()
        for seed in sorted(seeds)
        if (technique, seed) not in present
    ]


def _as_long(records: Sequence[Record], present: Mapping[tuple[str, int], Record]) -> list[Record]:
    """Records of an earlier definition, with those of the present one cut to their length.

    An earlier record of a technique that has present ones stays if it is of the same runs.
    """
    alike = {technique: identity(r.settings, 0) for (technique, _), r in present.items()}
    earlier = [r for r in records if (r.technique, r.seed) not in present]
    kept = [r for r in earlier if r.technique not in alike or identity(r.settings, 0) == alike[r.technique]]
    epochs = min((r.settings["epochs"] for r in kept), default=0)
    views = [
        view(r, Place(r.experiment, r.scale, r.technique), min(epochs, r.settings["epochs"]))
        for r in present.values()
    ]
    return [*views, *kept]


def available(folder: Path | str | None = None) -> dict[tuple[str, str], int]:
    """Number of runs by experiment and scale that a folder has records of; ``None`` is the package's own.

    Runs that another experiment has made are counted, as :func:`load` gives them. An experiment's own
    records are counted by their files, without reading them.
    """
    shelf = Shelf(PACKAGE_RECORDS if folder is None else folder)
    counts: dict[tuple[str, str], int] = {}
    if not shelf.folder.is_dir():
        return counts
    for name, experiment in experiments.registry().items():
        for scale in experiment.scales:
            own = {(technique, seed) for technique, seeds in shelf.own(name, scale).items() for seed in seeds}
            count = len(own) + len(_shared(shelf, name, scale, own))
            if count:
                counts[name, scale] = count
    return counts


def _shared(shelf: Shelf, experiment: str, scale: str, own: Container[tuple[str, int]]) -> list[Record]:
    """Runs of an experiment that have no record of its own and one of another experiment."""
    found: list[Record] = []
    for technique in experiments.get(experiment).techniques:
        place = Place(experiment, scale, technique)
        try:
            seeds = shelf.seeds(place)
        except ValueError:  # no record says yet which learning rate is meant
            continue
        results = (shelf.find(place, seed) for seed in sorted(seeds) if (technique, seed) not in own)
        found += filter(None, results)
    return found


def check_comparable(records: Sequence[Record]) -> None:
    """Raise RecordError unless all share data and conditions, and those of a technique all settings.

    Conditions in which the experiment lets its competitors differ need not be shared.
    """
    first = records[0]
    ignored = (*_OF_OBSERVING, *_OF_TECHNIQUE, *_of_competitors(first.experiment))
    of_technique: dict[str, Record] = {}
    for other in records[1:]:
        if other.provenance["dataset_sha256"] != first.provenance["dataset_sha256"]:
            raise RecordError(
                f"{other.name} was made from other data than {first.name}; they cannot be compared"
            )
        _check_same(first, other, ignored)
    for other in records:
        _check_same(of_technique.setdefault(other.technique, other), other, _OF_OBSERVING)


def _of_competitors(experiment: str) -> set[str]:
    """Settings of a record in which the competitors of an experiment differ, by its declaration."""
    techniques = experiments.get(experiment).techniques.values()
    fields = {name for technique in techniques for name in technique.settings}
    if any(scale.lengths for scale in experiments.get(experiment).scales.values()):
        fields |= {"epochs", "tail"}
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
