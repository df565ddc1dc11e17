"""What changes a layer's output and what does not: every technique against every transformation."""

from cosnorm.invariances.drawing import figure
from cosnorm.invariances.layers import Point, random_point
from cosnorm.invariances.measuring import Cell, Matrix, Row, matrix
from cosnorm.invariances.transformations import TRANSFORMATIONS, Setting, Transformation

__all__ = [
    "TRANSFORMATIONS",
    "Cell",
    "Matrix",
    "Point",
    "Row",
    "Setting",
    "Transformation",
    "figure",
    "matrix",
    "random_point",
]
