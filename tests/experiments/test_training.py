"""TrainingExperiment on the real data with real torch."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors.checkpoint import read_state, write_state
from metta.sweep.experiments import TrainingExperiment, TrainingResult
from metta.sweep.trial import MemoryChannel, Saved, Trial

torch = pytest.importorskip("torch")

SMALL = TrainingExperiment(max_epochs=2, hidden_size=16, batch_size=128, learning_rate=0.01)


def trained(epochs: int, channel: MemoryChannel) -> Trial:
    """Train the small network up to `epochs` as a trial whose states go to `channel`."""
    trial = Trial({}, resource=epochs, channel=channel)
    SMALL.evaluate(trial)
    return trial


def assert_equal_states(one: Any, other: Any) -> None:
    assert one["epoch"] == other["epoch"]
    assert one["loss"] == other["loss"]
    assert torch.equal(one["generator"], other["generator"])
    for part in ("weights", "moments"):
        assert one[part].keys() == other[part].keys()
        for name, tensor in one[part].items():
            assert torch.equal(tensor, other[part][name]), name


def test_it_trains_tests_and_gives_a_typed_result() -> None:
    result = TrainingExperiment(max_epochs=3, learning_rate=0.01).run()
    assert isinstance(result, TrainingResult)
    assert 0.8 < result.score <= 1.0
    assert result.best_score == result.score
    assert result.epochs == 3
    assert 0 < result.loss < 1


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    def loss(seed: int) -> float:
        return SMALL.with_params({"seed": seed}).run().loss

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    SMALL.evaluate(Trial({}))
    assert torch.equal(before, torch.random.get_rng_state())


def test_reports_every_epoch_and_saves_before_each_report() -> None:
    channel = MemoryChannel()
    trial = trained(3, channel)
    assert [report.step for report in trial.reports] == [1, 2, 3]
    assert all(set(report.metrics) == {"score", "loss"} for report in trial.reports)
    assert channel.saved is not None
    assert channel.saved.step == 3


def test_it_stops_when_it_is_told_to() -> None:
    assert trained(5, MemoryChannel(stop=True)).step == 1


def test_six_epochs_are_three_saved_loaded_in_a_fresh_process_and_three_more(tmp_path: Path) -> None:
    straight, half = MemoryChannel(), MemoryChannel()
    trained(6, straight)
    trained(3, half)
    assert straight.saved is not None
    assert half.saved is not None
    write_state(tmp_path / "half", half.saved.state)
    script = """
import sys
from pathlib import Path
from metta.sweep.executors.checkpoint import read_state, write_state
from metta.sweep.trial import MemoryChannel, Saved
from tests.experiments.test_training import trained
channel = MemoryChannel(saved=Saved(read_state(Path(sys.argv[1]) / "half"), 3))
trial = trained(6, channel)
assert [report.step for report in trial.reports] == [4, 5, 6], trial.reports
write_state(Path(sys.argv[1]) / "whole", channel.saved.state)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=300)
    assert_equal_states(read_state(tmp_path / "whole"), straight.saved.state)


def test_training_depends_on_every_part_of_the_state() -> None:
    """The test above would pass with a constant network: each part of the state must matter."""
    straight, half = MemoryChannel(), MemoryChannel()
    trained(3, straight)
    trained(2, half)
    assert straight.saved is not None
    assert half.saved is not None
    state = half.saved.state
    for part in ("weights", "moments", "generator"):
        damaged = dict(state)
        if part == "generator":
            damaged[part] = torch.Generator().manual_seed(99).get_state()
        else:
            damaged[part] = {name: tensor * 2 for name, tensor in state[part].items()}
        channel = MemoryChannel(saved=Saved(damaged, 2))
        trained(3, channel)
        assert channel.saved is not None
        assert channel.saved.state["loss"] != straight.saved.state["loss"], part


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_epochs": 0},
        {"batch_size": 1.5},
        {"hidden_size": True},
        {"learning_rate": 0},
        {"learning_rate": math.inf},
        {"learning_rate": "0.1"},
        {"learning_rate": True},
        {"learning_rate": None},
    ],
)
def test_wrong_values_are_refused_at_once(wrong: dict[str, Any]) -> None:
    name = next(iter(wrong))
    with pytest.raises(UsageError, match=rf"TrainingExperiment\({name}="):
        TrainingExperiment(**wrong)


def test_its_tunables_are_parameters_that_it_has() -> None:
    paths = TrainingExperiment().tunables()
    assert list(paths) == ["trainer.learning_rate", "trainer.batch_size", "agent.hidden_size"]
    TrainingExperiment().check_params(paths)
    assert TrainingExperiment().with_params({"agent.hidden_size": 8}).hidden_size == 8


def test_the_split_is_a_partition_of_the_data() -> None:
    from metta.sweep.experiments import digits

    data = digits.load_digits()
    sizes = [len(split.labels) for split in (data.train, data.validation, data.test)]
    assert sizes == [1078, 359, 360]
    assert sum(sizes) == 1797
    assert data.train.images.shape == (1078, 64)
    assert float(data.train.images.max()) == 1.0


def test_without_torch_it_says_what_to_install() -> None:
    script = """
import sys
sys.modules["torch"] = None
from metta.sweep.experiments import TrainingExperiment
from metta.sweep.errors import MissingExtraError
try:
    TrainingExperiment(max_epochs=1).run()
except MissingExtraError as error:
    assert str(error) == "TrainingExperiment needs an optional dependency: pip install 'metta-sweep[torch]'", error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
