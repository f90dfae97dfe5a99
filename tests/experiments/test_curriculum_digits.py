"""What makes the digits easier and harder."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.experiments import TrainingExperiment
from metta.sweep.experiments.curriculum.experiment import DIGITS_RAMP

torch = pytest.importorskip("torch")

from metta.sweep.experiments.digits import load_digits  # noqa: E402

SPLITS = ("train", "validation", "test")


def test_fewer_classes_keep_their_images_and_splits() -> None:
    whole, three = load_digits(), load_digits(classes=3)
    for name in SPLITS:
        everything, kept = getattr(whole, name), getattr(three, name)
        of_three = everything.labels < 3
        assert sorted(set(kept.labels.tolist())) == [0, 1, 2]
        assert torch.equal(kept.images, everything.images[of_three])
        assert torch.equal(kept.labels, everything.labels[of_three])


def test_noise_is_added_to_every_pixel_and_always_the_same() -> None:
    clean, noisy, again = load_digits(), load_digits(noise=0.25), load_digits(noise=0.25)
    for name in SPLITS:
        difference = getattr(noisy, name).images - getattr(clean, name).images
        assert difference.std().item() == pytest.approx(0.25, rel=0.02)
        assert torch.equal(getattr(noisy, name).images, getattr(again, name).images)
        assert torch.equal(getattr(noisy, name).labels, getattr(clean, name).labels)
    few = load_digits(classes=2, noise=0.25)
    assert torch.equal(few.test.images, noisy.test.images[noisy.test.labels < 2])


def test_the_ramp_gets_harder() -> None:
    small = TrainingExperiment(max_epochs=2, learning_rate=0.01)
    scores = [small.with_params(task.overrides).run(store=None).score for task in DIGITS_RAMP]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 1}, r"classes=1\): expected a whole number from 2 to 10"),
        ({"classes": 11}, r"classes=11\)"),
        ({"classes": True}, r"classes=True\)"),
        ({"noise": -0.1}, r"noise=-0.1\): expected a number, at least 0"),
        ({"noise": float("inf")}, r"noise=inf\)"),
    ],
)
def test_what_is_out_of_range_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainingExperiment(**changes)


def test_a_curriculum_loads_no_torch_before_it_runs() -> None:
    code = (
        "import sys; from metta.sweep.experiments.curriculum.optimization import CurriculumOptimizationExperiment as E;"
        "E(); print([name for name in ('torch', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
