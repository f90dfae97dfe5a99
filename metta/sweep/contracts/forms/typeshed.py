"""What the standard library's classes do not say about themselves at run time.

`list` does not know at run time that it is a `MutableSequence[T]`, nor that it is invariant in T. The rows below say,
for each class, its type parameters and its generic bases, as Python's type stubs do. They are text, read when a class
is first asked about: importing this module costs next to nothing, and naming a class imports nothing. A class without
a row is read from its own `__orig_bases__`.
"""

from __future__ import annotations

import collections
import os
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from typing_extensions import TypeVar

# The names of type parameters say their variance: `T` invariant, `T_co` covariant, `T_contra` contravariant.
_PARAMETERS: Final[Mapping[str, Any]] = {
    **{name: TypeVar(name) for name in ("T", "K", "V")},
    **{name: TypeVar(name, covariant=True) for name in ("T_co", "K_co", "V_co", "R_co")},
    "S_contra": TypeVar("S_contra", contravariant=True),
    # Those with a default, which a bare class or a shorter list of arguments takes.
    "Sent_contra": TypeVar("Sent_contra", contravariant=True, default=None),
    "Return_co": TypeVar("Return_co", covariant=True, default=None),
    "Exit_co": TypeVar("Exit_co", covariant=True, default=bool | None),
    "Error_co": TypeVar("Error_co", covariant=True, default=BaseException),
    "Item": TypeVar("Item", default=int),
}

