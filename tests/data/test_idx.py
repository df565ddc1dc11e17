"""The IDX parser: it reads what the format says, and answers anything else with a ValueError."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cosnorm.data._idx import parse_idx, parse_labels

from .conftest import idx

SHAPE = (5, 3, 4)
SOUND = idx(np.arange(60, dtype=np.uint8).reshape(SHAPE))
PACKED = gzip.compress(SOUND, mtime=0)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)), st.booleans())
def test_reads_back_what_was_written(array: np.ndarray, packed: bool) -> None:
    content = gzip.compress(idx(array)) if packed else idx(array)
    found = parse_idx(content, array.shape)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("content", [SOUND, PACKED], ids=["plain", "gzip"])
def test_every_truncation_is_refused(content: bytes) -> None:
    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"bytes|gzip"):
            parse_idx(content[:length], SHAPE)


def test_every_flipped_bit_of_the_header_is_refused() -> None:
    header = 4 + 4 * len(SHAPE)
    for position in range(8 * header):
        damaged = bytearray(SOUND)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"starts with|header says"):
            parse_idx(bytes(damaged), SHAPE)


def test_every_flipped_bit_under_gzip_is_refused_or_harmless() -> None:
    """Only the header's time, flags of the compressor and name are covered by no checksum."""
    refused = 0
    for position in range(8 * len(PACKED)):
        damaged = bytearray(PACKED)
        damaged[position // 8] ^= 1 << position % 8
        try:
            found = parse_idx(bytes(damaged), SHAPE)
        except ValueError:
            refused += 1
            continue
        np.testing.assert_array_equal(found, parse_idx(SOUND, SHAPE))
    assert refused > 8 * (len(PACKED) - 10) - 8  # all but the ten bytes of the header, and padding bits


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_anything_else(content: bytes) -> None:
    for candidate in (content, b"\x1f\x8b" + content, b"\x1f\x8b\x08" + content, SOUND[:4] + content):
        try:
            found = parse_idx(candidate, SHAPE)
        except ValueError:
            continue
        assert found.shape == SHAPE
        assert found.dtype == np.uint8


@given(
    st.lists(st.tuples(st.integers(0, len(PACKED) - 1), st.integers(0, 255)), max_size=8), st.integers(0, 60)
)
def test_damaged_gzip_never_raises_anything_else(edits: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(PACKED)
    for position, value in edits:
        damaged[position] = value
    try:
        found = parse_idx(bytes(damaged[: len(damaged) - cut]), SHAPE)
    except ValueError:
        return
    np.testing.assert_array_equal(found, parse_idx(SOUND, SHAPE))


def test_a_gzip_that_swells_is_not_unpacked() -> None:
    """100 MB of zeros in half a megabyte: refused after the few bytes that the file may have."""
    bomb = gzip.compress(SOUND + bytes(100_000_000), compresslevel=1)
    size = len(SOUND)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"holds {size + 1} bytes where its header calls for {size}"):
            parse_idx(bomb, SHAPE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too few for the 16 bytes of its header"),
        (b"<!DOCTYPE html><html></html>", "starts with 3c21444f"),
        (SOUND + b"\0", "holds 77 bytes where its header calls for 76"),
        (b"\0\0\x0d\x03" + SOUND[4:], "starts with 00000d03, not with 00000803"),
        (
            SOUND[:4] + struct.pack(">III", 4, 3, 4) + SOUND[16:],
            r"shape \(4, 3, 4\); the official file has \(5, 3, 4\)",
        ),
        (SOUND[:4] + b"\xff" * 12 + SOUND[16:], "4294967295"),
    ],
)
def test_says_what_is_wrong(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_idx(content, SHAPE)


def test_labels_must_be_classes() -> None:
    labels = np.array([0, 3, 9, 10, 2], dtype=np.uint8)
    with pytest.raises(ValueError, match="label 3 is 10; there are only 10 classes"):
        parse_labels(idx(labels), 5, 10)
    found = parse_labels(idx(labels), 5, 11)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, labels)
