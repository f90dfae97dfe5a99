"""The benchmark of transfer runs, with a tiny size. What it measures is not judged here."""

from __future__ import annotations

from benchmarks.transfer import CURVES, EARLIER, OPTIMIZERS, Job, jobs, rows, search


def test_there_is_a_row_for_every_comparison() -> None:
    wanted = jobs(3)
    assert len(wanted) == len(set(wanted)) == 3 * (len(CURVES) * len(OPTIMIZERS) + 2 * len(EARLIER))
    worst = {job: float(job.how in ("all rungs", *EARLIER)) for job in wanted}
    assert not any(row.holds for row in rows(worst) if "better" in row.promise or "within" in row.promise)
    best = {job: 1 - regret for job, regret in worst.items()}
    assert [row.ratio for row in rows(best)] == ["3 wins, 0 losses"] * (2 * len(CURVES) + len(EARLIER))


def test_searches_are_the_same_under_the_same_seed() -> None:
    for job in (Job("Hartmann-6", "all rungs", 1), Job("related", "related", 1, 4), Job("related", "", 1, 4)):
        regret = search(job)
        assert 0 <= regret == search(job)
    assert search(Job("related", "", 2, 4)) != regret
