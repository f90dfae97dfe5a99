"""Values as bytes and back, typed and without pickle.

What can be stored: None, bool, int, float, complex, str, bytes, Decimal, dates and times, UUIDs, paths, enum members;
list, tuple, set, frozenset, dict, deque, OrderedDict; records (NamedTuple, dataclass, TypedDict, pydantic model, attrs
class); numpy arrays and scalars; torch tensors; and classes that were registered. Classes must be exactly these: a
subclass of `dict`, say, would come back as something else, so it is refused.

What comes back is equal to what was stored, of the same types. Tensors come back on the CPU. An array or tensor that
stands in several places comes back as one; other objects that do come back as several.

Nothing that is read executes code: no module is imported, no constructor or validator is called.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from metta.sweep.errors import DamagedError, InternalError
from metta.sweep.store.codec.decode import REGISTERED as READERS
from metta.sweep.store.codec.decode import Decoder
from metta.sweep.store.codec.digest import digest as digest
from metta.sweep.store.codec.encode import Encoder
from metta.sweep.store.codec.expected import forms_of
from metta.sweep.store.codec.handlers import REGISTERED as WRITERS
from metta.sweep.store.codec.place import Unstorable as Unstorable
from metta.sweep.store.container import Encoded as Encoded
from metta.sweep.store.container import pack, unpack
from metta.sweep.store.files import Bytes
from metta.sweep.trial import Result, Trial

T = TypeVar("T")


def dumps(value: object, what: str = "the value") -> Encoded:
    """The bytes of a value; equal bytes for equal values built in the same order.

    Args:
        value: see the module. Its arrays must not change before the bytes are written.
        what: what it is called in messages, `results` for instance.

    Raises:
        Unstorable: something in it cannot be stored; the message names its path and what to store instead.
    """
    encoder = Encoder(what)
    return pack(encoder.content(value), encoder.parts)


def loads(data: Bytes | Encoded, tp: Any = None, *, path: str | Path = "") -> Any:
    """The value that `dumps` was given.

    Args:
        data: its bytes.
        tp: the declared type, from which the classes of records and enums are taken; None (or `Any`, `object`, a
            Protocol) for any that are loaded.
        path: the file the bytes are from, for messages.

    Raises:
        DamagedError: these bytes are not what `dumps` wrote.
        UsageError: a class that the value needs is not loaded; the message names it.
        RefusedError: a newer release wrote it, its class has changed since, or its class is none that `tp` allows.
    """
    try:
        content, parts = unpack(bytes(data) if isinstance(data, Encoded) else data)
        decoder = Decoder(content.get("classes", []), parts)
        return decoder.decode(content["tree"], None if tp is None else forms_of(tp))
    except (DamagedError, *_DAMAGES) as error:
        where = str(path) or "the stored value"
        reason = str(error) if isinstance(error, DamagedError | ValueError) else f"{type(error).__name__}: {error}"
        raise DamagedError(f"{where} is damaged: {reason:.500}", path=str(path)) from error


# What decoding raises where nodes or parts are not what they should be.
_DAMAGES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, RuntimeError)


def register(cls: type[T], name: str, to_tree: Callable[[T], object], from_tree: Callable[[Any], T]) -> None:
    """Have the instances of a class stored.

    Args:
        cls: exactly this class, subclasses are not included.
        name: what files call it; it must stay the same for ever.
        to_tree: an instance as a value that can be stored.
        from_tree: the way back. It gets what files have, so it must execute nothing that stands there.

    Raises:
        InternalError: another class has that name.
    """
    if READERS.get(name, (cls,))[0] is not cls:
        raise InternalError(f"the name {name!r} is registered for {READERS[name][0].__qualname__}")
    WRITERS[cls] = (name, to_tree)
    READERS[name] = (cls, from_tree)


register(Trial, "Trial", Trial.to_json, Trial.from_json)
register(Result, "Result", lambda it: [it.score, it.cost, it.failure], lambda tree: Result(*tree))
