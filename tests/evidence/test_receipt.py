"""The reader's receipt: placed among like runs only, and free of anything private."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic import make_record, store

from cosnorm.evidence import prediction, receipt
from cosnorm.record import Record, RecordError

STORED = [140, 141, 143, 144, 146]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cosine = [make_record("cosine", seed, [errors, errors]) for seed, errors in enumerate(STORED)]
    return store(tmp_path, cosine, make_record("none", 0, [300, 300]))


def run(errors: int, technique: str = "cosine", **options: Any) -> Record:
    return make_record(technique, 0, [errors, errors], **options)


@pytest.mark.parametrize(("errors", "fewer", "inside"), [(142, 2, True), (139, 0, True), (200, 5, False)])
def test_places_a_score_among_the_stored(folder: Path, errors: int, fewer: int, inside: bool) -> None:
    found = receipt(run(errors), folder)
    assert found.band == prediction([float(v) for v in STORED])
    assert found.inside is inside
    assert f"{fewer} of the 5 stored runs made fewer" in found.verdict
    assert ("inside" if inside else "outside") in found.verdict


def test_a_technique_without_enough_stored_runs(folder: Path) -> None:
    found = receipt(run(290, "none"), folder)
    assert found.inside is None
    assert "too few stored runs (1)" in found.verdict


def test_other_settings_are_named_and_not_compared(folder: Path) -> None:
    found = receipt(run(142, learning_rate=3.0), folder)
    assert found.differing == ("learning_rate",)
    assert found.inside is None
    assert "settings differ" in found.verdict
    assert receipt(run(142, dataset_sha256="f" * 64), folder).differing == ("the data",)


def test_a_diverged_run_is_said_to_be_one(folder: Path) -> None:
    found = receipt(make_record("cosine", 0, [150], epochs=2), folder)
    assert found.score is None
    assert found.verdict == f"{found.record.name} diverged in epoch 2."


def test_the_fingerprint_holds_what_matters(folder: Path) -> None:
    found = receipt(run(142), folder)
    for fact in ("torch: 2.13.0", "device_name: a made-up processor", "threads: 1", "command: "):
        assert fact in found.fingerprint
    assert "commit" not in found.fingerprint  # None: nothing to say
    assert found.fingerprint in str(found)
    assert "commit: abc" in receipt(run(142, provenance={"commit": "abc"}), folder).fingerprint


def test_no_stored_runs_at_all(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no records of mnist"):
        receipt(run(142), tmp_path)
