"""Which record each node of a durable run gets: decided when the graph is linked.

Only what a run without a store needs is imported here; the record itself is made where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metta.sweep.compiler.graph import Node
from metta.sweep.contracts.flow import Positional, element_type
from metta.sweep.pipeline.plan import MapPlan, NestedPlan, ParallelPlan, StagePlan
from metta.sweep.runtime.stage_hooks import kept_hooks

if TYPE_CHECKING:
    from metta.sweep.runtime.recorder import NodeRecord, Recorder


def node_record(
    recorder: Recorder, node: Node, hooks: Mapping[str, Any], global_hooks: Sequence[Mapping[str, Any]]
) -> NodeRecord:
    """The record of a node that is recorded; `hooks` are those that act on it as a whole."""
    from metta.sweep.runtime.recorder import NodeRecord

    # What a map gives is the list of its elements, which have records of their own: it is kept where hooks have
    # seen it, which should not see it again.
    whole = not isinstance(node.plan, MapPlan) or bool(hooks)
    return NodeRecord(
        recorder,
        node.id,
        node.name,
        _returned(node),
        keeps=whole,
        fingerprint=recorder.fingerprints[node.id],
        store_hooks=kept_hooks(node.name, hooks, global_hooks),
    )


def element_record(recorder: Recorder, node: Node, plan: MapPlan) -> NodeRecord:
    """The record of the elements of a map."""
    from metta.sweep.pipeline.replay import ORACLE
    from metta.sweep.runtime.recorder import NodeRecord

    tp = element_type(plan.output.contract, ORACLE)
    fingerprint = recorder.fingerprints[node.id]
    return NodeRecord(recorder, node.id, node.name, tp, keeps=True, fingerprint=fingerprint, store_hooks={})


def recorded_condition(
    recorder: Recorder, node: str, name: str, condition: Callable[[Any], bool]
) -> Callable[[Any], bool]:
    """A condition that says again what it has said at this place of the run."""

    def decide(whole: Any) -> bool:
        return recorder.condition(node, name, lambda: condition(whole))

    return decide


def _returned(node: Node) -> Any:
    """The type of what leaves the node's membrane: the value, the one field, or a tuple of fields. None: not known."""
    plan = node.plan
    if isinstance(plan, NestedPlan) and plan.output is None:
        return None
    assert isinstance(plan, (StagePlan, MapPlan, NestedPlan, ParallelPlan))
    contract = None if plan.output is None else plan.output.contract
    if contract is None:
        return None
    if isinstance(contract, Positional):
        return contract.type
    types = [Any if tp is None else tp for tp in contract.fields.values()]
    return types[0] if len(types) == 1 else tuple[tuple(types)]  # type: ignore[misc]
