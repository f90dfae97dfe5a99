"""A sweep without secrets, for what leaves this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metta.sweep.redaction import secrets_in
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.store.redact import is_secret_name, redact_values
from metta.sweep.trial import Params, Trial


def without_secrets(sweep: SweepSnapshot) -> SweepSnapshot:
    """The same with parameters masked whose names or values are secret, as exporters mask them."""
    secrets = secrets_in(os.environ)
    known: dict[tuple[str, str], Any] = {}  # few values stand in many trials

    def mask(path: str, value: Any) -> Any:
        if not isinstance(value, str):
            return redact_values({path: value}, secrets)[path] if isinstance(value, Mapping | list | tuple) else value
        if (path, value) not in known:
            known[path, value] = redact_values({path: value}, secrets)[path]
        return known[path, value]

    def masked(trial: Trial) -> Trial:
        params = {path: mask(path, value) for path, value in trial.params.items()}
        if all(params[path] is value for path, value in trial.params.items()):
            return trial
        copied = trial.copy_unread()
        copied.params = Params(params)
        return copied

    space = {path: redact_values(told, secrets) for path, told in sweep.space.items() if not is_secret_name(path)}
    return replace(sweep, trials=tuple(map(masked, sweep.trials)), space=space)
