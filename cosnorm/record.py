"""One run, one record: JSON, written atomically, checked when read, never edited by hand.

A record is a file, ``experiment/scale/technique-seedK.json``. The smoke records that come with the package
are no evidence, so those of one experiment share one file, ``experiment/smoke.json``, a list of records.
Functions refer to such a record by the path that it would have as a separate file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from cosnorm import _atomic

#: The records that come with the package: the evidence that the book rests on.
PACKAGE_RECORDS = Path(__file__).resolve().parent / "records"

#: The scale whose records share one file per experiment in the package.
PACKED_SCALE = "smoke"

#: Name and version of the format; a change that older readers would misread increases the version.
FORMAT = "cosnorm record"
SCHEMA = 1

_CURVES = ("train_loss", "train_error", "test_loss", "test_error")
_TEST_ERRORS = ("test_error_mean", "test_error_variance", "test_error_min", "test_error_last")
_FINAL = ("tail", *_TEST_ERRORS, "diverged_epoch")
#: The names that each section must have.
_SECTIONS = {
    "settings": (
        *("dataset", "sizes", "learning_rate", "batch_size", "epochs", "tail"),
        *("train_examples", "test_examples"),
    ),
    "curves": _CURVES,
    "final": _FINAL,
    "cost": ("seconds", "peak_memory_bytes", "peak_memory_of"),
    "provenance": (
        *("cosnorm", "commit", "modified", "date", "device", "device_name"),
        *("torch", "python", "numpy", "threads", "dataset_sha256", "command"),
    ),
}
#: Bytes that must be free before a run starts; a record of 200 epochs takes about 10 000.
_ROOM = 1_000_000


class RecordError(RuntimeError):
    """A record, or the folder that it goes to, cannot be read or written; the message names it."""


@dataclass(frozen=True)
class Record:
    """A finished run: its settings, results, cost and provenance.

    Attributes
    ----------
    experiment, scale, technique, seed
        What identifies the run; together they are its path.
    settings
        Every setting of the run: dataset, sizes, learning rate, and so on.
    curves
        ``train_loss``, ``train_error``, ``test_loss``, ``test_error``: one entry per epoch; losses in
        nats to five significant digits, errors as counts of misclassified examples. Then the observations
        of the run's observers, likewise one entry per epoch.
    final
        ``test_error_mean`` and ``test_error_variance`` (divisor n - 1) over the last ``tail`` epochs,
        ``test_error_min``, ``test_error_last``; all ``None`` if the run diverged, in ``diverged_epoch``.
    cost
        ``seconds`` of wall time, ``peak_memory_bytes`` and the kind of memory that this counts.
    provenance
        Package version and commit, dataset checksum, device, library versions, date, command. For a run that
        was resumed, ``contributions`` has one entry for each part, in the order of the epochs (it is missing
        in records made before it was introduced).
    stored
        Name of the record in whose file the run lies. It differs from :attr:`name` if another experiment
        shares its run, see ``cosnorm.experiments.sharing``. It is not written to the file.
    """

    experiment: str
    scale: str
    technique: str
    seed: int
    settings: dict[str, Any]
    curves: dict[str, list[Any]]
    final: dict[str, Any]
    cost: dict[str, Any]
    provenance: dict[str, Any]
    stored: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored", self.name)

    @property
    def name(self) -> str:
        """Short id, such as ``mnist/short/cosine-seed0``."""
        return f"{self.experiment}/{self.scale}/{self.technique}-seed{self.seed}"

    @property
    def diverged(self) -> bool:
        """Whether the run stopped because a loss was infinite or not a number."""
        return self.final["diverged_epoch"] is not None


def summarize(test_error: Sequence[int], tail: int, diverged_epoch: int | None) -> dict[str, Any]:
    """The final figures of a run; see ``final`` of :class:`Record`.

    A diverged run has none, because the mean of its earlier epochs would flatter it.
    """
    final: dict[str, Any] = dict.fromkeys(_FINAL)
    final.update(tail=tail, diverged_epoch=diverged_epoch)
    if diverged_epoch is None:
        last = list(test_error[-tail:])
        final["test_error_mean"] = round(statistics.fmean(last), 6)
        final["test_error_variance"] = round(statistics.variance(last), 6) if len(last) > 1 else None
        final["test_error_min"] = min(test_error)
        final["test_error_last"] = test_error[-1]
    return final


def significant(value: float, digits: int = 5) -> float:
    """``value`` rounded to a number of significant digits.

    Examples
    --------
    >>> significant(0.0123456789)
    0.012346
    """
    return float(f"{value:.{digits}g}")


def path_of(folder: Path | str, experiment: str, scale: str, technique: str, seed: int) -> Path:
    """Where the record of a run lies: ``folder/experiment/scale/technique-seedK.json``."""
    return Path(folder) / experiment / scale / f"{technique}-seed{seed}.json"


def prepare_folder(folder: Path | str) -> Path:
    """Make the folder and check that a record can be written there, before hours of training."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise RecordError(
            f"records cannot be written to {folder} ({error.strerror or error}); "
            "choose another folder with --records (records= in Python)"
        ) from error
    if free < _ROOM:
        raise RecordError(
            f"only {free} bytes are free in {folder}, and records need about {_ROOM}; "
            "free some space or choose another folder with --records (records= in Python)"
        )
    return folder


