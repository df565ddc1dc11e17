"""What every layer of the package promises, tested from outside. See ``cases.py`` for how a layer enters."""
