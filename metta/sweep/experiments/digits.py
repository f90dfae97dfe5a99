"""The small real training job: a two-layer network on the digits data of scikit-learn, in PyTorch.

Training is a pure function from state to state: everything that the next epoch depends on is in
`State`, so an epoch continues from a saved state exactly as it would have in memory. This module
imports torch; `training.py` imports it only when something is trained or drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import NamedTuple

from metta.sweep.errors import MissingExtraError
from metta.sweep.experiments.training import TrainingRecord
from metta.sweep.trial import Trial

try:
    import torch
    from torch import Tensor, nn
except ImportError as _missing:
    raise MissingExtraError("TrainingExperiment", "torch") from _missing

# The split is fixed, whatever the experiment's seed: scores of different seeds stay comparable.
SPLIT_SEED = 20_260
NOISE_SEED = 20_261
TRAIN_ITEMS, VALIDATION_ITEMS = 1_078, 359  # of 1,797; the rest is for the test
PIXELS, CLASSES = 64, 10


class Split(NamedTuple):
    """Images [n, 64] float32 in 0..1, and their labels [n] int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """The data, shuffled once with a fixed seed and split 60 : 20 : 20."""

    train: Split
    validation: Split
    test: Split


class Settings(NamedTuple):
    """What one training depends on, besides the data."""

    learning_rate: float
    batch_size: int
    hidden_size: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A training after `epoch` whole epochs.

    `loss` is the mean training loss of the last epoch (NaN before the first); `weights` is the network's state
    dict; `moments` are the optimizer's tensors, as "parameter.slot"; `generator` is the state of the generator that
    shuffles the batches.
    """

    epoch: int
    loss: float
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    generator: Tensor


def load_digits(classes: int = CLASSES, noise: float = 0.0) -> Digits:
    """Read the data that scikit-learn carries with it (no network).

    Args:
        classes: only the digits below it are kept; the splits keep their proportions, but for chance.
        noise: standard deviation of the normal noise on every pixel, the same noise in every call.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as read
    except ImportError as _missing:
        raise MissingExtraError("TrainingExperiment", "torch") from _missing
    pixels, labels = read(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    images = torch.tensor(pixels, dtype=torch.float32)[order] / 16
    targets = torch.tensor(labels, dtype=torch.int64)[order]
    cuts = [TRAIN_ITEMS, VALIDATION_ITEMS, len(labels) - TRAIN_ITEMS - VALIDATION_ITEMS]
    if noise > 0:
        images = images + noise * torch.randn(images.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
    pairs = zip(torch.split(images, cuts), torch.split(targets, cuts), strict=True)
    return Digits(*(Split(x[y < classes], y[y < classes]) for x, y in pairs))


def build(trial: Trial, settings: Settings) -> State:
    """The state that the trial saved, else untrained weights drawn from the settings' seed."""
    saved = trial.load()
    if saved is not None:
        return State(**saved)
    with torch.random.fork_rng(devices=[]):  # the global generator is left alone
        torch.manual_seed(settings.seed)
        network = _network(settings)
    generator = torch.Generator().manual_seed(settings.seed)
    return State(0, math.nan, network.state_dict(), {}, generator.get_state())


def train_epoch(data: Digits, settings: Settings, state: State) -> State:
    """Train one epoch from `state`, which is left as it was."""
    network, optimizer, generator = _unpack(settings, state)
    images, labels = data.train
    total = 0.0
    with _one_thread():
        for batch in torch.split(torch.randperm(len(labels), generator=generator), settings.batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(batch)
    moments = {
        f"{name}.{slot}": value
        for name, parameter in network.named_parameters()
        for slot, value in optimizer.state[parameter].items()
    }
    return State(state.epoch + 1, total / len(labels), network.state_dict(), moments, generator.get_state())


def validation_accuracy(data: Digits, settings: Settings, state: State) -> float:
    """The share of the validation split that the network gets right."""
    return _accuracy(_unpack(settings, state)[0], data.validation)


def report(trial: Trial, state: State, score: float) -> bool:
    """Save the state, report the epoch; whether to go on."""
    trial.save({field.name: getattr(state, field.name) for field in fields(state)})
    trial.report({"score": score, "loss": state.loss}, step=state.epoch)
    return not trial.should_stop()


def test_network(data: Digits, settings: Settings, state: State) -> TrainingRecord:
    """Accuracy on the test split, which training never saw."""
    return TrainingRecord(_accuracy(_unpack(settings, state)[0], data.test), state.epoch, state.loss)


@contextmanager
def _one_thread() -> Iterator[None]:
    """With tensors this small more threads only wait for one another, and change the order of sums.

    So a seed gives the same network in a worker, in a notebook and on another number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network(settings: Settings) -> nn.Sequential:
    hidden = settings.hidden_size
    return nn.Sequential(
        nn.Linear(PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)
    )


def _accuracy(network: nn.Module, split: Split) -> float:
    with torch.no_grad(), _one_thread():
        right = int((network(split.images).argmax(dim=1) == split.labels).sum().item())
    return right / len(split.labels)


def _unpack(settings: Settings, state: State) -> tuple[nn.Sequential, torch.optim.Adam, torch.Generator]:
    """Live objects from a state. Everything is copied: training them must not reach the state."""
    with torch.random.fork_rng(devices=[]):
        network = _network(settings)
    network.load_state_dict(state.weights)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    for name, parameter in network.named_parameters():
        prefix = f"{name}."
        slots = {k.removeprefix(prefix): v.clone() for k, v in state.moments.items() if k.startswith(prefix)}
        if slots:
            optimizer.state[parameter] = slots
    generator = torch.Generator()
    generator.set_state(state.generator)
    return network, optimizer, generator