def write(record: Record, folder: Path | str) -> Path:
    """Write a record so that its file is either complete or absent, even if the process is killed.

    A view of another record is refused with ValueError, because its run is stored already.
    """
    if record.stored != record.name:
        raise ValueError(f"{record.name} is a view of the record {record.stored}, which holds its run")
    path = path_of(folder, record.experiment, record.scale, record.technique, record.seed)
    text = _encode(record)
    try:
        _atomic.write_text(path, text)
    except OSError as error:
        raise RecordError(f"could not write the record {path}: {error.strerror or error}") from error
    return path


def read(path: Path | str) -> Record:
    """Read and check one record, from its own file or the one that all of its experiment and scale share.

    Raises
    ------
    RecordError
        If the file cannot be read, is not a record, was damaged or edited, comes from a newer version of the
        package, or was renamed.
    """
    path = Path(path)
    content = _packed(pack_of(path)).get(path.stem) if file_of(path) != path else _parse(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordError(f"{path} is not a record of this package; move it out of the records folder")
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise RecordError(
            f"{path} has schema {schema}, and this version of cosnorm reads up to {SCHEMA}; upgrade cosnorm"
        )
    if schema != SCHEMA:
        raise _broken(path, f"schema {schema!r} is not one that ever was")
    try:
        content = dict(content)
        if content.pop("sha256", None) != _digest(content):  # refuses 1e999, which Python reads as infinity
            raise ValueError("its checksum does not match its content")
        fields = {name: value for name, value in content.items() if name not in ("format", "schema")}
        record = Record(**fields)
        _check(record)
    except (TypeError, ValueError, KeyError) as error:
        raise _broken(path, str(error)) from error
    expected = path_of("", record.experiment, record.scale, record.technique, record.seed)
    if path.resolve().parts[-3:] != expected.parts:
        raise RecordError(f"{path} holds the run {record.name}; a record may not be renamed: move it back")
    return record


# -- records that share a file ---------------------------------------------------------------------------


def pack(folder: Path | str = PACKAGE_RECORDS, scale: str = PACKED_SCALE) -> list[Path]:
    """Put all records of each experiment at a scale into one file; returns the files that were written.

    The records' own files are removed. Records that the shared file already holds stay, unless a record of
    the same name has its own file. If a record is damaged or the file cannot be written, nothing is removed.
    """
    written: list[Path] = []
    for place in sorted(path for path in Path(folder).glob(f"*/{scale}") if path.is_dir()):
        own = sorted(place.glob("*.json"))
        target = pack_of(place / "any.json")
        if not own:
            continue
        names = {*(path.stem for path in own), *(_packed(target) if target.exists() else ())}
        paths = sorted((place / f"{name}.json" for name in names), key=_order)
        for path in paths:
            read(path)
        texts = [content_of(path).decode().rstrip("\n") for path in paths]
        try:
            _atomic.write_text(target, "[\n" + ",\n".join(texts) + "\n]\n")
            for path in own:
                path.unlink()
            place.rmdir()
        except OSError as error:
            raise RecordError(f"could not pack {place} into {target}: {error.strerror or error}") from error
        written.append(target)
    return written


def _order(path: Path) -> tuple[str, int]:
    technique, _, seed = path.stem.rpartition("-seed")
    return technique, int(seed)


def pack_of(path: Path) -> Path:
    """The file that may hold a record together with all others of its experiment and scale."""
    return path.parent.with_name(f"{path.parent.name}.json")


def file_of(path: Path) -> Path:
    """The file that holds a record: its own, or else the shared one; its own if there is neither."""
    if not path.exists():
        shared = pack_of(path)
        if shared.is_file() and path.stem in _packed(shared):
            return shared
    return path


def exists(path: Path) -> bool:
    """Whether there is a record with this path."""
    return file_of(path).exists()


def listed(folder: Path | str, experiment: str, scale: str) -> list[Path]:
    """The paths of all records of an experiment at a scale, sorted."""
    place = Path(folder) / experiment / scale
    shared = pack_of(place / "any.json")
    packed = {place / f"{name}.json" for name in (_packed(shared) if shared.is_file() else ())}
    return sorted(packed.union(place.glob("*.json")))


def matching(folder: Path | str, pattern: str) -> list[Path]:
    """The files below a folder that match a pattern such as ``"mnist/*/*.json"``, sorted.

    Records in a shared file have the paths that they would have as separate files.
    """
    folder, parts = Path(folder), len(Path(pattern).parts)
    shared = [path for path in folder.glob(f"*/{PACKED_SCALE}.json") if path.is_file()]
    packed = (path.with_suffix("") / f"{name}.json" for path in shared for name in _packed(path))
    found = {
        path
        for path in packed
        if len(path.relative_to(folder).parts) == parts and path.relative_to(folder).match(pattern)
    }
    own = {path for path in folder.glob(pattern) if path.is_file()}
    return sorted(found | own.difference(shared))


def content_of(path: Path) -> bytes:
    """The bytes that a record has, or would have, in its own file."""
    if file_of(path) == path:
        return path.read_bytes()
    return _text(_packed(pack_of(path))[path.stem]).encode()


def _packed(path: Path) -> dict[str, dict[str, Any]]:
    # By the names that separate files of the records would have.
    try:
        state = path.stat()
    except OSError as error:
        raise RecordError(f"cannot read the records {path}: {error.strerror or error}") from error
    return _unpacked(path.absolute(), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=64)
def _unpacked(path: Path, *state: int) -> dict[str, dict[str, Any]]:
    del state
    try:
        return {f"{entry['technique']}-seed{entry['seed']}": entry for entry in _parse(path)}
    except (TypeError, KeyError) as error:
        raise _broken(path, "it is not a list of records") from error


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise RecordError(f"cannot read the record {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"it is not valid JSON ({error})") from error


def _encode(record: Record) -> str:
    content = {"format": FORMAT, "schema": SCHEMA, **asdict(record)}
    del content["stored"]
    content["sha256"] = _digest(content)
    _check(record)
    return _text(content)


def _text(content: dict[str, Any]) -> str:
    # One line per section, so that a diff of two records is readable.
    lines = (f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _check(record: Record) -> None:
    """Raise ValueError unless a record is complete and its final figures follow from its curves."""
    for section, names in _SECTIONS.items():
        if not isinstance(getattr(record, section), dict):
            raise ValueError(f"{section} should hold values by name")
        missing = [name for name in names if name not in getattr(record, section)]
        if missing:
            raise ValueError(f"{section} lacks {', '.join(missing)}")
    strange = [name for name, curve in record.curves.items() if not isinstance(curve, list)]
    if strange:
        raise ValueError(f"{', '.join(strange)} should be lists")
    lengths = {len(curve) for curve in record.curves.values()}
    diverged = record.final["diverged_epoch"]
    epochs = record.settings["epochs"] if diverged is None else diverged - 1
    if lengths != {epochs}:
        raise ValueError(f"curves have lengths {sorted(lengths)}, not {epochs}")
    for name in _CURVES:
        kind = int if name.endswith("error") else (int, float)
        if not all(isinstance(v, kind) and math.isfinite(v) and v >= 0 for v in record.curves[name]):
            raise ValueError(f"the curve {name} has an entry that cannot be")
    if record.final != summarize(record.curves["test_error"], record.settings["tail"], diverged):
        raise ValueError("its final figures do not follow from its curves")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _broken(path: Path, why: str) -> RecordError:
    file = file_of(path)
    place = path if file == path else f"{path.stem} in {file}"
    return RecordError(f"the record {place} is damaged: {why}; delete it and run again, or restore it")
