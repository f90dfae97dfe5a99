"""`metta-sweep compare`: runs side by side, and what differs between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from metta.sweep.cli.opening import SWEEP, has_begun, opened
from metta.sweep.cli.output import show
from metta.sweep.cli.shown import sheet, show_json, terminal_width
from metta.sweep.cli.sweep_text import trial_json
from metta.sweep.errors import UsageError
from metta.sweep.experiments.records import STARTED
from metta.sweep.experiments.sweep_status import SweepStatus, sweep_status
from metta.sweep.report.pipeline_status import pipeline_status
from metta.sweep.report.ranking import pareto_front
from metta.sweep.report.text import duration, number_text, value_text
from metta.sweep.runtime.history import History, Stored
from metta.sweep.store.run import Run
from metta.sweep.store.runs import Store

MOST_PACKAGES: Final = 12
"""Packages whose versions differ that are told to people; `--json` has all."""

_HERE: Final = ("host", "platform", "python", "cpu_count", "working_folder")
"""What a manifest says of where the run was started."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is compared of a run.

    Attributes:
        run, kind, status, created: of it.
        outcome: how it went, for people: what -> text.
        best: its best trial, as JSON values; None without one.
        settings: what it was given, by dot path, as JSON values.
        surroundings: the code, the machine and Python, by dot path.
        packages: name -> version.
    """

    run: str
    kind: str
    status: str
    created: str
    outcome: Mapping[str, str]
    best: Mapping[str, Any] | None
    settings: Mapping[str, Any]
    surroundings: Mapping[str, Any]
    packages: Mapping[str, str]


def compare_runs(texts: Sequence[str], *, store: str | None, as_json: bool) -> None:
    """Do what the command asks.

    Raises:
        UsageError: there is no such run, or there are not at least two.
        DamagedError: a run is damaged.
    """
    folders = {Store.at(store).find(text).folder: text for text in texts}
    if len(folders) < 2:
        raise UsageError(f"compare needs two runs, and this is one, {next(iter(folders)).name}: name another one")
    found = []
    for text in folders.values():
        with opened(text, store) as run:
            found.append(facts_of(run))
    settings = differences([each.settings for each in found])
    surroundings = differences([each.surroundings for each in found])
    packages = differences([each.packages for each in found])
    if as_json:
        told = {**settings, **surroundings, **{f"packages.{name}": values for name, values in packages.items()}}
        show_json({"runs": [_json(each) for each in found], "differences": told})
        return
    show("\n".join(_lines(found, settings, surroundings, packages)))


def facts_of(run: Run) -> Facts:
    """What is compared of a run, from its journal and its manifest."""
    manifest = run.manifest
    outcome: dict[str, str] = {}
    settings: dict[str, Any] = {}
    best = None
    if run.kind != SWEEP:
        status = pipeline_status(run)
        settings = {name: _input(stored) for name, stored in History.of(run.journal.events()).inputs.items()}
        outcome["failed in"] = status.failure.stage or "-" if status.failure is not None else "-"
        outcome |= {stage.name: duration(stage.seconds) for stage in status.stages}
    elif has_begun(run):
        started = next(run.journal.events(kinds={STARTED})).data
        sweep = sweep_status(run)
        best = None if sweep.best is None else trial_json(sweep.best, sweep.status)
        settings = {**flat(_plan(started["plan"])), "seed": started["seed"], **flat({"budget": started["budget"]})}
        outcome = _outcome(sweep)
    packages = manifest.get("packages")
    return Facts(
        run=run.id,
        kind=run.kind,
        status=run.info.status.value,
        created=run.info.created,
        outcome=outcome,
        best=best,
        settings=settings,
        surroundings=_surroundings(manifest),
        packages={str(name): str(version) for name, version in packages.items()} if isinstance(packages, dict) else {},
    )


def _input(stored: Stored) -> Any:
    """An input of a pipeline, read as data: what only its class can make again stays a text."""
    if stored.value is None:
        return stored.artifact and f"artifact {stored.artifact[:12]}"
    try:
        tree = json.loads(stored.value)["content"]["tree"]
    except (ValueError, LookupError, TypeError):
        return stored.value
    return tree.get("name", tree) if isinstance(tree, dict) else tree


def _outcome(sweep: SweepStatus) -> dict[str, str]:
    failed = sum(sweep.failures.values())
    best = sweep.best
    if best is not None and isinstance(best.score, float):
        scores = {"best": number_text(best.score), "of trial": str(best.id), "at step": str(best.step)}
    else:
        scores = {"Pareto front": str(len(pareto_front(sweep.trials, sweep.objectives)))}
    return {
        **scores,
        "trials": str(len(sweep.trials)),
        "failed": str(failed),
        "steps": str(sum(trial.step for trial in sweep.trials)),
        "time": duration(sweep.spent.seconds),
    }


def _plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a sweep without the words that only the journal needs."""
    space = plan.get("space")
    parameters = space.get("parameters", space) if isinstance(space, dict) else space
    parts = {name: _part(plan.get(name)) for name in ("optimizer", "scheduler")}
    rest = {name: value for name, value in plan.items() if name not in ("space", "seed", *parts)}
    return {"space": parameters, **parts, **rest}


