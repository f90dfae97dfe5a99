"""Makes the frozen run of a pipeline, format 1: `python -m tests.runtime.frozen.make_v1`. Never again once released.

Its driver was killed inside of the last stage.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from metta.sweep import Pipeline
from metta.sweep.store.run import Run

HERE = Path(__file__).parent
FOLDER = HERE / "v1"


class Model(NamedTuple):
    weights: list[float]
    epoch: int


def load(size: int) -> list[float]:
    return [0.5] * size


def train(data: list[float], model: Model) -> Model:
    return Model([sum(data)], model.epoch + 1)


def square(x: float) -> float:
    return x * x


def dies(model: Model) -> float:
    os._exit(9)


pipeline = (
    Pipeline(size=int, model=Model)
    .stage("load", load)
    .through(data=list[float])
    .loop_while(lambda now: now.model.epoch < 2)
    .stage("train", train)
    .through(model=Model, checkpoint_path=lambda now: f"models/{now.model.epoch}")
    .end_loop()
    .map("square", square, over="data", max_parallel=1)
    .through(squares=list[float])
    .stage("dies", dies)
    .through(score=float, retry=1)
)


def main() -> None:
    store = HERE / "store"
    child = os.fork()
    if not child:
        os.chdir("/")  # outside of any repository
        pipeline.compile().with_store(store, "frozen").run(size=3, model=Model([], 0))
    os.waitpid(child, 0)
    shutil.rmtree(FOLDER, ignore_errors=True)
    (run,) = (store / "runs").iterdir()
    run.rename(FOLDER)
    shutil.rmtree(store)
    described = json.loads((FOLDER / "manifest.json").read_text())
    # Nothing of the machine it was made on.
    kept = {name: described[name] for name in ("format", "id", "name", "kind", "created", "version")}
    (FOLDER / "manifest.json").write_text(json.dumps(kept, indent=2) + "\n")
    with Run.open(FOLDER, write=True):
        pass  # folds the log of the database in
    (FOLDER / "lock").unlink()


if __name__ == "__main__":
    main()
