"""The IDX format of the MNIST files: a magic number, the sizes, then the values, all big-endian.

Bytes 0 and 1 are zero, byte 2 is the type (0x08: unsigned byte), byte 3 the number of dimensions;
one unsigned 32-bit size a dimension follows, then the values in C order.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08


def parse_idx(content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, gzipped or not.

    Parameters
    ----------
    content : bytes
        The whole file.
    shape : tuple of int
        The shape that the file must have; nothing larger is ever unpacked.

    Returns
    -------
    ndarray of uint8, with that shape. It is writable and owns its memory.

    Raises
    ------
    ValueError
        The content is not such a file; the message says in what way.
    """
    header = 4 + 4 * len(shape)
    expected = header + math.prod(shape)
    plain = _gunzip(content, expected) if content.startswith(GZIP_MAGIC) else content
    if len(plain) < header:
        raise ValueError(f"it has {len(plain)} bytes, too few for the {header} bytes of its header")
    magic, sizes = plain[:4], struct.unpack(f">{len(shape)}I", plain[4:header])
    if magic != bytes([0, 0, UNSIGNED_BYTE, len(shape)]):
        raise ValueError(f"it starts with {magic.hex()}, not with 000008{len(shape):02x}: not the IDX file")
    if sizes != shape:
        raise ValueError(f"its header says shape {sizes}; the official file has {shape}")
    if len(plain) != expected:
        raise ValueError(f"it holds {len(plain)} bytes where its header calls for {expected}")
    return np.frombuffer(plain, dtype=np.uint8, offset=header).reshape(shape).copy()


def parse_labels(content: bytes, count: int, classes: int) -> NDArray[np.int64]:
    """Read an IDX file of ``count`` labels and check that each lies in [0, classes). Raises ValueError."""
    labels = parse_idx(content, (count,))
    if count and int(labels.max()) >= classes:
        position = int(np.argmax(labels >= classes))
        raise ValueError(f"label {position} is {labels[position]}; there are only {classes} classes")
    return labels.astype(np.int64)


def _gunzip(content: bytes, limit: int) -> bytes:
    """Unpack, and never more than one byte above the limit, however much the archive would swell to."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as archive:
            return archive.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"its gzip compression is damaged ({error})") from error
