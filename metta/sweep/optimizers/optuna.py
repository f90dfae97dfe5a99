"""Optuna's samplers (https://optuna.org) behind our protocol, by ask and tell on the real library."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers.optuna_space import Codec, codec
from metta.sweep.optimizers.replaying import MAX_REJECTED, ReplayingOptimizer
from metta.sweep.space import Choice, Distribution, SearchSpace
from metta.sweep.trial import Params

if TYPE_CHECKING:
    import optuna

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

_ONE_OBJECTIVE = ("CMA-ES",)
"""Samplers that take one objective only."""


class _Opened(NamedTuple):
    """The study, and the storage that it alone uses."""

    study: optuna.Study
    storage: optuna.storages.BaseStorage


class OptunaOptimizer(ReplayingOptimizer):
    """Suggests what an Optuna sampler suggests: with the same seed and results, the bare library's own stream.

    TPE, NSGA-II and random see conditional parameters define-by-run; GP, CMA-ES and QMC get the flat space, and
    inactive parameters are masked afterwards. Pending trials are running ones of the study, failures are told as
    failed. Under a scheduler with rungs the sampler sees the results of one resource at a time, see `fidelity`:
    trials that ended below it are told as pruned, those that wait below it as running.

    Args:
        search_space, seed, goal: see `Optimizer`.
        sampler: "TPE", "CMA-ES", "GP", "NSGA-II", "QMC" or "random".
        initial_params: configurations to suggest first; what they leave out gets its default.
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
        super().__init__(search_space, seed=seed, goal=goal, initial_params=initial_params)
        self.sampler: str = _sampler_name(sampler)
        self.sampler_kwargs = sampler_kwargs
        _make_sampler(self.sampler, 0, sampler_kwargs)  # wrong arguments are an error here, not at the run's start
        self._opened: _Opened | None = None
        self._codecs: dict[str, Codec] = {}

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """The samplers that are installed, take these arguments, and fit the number of objectives."""
        fitting = [name for name in _SAMPLERS if self._fits(name)]
        return {"sampler": Choice(fitting)} if len(fitting) > 1 else {}

    def _fits(self, name: str) -> bool:
        if name in _ONE_OBJECTIVE and not self.objectives.is_single:
            return False
        try:
            _make_sampler(name, 0, self.sampler_kwargs)
        except (UsageError, MissingExtraError):
            return False
        return True

    # Asking

    def _ask(self, n: int) -> list[int]:
        return [self._ask_valid() for _ in range(n)]

    def _ask_valid(self) -> int:
        """The number of a new trial of the study that meets the constraints."""
        space = self.require_space()
        chosen = self._next_initial()
        for _ in range(MAX_REJECTED):
            number, params = self._ask_any(chosen)
            is_broken = space.broken(params) is not None
            self._enter(number, params, rejected=is_broken)
            if not is_broken:
                return number
            self._tell(number)
        # A sampler hears of a failure, and the GP, for one, then suggests the same again.
        number, params = self._ask_any(self._random_params())
        self._enter(number, params)
        return number

    def _ask_any(self, known_good: Params | None) -> tuple[int, Params]:
        """The number and the parameters of a new trial of the study, `known_good` if it is given."""
        space, study = self.require_space(), self._open().study
        if known_good is not None:
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

    # The study

    def _open(self) -> _Opened:
        if self._opened is None:
            space = self.require_space()
            self._codecs = {path: codec(space[path]) for path in space.tunable}
            self._opened = self._create(self._sampler_with(self._drawn_seed()))
        return self._opened

    def _sampler_with(self, seed: int) -> optuna.samplers.BaseSampler:
        if self.sampler in _ONE_OBJECTIVE and not self.objectives.is_single:
            others = ", ".join(name for name in _SAMPLERS if name not in _ONE_OBJECTIVE)
            raise UsageError(f"the {self.sampler} sampler takes one objective; for several there is {others}")
        return _make_sampler(self.sampler, seed, self.sampler_kwargs)

    def _create(self, sampler: optuna.samplers.BaseSampler) -> _Opened:
        import optuna

        storage = optuna.storages.InMemoryStorage()
        directions = list(self.objectives.directions)
        return _Opened(optuna.create_study(storage=storage, sampler=sampler, directions=directions), storage)

    def _state_of(self, number: int) -> tuple[str, tuple[float, ...] | None]:
        """What the study should say of a trial: the name of an Optuna state, and the values of a complete one."""
        values, is_over = self._outcome(number)
        if values is not None:
            return "COMPLETE", values
        if self._records[number].failed:
            return "FAIL", None
        if not is_over:
            return "RUNNING", None
        # Optuna knows intermediate values, and so pruned trials, for one objective only.
        return ("PRUNED" if self.objectives.is_single else "FAIL"), None

    def _tell(self, number: int) -> None:
        from optuna.trial import TrialState as OptunaState

        study, storage = self._open()
        state, values = self._state_of(number)
        if state == "RUNNING" or study.get_trials(deepcopy=False)[number].state.is_finished():
            return
        if state == "PRUNED":
            for step, value in self._intermediate(number).items():
                storage.set_trial_intermediate_value(number, step, value)
        study.tell(number, values, OptunaState[state])

    def _adopt(self, number: int) -> None:
        self._open().study.add_trial(self._frozen(number, {}))

    def _intermediate(self, number: int) -> dict[int, float]:
        """The results of a trial with one objective by step, in ascending steps."""
        results = self._records[number].results.items()
        return dict(sorted((resource or TO_THE_END, values[0]) for resource, values in results))

    def _frozen(self, number: int, system_attrs: dict[str, Any]) -> optuna.trial.FrozenTrial:
        """The trial as Optuna would have it, by its record."""
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        record = self._records[number]
        state, values = self._state_of(number)
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

    def _rebuild(self) -> None:
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

    def _restart(self) -> None:
        self._open()
        # Another seed, or the sampler would suggest its first trials again.
        self._opened = self._create(self._sampler_with(self._drawn_seed() + self._suggested))
        for number in sorted(self._records):
            self._adopt(number)

    def _quiet(self) -> AbstractContextManager[None]:
        return _quiet()


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
