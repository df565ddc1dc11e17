"""The command ``cosnorm``: chooses the full front, or the bare one where typer or rich is missing."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    if all(importlib.util.find_spec(name) for name in ("typer", "rich")):
        from cosnorm._cli.app import app

        app(prog_name="cosnorm")
        return
    from cosnorm._cli.plain import main as plain

    sys.exit(plain())


if __name__ == "__main__":
    main()