def _part(described: object) -> Any:
    """An optimizer or scheduler: the name of its class, then its arguments."""
    if not isinstance(described, dict):
        return described
    arguments = described.get("arguments")
    name = str(described.get("class", "")).rpartition(":")[2]
    return {"": name, **(arguments if isinstance(arguments, dict) else {})}


def _surroundings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    git = manifest.get("git")
    code = {"commit": str(git.get("commit"))[:12], "changed since": git.get("dirty")} if isinstance(git, dict) else {}
    here = {name.replace("_", " "): manifest.get(name) for name in _HERE}
    python = str(here["python"]).split()[:1]
    return {"metta-sweep": manifest.get("version"), **flat({"git": code}), **here, "python": " ".join(python)}


def flat(value: object, path: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their dot paths: `{"a": {"b": 1}}` is `{"a.b": 1}`."""
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    found: dict[str, Any] = {}
    for name, item in value.items():
        found |= flat(item, f"{path}.{name}".strip(".") if name else path)
    return found


def differences(found: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What is not the same everywhere: path -> the value of each; None where there is none."""
    paths = dict.fromkeys(path for each in found for path in each)
    values = {path: [each.get(path) for each in found] for path in paths}
    return {path: each for path, each in values.items() if any(value != each[0] for value in each)}


def _json(facts: Facts) -> dict[str, Any]:
    return {name: value for name, value in asdict(facts).items() if name != "packages"}


def _lines(
    found: Sequence[Facts],
    settings: Mapping[str, Sequence[Any]],
    surroundings: Mapping[str, Sequence[Any]],
    packages: Mapping[str, Sequence[Any]],
) -> Iterator[str]:
    width = terminal_width()
    for place, each in enumerate(found, 1):
        yield f"{place}  {each.run}  {each.kind}, {each.status}, {each.created[:19].replace('T', ' ')} UTC"
    head = ["", *(str(place) for place in range(1, len(found) + 1))]
    names = dict.fromkeys(name for each in found for name in each.outcome)
    outcome = [[name, *(each.outcome.get(name, "-") for each in found)] for name in names]
    yield from ["", *sheet([["how it went", *head[1:]], *outcome], width)]
    params = differences([each.best["params"] if each.best is not None else {} for each in found])
    shown = dict(list(packages.items())[:MOST_PACKAGES])
    for title, part in (("best trial", params), ("settings", settings), ("around it", {**surroundings, **shown})):
        if part:
            rows = [[path, *map(_text, values)] for path, values in part.items()]
            yield from ["", *sheet([[title, *head[1:]], *rows], width)]
    if len(packages) > len(shown):
        yield f"and {len(packages) - len(shown)} more packages: --json"
    if not settings and not surroundings and not packages:
        yield "\nthe settings, the code and the versions are the same"


def _text(value: object) -> str:
    if value is None:
        return "-"
    return json.dumps(value) if isinstance(value, list | dict) else value_text(value)
