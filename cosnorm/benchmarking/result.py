"""A benchmark as a file: every round of every contender, with where it was measured, and a checksum."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from cosnorm import _atomic, provenance
from cosnorm.benchmarking.cases import CASES, with_compiled
from cosnorm.benchmarking.comparing import Comparison, Cost, compare
from cosnorm.record import RecordError

#: Results that come with the package.
PACKAGE_RESULTS = Path(__file__).parents[1] / "records" / "benchmarks"
FORMAT = "cosnorm benchmark 1"


@dataclass(frozen=True)
class Result:
    """Comparisons of one session on one machine.

    Attributes
    ----------
    comparisons
        By key of the case.
    provenance
        As for records, see :mod:`cosnorm.provenance`.
    """

    comparisons: dict[str, Comparison]
    provenance: dict[str, Any]

    @property
    def legend(self) -> str:
        """Where it was measured, and what the columns are."""
        facts = self.provenance
        return (
            f"{facts['device_name']}, {facts['threads']} thread(s), torch {facts['torch']}, "
            f"{facts.get('dtype', 'float32')}\n"
            "Forward and backward. Ratio: median over rounds of the time divided by the plain layer's in\n"
            "the same round. Saved: kept for the backward pass. Peak: most memory at a time, less the plain\n"
            "layer's."
        )

    def __str__(self) -> str:
        """A table a case, and the legend."""
        return "\n\n".join([*map(str, self.comparisons.values()), self.legend])


def measure(
    keys: Sequence[str] | None = None,
    *,
    repeats: int = 30,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
    on_comparison: Callable[[Comparison], None] | None = None,
) -> Result:
    """Compare the contenders of the cases named, or of all.

    ``compiled`` adds the cosine layers as :func:`torch.compile` makes them, which fuses what follows and
    precedes their products; on a processor that needs a C++ compiler. The rest is as for :func:`compare`.

    Raises
    ------
    ValueError
        If there is no such case, ``repeats`` is less than 2, or ``dtype`` is not among those timed.
    """
    chosen = list(CASES) if keys is None else list(keys)
    unknown = [key for key in chosen if key not in CASES]
    if unknown:
        raise ValueError(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(CASES)}")
    found = {}
    for key in chosen:
        case = with_compiled(CASES[key]) if compiled else CASES[key]
        found[key] = compare(case, repeats=repeats, device=device, dtype=dtype)
        if on_comparison is not None:
            on_comparison(found[key])
    return Result(found, {**provenance.environment(torch.device(device)), "dtype": dtype})


def write(result: Result, path: Path | str) -> Path:
    """Write a result, in whole or not at all.

    Raises
    ------
    cosnorm.record.RecordError
        If the file cannot be written.
    """
    path = Path(path)
    content = {
        "format": FORMAT,
        "provenance": result.provenance,
        "comparisons": [asdict(comparison) for comparison in result.comparisons.values()],
    }
    text = json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n"
    try:
        _atomic.write_text(path, text)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written ({error}); choose another place with --output"
        ) from error
    return path


def read(path: Path | str) -> Result:
    """Read a result back.

    Raises
    ------
    cosnorm.record.RecordError
        If the file is not there, damaged, or no such result.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stated = content.pop("sha256")
        if content["format"] != FORMAT or stated != _digest(content):
            raise ValueError("format or checksum is not that of a result")
        comparisons = [_comparison(entry) for entry in content["comparisons"]]
        return Result({entry.key: entry for entry in comparisons}, content["provenance"])
    except OSError as error:
        raise RecordError(
            f"{path} cannot be read ({error}); make it with `cosnorm bench --output FILE`"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path} is no undamaged benchmark result ({error}); restore or delete it"
        ) from error


def _comparison(entry: dict[str, Any]) -> Comparison:
    costs = {
        name: Cost(**{**cost, "seconds": tuple(cost["seconds"])}) for name, cost in entry["costs"].items()
    }
    return Comparison(entry["key"], entry["title"], costs, entry["left_out"])


def _digest(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
