"""20 Newsgroups "bydate": 11 269 training and 7 505 later test documents of twenty discussion groups.

The bags of words that J. Rennie's page http://qwone.com/~jason/20Newsgroups/ offers for MATLAB; the texts
were collected by K. Lang ("NewsWeeder: Learning to filter netnews", ICML 1995). Files are lines
``document word count``, all from 1, and one line per document with the number of its group. The archive there
has the files in ``20news-bydate/matlab``; ``vocabulary.txt`` lies beside it. None of these addresses could
be reached when this was written: the hashes are those of a copy whose numbers of lines, 1 467 345 and
967 874, are those that others state for the official files, and the download was tried on a local server
only.

**The paper's 21 567 words.** It keeps "words whose document frequency is larger than 5". No rule of
that kind gives 21 567. We tried documents and occurrences; counted on the training documents, on the test
documents, on all, on the larger of the two numbers, on the smaller; from 1 to 39 of them; and without the
dropped documents as well: the first, the last, twenty draws at random.

=========================================  ================  ==============
a word has to be in, or occur, at least    words             off by
=========================================  ================  ==============
in 5 of the 11 269 training documents      21 566            -1
in 6 of them: "larger than 5"              18 989            -2578
in 5 of the 11 200 left (30 draws)         21 461 to 21 517  -106 to -50
in 8 of all 18 774 documents               21 307            -260
in 7 of all                                23 187            +1620
10 times in all                            21 612            +45
10 times in the 18 700 left (20 draws)     21 548 to 21 586  -19 to +19
6 times in the training documents          22 477            +910
=========================================  ================  ==============

The first is off by one and needs no lucky draw; it is the default here: at least 5 of all training
documents, counted before any is dropped. The one feature too many is most likely an empty column:
word numbers that begin with 1, read as if they began with 0, have a column 0 that no document uses. It would
change nothing but the length of weight vectors, by one part in forty thousand; we do not add it.

With the defaults 0.8 % of the entries of the test documents would exceed 1 after scaling, the largest
being 63: they are set to 1 (``clip``). See :class:`cosnorm.data.TextPreparation` for
what else the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cosnorm.data import text
from cosnorm.data._files import Archive, Source, SourceFile, combined_sha256
from cosnorm.data.dataset import Dataset
from cosnorm.data.rows import SparseRows
from cosnorm.data.text import TextPreparation

VOCABULARY = SourceFile(
    "vocabulary.txt", 494_093, "3c0f0d64a814ba8836334a0f23925cef751fb3636baea55772f1f8ede4b791bc"
)
PACKED = (
    SourceFile("train.data", 17_244_558, "1673e92b4494b50e2b2a43be61dbf62f227bf291d40933559043a539b01d5f31"),
    SourceFile("train.label", 28_650, "90e46f67c51005c7bb707a61cd4a49bd996bc98c5c2acaaa36fbd22dc179101f"),
    SourceFile("train.map", 384, "5a9320e52d18d67df8997fea5fd1f8ee8c904281edb514ccacaae059a902f9a3"),
    SourceFile("test.data", 11_167_626, "429aa131e464ea3c1f9cc1621632d95fa519dbd4aa309160f5b1b4b2054209ab"),
    SourceFile("test.label", 19_078, "5eb0491245caaffb86980dcd7b707e65815ae0a600b214ac99e62fa5a713e6e1"),
    SourceFile("test.map", 384, "5a9320e52d18d67df8997fea5fd1f8ee8c904281edb514ccacaae059a902f9a3"),
)
FILES = (*PACKED, VOCABULARY)


def _parse(contents: Mapping[str, bytes], settings: TextPreparation) -> Dataset:
    # Documents stay in the order of the files, sorted by class. sha256 covers the files and not the
    # settings: it is what `sha256sum * | sha256sum` prints in a folder that holds nothing else.
    classes = tuple(line.split()[0] for line in contents["train.map"].decode().splitlines())
    train, test = (_documents(contents, part) for part in ("train", "test"))
    return text.dataset("newsgroups", train, test, settings, classes=classes, sha256=combined_sha256(FILES))


def _documents(contents: Mapping[str, bytes], part: str) -> text.Documents:
    labels = _numbers(contents[f"{part}.label"])
    document, word, counts = _numbers(contents[f"{part}.data"]).reshape(-1, 3).T
    shape = (len(labels), len(contents["vocabulary.txt"].split()))
    return text.Documents(SparseRows.from_entries(document - 1, word - 1, counts, shape=shape), labels - 1)


def _numbers(content: bytes) -> NDArray[np.int64]:
    return np.fromstring(content.decode("ascii"), dtype=np.int64, sep=" ")


SOURCE = Source(
    name="newsgroups",
    title="20 Newsgroups by date, TF-IDF of bags of words",
    parse=_parse,
    files=FILES,
    mirrors=(
        "https://qwone.com/~jason/20Newsgroups/",
        "http://qwone.com/~jason/20Newsgroups/",
        "http://people.csail.mit.edu/jrennie/20Newsgroups/",
    ),
    folders=("20news-bydate-matlab", "20news-bydate/matlab", "20news-bydate"),
    archive=Archive(
        "20news-bydate-matlab.tgz",
        folder="20news-bydate/matlab",
        files=tuple(file.name for file in PACKED),
        limit=sum(file.size for file in PACKED),
    ),
    preparation=TextPreparation,
)
