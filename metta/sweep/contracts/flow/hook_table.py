"""The hooks of `.through`: one table that the builder, the membrane and the mypy plugin read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class HookRule(NamedTuple):
    """A callable hook.

    Attributes:
        takes: "data" (the contract's whole), "input" (the whole before the stage) or "error".
        gives: "ignored", "truth", "data" (the same type), "str", or "any".
    """

    takes: str
    gives: str


CALLABLE_HOOKS: Mapping[str, HookRule] = {
    "before": HookRule("data", "ignored"),
    "after": HookRule("data", "ignored"),
    "log": HookRule("data", "ignored"),
    "metrics": HookRule("data", "ignored"),
    "debug": HookRule("data", "ignored"),
    "monitor": HookRule("data", "ignored"),
    "archive": HookRule("data", "ignored"),
    "validate": HookRule("data", "truth"),
    "assert_fn": HookRule("data", "truth"),
    "transform": HookRule("data", "data"),
    "filter": HookRule("data", "data"),
    "enrich": HookRule("data", "data"),
    "serialize": HookRule("data", "any"),
    "checkpoint_path": HookRule("data", "str"),
    "cache_key": HookRule("input", "any"),
    "skip_if": HookRule("input", "truth"),
    "on_error": HookRule("error", "any"),
}

VALUE_HOOKS: Mapping[str, str] = {
    "validate_type": '"auto", "deep", True or False',
    "schema": "a pydantic model class",
    "retry": "a number of retries >= 0 or a RetryPolicy",
    "timeout": "a positive number of seconds or a timedelta",
    "default": "a value that meets the contract",
    "checkpoint": "True or False",
    "cache": "True or False",
    "profile": "True or False",
    "resources": "Resources",
    "executor": "the name of an executor, an executor, or its class",
}

# Hooks whose value may be a class: under any other name it is a field that is called like a hook.
CLASS_HOOKS = frozenset({"schema", "executor"})

# In which order data passes through the membrane; what is not listed acts around the attempt.
OBSERVERS = ("log", "metrics", "debug", "monitor")
CHANGERS = ("transform", "filter", "enrich")
NEED_STORE = ("checkpoint", "checkpoint_path", "cache", "cache_key", "archive", "profile")
CONTROL = frozenset({"retry", "timeout", "on_error", "skip_if", "default", "resources", "executor"})

# Every keyword that `.through` reads as a hook, whatever stage it follows.
HOOK_NAMES = frozenset(CALLABLE_HOOKS) | frozenset(VALUE_HOOKS)
