from importlib import metadata

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer, create_optimizer
from metta.sweep.registry import Registry
from metta.sweep.schedulers import ASHAScheduler, SynchronousBatchScheduler, create_scheduler


@pytest.mark.parametrize("name", ["asha", "ASHA", "ASHAScheduler"])
def test_names_are_compared_loosely(name: str) -> None:
    scheduler = create_scheduler(name, max_t=50)
    assert isinstance(scheduler, ASHAScheduler)
    assert scheduler.max_resource == 50


def test_the_factories_make_our_classes() -> None:
    assert isinstance(create_scheduler("synchronous-batch", batch_size=3), SynchronousBatchScheduler)
    assert isinstance(create_optimizer("random", search_space={"x": 1}), RandomOptimizer)
    assert isinstance(create_optimizer("OptunaOptimizer", search_space={"x": 1}, sampler="GP"), OptunaOptimizer)


def test_an_unknown_name_names_the_nearest_or_lists_all() -> None:
    with pytest.raises(UsageError, match="no scheduler 'ahsa': did you mean 'asha'"):
        create_scheduler("ahsa")
    with pytest.raises(UsageError, match=r"no optimizer 'zzz': there is ax, .*random, sobol"):
        create_optimizer("zzz")


def test_an_argument_it_does_not_take() -> None:
    with pytest.raises(UsageError, match="ASHAScheduler has no argument 'max_epoch': did you mean 'max_epochs'"):
        create_scheduler("asha", max_epoch=3)


def entry_points(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str]) -> Registry:
    found = metadata.EntryPoints(metadata.EntryPoint(name, value, "metta.sweep.schedulers") for name, value in entries)
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: found.select(group=group))
    return Registry("scheduler", {"asha": "metta.sweep.schedulers.asha:ASHAScheduler"})


def test_third_parties_register_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = entry_points(monkeypatch, ("mine", "collections:OrderedDict"))
    assert registry.names() == ("asha", "mine")
    assert registry.find("Mine").__name__ == "OrderedDict"


def test_a_collision_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = entry_points(monkeypatch, ("ASHA", "collections:OrderedDict"))
    with pytest.raises(UsageError, match="'ASHA' is registered by both metta-sweep and collections:OrderedDict"):
        registry.find("asha")


def test_an_entry_point_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = entry_points(monkeypatch, ("mine", "no_such_module:X"))
    with pytest.raises(UsageError, match="'mine' is registered as no_such_module:X, but: No module named"):
        registry.find("mine")
