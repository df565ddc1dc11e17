"""Choices at random that are the same on every machine and with every version of NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def drawn(count: int, total: int, seed: int) -> NDArray[np.int64]:
    """``count`` of the numbers from 0 to ``total`` - 1, drawn without replacement, in ascending order.

    They are those with the smallest of ``total`` raw words of NumPy's PCG64. Its stream is guaranteed to
    stay as it is, other than what ``Generator``'s methods make of it (NumPy enhancement proposal 19).
    """
    return np.sort(np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")[:count])
