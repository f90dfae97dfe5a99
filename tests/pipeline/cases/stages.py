"""What can be a stage, and its name: not-a-stage, untyped-stage, duplicate-stage."""

from __future__ import annotations

from metta.sweep import Pipeline


class Trainer:
    def __init__(self) -> None:
        self.lr = 0.1

    def train(self, steps: int = 3) -> float:
        return steps * self.lr

    def __call__(self, loss: float) -> float:
        return loss + 1


trainer = Trainer()


def helper(loss: float) -> float:
    return loss


def untyped(*args, **kwargs):  # type: ignore[no-untyped-def]
    return args, kwargs


def no_return(x: int):  # type: ignore[no-untyped-def]
    return x


good = (
    Pipeline()
    .stage("train", trainer.train)
    .through(loss=float)
    .stage("callable object", trainer)
    .through(more=float)
    .stage("class", Trainer)
    .through(trainer=Trainer)
)

called = Pipeline().stage("train", trainer.train())  # E: not-a-stage
called_in_lines = (
    Pipeline()
    .stage(
        "train",
        trainer.train(steps=3),  # E: not-a-stage
    )
    .through(loss=float)
)
called_in_a_map = Pipeline(losses=list[float]).map("m", helper(1.0), over="losses")  # E: not-a-stage
a_number = Pipeline().stage("train", 3)  # E: not-a-stage
no_name = Pipeline().stage(trainer.train, trainer.train)  # E: not-a-stage
in_parallel = Pipeline().parallel([trainer.train, trainer.train()])  # E: not-a-stage
in_parallel_by_name = Pipeline().parallel(
    {
        "a": trainer.train,
        "b": helper(2.0),  # E: not-a-stage
    }
)
no_arms = Pipeline().parallel([])  # E: not-a-stage
arm_called = Pipeline(loss=float).conditional(
    lambda ctx: ctx.loss > 1,
    helper,
    helper(1.0),  # E: not-a-stage
)

without_annotation = Pipeline(x=int).stage("no return", no_return)  # N: untyped-stage
without_signature = Pipeline(x=int).stage("untyped", untyped).through(y=int)  # N: untyped-stage
a_lambda = Pipeline(x=int).stage("lambda", lambda x: x + 1)  # DN: untyped-stage
all_typed = Pipeline(loss=float).stage("helper", helper)

duplicate = (
    Pipeline()
    .stage("train", trainer.train)
    .through(loss=float)
    .stage("train", helper)  # E: duplicate-stage
    .through(other=float)
)
prefix = Pipeline().stage("train", trainer.train).through(loss=float)
across_variables = (
    prefix.stage("other", helper)
    .through(other=float)
    .stage(
        "train",  # E: duplicate-stage
        helper,
    )
)
in_the_body = (
    Pipeline()
    .stage("train", trainer.train)
    .through(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1, max_iterations=3)
    .stage("train", helper)  # E: duplicate-stage
    .through(loss=float)
    .end_loop()
)
an_arm_has_its_own_level = (
    Pipeline()
    .stage("train", trainer.train)
    .through(loss=float)
    .conditional(lambda ctx: ctx.loss > 1, Pipeline().stage("train", helper).through(more=float))
    .stage("nested", Pipeline().stage("train", helper).through(again=float))
)
steps = Pipeline(loss=float)
for number in range(3):
    steps = steps.stage(f"step {number}", helper).through(loss=float)
