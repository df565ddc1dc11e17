"""A look at a dataset for a person, who may not want it downloaded."""

from __future__ import annotations

from cosnorm.data._files import Inspection, inspect
from cosnorm.data._source import Source
from cosnorm.data.dataset import DatasetError, DatasetStatus


def status(source: Source) -> DatasetStatus:
    """See :func:`cosnorm.data.status`."""
    try:
        if source.embedded:
            source.parse({}, *source.settings({}))
            return DatasetStatus(source.name, None, "embedded", f"{source.title}: no files needed")
        return _of_files(source, inspect(source))
    except DatasetError as error:
        return DatasetStatus(source.name, None, "missing", str(error))


def _of_files(source: Source, found: Inspection) -> DatasetStatus:
    lost = [damage for damage in found.damaged if damage.file in found.missing]
    if lost:
        lines = [str(damage) for damage in lost]
        return DatasetStatus(source.name, lost[0].path.parent, "damaged", "\n".join(lines))
    if found.missing:
        names = ", ".join(file.name for file in found.missing)
        size = sum(file.size for file in found.missing) / 1e6
        detail = f"missing: {names} ({size:.1f} MB); python -m cosnorm data {source.name} downloads them"
        paths = list(found.paths.values())
        return DatasetStatus(source.name, paths[0].parent if paths else None, "missing", detail)
    lines = [f"{source.title}: {len(source.files)} files, each with its official sha256"]
    folders = list(dict.fromkeys(path.parent for path in found.paths.values()))
    lines += [f"files in {folder}" for folder in folders] if len(folders) > 1 else []
    lines += [f"not used: {damage}" for damage in found.damaged]
    return DatasetStatus(source.name, folders[0], "ready", "\n".join(lines))
