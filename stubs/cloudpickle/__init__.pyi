"""The public names of cloudpickle 3."""

from collections.abc import Callable
from pickle import PickleBuffer
from pickle import Pickler as _Pickler
from pickle import load as load
from pickle import loads as loads
from types import ModuleType
from typing import Any, TypeAlias

from _typeshed import SupportsWrite

__all__ = [
    "CloudPickler",
    "Pickler",
    "__version__",
    "dump",
    "dumps",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]

__version__: str

# What it returns tells pickle whether the buffer stays in the stream.
_BufferCallback: TypeAlias = Callable[[PickleBuffer], object] | None

class Pickler(_Pickler):
    def __init__(
        self, file: SupportsWrite[bytes], protocol: int | None = None, buffer_callback: _BufferCallback = None
    ) -> None: ...
    def dump(self, obj: object) -> None: ...
    # A name, `NotImplemented`, or a tuple of two to six: as object.__reduce__ returns.
    def reducer_override(self, obj: Any) -> Any: ...

CloudPickler = Pickler

def dump(
    obj: object, file: SupportsWrite[bytes], protocol: int | None = None, buffer_callback: _BufferCallback = None
) -> None: ...
def dumps(obj: object, protocol: int | None = None, buffer_callback: _BufferCallback = None) -> bytes: ...
def register_pickle_by_value(module: ModuleType) -> None: ...
def unregister_pickle_by_value(module: ModuleType) -> None: ...
