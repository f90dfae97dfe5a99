"""Nevergrad: parametrizations, and optimizers by ask and tell; what is missing here is an error, not Any."""

from nevergrad.common import errors as errors
from nevergrad.optimization import optimizerlib as optimizers  # noqa: F401
from nevergrad.parametrization import parameter as p  # noqa: F401
