"""Four datasets of images from their official files: MNIST, CIFAR-10, CIFAR-100 and SVHN.

None of the files is a pickle. Their content is verified before it is read, so the readers do not check it.

MNIST: 60 000 training and 10 000 test images of handwritten digits, 28 x 28 pixels. Y. LeCun, L. Bottou,
Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proceedings of the IEEE
86(11), 1998. The hashes were computed from copies with the MD5 sums that are widely published.

CIFAR-10 and CIFAR-100: 50 000 training and 10 000 test photographs of ten and of a hundred kinds of things,
32 x 32 pixels in color, in their binary versions. A. Krizhevsky, "Learning multiple layers of features from
tiny images", technical report, University of Toronto, 2009. The hashes of CIFAR-10 were computed from copies
of the official files. The official files of CIFAR-100 were not available: their hashes are those of the
library torchvision-ruby, whose hashes for CIFAR-10 are the same as ours.

SVHN: 73 257 training and 26 032 test photographs of the digits of house numbers, cropped to 32 x 32 pixels in
color. Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng, "Reading digits in natural images with
unsupervised feature learning", NIPS workshop on deep learning and unsupervised feature learning, 2011. The
531 131 easier "extra" digits are not used. The official files were not available: their sizes and hashes are
those that several libraries publish, torchvision among them, and all agree.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cosnorm.data._files import Archive, Source, SourceFile, combined_sha256
from cosnorm.data.dataset import Dataset

Contents = Mapping[str, bytes]
#: Images ``(N, 3, 32, 32)`` and targets ``(N,)``.
Examples = tuple[NDArray[np.uint8], NDArray[np.int64]]

DIGITS = tuple("0123456789")
COLOR = (3, 32, 32)


# MNIST


def _idx(name: str, size: int, sha256: str, plain_size: int, plain_sha256: str) -> SourceFile:
    return SourceFile(f"{name}.gz", size, sha256, plain=SourceFile(name, plain_size, plain_sha256))


MNIST_TRAIN = (
    _idx(
        "train-images-idx3-ubyte",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _idx(
        "train-labels-idx1-ubyte",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
)
MNIST_TEST = (
    _idx(
        "t10k-images-idx3-ubyte",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _idx(
        "t10k-labels-idx1-ubyte",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """Read one file of unsigned bytes in the IDX format, gzipped or not, into a new array."""
    # The fourth byte is the number of dimensions; their 32-bit sizes follow, and the values in C order.
    plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    shape = np.frombuffer(plain, ">u4", count=plain[3], offset=4)
    return np.frombuffer(plain, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy()


def _parse_mnist(contents: Contents) -> Dataset:
    # sha256 is what `sha256sum *-ubyte.gz | sha256sum` prints, even if the files are not compressed.
    train, test = ([parse_idx(contents[file.name]) for file in files] for files in (MNIST_TRAIN, MNIST_TEST))
    return _dataset("mnist", train, test, DIGITS, [*MNIST_TRAIN, *MNIST_TEST])


def _dataset(
    name: str,
    train: Sequence[NDArray],
    test: Sequence[NDArray],
    classes: tuple[str, ...],
    files: Sequence[SourceFile],
) -> Dataset:
    return Dataset(
        name=name,
        train_inputs=train[0],
        train_targets=train[1].astype(np.int64),
        test_inputs=test[0],
        test_targets=test[1].astype(np.int64),
        classes=classes,
        maximum=255.0,
        sha256=combined_sha256(files),
    )


MNIST = Source(
    name="mnist",
    title="MNIST handwritten digits, 28 x 28",
    parse=_parse_mnist,
    files=(*MNIST_TRAIN, *MNIST_TEST),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    folders=("mnist", ".", "MNIST/raw"),
)


# Photographs in color


def _parse_photographs(
    contents: Contents,
    name: str,
    train: Sequence[SourceFile],
    test: SourceFile,
    read: Callable[[SourceFile, bytes], Examples],
    classes: tuple[str, ...],
) -> Dataset:
    # sha256 is what `sha256sum * | sha256sum` prints in a folder of just these files.
    parts = zip(*(read(file, contents[file.name]) for file in train), strict=True)
    joined = [np.concatenate(part) for part in parts]
    return _dataset(name, joined, read(test, contents[test.name]), classes, [*train, test])


def parse_records(content: bytes, labels: int) -> Examples:
    """Read a file of CIFAR, described at https://www.cs.toronto.edu/~kriz/cifar.html.

    Every record has ``labels`` bytes, the last of which is the target (CIFAR-100 has the superclass first),
    and then the red, the green and the blue values, 32 x 32 each in C order.
    """
    records = np.frombuffer(content, np.uint8).reshape(-1, labels + 3 * 32 * 32)
    return records[:, labels:].reshape(-1, *COLOR).copy(), records[:, labels - 1].astype(np.int64)


CIFAR_MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
)
CIFAR10_TRAIN = tuple(
    SourceFile(f"data_batch_{number}.bin", 30_730_000, sha256)
    for number, sha256 in (
        (1, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        (2, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        (3, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        (4, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        (5, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
    )
)
CIFAR10_TEST = SourceFile(
    "test_batch.bin", 30_730_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"
)
CIFAR10 = Source(
    name="cifar10",
    title="CIFAR-10 photographs, 32 x 32 in colour",
    parse=partial(
        _parse_photographs,
        name="cifar10",
        train=CIFAR10_TRAIN,
        test=CIFAR10_TEST,
        read=lambda file, content: parse_records(content, labels=1),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    files=(*CIFAR10_TRAIN, CIFAR10_TEST),
    mirrors=CIFAR_MIRRORS,
    archive=Archive(
        "cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        files=tuple(file.name for file in (*CIFAR10_TRAIN, CIFAR10_TEST)),
        limit=200_000_000,
    ),
    folders=("cifar-10-batches-bin", "cifar10", "."),
)

# The fine classes, as the archive's ``fine_label_names.txt`` lists them.
_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100_CLASSES = tuple(_NAMES.split())
CIFAR100_TRAIN = SourceFile(
    "train.bin", 153_700_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"
)
CIFAR100_TEST = SourceFile(
    "test.bin", 30_740_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"
)
CIFAR100 = Source(
    name="cifar100",
    title="CIFAR-100 photographs, 32 x 32 in colour",
    parse=partial(
        _parse_photographs,
        name="cifar100",
        train=[CIFAR100_TRAIN],
        test=CIFAR100_TEST,
        read=lambda file, content: parse_records(content, labels=2),
        classes=CIFAR100_CLASSES,
    ),
    files=(CIFAR100_TRAIN, CIFAR100_TEST),
    mirrors=CIFAR_MIRRORS,
    archive=Archive(
        "cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        files=(CIFAR100_TRAIN.name, CIFAR100_TEST.name),
        limit=200_000_000,
    ),
    # Not ".", because the names of these files are too general.
    folders=("cifar-100-binary", "cifar100"),
)


def parse_digits(content: bytes, count: int) -> Examples:
    """Read one MATLAB 5 file of SVHN with ``count`` digits.

    In the file ``X`` is ``(32, 32, 3, count)`` and ``y`` is ``(count, 1)``. Returns images,
    ``(count, 3, 32, 32)`` uint8, and digits, ``(count,)`` int64. Raises ValueError for other content.
    """
    variables = _matlab(content)
    images, labels = (variables.get(name, np.empty(0)) for name in ("X", "y"))
    for name, found, shape in (("X", images, (32, 32, 3, count)), ("y", labels, (count, 1))):
        if found.shape != shape or found.dtype != np.uint8:
            raise ValueError(f"{name} is {found.dtype} {found.shape}; the official file has uint8 {shape}")
    wrong = np.flatnonzero((labels < 1) | (labels > 10))
    if len(wrong):
        raise ValueError(f"label {wrong[0]} is {labels[wrong[0], 0]}; labels are 1 to 10")
    digits = labels[:, 0].astype(np.int64) % 10  # the digit 0 has the label 10
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), digits


def _matlab(content: bytes) -> dict[str, NDArray]:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise ValueError("reading MATLAB files needs scipy (pip install scipy)") from error
    try:
        return loadmat(io.BytesIO(content), variable_names=["X", "y"])
    except Exception as error:
        # On damaged content scipy raises errors of many types, struct.error and zlib.error among them.
        raise ValueError(f"it is not a MATLAB 5 file that scipy can read ({error})") from error


SVHN_TRAIN = SourceFile(
    "train_32x32.mat", 182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"
)
SVHN_TEST = SourceFile(
    "test_32x32.mat", 64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"
)
SVHN_COUNTS = {SVHN_TRAIN.name: 73_257, SVHN_TEST.name: 26_032}
SVHN = Source(
    name="svhn",
    title="SVHN house numbers' digits, 32 x 32 in colour",
    parse=partial(
        _parse_photographs,
        name="svhn",
        train=[SVHN_TRAIN],
        test=SVHN_TEST,
        read=lambda file, content: parse_digits(content, SVHN_COUNTS[file.name]),
        classes=DIGITS,
    ),
    files=(SVHN_TRAIN, SVHN_TEST),
    mirrors=("http://ufldl.stanford.edu/housenumbers/",),
    folders=("svhn", ".", "SVHN"),
)
