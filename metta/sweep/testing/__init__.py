"""For tests of optimizers, schedulers and executors: a virtual clock, learning curves, and the contracts as suites."""

from metta.sweep.testing.curves import Quality as Quality
from metta.sweep.testing.curves import bowl as bowl
from metta.sweep.testing.curves import crossing as crossing
from metta.sweep.testing.curves import failing as failing
from metta.sweep.testing.curves import noisy as noisy
from metta.sweep.testing.curves import power_law as power_law
from metta.sweep.testing.executor_conformance import ExecutorConformance as ExecutorConformance
from metta.sweep.testing.optimizer_conformance import OptimizerConformance as OptimizerConformance
from metta.sweep.testing.scheduler_conformance import SchedulerConformance as SchedulerConformance
from metta.sweep.testing.simulate import Curve as Curve
from metta.sweep.testing.simulate import Simulation as Simulation
from metta.sweep.testing.simulate import simulate as simulate

__all__ = [
    "Curve",
    "ExecutorConformance",
    "OptimizerConformance",
    "Quality",
    "SchedulerConformance",
    "Simulation",
    "bowl",
    "crossing",
    "failing",
    "noisy",
    "power_law",
    "simulate",
]
