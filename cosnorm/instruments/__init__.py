"""What can be measured of any network while it learns: each instrument is a function of the network as it is.

None of them disturbs the network: they work on copies, and leave its parameters, buffers, gradients, mode and
the random numbers of the caller as they were.

===================================  =====================================================================
:func:`covariate_shift`              how far a layer's gradient moves when the layers before it are updated
:func:`smoothness`                   how the loss and its gradient change along the gradient's direction
:func:`weight_lengths`               the length of every unit's weights
:func:`effective_rates`              the learning rate over the square of that length
:func:`length_growth`                what one step adds to it, along the weights and across them
:func:`statistics_gradient`          what a normalization's statistics take from the gradient
:func:`widths`                       the spread of the pre-activations, layer by layer
===================================  =====================================================================
"""

from cosnorm.instruments.covariate_shift import LayerShift, covariate_shift
from cosnorm.instruments.lengths import LengthGrowth, effective_rates, length_growth, weight_lengths
from cosnorm.instruments.smoothness import Smoothness, smoothness
from cosnorm.instruments.statistics_gradient import StatisticsGradient, statistics_gradient
from cosnorm.instruments.widths import Width, widths

__all__ = [
    "LayerShift",
    "LengthGrowth",
    "Smoothness",
    "StatisticsGradient",
    "Width",
    "covariate_shift",
    "effective_rates",
    "length_growth",
    "smoothness",
    "statistics_gradient",
    "weight_lengths",
    "widths",
]
