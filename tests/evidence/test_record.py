"""Records on disk: what is written comes back, and nothing damaged, foreign or half-written ever does."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import make_record

from cosnorm import evidence, record
from cosnorm.record import RecordError, path_of, prepare_folder, read, summarize, write


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return write(make_record("cosine", 3, [9, 5, 7]), tmp_path)


def rewrite(path: Path, **changes: object) -> None:
    """Change fields of a record and give it the checksum that goes with them."""
    content = json.loads(path.read_text())
    content.update(changes)
    del content["sha256"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    original = make_record("batch", 0, [9, 5, 7])
    path = write(original, tmp_path)
    assert path == tmp_path / "mnist" / "short" / "batch-seed0.json"
    assert read(path) == original
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_is_plain_json_with_one_line_a_section(stored: Path) -> None:
    lines = stored.read_text().splitlines()
    content = json.loads(stored.read_text())
    assert len(lines) == len(content) + 2
    assert (content["format"], content["schema"]) == ("cosnorm record", 1)


def test_a_diverged_run_has_no_final_figures(tmp_path: Path) -> None:
    lost = read(write(make_record("none", 0, [9, 5], epochs=6), tmp_path))
    assert lost.diverged
    assert lost.final["diverged_epoch"] == 3
    assert lost.final["test_error_mean"] is lost.final["test_error_last"] is None
    assert "NaN" not in path_of(tmp_path, "mnist", "short", "none", 0).read_text()


@pytest.mark.parametrize(
    ("curve", "tail", "mean", "variance"),
    [([9, 4, 8], 2, 6.0, 8.0), ([9, 4, 8], 3, 7.0, 7.0), ([9, 4, 8], 1, 8.0, None), ([5, 5, 5], 2, 5.0, 0.0)],
)
def test_final_figures(curve: list[int], tail: int, mean: float, variance: float | None) -> None:
    final = summarize(curve, tail, None)
    assert (final["test_error_mean"], final["test_error_variance"]) == (mean, variance)
    assert (final["test_error_min"], final["test_error_last"]) == (min(curve), curve[-1])


def test_every_cut_is_noticed(stored: Path) -> None:
    whole = stored.read_bytes()
    for length in range(0, len(whole) - 2, 37):
        stored.write_bytes(whole[:length])
        with pytest.raises(RecordError, match=r"cosine-seed3\.json is damaged"):
            read(stored)


@pytest.mark.parametrize(
    ("old", "new"), [('"test_error": [9, 5, 7]', '"test_error": [9, 5, 6]'), ("1.5", "1.6")]
)
def test_an_edit_by_hand_is_noticed(stored: Path, old: str, new: str) -> None:
    text = stored.read_text()
    assert old in text
    stored.write_text(text.replace(old, new, 1))
    with pytest.raises(RecordError, match=r"checksum does not match.*delete it and run again"):
        read(stored)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"x": NaN}', "NaN is not JSON"),
        (b"[]", "not a record of this package"),
        (b'{"format": "something else"}', "not a record of this package"),
    ],
)
def test_foreign_files_are_named(stored: Path, content: bytes, message: str) -> None:
    stored.write_bytes(content)
    with pytest.raises(RecordError, match=message) as caught:
        read(stored)
    assert str(stored) in str(caught.value)


def test_a_newer_schema_asks_for_an_upgrade(stored: Path) -> None:
    rewrite(stored, schema=record.SCHEMA + 1)
    with pytest.raises(RecordError, match="upgrade cosnorm"):
        read(stored)


@pytest.mark.parametrize("schema", [0, None, "1"])
def test_a_schema_that_never_was_is_damage(stored: Path, schema: object) -> None:
    rewrite(stored, schema=schema)
    with pytest.raises(RecordError, match="not one that ever was"):
        read(stored)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("curves", {"test_error": [9, 5]}, "curves have lengths"),
        ("curves", {"test_error": [9, 5, -7]}, "cannot be"),
        ("curves", {"test_error": [9, 5, 7.5]}, "cannot be"),
        ("final", {"test_error_mean": 1.0}, "do not follow"),
        ("settings", {"epochs": 4}, "curves have lengths"),
    ],
)
def test_contradictions_are_damage_even_with_a_right_checksum(
    stored: Path, section: str, change: dict, message: str
) -> None:
    content = json.loads(stored.read_text())
    rewrite(stored, **{section: {**content[section], **change}})
    with pytest.raises(RecordError, match=message):
        read(stored)


@pytest.mark.parametrize("section", ["settings", "curves", "final", "cost", "provenance"])
def test_a_missing_figure_is_damage(stored: Path, section: str) -> None:
    content = json.loads(stored.read_text())[section]
    name = next(iter(content))
    del content[name]
    rewrite(stored, **{section: content})
    with pytest.raises(RecordError, match=f"{section} lacks {name}"):
        read(stored)


def test_a_renamed_record_is_refused(stored: Path) -> None:
    moved = stored.rename(stored.with_name("cosine-seed4.json"))
    with pytest.raises(RecordError, match=r"holds the run mnist/short/cosine-seed3; .* may not be renamed"):
        read(moved)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nothing\.json"):
        read(tmp_path / "nothing.json")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_record(
    stored: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(RecordError, match=r"could not write the record .*cosine-seed3.*No space left"):
        write(make_record("cosine", 3, [1, 1, 1]), stored.parents[2])
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]
    assert stored.read_bytes() == before


def test_a_kill_in_the_middle_leaves_the_old_record(stored: Path) -> None:
    """The process dies between writing and renaming: nothing that reads as a record is left of it."""
    before = stored.read_bytes()
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from synthetic import make_record; "
        "from cosnorm.record import write; os.replace = lambda *a: os._exit(9); "
        "write(make_record('cosine', 3, [1, 1, 1]), sys.argv[1])"
    )
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program, str(stored.parents[2]), str(tests)], check=False)
    assert done.returncode == 9
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.glob("*.json")] == [stored.name]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordError, match=r"cannot be written to .*choose another folder"):
        prepare_folder(tmp_path / "file" / "records")


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(record.tempfile, "TemporaryFile", refuse)
    with pytest.raises(RecordError, match="Permission denied"):
        prepare_folder(tmp_path)


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = record.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(record.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(RecordError, match="only 10 bytes are free"):
        prepare_folder(tmp_path)


def test_a_good_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = prepare_folder(tmp_path / "a" / "b")
    assert list(folder.iterdir()) == []


# -- records that share a file ---------------------------------------------------------------------------


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A folder with two packed records and one at another scale."""
    for seed in (10, 9):
        write(make_record("cosine", seed, [9, 5, seed], scale="smoke"), tmp_path)
    write(make_record("none", 0, [9, 5, 7]), tmp_path)
    record.pack(tmp_path)
    return tmp_path


