"""The examples run, print what they promise, and are type-checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

OUTPUT = {
    "conditional_parallel": """\
best 0.70, lowest loss seen 0.100
random 0.101, grid 0.103, seed 0
""",
    "contracts_fields": """\
digits: 0.995 -> 0.998
fields: seed, run_name, run_id, trials, exploration_results, refined, report
""",
    "experiment_class": """\
best score 0.999
noise free 1.000
three seeds 0.999, 1.004, 1.002
spread 0.014
""",
    "global_hooks": """\
load: starting
load: complete
normalize: starting
normalize: complete
train: starting
train: own after
train: complete
export: starting
export: failed with disk full
raised: disk full
""",
    "hook_sets": """\
enters: 0.75 | leaves: 0.75
metric: 0.75
alert: division by zero
"chekpoint" is no hook (did you mean "checkpoint"?)
""",
    "hooks_control": """\
train failed (3 samples do not fit), falling back
attempts 3, score 0.45, seconds inf
""",
    "hooks_observation": """\
enters: 4 losses of first
leaves: the last one is 0.0625
enters: 4 losses of debug
debugging [0.5, 0.25, 0.125, 0.0625]
leaves: the last one is 0.0625
score 0.0625, recorded [0.0625, 0.0625]
""",
    "hooks_transformation": "3 runs: [1.0, 0.5, 0.5]\n",
    "hooks_validation": """\
accuracy 0.85
rejected: stage "evaluate": validate rejects the output; found Metrics(accuracy=1.0, confusion=list of 1)
rejected: stage "evaluate": assert_fn rejects the output: the confusion matrix is not square; found \
Metrics(accuracy=0.2857142857142857, confusion=list of 2)
rejected: stage "evaluate": schema MetricsSchema rejects the output: accuracy: Input should be greater than or equal \
to 0; found Metrics(accuracy=-2.0, confusion=list of 2)
""",
    "loops": """\
skill 1.125 after 3 tasks, the last one jump
x = 2.9992
loop would begin pass 101; max_iterations is 100
""",
    "nested_pipelines": """\
fields: train_x, train_y, test_x, test_y, mse
test error 0.0186
""",
}
"""What each example prints; where it also shows text that other tests pin down, see PARTS."""

PARTS = {
    "catching_mistakes": (
        'catching_mistakes.py:51: stage "report" needs field "loses: dict[str, float]"; the context has',
        '(did you mean "losses"?)  [stage-input]',
        'catching_mistakes.py:56: stage "best" takes losses: list[float]; the context has losses: dict[str, float]',
        'catching_mistakes.py:61: stage "prepare" returns list[float]; its contract is samples: dict[str, float]',
        'catching_mistakes.py:66: stage "prepare" is given',
        "(did you mean prepare, without the call?)  [not-a-stage]",
        'catching_mistakes.py:74: stage "again" reads "fewer", which may not be set: only the "then" arm',
    ),
    "contracts_records": ("stage train (batch=<value>)", "batch-7: lr=0.4916"),
    "embedding_in_training": ("def run(x, y):", "learns: True", "traced gives the same: True"),
    "hooks_persistence": ("[1.0, 0.8]\n[1.0, 0.8]\n", "checkpoint_path", "unstorable"),
}

LOGGED = {
    "hooks_observation": ("training: first finished", "ConnectionError: metrics server is down"),
    "hooks_persistence": ("have no effect: checkpoint, checkpoint_path, cache, cache_key, archive",),
}

OPTIONAL = {"embedding_in_training": "torch"}
ELSEWHERE = {"digits_sweep"}  # the main job has tests of its own


def run(name: str) -> subprocess.CompletedProcess[str]:
    """The example as a user starts it."""
    command = [sys.executable, "-W", "error", f"examples/{name}.py"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", sorted(OUTPUT.keys() | PARTS.keys()))
def test_example(name: str) -> None:
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    done = run(name)
    assert done.returncode == 0, done.stderr
    if name in OUTPUT:
        assert done.stdout == OUTPUT[name]
    for part in PARTS.get(name, ()):
        assert part in done.stdout
    for part in LOGGED.get(name, ()):
        assert done.stderr.count(part) >= 1


def test_a_warning_about_the_missing_store_comes_once() -> None:
    assert run("hooks_persistence").stderr.count("without a store") == 1


def test_every_example_is_tested() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == OUTPUT.keys() | PARTS.keys() | ELSEWHERE


def test_examples_are_type_checked() -> None:
    """In one run, with the settings of the project: strict."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *sorted(map(str, EXAMPLES.glob("*.py")))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