# "module.qualname": (type parameters, bases)
_ROWS: Final[Mapping[str, tuple[str, str]]] = {
    # collections.abc
    "collections.abc.Hashable": ("", ""),
    "collections.abc.Sized": ("", ""),
    "collections.abc.Container": ("T_co", ""),
    "collections.abc.Iterable": ("T_co", ""),
    "collections.abc.Iterator": ("T_co", "Iterable[T_co]"),
    "collections.abc.Reversible": ("T_co", "Iterable[T_co]"),
    "collections.abc.Collection": ("T_co", "Iterable[T_co], Container[T_co], Sized"),
    "collections.abc.Sequence": ("T_co", "Reversible[T_co], Collection[T_co]"),
    "collections.abc.MutableSequence": ("T", "Sequence[T]"),
    "collections.abc.Set": ("T_co", "Collection[T_co]"),
    "collections.abc.MutableSet": ("T", "Set[T]"),
    "collections.abc.Mapping": ("K, V_co", "Collection[K]"),
    "collections.abc.MutableMapping": ("K, V", "Mapping[K, V]"),
    "collections.abc.MappingView": ("", "Sized"),
    "collections.abc.KeysView": ("K_co", "MappingView, Set[K_co]"),
    "collections.abc.ValuesView": ("V_co", "MappingView, Collection[V_co]"),
    "collections.abc.ItemsView": ("K_co, V_co", "MappingView, Set[tuple[K_co, V_co]]"),
    "collections.abc.Awaitable": ("T_co", ""),
    "collections.abc.Coroutine": ("T_co, S_contra, R_co", "Awaitable[R_co]"),
    "collections.abc.AsyncIterable": ("T_co", ""),
    "collections.abc.AsyncIterator": ("T_co", "AsyncIterable[T_co]"),
    "collections.abc.Generator": ("T_co, Sent_contra, Return_co", "Iterator[T_co]"),
    "collections.abc.AsyncGenerator": ("T_co, Sent_contra", "AsyncIterator[T_co]"),
    # builtins
    "builtins.str": ("", "Sequence[str]"),
    "builtins.bytes": ("", "Sequence[int]"),
    "builtins.bytearray": ("", "MutableSequence[int]"),
    "builtins.memoryview": ("Item", "Sequence[Item]"),
    "builtins.range": ("", "Sequence[int]"),
    "builtins.tuple": ("T_co", "Sequence[T_co]"),
    "builtins.list": ("T", "MutableSequence[T]"),
    "builtins.dict": ("K, V", "MutableMapping[K, V], Reversible[K]"),
    "builtins.set": ("T", "MutableSet[T]"),
    "builtins.frozenset": ("T_co", "Set[T_co]"),
    "builtins.slice": ("T_co, K_co, V_co", ""),
    "builtins.enumerate": ("T", "Iterator[tuple[int, T]]"),
    "builtins.filter": ("T", "Iterator[T]"),
    "builtins.map": ("T", "Iterator[T]"),
    "builtins.reversed": ("T_co", "Iterator[T_co]"),
    "builtins.zip": ("T_co", "Iterator[T_co]"),
    "builtins.BaseExceptionGroup": ("Error_co", "BaseException"),
    "builtins.ExceptionGroup": ("Error_co", "BaseExceptionGroup[Error_co], Exception"),
    "builtins.mappingproxy": ("K_co, V_co", "Mapping[K_co, V_co]"),
    "builtins.generator": ("T_co, Sent_contra, Return_co", "Generator[T_co, Sent_contra, Return_co]"),
    "builtins.async_generator": ("T_co, Sent_contra", "AsyncGenerator[T_co, Sent_contra]"),
    "builtins.coroutine": ("T_co, S_contra, R_co", "Coroutine[T_co, S_contra, R_co]"),
    "builtins.dict_keys": ("K_co, V_co", "KeysView[K_co]"),
    "builtins.dict_values": ("K_co, V_co", "ValuesView[V_co]"),
    "builtins.dict_items": ("K_co, V_co", "ItemsView[K_co, V_co]"),
    # the rest of the standard library
    "array.array": ("T", "MutableSequence[T]"),
    "_asyncio.Future": ("T", "Awaitable[T], Iterable[T]"),
    "asyncio.futures.Future": ("T", "Awaitable[T], Iterable[T]"),
    "_asyncio.Task": ("T_co", "Awaitable[T_co], Iterable[T_co]"),
    "asyncio.tasks.Task": ("T_co", "Awaitable[T_co], Iterable[T_co]"),
    "asyncio.queues.Queue": ("T", ""),
    "asyncio.queues.LifoQueue": ("T", ""),
    "collections.deque": ("T", "MutableSequence[T]"),
    "collections.Counter": ("T", "dict[T, int]"),
    "collections.OrderedDict": ("K, V", "dict[K, V]"),
    "collections.defaultdict": ("K, V", "dict[K, V]"),
    "collections.ChainMap": ("K, V", "MutableMapping[K, V]"),
    "collections.UserDict": ("K, V", "MutableMapping[K, V]"),
    "collections.UserList": ("T", "MutableSequence[T]"),
    "concurrent.futures._base.Future": ("T", ""),
    "contextlib.AbstractContextManager": ("T_co, Exit_co", ""),
    "contextlib.AbstractAsyncContextManager": ("T_co, Exit_co", ""),
    "_contextvars.ContextVar": ("T", ""),
    "_contextvars.Token": ("T", ""),
    "functools.partial": ("T", ""),
    "functools.cached_property": ("T_co", ""),
    "_io.TextIOWrapper": ("", "TextIO"),
    "_io.StringIO": ("", "TextIO"),
    "_io.BytesIO": ("", "BinaryIO"),
    "_io.FileIO": ("", "BinaryIO"),
    "_io.BufferedReader": ("", "BinaryIO"),
    "_io.BufferedWriter": ("", "BinaryIO"),
    "itertools.accumulate": ("T", "Iterator[T]"),
    "itertools.chain": ("T", "Iterator[T]"),
    "itertools.cycle": ("T", "Iterator[T]"),
    "itertools.islice": ("T", "Iterator[T]"),
    "itertools.repeat": ("T", "Iterator[T]"),
    "os.PathLike": ("T_co", ""),
    "os.DirEntry": ("AnyStr", ""),
    "pathlib.PurePath": ("", "PathLike[str]"),
    "pathlib._local.PurePath": ("", "PathLike[str]"),
    "queue.Queue": ("T", ""),
    "_queue.SimpleQueue": ("T", ""),
    "re.Pattern": ("AnyStr", ""),
    "re.Match": ("AnyStr", ""),
    "subprocess.CompletedProcess": ("T", ""),
    "subprocess.Popen": ("AnyStr", ""),
    "tempfile.TemporaryDirectory": ("AnyStr", ""),
    "weakref.ReferenceType": ("T", ""),
    "weakref.WeakKeyDictionary": ("K, V", "MutableMapping[K, V]"),
    "weakref.WeakValueDictionary": ("K, V", "MutableMapping[K, V]"),
    # numpy says the same in its own stubs
    "numpy.ndarray": ("K_co, V_co", ""),
    "numpy.dtype": ("T_co", ""),
}

