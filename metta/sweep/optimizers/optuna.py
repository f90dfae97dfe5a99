"""Optuna's samplers (https://optuna.org) behind our protocol, by ask and tell on the real library."""

from __future__ import annotations

import logging
import secrets
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.optimizers.fidelity import chosen_resource, threshold
from metta.sweep.optimizers.optuna_space import Codec, codec
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.space import SearchSpace
from metta.sweep.space.constraints import MAX_TRIES
from metta.sweep.trial import Params, Result, Trial, TrialState, number_to_json

if TYPE_CHECKING:
    import optuna

REPLAY_LIMIT_S = 60.0
"""A replay that would take longer is given up for the observations alone."""


STUDY_ID = 0
"""The id of the only study of a storage; its trials' ids are their numbers."""

TO_THE_END = 2**31 - 1
"""The step that stands for a result without a limit of resource."""


class _Sampler(NamedTuple):
    """A sampler of Optuna's: its class, and whether it handles conditional parameters by itself."""

    class_name: str
    define_by_run: bool


_SAMPLERS = {
    "TPE": _Sampler("TPESampler", True),
    "CMA-ES": _Sampler("CmaEsSampler", False),
    "GP": _Sampler("GPSampler", False),
    "NSGA-II": _Sampler("NSGAIISampler", True),
    "QMC": _Sampler("QMCSampler", False),
    "random": _Sampler("RandomSampler", True),
}


class _Opened(NamedTuple):
    """The study, and the storage that it alone uses."""

    study: optuna.Study
    storage: optuna.storages.BaseStorage


@dataclass(slots=True)
class _Record:
    """What is known of one of the study's trials.

    Attributes:
        params: the configuration in our terms.
        given: the parameters of the trial as it was observed; other than `params` if they are of another space.
        results: resource -> values, one per objective.
        finished: no more results will come.
        failed: it ended without a usable result.
    """

    params: Params
    given: dict[str, Any]
    results: dict[int, tuple[float, ...]] = field(default_factory=dict)
    finished: bool = False
    failed: bool = False


