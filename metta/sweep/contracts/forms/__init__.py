"""Type forms: run-time annotations parsed into small frozen values, and the relations between them.

    model       the values: Named, TupleOf, UnionOf, LiteralOf, CallableOf, TypeOf, Variable, ...
    typeshed    what the standard library's classes do not say about themselves at run time
    parse       annotation -> Form
    render      Form -> annotation, and annotation -> text
    hierarchy   a class seen as one of its bases
    members     attributes and methods, for protocols
    variance    of type parameters, declared or inferred
    typed_dicts the keys of TypedDict types
    callables   parameter lists
    verdicts    and, or for three values
    relation    "is a value of this type accepted there?"

`metta.sweep.contracts.assignable` and `metta.sweep.contracts.unify` are the ways in.
"""
