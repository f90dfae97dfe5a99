"""For tests of optimizers and schedulers: sweeps on a virtual clock."""

from metta.sweep.testing.simulate import Simulation as Simulation
from metta.sweep.testing.simulate import simulate as simulate

__all__ = ["Simulation", "simulate"]
