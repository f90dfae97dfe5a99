"""Findings of the rule book as errors of mypy: the code of the language, the line of the offending argument."""

from __future__ import annotations

from mypy.checker import TypeChecker
from mypy.errorcodes import ErrorCode, error_codes
from mypy.nodes import Context

from metta.sweep.contracts.diagnostics import CODES
from metta.sweep.contracts.flow import Problem
from metta_mypy.calls import Call

_LIMIT = 200

ERROR_CODES: dict[str, ErrorCode] = {
    # mypy knows each code once per process.
    code: error_codes.get(code) or ErrorCode(code, meaning, "metta-sweep")
    for code, meaning in CODES.items()
}


class Reporter:
    """Writes problems down; in strict mode a stage that cannot be verified is an error.

    Args:
        strict: `strict = true` of the plugin's configuration.
    """

    def __init__(self, strict: bool) -> None:
        self._strict = strict

    def problem(self, problem: Problem, api: TypeChecker, context: Context) -> None:
        """Report at a place; what to do about it follows as a note."""
        code = ERROR_CODES[problem.code]
        message = problem.message if len(problem.message) <= _LIMIT else problem.message[: _LIMIT - 3] + "..."
        if problem.note and not self._strict:
            api.note(message, context, code=code)
            return
        api.fail(message, context, code=code)
        if problem.remedy:
            for line in problem.remedy.splitlines():
                api.note(line, context, code=code)

    def of_call(self, problem: Problem, api: TypeChecker, call: Call, through: Call | None = None) -> None:
        """Report at the argument the problem names, of the stage or of its `.through`."""
        at = through if problem.at == "through" and through is not None else call
        self.problem(problem, api, at.place_of(problem.argument))