def test_packed_records_are_read_as_before(tmp_path: Path) -> None:
    paths = [write(make_record("cosine", seed, [9, 5, seed], scale="smoke"), tmp_path) for seed in (10, 9)]
    before = [(path.read_bytes(), read(path)) for path in paths]
    assert record.pack(tmp_path) == [tmp_path / "mnist" / "smoke.json"]
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == ["smoke.json"]
    assert [(record.content_of(path), read(path)) for path in paths] == before
    content = json.loads((tmp_path / "mnist" / "smoke.json").read_text())
    assert [entry["seed"] for entry in content] == [9, 10]
    assert all(record.exists(path) and record.file_of(path).name == "smoke.json" for path in paths)
    assert record.listed(tmp_path, "mnist", "smoke") == sorted(paths)
    assert record.pack(tmp_path) == [], "nothing is left to pack"


def test_patterns_name_packed_records_by_their_own_paths(packed: Path) -> None:
    cosine = [path_of(packed, "mnist", "smoke", "cosine", seed) for seed in (10, 9)]
    none = path_of(packed, "mnist", "short", "none", 0)
    assert record.matching(packed, "*/*/*.json") == [none, *cosine]
    assert record.matching(packed, "mnist/smoke/*.json") == cosine
    assert record.matching(packed, "*/*.json") == record.matching(packed, "cosine*.json") == []


def test_a_record_of_its_own_comes_before_a_packed_one(packed: Path) -> None:
    newer = make_record("cosine", 9, [9, 5, 1], scale="smoke")
    path = write(newer, packed)
    assert read(path) == newer
    assert len(record.listed(packed, "mnist", "smoke")) == 2
    record.pack(packed)
    assert not path.exists()
    assert read(path) == newer
    assert len(json.loads((packed / "mnist" / "smoke.json").read_text())) == 2


def test_damage_of_a_packed_record_names_it_and_its_file(packed: Path) -> None:
    path = packed / "mnist" / "smoke.json"
    path.write_text(path.read_text().replace("[9, 5, 10]", "[9, 5, 11]"))
    with pytest.raises(RecordError, match=r"cosine-seed10 in .*smoke\.json is damaged: its checksum"):
        read(path_of(packed, "mnist", "smoke", "cosine", 10))
    assert read(path_of(packed, "mnist", "smoke", "cosine", 9)).seed == 9, "each has a checksum of its own"
    write(make_record("batch", 0, [9, 5, 7], scale="smoke"), packed)
    with pytest.raises(RecordError, match="is damaged"):
        record.pack(packed)
    assert path_of(packed, "mnist", "smoke", "batch", 0).is_file(), "nothing is removed"


@pytest.mark.parametrize("text", ["", "[", "[1]", "{}x", '[{"seed": 1}]', "7"])
def test_a_damaged_file_of_records_is_named(packed: Path, text: str) -> None:
    (packed / "mnist" / "smoke.json").write_text(text)
    with pytest.raises(RecordError, match=r"smoke\.json is damaged"):
        read(path_of(packed, "mnist", "smoke", "cosine", 9))


def test_a_packed_record_may_not_move_to_another_experiment(packed: Path) -> None:
    (packed / "mnist").rename(packed / "depth")
    with pytest.raises(RecordError, match="may not be renamed"):
        read(path_of(packed, "depth", "smoke", "cosine", 9))


def test_the_packages_smoke_records_are_packed_and_undamaged() -> None:
    own = list(record.PACKAGE_RECORDS.glob("*/smoke/*.json"))
    assert own == [], "pack them: python -c 'from cosnorm import record; record.pack()'"
    for path in record.matching(record.PACKAGE_RECORDS, "*/smoke/*.json"):
        assert read(path).stored == read(path).name


def test_the_records_of_the_campaign_can_be_read() -> None:
    """They were written by the commit that the campaign runs, one file per run."""
    campaign = record.PACKAGE_RECORDS / "campaign"
    paths = record.matching(campaign, "*/*/*.json")
    assert paths or not campaign.exists()
    for path in paths:
        experiment, scale, _ = path.relative_to(campaign).parts
        assert read(path) in evidence.load(experiment, scale, campaign)
