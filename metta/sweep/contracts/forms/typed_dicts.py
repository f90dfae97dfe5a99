"""The keys of TypedDict types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, get_origin

from metta.sweep.contracts.forms.hierarchy import is_typed_dict
from metta.sweep.contracts.forms.model import NEVER, Form, Named, replace_variables
from metta.sweep.contracts.forms.parse import parameters, parse, strip_qualifiers
from metta.sweep.contracts.hints import Scope, own_annotations, resolve


class Item(NamedTuple):
    """One key of a TypedDict; `form` is None where the key may be there with any type (an open TypedDict)."""

    form: Form | None
    required: bool
    read_only: bool


def items_of(form: Named) -> Mapping[str, Item]:
    """The keys of the TypedDict type `form`, its type arguments filled in."""
    mapping = dict(zip(parameters(form.cls), form.args, strict=False))
    return {
        name: item if item.form is None else item._replace(form=replace_variables(item.form, mapping))
        for name, item in _declared(form.cls).items()
    }


def missing_item(cls: Any) -> Item:
    """What a TypedDict class says about a key that it does not list."""
    return Item(NEVER, False, False) if is_closed(cls) else Item(None, False, True)


def is_closed(cls: Any) -> bool:
    """Whether there can be no other keys (PEP 728)."""
    return getattr(cls, "__closed__", None) is True


def _declared(cls: Any) -> dict[str, Item]:
    # A TypedDict copies the annotations of its bases: one that is still the base's own object is read there,
    # where its type variables and names belong.
    inherited: dict[str, Item] = {}
    copied: dict[str, Any] = {}
    for base in cls.__dict__.get("__orig_bases__", ()):
        origin = get_origin(base) or base
        if is_typed_dict(origin):
            parent = parse(base)
            assert isinstance(parent, Named)
            inherited.update(items_of(parent))
            copied.update(own_annotations(origin))
    return {
        name: inherited[name] if copied.get(name, ...) is raw else _read(cls, name, raw)
        for name, raw in own_annotations(cls).items()
    }


def _read(cls: Any, name: str, raw: Any) -> Item:
    tp, qualifiers = strip_qualifiers(resolve(raw, Scope.of_class(cls)))
    required = name in cls.__required_keys__
    if qualifiers & {"Required", "NotRequired"}:
        # Under `from __future__ import annotations` Python cannot see the qualifier when it makes the class.
        required = "Required" in qualifiers
    read_only = "ReadOnly" in qualifiers or name in getattr(cls, "__readonly_keys__", ())
    return Item(parse(tp), required, read_only)
