"""Search spaces: distributions, the flat space of dot paths, conditions and constraints."""

from metta.sweep.space.constraints import Constraint as Constraint
from metta.sweep.space.constraints import divides as divides
from metta.sweep.space.distributions import Choice as Choice
from metta.sweep.space.distributions import Condition as Condition
from metta.sweep.space.distributions import Constant as Constant
from metta.sweep.space.distributions import Distribution as Distribution
from metta.sweep.space.distributions import Integer as Integer
from metta.sweep.space.distributions import IntLogUniform as IntLogUniform
from metta.sweep.space.distributions import LogitNormal as LogitNormal
from metta.sweep.space.distributions import LogUniform as LogUniform
from metta.sweep.space.distributions import PowerOfTwo as PowerOfTwo
from metta.sweep.space.distributions import Uniform as Uniform
from metta.sweep.space.search_space import SearchSpace as SearchSpace

__all__ = [
    "Choice",
    "Condition",
    "Constant",
    "Constraint",
    "Distribution",
    "IntLogUniform",
    "Integer",
    "LogUniform",
    "LogitNormal",
    "PowerOfTwo",
    "SearchSpace",
    "Uniform",
    "divides",
]
