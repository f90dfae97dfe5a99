"""The result of a stage at run time: shaped into what its contract names, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metta.sweep.contracts.flow import Keyword, Positional, Shape
from metta.sweep.contracts.records import record_fields_of_value
from metta.sweep.contracts.values import check_value


def unpack(
    result: Any,
    contract: Positional[Any] | Keyword[Any],
    *,
    shape: Shape = Shape.DYNAMIC,
    check: bool,
    deep: bool = False,
) -> tuple[Any, str | None]:
    """Bring a result into the form of its contract.

    Returns:
        (data, None), where data is the value for a positional contract and a tuple of the fields in declared order
        for a keyword contract; or (None, what is wrong) in one sentence.
    """
    if isinstance(contract, Positional):
        wrong = check_value(result, contract.type, deep=deep) if check else None
        return (result, None) if wrong is None else (None, wrong)
    fields, wrong = _fields(result, contract.fields, shape)
    if wrong is None and check:
        for name, value in zip(contract.fields, fields, strict=True):
            tp = contract.fields[name]
            found = None if tp is None else check_value(value, tp, deep=deep, path=name)
            if found is not None:
                return None, found
    return (fields, None) if wrong is None else (None, wrong)


def _fields(result: Any, wanted: Mapping[str, Any], shape: Shape) -> tuple[tuple[Any, ...], str | None]:
    names = tuple(wanted)
    if shape is Shape.BARE:
        return (result,), None
    if shape is Shape.TUPLE:
        return tuple(result), None
    if shape is Shape.MAPPING or shape is Shape.RECORD:
        return _from_record(result, names)
    # Un-annotated: decided by the value. One field is the bare value, unless the value is a record that has the
    # field; a dict is such a record only where the field itself is no mapping.
    if len(names) == 1:
        (tp,) = wanted.values()
        if isinstance(result, Mapping):
            is_record = names[0] in result and (tp is None or check_value(result, tp) is not None)
        else:
            found = record_fields_of_value(result)
            is_record = found is not None and names[0] in found
        return _from_record(result, names) if is_record else ((result,), None)
    if type(result) is tuple:
        if len(result) != len(names):
            return (), f"expected {len(names)} items ({', '.join(names)}), found a tuple of {len(result)}"
        return result, None
    return _from_record(result, names)


def _from_record(result: Any, names: tuple[str, ...]) -> tuple[tuple[Any, ...], str | None]:
    found: Mapping[str, Any] | None
    if isinstance(result, Mapping):
        found = result
    else:
        found = record_fields_of_value(result)
        if found is None:
            return (), f"expected a record or mapping with {', '.join(names)}, found {type(result).__name__}"
    missing = [name for name in names if name not in found]
    if missing:
        return (), f"it has no {', '.join(missing)}; it has {', '.join(map(str, found)) or 'nothing'}"
    return tuple(found[name] for name in names), None
