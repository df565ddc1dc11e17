"""Bring records from before protocol 2 (November 2026) up to date, and prove that no result changed.

Three settings of old records were wrong or have a new name:

- max norm bounds the weight vectors of the output layer as well, and its records said that the output
  layer was left alone;
- ``weight`` now means weight norm without a learned hidden bias, so the runs with one become
  ``weight-biased``;
- centered layers appended their constant before centering, and now append it afterwards.

``python -m tools.migrate_records [FOLDER]`` rewrites the settings (and, for ``weight``, name and command) of
the records that need it; running it again changes nothing. Curves, results, costs and all other provenance
must come out as they went in, or nothing is written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cosnorm import record
from cosnorm.experiments.choosing import PACKAGE_RECORDS
from cosnorm.record import Record

#: Experiments in which the earlier reading of weight norm's bias stays a competitor.
WITH_BIASED = ("mnist", "newsgroups", "relatives", "rates")
MAX_NORM_OUTPUT = "linear with a learned bias from 0; its weight vectors stay within the radius"
#: Sections of a record that no migration may touch.
KEPT = ("experiment", "scale", "seed", "curves", "final", "cost")


def migrated(content: dict[str, Any]) -> dict[str, Any] | None:
    """The record's content with true settings and names; ``None`` if it is right already."""
    new = json.loads(json.dumps(content))
    settings = new["settings"]
    if settings.get("norm") == "max_norm":
        settings["output_layer"] = MAX_NORM_OUTPUT
    if settings.get("norm") == "centered":
        settings.setdefault("constant_appended", "before centering")
    technique = new["technique"]
    biased = settings.get("norm") == "weight" and settings.get("hidden_bias") is None
    if biased and new["experiment"] in WITH_BIASED and not technique.startswith("weight-biased"):
        new["technique"] = technique.replace("weight", "weight-biased", 1)
        command = new["provenance"]["command"]
        new["provenance"]["command"] = command.replace(f"--norm {technique} ", f"--norm {new['technique']} ")
    return None if new == content else new


def migrate(folder: Path) -> Iterator[str]:
    """Rewrite the records below a folder that need it; yields the new name of each."""
    for path in sorted(folder.glob("*/*/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        new = migrated(content)
        if new is None:
            continue
        record.read(path)  # its checksum and results are right to begin with
        changed = [name for name in KEPT if new[name] != content[name]]
        if changed:
            raise RuntimeError(f"{path}: the migration would change {', '.join(changed)}")
        fields = {name: new[name] for name in Record.__dataclass_fields__ if name in new}
        written = record.write(Record(**fields), folder)
        if written != path:
            path.unlink()
        after = record.read(written)
        if after.curves != content["curves"] or after.final != content["final"]:
            raise RuntimeError(f"{written}: the curves changed")
        yield after.name


def main() -> None:
    """Migrate a folder, by default the package's own records."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE_RECORDS
    names = list(migrate(folder))
    print(f"{len(names)} records migrated in {folder}; curves, results and costs are unchanged.")


if __name__ == "__main__":
    main()
