"""Tools of the repository: run from its root as ``python -m tools.notebooks``; not part of the package."""
