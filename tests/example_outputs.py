"""What the examples print: all of it where that is the same everywhere, else what is."""

from __future__ import annotations

from typing import Final

OUTPUT: Final[dict[str, str]] = {
    "curriculum_sweeps": """\
compared: RandomScheduler, DifficultyRampScheduler, InterleaveScheduler, AdaptiveScheduler
the best is one of them: True
evolved by hand: 2 schedulers
evolved ready-made: the best of the second generation is no worse: True
""",
    "hybrid_sweep": """\
2 candidates were validated
the best one: trainer.learning_rate, trainer.batch_size, agent.hidden_size
its mean accuracy is above 70 %: True
""",
    "any_combination": "".join(
        f"{optimizer}Optimizer + {scheduler}Scheduler: 6 configurations, the best one is good\n"
        for optimizer in ("Ax", "Optuna", "Nevergrad")
        for scheduler in ("ASHA", "PBT", "Hyperband")
    )
    + "9 sweeps, 9 without a failed trial\n",
    "contracts_and_hooks": """\
penalty 0.1, test error 1.15, {'generated': 3, 'trainings': 2, 'evaluations': 1}
penalty 0.1, test error 1.15, {'generated': 3, 'trainings': 2}
penalty inf, test error 4.50, {'generated': 3, 'trainings': 4, 'evaluations': 1}
""",
    "custom_parts": """\
296 epochs instead of 900
learning rate 0.0093, score 0.96
""",
    "production_hooks": """\
enters: TrainingOutput(loss=0.0, weights=[1.0, -2.0], batch_id='b7')
leaves: b7
weights [1.0, -2.0]
weights [1.0, -2.0]
{"complete": "load"}
{"complete": "train"}
{"complete": "load"}
{"loss": 0.0, "batch": "b7"}
{"complete": "train"}
runs/b7.json {"loss": 0.0, "weights": [1.0, -2.0], "batch_id": "b7"}
""",
    "resource_aware": """\
as suggested: 605 s of training
by performance per cost: 434 s of training
""",
    "simple_sweep": """\
tuned: trainer.learning_rate, trainer.batch_size, agent.hidden_size
5 trials; the best one reads more than half of the images: True
""",
    "testing_components": """\
test_optimizer: passed
test_scheduler: passed
test_pipeline: passed
test_halving_finds_what_a_search_of_full_trainings_finds: passed
""",
    "migration": """\
my_sweep: 6 trials, tuned trainer.learning_rate, trainer.batch_size, agent.hidden_size
above 60 %: True
""",
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
"""What each example prints; where it also shows text that other tests pin down, or that differs from machine to machine
in the last digits or with the versions of libraries, see PARTS."""

PARTS: Final[dict[str, tuple[str, ...]]] = {
    "meta_experiment": ("one sweep: 0.8", "tuned: ", "at least as good: True\n", " sweeps, 12 trainings\n"),
    "optimizer_of_optimizers": (
        "its settings: acquisition_fn, batch_size, exploration_rate, scheduler_type\n",
        "what its sweep has found is on the hill: True\none configuration at random, too: True\n",
    ),
    "learned_settings": (
        "settings compared on 3 sweeps\nno worse than the default: True\n",
        "on a sweep it has not seen better than random search: True\nthe next sweep: 6 trials\n",
    ),
    "multi_fidelity": (
        "RandomOptimizer: ",
        "MultiFidelityOptimizer: 0.0",
        "17 networks in 69 epochs; the best tells most digits: True",
    ),
    "transfer": (
        "before: five-digits 0.50, something-else 0.50\n",
        "after 8 trials trusted: five-digits\nthe warm start has found the better network: True\n",
    ),
    "aggregation": (
        "MeanAggregator: 0.773, promised 0.892\n",
        "MedianAggregator: 0.732, promised 0.905\nBestOfN: 0.665, promised 0.991\n",
    ),
    "pipeline_architecture": (
        "2 structures, 0 rejected",
        "the best one reads more than half of the images: True",
        """rejected {'encoder': 'text', 'depth': 0}: stage "judge" takes code: int; the context has code: str""",
        "5 rejected, 5 run; the best: {'encoder': 'number', 'depth': 2}",
    ),
    "resource_allocation": (" with 81 epochs\nEqualAllocation: 0.676 with 81 epochs\nbest: AdaptiveBandit\n",),
    "composability": (
        "exploit: the model is best with 4 layers\n26 trials, best score 1.00\n",
        "explore: 21 trials are not enough\n37 trials, best score ",
    ),
    "curriculum": (
        "by hand: two, five, ten",
        "in short: 2 of 3 tasks mastered",
        "ready-made: two, five, ten",
        "mastered: two, five\nmean of the best scores above 0.95: True",
    ),
    "hybrid_experiment": (
        "exploration: 10 trials\nmodel: 10 trials, better: True\n",
        "validated: candidate 1, candidate 2, candidate 3\nbest ",
    ),
    "meta_levels": (
        "level 0: ",
        "level 3: ",
        "meta-meta-sweep                            2/2",
        "levels: meta-meta-sweep > meta-sweep > sweep",
    ),
    "asha_sweep": (
        "configurations were trained for 1 epochs",
        " epochs instead of 108; 0 were run twice",
        "the best trial ran 9 epochs; it is above 90 %: True",
    ),
    "bayesian_sweep": (
        "initial: trainer.learning_rate 0.00316, trainer.batch_size 128, agent.hidden_size 288",
        "model: ",
        "6 trials, the best one reads more than 80 % of the images: True",
    ),
    "conditional_space": (
        "of type cnn with cnn.layers\n",
        "of type transformer with transformer.heads\n",
        "0 where the heads do not divide the width",
        "there is no parameter 'transformer.haeds': did you mean 'transformer.heads'?",
    ),
    "explicit_stages": ("12 observations, best 0.9", ", last phase 'evaluate'", "one round: lr=0.0041 of 4"),
    "hyperband_sweep": (
        "bracket 0: [(9, 1), (3, 3), (1, 9)]\nbracket 1: [(5, 3), (1, 9)]\nbracket 2: [(3, 9)]\n",
        "17 configurations, 69 units instead of 153\n",
    ),
    "multi_objective": (" ms  0.", "of 8 trials are on the front", "within the thresholds"),
    "pbt_sweep": (
        "5 members, ",
        "the learning rate of the best network was 0.0027 from epoch 1, 0.0032 from epoch ",
        "it is above 80 %: True",
    ),
    "warm_start": (
        "previous sweep: 12 trials, best score 0.80",
        "the sweep 'previous_sweep' searched another space; dropped: augmentations; set to their defaults: dropout",
        "warm start: 4 trials, best score 0.8",
    ),
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

LOGGED: Final[dict[str, tuple[str, ...]]] = {
    "hooks_observation": ("training: first finished", "ConnectionError: metrics server is down"),
    "hooks_persistence": ("have no effect: checkpoint, checkpoint_path, cache, cache_key, archive",),
}


NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "learned_settings": ("torch", "sklearn"),
    "multi_fidelity": ("torch", "sklearn"),
    "transfer": ("torch", "sklearn"),
    "pipeline_architecture": ("torch", "sklearn"),
    "curriculum": ("torch", "sklearn"),
    "curriculum_sweeps": ("torch", "sklearn"),
    "hybrid_sweep": ("torch", "sklearn"),
    "meta_levels": ("torch", "sklearn", "nevergrad"),
    "any_combination": ("ax", "nevergrad", "optuna"),
    "asha_sweep": ("optuna", "torch", "sklearn"),
    "bayesian_sweep": ("ax", "torch", "sklearn"),
    "conditional_space": ("optuna",),
    "embedding_in_training": ("torch",),
    "hyperband_sweep": ("nevergrad",),
    "migration": ("torch", "sklearn"),
    "multi_objective": ("ax",),
    "pbt_sweep": ("torch", "sklearn"),
    "simple_sweep": ("ax", "torch", "sklearn"),
    "testing_components": ("ax",),
    "warm_start": ("ax",),
}
"""Optional libraries that an example uses."""

SLOW: Final = frozenset({"curriculum_sweeps", "learned_settings", "meta_levels", "multi_fidelity", "multi_objective"})
"""Examples that take longer than the others: the default suite leaves them to the slow one."""

ELSEWHERE: Final = frozenset({"digits_sweep"})
"""Examples with tests of their own."""
