"""Which versions, commits and processors a run was made by: a resumed run names all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from cosnorm import provenance
from cosnorm.experiments.checkpoints import CheckpointFile

#: What of a process can change the curves of a run, as it stands in a record.
_IDENTIFYING = ("cosnorm", "commit", "modified", "device_name", "torch")


class Contributions:
    """Who computed which epochs of one run; kept in its checkpoint, and in the end in its record.

    Parameters
    ----------
    device
        That this process trains on.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before: list[dict[str, Any]] = []
        self._first = 1

    def resume(self, kept: list[dict[str, Any]], epoch: int) -> None:
        """Earlier processes made the epochs up to ``epoch``, as :meth:`until` told."""
        self._before, self._first = kept, epoch + 1

    def until(self, epoch: int) -> list[dict[str, Any]]:
        """Entries from the first epoch to this one, JSON-ready and in order.

        Each holds the version and commit of the package, whether its code was modified, the processor, the
        version of torch, the first and the last of its epochs, counted from 1, and the date of the last.
        Consecutive processes that agree in all of this but the date are one entry.
        """
        facts = provenance.environment(self.device)
        mine = {name: facts[name] for name in _IDENTIFYING}
        first, before = self._first, list(self._before)
        if before and {name: before[-1][name] for name in _IDENTIFYING} == mine:
            first = before.pop()["epochs"][0]
        return [*before, {**mine, "epochs": [first, epoch], "date": facts["date"]}]


class KeptRun:
    """A run's checkpoint with its contributions: what the engine sees as a checkpoint."""

    def __init__(self, file: CheckpointFile, contributions: Contributions) -> None:
        self.file, self.contributions = file, contributions

    def load(self) -> dict[str, Any] | None:
        """As :meth:`CheckpointFile.load`."""
        state = self.file.load()
        if state is not None:
            self.contributions.resume(state.pop("contributions"), state["epoch"])
        return state

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """As :meth:`CheckpointFile.save`."""

        def whole() -> dict[str, Any]:
            content = state()
            return {**content, "contributions": self.contributions.until(content["epoch"])}

        self.file.save(whole)
