"""Loops: loop_while, break_if and end_loop(until=...), with fields carried from pass to pass.

Every field that enters a loop must leave each pass with the same type; a field first set in the body is maybe set
afterwards, because the body may run zero times. Corrected against the documents: their curriculum loops test fields
that nobody declares (`task_idx`, `generation`) and that no stage ever advances, so they would never end.
"""

from __future__ import annotations

from dataclasses import dataclass

from metta.sweep import Context, LoopLimitExceeded, Pipeline


@dataclass(frozen=True)
class Task:
    """A task of the curriculum, and the skill it asks for."""

    name: str
    difficulty: float


def setup(skill: float) -> tuple[list[Task], int]:
    """The curriculum, and where it begins."""
    return [Task("walk", 0.3), Task("run", 0.6), Task("jump", 1.0)], 0


def select_task(tasks: list[Task], task_idx: int) -> Task:
    """The task of this pass."""
    return tasks[task_idx]


def practise(current_task: Task, skill: float) -> float:
    """Skill grows with practice; harder tasks teach more."""
    return round(skill + 0.25 * current_task.difficulty, 3)


def advance(current_task: Task, skill: float, task_idx: int) -> int:
    """The next task once this one is mastered: what the documents' loops never did."""
    return task_idx + 1 if skill >= current_task.difficulty else task_idx


curriculum = (
    Pipeline()
    .stage("setup", setup)
    .through(tasks=list[Task], task_idx=int)
    .loop_while(lambda ctx: ctx.task_idx < len(ctx.tasks), max_iterations=20)
    .stage("select_task", select_task)
    .through(current_task=Task)
    .stage("practise", practise)
    .through(skill=float)
    .break_if(lambda ctx: ctx.skill > 2)  # good enough for everything
    .stage("advance", advance)
    .through(task_idx=int)
    .end_loop()
)


def step(x: float, lr: float) -> float:
    """One step of gradient descent on (x - 3)^2."""
    return x - lr * 2 * (x - 3)


# Without a condition the body runs at least once (do-while), so `gap` is surely set behind the loop.
descent = (
    Pipeline(x=float, lr=float)
    .loop_while(max_iterations=100)
    .stage("step", step)
    .through(x=float)
    .stage("gap", lambda x: abs(x - 3))
    .through(gap=float)
    .end_loop(until=lambda ctx: ctx.gap < 1e-3)
)


def main() -> None:
    """A curriculum, a descent that converges, and one that the limit stops."""
    result: Context = curriculum.compile().run(skill=0.1)
    print(f"skill {result.skill} after {result.task_idx} tasks, the last one {result.current_task.name}")
    graph = descent.compile()
    print(f"x = {graph.run(x=0.0, lr=0.3).x:.4f}")
    try:
        graph.run(x=0.0, lr=1.0)
    except LoopLimitExceeded as error:
        print(error)


if __name__ == "__main__":
    main()
