"""What the differential test has found, in small: in each of these the plugin and definition time once differed."""

from __future__ import annotations

from typing import Any

from metta.sweep import Context, Pipeline, field


def double(x: int) -> int:
    return 2 * x


def show(y: str) -> None:
    print(y)


def count(items: list[int]) -> int:
    return len(items)


# -- a view of a context is one type, whatever fields it has ----------------------------------------------------------

view_set_again = (
    Pipeline(x=int)
    .parallel({"one": Pipeline(x=int), "seen": Pipeline(x=int)})
    .parallel({"seen": Pipeline()})
    .conditional(lambda ctx: ctx.seen.one.x > 3, Pipeline())
)
views_set_again = (
    Pipeline(x=int)
    .parallel([Pipeline(x=int), Pipeline()])
    .through(seen=list[Context])
    .parallel([Pipeline()])
    .through(seen=list[Context])
)
view_misread = (
    Pipeline(x=int)
    .parallel({"one": Pipeline(x=int), "seen": Pipeline(x=int)})
    .parallel({"seen": Pipeline()})
    .conditional(lambda ctx: ctx.seen.two.x > 3, Pipeline())  # S: attr-defined
)

# -- what stands where a type is wanted -------------------------------------------------------------------------------

renamed_input = Pipeline(x=int, y=field("x")).stage("double", double)  # E: not-a-type
none_is_no_input = Pipeline(None)  # E: not-a-type
none_as_a_field = Pipeline(x=int, y=None).stage("double", double).through(z=int)
none_is_no_contract = (
    Pipeline(x=int)
    .stage("double", double)
    .through(None)  # E: not-a-type
    .stage("show", show)
)
nothing_is_known_behind_no_type = (
    Pipeline(x=int)
    .stage(
        "inside",
        Pipeline().stage("double", double).through(3),  # E: not-a-type
    )
    .through(y=str, x=int)
    .stage("show", show)
    .parallel([Pipeline()])
    .through("seen")  # E: not-a-type
    .stage("again", show)
)

# -- a default is checked as it is, not as what its contract would make of it -----------------------------------------


def names() -> list[str]:
    return ["a"]


def never(ctx: Context) -> bool:
    return False


other_elements = (
    Pipeline(x=int)
    .stage("names", names)
    .through(
        found=list[str],
        skip_if=never,
        default=[3],  # E: hook-type
    )
)
same_elements = Pipeline(x=int).stage("names", names).through(found=list[str], skip_if=never, default=["b"])
no_elements = Pipeline(x=int).stage("names", names).through(list[str], skip_if=never, default=[])
other_elements_of_a_value = (
    Pipeline(x=int)
    .stage("names", names)
    .through(
        list[str],
        skip_if=never,
        default=[3],  # E: hook-type
    )
)

# -- what stands where a callable is wanted ---------------------------------------------------------------------------

not_blamed_for_its_settings = (
    Pipeline(x=int)
    .stage("double", double(3), factor=2)  # E: not-a-stage
    .stage("again", double)
)
text_is_no_list_of_arms = Pipeline(x=int).parallel("double")  # E: not-a-stage
list_of_arms = Pipeline(x=int).parallel([double])


def arms_from_elsewhere(arms: Any) -> Pipeline:
    return Pipeline(x=int).parallel(arms)


no_predicate = Pipeline(x=int).conditional(
    None,  # E: loop-condition
    double,
)
no_break_condition = (
    Pipeline(x=int)
    .loop_while(None)
    .stage("double", double)
    .through(x=int)
    .break_if(None)  # E: loop-condition
    .end_loop(None)
)
true_is_no_number = (
    Pipeline(x=int)
    .loop_while(lambda ctx: ctx.x < 9, max_iterations=True)  # E: setting-type
    .stage("double", double)
    .through(x=int)
    .end_loop()
)
true_is_no_number_of_places = Pipeline(items=list[int]).map(
    "double",
    double,
    over="items",
    max_parallel=True,  # E: setting-type
)
arm_under_a_number = Pipeline(y=str).parallel({3: double, "shown": show})  # E: reserved-name, missing-field

# -- the inputs of an open pipeline behind a call that stands astray --------------------------------------------------

break_before_the_first_stage = (
    Pipeline()
    .break_if(lambda ctx: True)  # E: break-without-loop
    .stage("double", double)
    .through(z=int)
    .stage("again", double)
)
end_before_the_first_stage = (
    Pipeline()
    .end_loop()  # E: end-loop-without-loop
    .stage("count", count)
    .through(x=int)
    .stage("double", double)
)

# -- an arm in an arm: mypy checks the items of a list twice ----------------------------------------------------------


def tick() -> None: ...


arm_in_an_arm = (
    Pipeline(x=int, y=str)
    .stage("tick", tick)
    .parallel(
        [Pipeline(y=str).parallel({"v": Pipeline().stage("tick", tick).through(after=lambda ctx: print(ctx.y))})],
    )
)
arm_in_an_arm_sets_again = (
    Pipeline(x=int, y=str)
    .stage("tick", tick)
    .parallel(
        [
            Pipeline(x=int).parallel({"v": Pipeline().stage("double", double).through(x=int)}),  # E: parallel-conflict
        ],
    )
)
