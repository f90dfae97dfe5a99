"""Conjunction and disjunction of three-valued verdicts."""

from __future__ import annotations

from collections.abc import Iterable

from metta.sweep.contracts.forms.model import Verdict


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """False if one is False (the rest is not looked at), else None if one is None, else True."""
    result: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            result = None
    return result


def any_of(verdicts: Iterable[Verdict]) -> Verdict:
    """True if one is True (the rest is not looked at), else None if one is None, else False."""
    result: Verdict = False
    for verdict in verdicts:
        if verdict:
            return True
        if verdict is None:
            result = None
    return result
