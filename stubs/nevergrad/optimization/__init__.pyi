from nevergrad.optimization.base import Optimizer as Optimizer
from nevergrad.optimization.optimizerlib import registry as registry
