"""The reader of SVHN's files, under the name by which chapters import it; see :mod:`cosnorm.data.images`."""

from cosnorm.data.images import parse_digits as parse_digits
