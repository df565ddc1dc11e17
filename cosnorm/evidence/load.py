"""Find, check and order the records of an experiment."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from cosnorm import experiments
from cosnorm.experiments.identity import identity, settings_and_key
from cosnorm.experiments.sharing import Place, Shelf, needed, read, view
from cosnorm.record import PACKAGE_RECORDS, Record, RecordError

#: Settings that change nothing about a run's curves of loss and error.
OF_OBSERVING = ("observed", "error_steps")


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

    Examples
    --------
    >>> {r.technique for r in load("mnist", "smoke")} >= {"none", "cosine"}
    True
    """
    techniques = experiments.get(experiment).techniques
    experiments.get(experiment).scale(scale)
    shelf = Shelf(PACKAGE_RECORDS if folder is None else folder)
    runs = _runs(shelf, experiment, scale)
    present = [r for place, seed in runs if (r := _present(shelf, place, seed)) is not None]
    known = {(r.technique, r.seed) for r in present}
    own = (key for key in _own(shelf, experiment, scale) if key not in known)
    earlier = [read(Place(experiment, scale, name).path(shelf.folder, seed)) for name, seed in own]
    waiting = techniques.keys() & {r.technique for r in earlier} - {r.technique for r in present}
    records = _as_long(present, earlier) if waiting or not present else present
    if not records:
        place = shelf.folder / experiment / scale
        raise RecordError(
            f"there are no records of {experiment} at scale {scale} in {place}; make some with "
            f"`cosnorm run {experiment} --scale {scale} --records FOLDER` and name that FOLDER here as well"
        )
    check_comparable(records)
    order = {technique: place for place, technique in enumerate(techniques)}
    return sorted(records, key=lambda r: (order.get(r.technique, len(order)), r.technique, r.seed))


def _runs(shelf: Shelf, experiment: str, scale: str) -> Iterator[tuple[Place, int]]:
    """The runs under the present definition of an experiment for which there is a file that may serve."""
    for technique in experiments.get(experiment).techniques:
        place = Place(experiment, scale, technique)
        try:
            seeds = shelf.seeds(place)
        except ValueError:  # no record says yet which learning rate is meant
            continue
        yield from ((place, seed) for seed in sorted(seeds))


def _own(shelf: Shelf, experiment: str, scale: str) -> list[tuple[str, int]]:
    own = shelf.own(experiment, scale)
    return [(technique, seed) for technique, seeds in own.items() for seed in sorted(seeds)]


def _present(shelf: Shelf, place: Place, seed: int) -> Record | None:
    """The record of a run, or the experiment's own one that only lacks something that is observed now."""
    found = shelf.find(place, seed)
    if found is not None or seed not in shelf.own(place.experiment, place.scale).get(place.technique, ()):
        return found
    wanted, own = needed(place, seed, shelf.folder), read(place.path(shelf.folder, seed))
    return view(own, place, wanted.replica.epochs) if wanted.holds(own) else None


def _as_long(present: Sequence[Record], earlier: Sequence[Record]) -> list[Record]:
    """Records of an earlier definition, with those of the present one cut to their length."""
    # An earlier record of a technique that has present ones stays if it is of the same runs.
    alike = {r.technique: identity(r.settings, 0) for r in present}
    kept = [r for r in earlier if r.technique not in alike or identity(r.settings, 0) == alike[r.technique]]
    epochs = min((r.settings["epochs"] for r in kept), default=0)
    places = [(r, Place(r.experiment, r.scale, r.technique)) for r in present]
    return [*(view(r, place, min(epochs, r.settings["epochs"])) for r, place in places), *kept]


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
            own = set(_own(shelf, name, scale))
            others = [(p, seed) for p, seed in _runs(shelf, name, scale) if (p.technique, seed) not in own]
            count = len(own) + sum(shelf.find(place, seed) is not None for place, seed in others)
            if count:
                counts[name, scale] = count
    return counts


def check_comparable(records: Sequence[Record]) -> None:
    """Raise RecordError unless all share data and conditions, and those of a technique all settings.

    Conditions in which the experiment lets its competitors differ need not be shared.
    """
    first, of_technique = records[0], {}
    ignored = {*OF_OBSERVING, "norm", "learning_rate", *_of_competitors(first.experiment, first.scale)}
    for other in records:
        if other.provenance["dataset_sha256"] != first.provenance["dataset_sha256"]:
            raise RecordError(
                f"{other.name} was made from other data than {first.name}; they cannot be compared"
            )
        same = of_technique.setdefault(other.technique, other)
        for one, names in ((first, ignored), (same, OF_OBSERVING)):
            if found := differing(one, other, names):
                raise RecordError(
                    f"{other.name} and {one.name} differ in {', '.join(found)}; "
                    "they do not belong in one table"
                )


def _of_competitors(name: str, scale: str) -> set[str]:
    """Settings of a record in which the competitors of an experiment differ, by its declaration."""
    experiment = experiments.get(name)
    replicas = (experiment.replica(technique, scale, 0, rate=1.0) for technique in experiment.techniques)
    first, *others = (settings_and_key(experiment, scale, replica)[0] for replica in replicas)
    return {key for other in others for key, value in other.items() if first.get(key) != value}


def differing(one: Record, other: Record, ignored: Container[str]) -> list[str]:
    """The settings in which two records differ, in order."""
    names = sorted(one.settings.keys() | other.settings.keys())
    return [n for n in names if n not in ignored and one.settings.get(n) != other.settings.get(n)]
