"""What a person sees while files arrive: a bar and short notes on standard error, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def say(message: str, shown: bool) -> None:
    """Write one line to standard error."""
    if shown:
        print(f"cosnorm: {message}", file=sys.stderr, flush=True)


@contextmanager
def bar(name: str, size: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar of ``size`` bytes; yields a function that takes how many bytes there are by now.

    Without tqdm there is one line instead.
    """
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        say(f"downloading {name}, {size / 1e6:.1f} MB", shown)
        yield lambda _: None
        return
    options = {"unit": "B", "unit_scale": True, "leave": False, "disable": not shown}
    with tqdm(total=size, desc=name, **options) as display:

        def set_to(count: int) -> None:
            if count < display.n:
                display.reset()
            display.update(count - display.n)
            display.leave = count == size

        yield set_to
