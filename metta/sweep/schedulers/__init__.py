"""Schedulers: which trial runs next, for how long, and when it stops."""

from typing import Any

from metta.sweep.registry import Registry
from metta.sweep.schedulers.allocation import AdaptiveBandit as AdaptiveBandit
from metta.sweep.schedulers.allocation import AllocationPolicy as AllocationPolicy
from metta.sweep.schedulers.allocation import EqualAllocation as EqualAllocation
from metta.sweep.schedulers.allocation import ProportionalToPromise as ProportionalToPromise
from metta.sweep.schedulers.asha import ASHAScheduler as ASHAScheduler
from metta.sweep.schedulers.asynchronous import AsynchronousScheduler as AsynchronousScheduler
from metta.sweep.schedulers.base import Scheduler as Scheduler
from metta.sweep.schedulers.batch import BatchScheduler as BatchScheduler
from metta.sweep.schedulers.batch import SynchronousBatchScheduler as SynchronousBatchScheduler
from metta.sweep.schedulers.hyperband import HyperbandScheduler as HyperbandScheduler
from metta.sweep.schedulers.median import MedianStoppingScheduler as MedianStoppingScheduler
from metta.sweep.schedulers.pb2 import PB2Scheduler as PB2Scheduler
from metta.sweep.schedulers.pbt import PBTScheduler as PBTScheduler
from metta.sweep.schedulers.resource_aware import ResourceAwareScheduler as ResourceAwareScheduler

__all__ = [
    "SCHEDULERS",
    "ASHAScheduler",
    "AdaptiveBandit",
    "AllocationPolicy",
    "AsynchronousScheduler",
    "BatchScheduler",
    "EqualAllocation",
    "HyperbandScheduler",
    "MedianStoppingScheduler",
    "PB2Scheduler",
    "PBTScheduler",
    "ProportionalToPromise",
    "ResourceAwareScheduler",
    "Scheduler",
    "SynchronousBatchScheduler",
    "create_scheduler",
]

SCHEDULERS = Registry(
    "scheduler",
    {
        "adaptive_bandit": "metta.sweep.schedulers.allocation:AdaptiveBandit",
        "asha": "metta.sweep.schedulers.asha:ASHAScheduler",
        "asynchronous": "metta.sweep.schedulers.asynchronous:AsynchronousScheduler",
        "batch": "metta.sweep.schedulers.batch:BatchScheduler",
        "equal_allocation": "metta.sweep.schedulers.allocation:EqualAllocation",
        "hyperband": "metta.sweep.schedulers.hyperband:HyperbandScheduler",
        "median_stopping": "metta.sweep.schedulers.median:MedianStoppingScheduler",
        "pb2": "metta.sweep.schedulers.pb2:PB2Scheduler",
        "pbt": "metta.sweep.schedulers.pbt:PBTScheduler",
        "proportional_to_promise": "metta.sweep.schedulers.allocation:ProportionalToPromise",
        "resource_aware": "metta.sweep.schedulers.resource_aware:ResourceAwareScheduler",
        "synchronous_batch": "metta.sweep.schedulers.batch:SynchronousBatchScheduler",
    },
)


def create_scheduler(name: str, **config: Any) -> Scheduler:
    """The scheduler registered as `name` ("asha", "ASHAScheduler", ...), made with `config`.

    Raises:
        UsageError: no such name (the message names the nearest), or an argument it does not take.
    """
    scheduler: Scheduler = SCHEDULERS.create(name, config)
    return scheduler
