"""What slips.py puts into generated texts: functions that fit their place, or do not."""

from __future__ import annotations

from metta.sweep import Context
from tests.pipeline.grammar_types import HasA, Options, Pair


def takes_nothing() -> bool:
    return True


def takes_any(data: object) -> bool:
    return data is not None


def takes_two(one: object, other: object) -> bool:
    return one is other


def takes_default(one: object, other: int = 0) -> bool:
    return one is other


def takes_keyword(*, data: object) -> bool:
    return data is not None


def takes_all(*data: object) -> bool:
    return bool(data)


def takes_pair(data: Pair) -> bool:
    return data.a > 0


def takes_options(data: Options) -> bool:
    return data["a"] > 0


def takes_view(data: Context) -> bool:
    return bool(data._asdict())


def takes_protocol(data: HasA) -> bool:
    return data.a > 0


def takes_int(data: int) -> bool:
    return data > 0


def takes_error(error: Exception) -> None:
    print(error)


def takes_error_and_pair(error: Exception, data: Pair) -> int:
    return data.a


def gives_nothing(data: object) -> None:
    print(data)


def gives_int(data: object) -> int:
    return hash(data)


def gives_text(data: object) -> str:
    return str(data)


def gives_pair(data: object) -> Pair:
    return Pair(hash(data), str(data))


def keeps_pair(data: Pair) -> Pair:
    return data._replace(a=0)


def keeps_context(data: Context) -> Context:
    return data


def keeps_list(data: list[int]) -> list[int]:
    return data[:1]


async def waits(data: object) -> bool:
    return data is not None


def makes_function(data: object) -> type[Pair]:
    return Pair


class Caller:
    """An instance can be called."""

    def __call__(self, data: object) -> bool:
        return data is not None


call_object = Caller()

FUNCTIONS = (
    "takes_nothing",
    "takes_any",
    "takes_two",
    "takes_default",
    "takes_keyword",
    "takes_all",
    "takes_pair",
    "takes_options",
    "takes_view",
    "takes_protocol",
    "takes_int",
    "takes_error",
    "takes_error_and_pair",
    "gives_nothing",
    "gives_int",
    "gives_text",
    "gives_pair",
    "keeps_pair",
    "keeps_context",
    "keeps_list",
    "waits",
    "makes_function",
    "call_object",
    "Pair",
)
"""What can be called, by name."""
