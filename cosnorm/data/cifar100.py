"""CIFAR-100: 50 000 training and 10 000 test photographs of a hundred kinds of things, 32 x 32 in colour.

A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report, University of
Toronto, 2009. The binary version: its files are read without unpickling anything. The official files were
never at hand: their hashes are those that the library torchvision-ruby checks its downloads against, whose
hashes for CIFAR-10 are the same as those computed for :mod:`cosnorm.data.cifar10`.
"""

from __future__ import annotations

from collections.abc import Mapping

from cosnorm.data._cifar import MIRRORS, parse_records, record_size
from cosnorm.data._photographs import Examples, photographs
from cosnorm.data._source import Archive, Source, SourceFile
from cosnorm.data.dataset import Dataset

COARSE = 20  # superclasses, of five classes each
_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CLASSES = tuple(_NAMES.split())
"""The fine classes, as the archive's ``fine_label_names.txt`` lists them."""

EXAMPLES = {"train.bin": 50_000, "test.bin": 10_000}
TRAIN = SourceFile(
    "train.bin",
    EXAMPLES["train.bin"] * record_size(2),
    "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
)
TEST = SourceFile(
    "test.bin",
    EXAMPLES["test.bin"] * record_size(2),
    "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
)
FILES = (TRAIN, TEST)


def parse(contents: Mapping[str, bytes]) -> Dataset:
    """Make the dataset of the two files. Raises :class:`ValueError` that names the file it stumbled over.

    Images are ``(N, 3, 32, 32)``: red, green, blue; targets are the fine labels. ``sha256`` is what
    ``sha256sum test.bin train.bin | sha256sum`` prints in a folder that holds the files.
    """
    return photographs("cifar100", contents, ([TRAIN], [TEST]), _read, CLASSES)


def _read(file: SourceFile, content: bytes) -> Examples:
    images, labels = parse_records(content, EXAMPLES[file.name], (COARSE, len(CLASSES)))
    return images, labels[:, 1]


SOURCE = Source(
    name="cifar100",
    title="CIFAR-100 photographs, 32 x 32 in colour",
    parse=parse,
    files=FILES,
    mirrors=MIRRORS,
    archive=Archive(
        "cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        files=tuple(file.name for file in FILES),
        limit=200_000_000,
    ),
    # Not "." as for the others: the names say nothing about what the files hold.
    folders=("cifar-100-binary", "cifar100"),
)