class OptunaOptimizer(Optimizer):
    """Suggests what an Optuna sampler suggests: with the same seed and results, the bare library's own stream.

    TPE, NSGA-II and random see conditional parameters define-by-run; GP, CMA-ES and QMC get the flat space, and
    inactive parameters are masked afterwards. Pending trials are running ones of the study, failures are told as
    failed. Under a scheduler with rungs the sampler sees the results of one resource at a time, see `fidelity`:
    trials that ended below it are told as pruned, those that wait below it as running.

    Args:
        search_space, seed, goal: see `Optimizer`.
        sampler: "TPE", "CMA-ES", "GP", "NSGA-II", "QMC" or "random".
        initial_params: configurations to suggest first; what they leave out is left to the sampler.
        **sampler_kwargs: passed to the sampler's constructor.

    Raises:
        UsageError: no such sampler, or no such argument of it.
        MissingExtraError: Optuna, or a library this sampler needs, is not installed.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        sampler: str = "TPE",
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        initial_params: Sequence[Mapping[str, Any]] = (),
        **sampler_kwargs: Any,
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal)
        self.sampler: str = _sampler_name(sampler)
        self.initial_params: tuple[Mapping[str, Any], ...] = tuple(initial_params)
        self.sampler_kwargs = sampler_kwargs
        _make_sampler(self.sampler, 0, sampler_kwargs)  # wrong arguments are an error here, not at the run's start
        self._opened: _Opened | None = None
        self._codecs: dict[str, Codec] = {}
        self._records: dict[int, _Record] = {}
        """By Optuna's trial number."""
        self._changed: dict[int, None] = {}
        """Numbers whose records the study does not show yet, in the order of their observation."""
        self._resource: int | None = None
        """The resource whose results the study shows."""
        self._suggested = 0
        self._log: list[dict[str, Any]] = []
        """Every call, for `state_dict`."""

    def suggest(self, n: int) -> list[Trial]:
        trials = []
        with _quiet():
            self._show_results()
            for _ in range(n):
                number, params = self._ask_valid()
                self._records[number] = _Record(params, dict(params))
                self._suggested += 1
                trials.append(Trial(params, tag=number))
        codec = self._params_codec()
        self._log.append({"suggest": [[trial.tag, codec.encode(trial.params)] for trial in trials]})
        return trials

    def observe(self, trial: Trial, result: float | Mapping[str, float] | Result) -> None:
        outcome = Result.of(result)
        values = None
        if outcome.is_usable and outcome.score is not None:
            values = self.objectives.values(outcome.score)
        finished = trial.state not in (TrialState.RUNNING, TrialState.PAUSED)
        with _quiet():
            number = self._number_of(trial)
            if number is None:
                number = trial.tag = self._add_foreign(trial)
        if number is None:
            return
        self._record(number, trial.resource, values, finished)
        logged = None if values is None else [number_to_json(value) for value in values]
        params = self._params_codec().encode(trial.params)
        self._log.append({"observe": [number, params, trial.resource, logged, finished]})

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "log": list(self._log)}

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        """Compute every suggestion again; where one differs, or it takes too long, keep the observations only."""
        self.seed = state["seed"]
        deadline = time.monotonic() + REPLAY_LIMIT_S
        for event in state["log"]:
            if time.monotonic() > deadline or not self._replays(event):
                self._load_observations(state["log"])
                return Restored.OBSERVATIONS
        return Restored.REPLAY

    # Asking

    def _ask_valid(self) -> tuple[int, Params]:
        """The number and the parameters of a new trial of the study that meets the constraints."""
        space = self.require_space()
        for _ in range(MAX_TRIES):
            number, params = self._ask()
            if space.broken(params) is None:
                return number, params
            self._records[number] = _Record(params, dict(params))
            self._record(number, 0, None, finished=True)
            self._show_results()
        raise space.impossible(params)

    def _ask(self) -> tuple[int, Params]:
        space, study = self.require_space(), self._open().study
        if self._suggested < len(self.initial_params):
            known_good = space.complete(self.initial_params[self._suggested])
            study.enqueue_trial(self._encode(known_good))
        if _SAMPLERS[self.sampler].define_by_run:
            asked = study.ask()
            return asked.number, space.build(
                lambda path, distribution: (
                    self._codecs[path].decode(self._codecs[path].suggest(asked, path))
                    if path in self._codecs
                    else distribution.default()
                )
            )
        asked = study.ask({path: known.distribution for path, known in self._codecs.items()})
        flat = {path: self._codecs[path].decode(value) for path, value in asked.params.items()}
        return asked.number, space.build(lambda path, distribution: flat.get(path, distribution.default()))

    def _encode(self, params: Params) -> dict[str, Any]:
        """`params` in Optuna's terms; for a flat sampler the inactive parameters get their defaults."""
        space = self.require_space()
        flat = not _SAMPLERS[self.sampler].define_by_run
        given = dict(params)  # `in params` would accept aliases
        return {
            path: known.encode(given[path] if path in given else space[path].default())
            for path, known in self._codecs.items()
            if flat or path in given
        }

    # Observing

    def _number_of(self, trial: Trial) -> int | None:
        """The number of a trial of ours. A tag of another sweep's optimizer does not fit its record."""
        record = self._records.get(trial.tag) if isinstance(trial.tag, int) else None
        return trial.tag if record is not None and record.given == dict(trial.params) else None

    def _add_foreign(self, trial: Trial) -> int | None:
        """Add a trial that this optimizer did not suggest; its number, or None if it lies outside the space."""
        try:
            adapted = self.require_space().adapt(trial.params)
        except UsageError as error:
            warnings.warn(f"a trial of another search space was observed and not used: {error}", stacklevel=4)
            return None
        if adapted.dropped or adapted.filled:
            warnings.warn(
                f"a trial of another search space was observed; dropped: {', '.join(adapted.dropped) or 'nothing'}; "
                f"set to their defaults: {', '.join(adapted.filled) or 'none'}",
                stacklevel=4,
            )
        study = self._open().study
        number = len(study.get_trials(deepcopy=False))
        self._records[number] = _Record(adapted.params, dict(trial.params))
        study.add_trial(self._frozen(number, {}))
        return number

    def _record(self, number: int, resource: int, values: tuple[float, ...] | None, finished: bool) -> None:
        record = self._records[number]
        if values is not None:
            record.results[resource] = values
        record.finished |= finished
        record.failed |= finished and values is None
        self._changed[number] = None

    # The study

    def _open(self) -> _Opened:
        if self._opened is None:
            if self.seed is None:
                self.seed = secrets.randbits(32)
            space = self.require_space()
            self._codecs = {path: codec(space[path]) for path in space.tunable}
            self._opened = self._create(self._sampler_with(self.seed))
        return self._opened

    def _sampler_with(self, seed: int) -> optuna.samplers.BaseSampler:
        if self.sampler == "CMA-ES" and not self.objectives.is_single:
            raise UsageError("the CMA-ES sampler takes one objective: use TPE, NSGA-II, GP, QMC or random")
        return _make_sampler(self.sampler, seed, self.sampler_kwargs)

    def _create(self, sampler: optuna.samplers.BaseSampler) -> _Opened:
        import optuna

        storage = optuna.storages.InMemoryStorage()
        directions = list(self.objectives.directions)
        return _Opened(optuna.create_study(storage=storage, sampler=sampler, directions=directions), storage)

    def _show_results(self) -> None:
        """Bring the study up to date with the records."""
        study = self._open().study
        shown, self._resource = self._resource, self._resource_to_show()
        if shown not in (None, self._resource):
            self._rebuild_study()
        else:
            for number in self._changed:
                state, values = self._outcome(self._records[number])
                if state != "RUNNING" and not study.get_trials(deepcopy=False)[number].state.is_finished():
                    self._tell(number, state, values)
        self._changed.clear()

    def _resource_to_show(self) -> int | None:
        reached = (record.results for record in self._records.values())
        return chosen_resource(reached, threshold(len(self._codecs)))

    def _outcome(self, record: _Record) -> tuple[str, tuple[float, ...] | None]:
        """What the study should say of a trial: the name of an Optuna state, and the values of a complete one."""
        if self._resource in record.results:
            return "COMPLETE", record.results[self._resource]
        if record.failed:
            return "FAIL", None
        if not record.finished:
            return "RUNNING", None
        # Optuna knows intermediate values, and so pruned trials, for one objective only.
        return ("PRUNED" if self.objectives.is_single else "FAIL"), None

    def _tell(self, number: int, state: str, values: tuple[float, ...] | None) -> None:
        from optuna.trial import TrialState as OptunaState

        study, storage = self._open()
        if state == "PRUNED":
            for step, value in self._intermediate(number).items():
                storage.set_trial_intermediate_value(number, step, value)
        study.tell(number, values, OptunaState[state])

    def _intermediate(self, number: int) -> dict[int, float]:
        """The results of a trial with one objective by step, in ascending steps."""
        results = self._records[number].results.items()
        return dict(sorted((resource or TO_THE_END, values[0]) for resource, values in results))

    def _frozen(self, number: int, system_attrs: dict[str, Any]) -> optuna.trial.FrozenTrial:
        """The trial as Optuna would have it, by its record."""
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        record = self._records[number]
        state, values = self._outcome(record)
        params = self._encode(record.params)
        intermediate = self._intermediate(number) if state == "PRUNED" else {}
        last = [list(intermediate.values())[-1]] if intermediate else None
        return create_trial(
            state=OptunaState[state],
            params=params,
            distributions={path: self._codecs[path].distribution for path in params},
            values=list(values) if values is not None else last,
            intermediate_values=intermediate,
            system_attrs=system_attrs,
        )

    def _rebuild_study(self) -> None:
        """A study with the same sampler and trials, but with the results at `_resource`.

        Optuna's finished trials cannot change, so when another resource is shown the study is made again.
        """
        old = self._open()
        new = self._opened = self._create(old.study.sampler)
        for frozen in old.study.get_trials(deepcopy=False):
            new.study.add_trial(self._frozen(frozen.number, frozen.system_attrs))
        # Samplers keep notes there: the generations of NSGA-II, the position in the sequence of QMC.
        for key, value in old.storage.get_study_system_attrs(STUDY_ID).items():
            new.storage.set_study_system_attr(STUDY_ID, key, value)

    # Restoring

    def _params_codec(self) -> ParamsCodec:
        return ParamsCodec(self.search_space)

    def _replays(self, event: Mapping[str, Any]) -> bool:
        """Do again what `event` records; False if a suggestion comes out differently."""
        if "suggest" in event:
            again = self.suggest(len(event["suggest"]))
            recorded: list[list[Any]] = event["suggest"]
            codec = self._params_codec()
            return [[trial.tag, codec.encode(trial.params)] for trial in again] == recorded
        number, params, resource, values, finished = event["observe"]
        trial = Trial(self._params_codec().decode(params), resource=resource, tag=number)
        trial.state = TrialState.COMPLETED if finished else TrialState.PAUSED
        score = None if values is None else dict(zip(self.objectives.keys, map(float, values), strict=True))
        self.observe(trial, Result(score))
        return True

    def _load_observations(self, log: Sequence[Mapping[str, Any]]) -> None:
        """Forget everything but the trials and results in `log`."""
        self._records, self._changed = {}, {}
        self._suggested = 0
        self._log = [dict(event) for event in log]
        codec = self._params_codec()
        for event in log:
            for number, encoded in event.get("suggest", ()):
                params = codec.decode(encoded)
                self._records[number] = _Record(Params(params), params)
                self._suggested += 1
            if "observe" in event:
                number, encoded, resource, values, finished = event["observe"]
                params = codec.decode(encoded)
                if number not in self._records:
                    self._records[number] = _Record(self.require_space().adapt(params).params, params)
                self._record(number, resource, None if values is None else tuple(map(float, values)), finished)
        # Numbers that are not in the log broke a constraint: nothing but a failure is known of them.
        for number in range(max(self._records, default=-1)):
            self._records.setdefault(number, _Record(self.require_space().complete({}), {}, failed=True))
        with _quiet():
            self._open()
            # Another seed, or the sampler would suggest its first trials again.
            self._opened = self._create(self._sampler_with((self.seed or 0) + self._suggested))
            self._resource = self._resource_to_show()
            for number in sorted(self._records):
                self._opened.study.add_trial(self._frozen(number, {}))
        self._changed.clear()


