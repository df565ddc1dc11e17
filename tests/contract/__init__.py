"""What every layer of the package promises, tested from outside. See ``cases.py`` for how a layer enters."""

from . import relatives  # noqa: F401  registers its cases before a test asks for any
