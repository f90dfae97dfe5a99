from pickle import Pickler as _Pickler
from types import ModuleType
from typing import Any

class Pickler(_Pickler):
    def reducer_override(self, obj: Any) -> Any: ...

def register_pickle_by_value(module: ModuleType) -> None: ...