def _sampler_name(name: str) -> str:
    keys = {known.lower().replace("-", ""): known for known in _SAMPLERS}
    key = str(name).lower().replace("-", "").replace("_", "").removesuffix("sampler")
    if key in keys:
        return keys[key]
    near = get_close_matches(key, list(keys), n=1)
    hint = f"did you mean {keys[near[0]]!r}?" if near else f"there is {', '.join(_SAMPLERS)}"
    raise UsageError(f"there is no sampler {name!r}: {hint}")


def _make_sampler(name: str, seed: int, arguments: Mapping[str, Any]) -> optuna.samplers.BaseSampler:
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("OptunaOptimizer", "optuna") from None

    cls = getattr(optuna.samplers, _SAMPLERS[name].class_name)
    accepted = [argument for argument in signature(cls).parameters if argument != "seed"]
    for argument in arguments:
        if argument not in accepted:
            near = get_close_matches(argument, accepted, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(accepted)}"
            raise UsageError(f"the sampler {name} has no argument {argument!r}: {hint}")
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            sampler: optuna.samplers.BaseSampler = cls(seed=seed % 2**32, **arguments)
        except ImportError:
            raise MissingExtraError(f"the sampler {name}", "optuna") from None
        return sampler


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells of every study and fallback at INFO and WARNING; here only its errors are of interest."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