# The protocols among the abstract base classes, with all methods they ask for.
_PROTOCOLS: Final[Mapping[str, Mapping[str, str]]] = {
    "collections.abc.Hashable": {"__hash__": "[], int"},
    "collections.abc.Sized": {"__len__": "[], int"},
    "collections.abc.Container": {"__contains__": "[object], bool"},
    "collections.abc.Iterable": {"__iter__": "[], Iterator[T_co]"},
    "collections.abc.Iterator": {"__iter__": "[], Iterator[T_co]", "__next__": "[], T_co"},
    "collections.abc.Reversible": {
        "__iter__": "[], Iterator[T_co]",
        "__reversed__": "[], Iterator[T_co]",
    },
    "collections.abc.Collection": {
        "__iter__": "[], Iterator[T_co]",
        "__contains__": "[object], bool",
        "__len__": "[], int",
    },
    "collections.abc.Awaitable": {"__await__": "[], Generator[Any, Any, T_co]"},
    "collections.abc.AsyncIterable": {"__aiter__": "[], AsyncIterator[T_co]"},
    "collections.abc.AsyncIterator": {"__aiter__": "[], AsyncIterator[T_co]", "__anext__": "[], Awaitable[T_co]"},
    "contextlib.AbstractContextManager": {"__enter__": "[], T_co", "__exit__": "[Any, Any, Any], Exit_co"},
    "contextlib.AbstractAsyncContextManager": {
        "__aenter__": "[], Coroutine[Any, Any, T_co]",
        "__aexit__": "[Any, Any, Any], Coroutine[Any, Any, Exit_co]",
    },
    "os.PathLike": {"__fspath__": "[], T_co"},
}

# Other methods of single classes.
_METHODS: Final[Mapping[str, Mapping[str, str]]] = {
    **_PROTOCOLS,
    "functools.partial": {"__call__": "..., T"},
    **{
        f"builtins.{name}": {
            each: f"[{name}], bool" for each in ("__lt__", "__le__", "__gt__", "__ge__") if name != "complex"
        }
        | ({"__abs__": f"[], {size}"} if size else {})
        for name, size in {"int": "int", "float": "float", "complex": "float", "str": "", "bytes": ""}.items()
    },
}

# Special methods whose signature is the same on every class of the standard library that has them.
_SPECIAL_METHODS: Final[Mapping[str, str]] = {
    "__bool__": "[], bool",
    "__bytes__": "[], bytes",
    "__complex__": "[], complex",
    "__eq__": "[object], bool",
    "__float__": "[], float",
    "__hash__": "[], int",
    "__index__": "[], int",
    "__int__": "[], int",
    "__len__": "[], int",
    "__ne__": "[object], bool",
    "__repr__": "[], str",
    "__str__": "[], str",
}

#: A value of the first type is accepted where the second is declared (PEP 484, "the numeric tower").
PROMOTIONS: Final[Mapping[type, type]] = {int: float, float: complex}


class Row(NamedTuple):
    """The type parameters of a class and its bases in terms of them."""

    parameters: tuple[Any, ...]
    bases: tuple[Any, ...]


def row_of(cls: Any) -> Row | None:
    """The row of `cls`, or None."""
    written = _ROWS.get(_name_of(cls))
    return None if written is None else Row(*(_read(f"({text},)") if text else () for text in written))


def is_abstract_protocol(cls: Any) -> bool:
    """Whether `cls` is one of the abstract base classes that type checkers treat as protocols."""
    return _name_of(cls) in _PROTOCOLS


def methods_of(cls: Any) -> Mapping[str, Any]:
    """The methods of a class of the standard library that have signatures here: name -> `Callable[...]`."""
    return {name: _signature(text) for name, text in _METHODS.get(_name_of(cls), {}).items()}


def special_method(name: str) -> Any | None:
    """The signature, `Callable[...]`, that the special method `name` has wherever there is one; None: not the same."""
    text = _SPECIAL_METHODS.get(name)
    return None if text is None else _signature(text)


def _name_of(cls: Any) -> str:
    return f"{getattr(cls, '__module__', '')}.{getattr(cls, '__qualname__', '')}"


def _signature(text: str) -> Any:
    return _read(f"Callable[{text}]")


@cache
def _read(text: str) -> Any:
    names = {**vars(typing), **vars(collections.abc), "PathLike": os.PathLike, **_PARAMETERS}
    return eval(text, names)  # our own text, above
