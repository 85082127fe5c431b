"""The one loop: every objective, every stage."""

import math
import time
from statistics import median

from viva.base.errors import Refusal
from viva.train.data import Data
from viva.train.evaluation import evaluate
from viva.train.experience import Experience
from viva.train.job import Job, State, Train
from viva.train.step import update
from viva.train.stop import Asked

PACE = 8  # steps that a run of `minutes` takes to measure how many it has time for


def fit(job: Job, state: State, asked: Asked) -> bool:
    """Train from `state` to its end; False if asked to stop before it. A checkpoint holds the last step either way."""
    job.model.train()
    if state.steps is None:
        state.steps = length(job.train, job.data)
    times, saved_at = [], time.monotonic()
    ended = finished(job.train, state) or bool(asked)
    if ended and not state.step:
        job.save(state)  # asked before the first step
    while not ended:
        start = time.perf_counter()
        record = update(job, state)
        times.append(time.perf_counter() - start)
        if state.steps is None and len(times) >= PACE:
            state.steps = paced(job.train.minutes, times, state.step)
        if job.valid and (state.step == state.steps or due(job.train.eval_every, state.step)):
            record |= evaluate(job)
            judge(state, record["valid_loss"])
        job.log(state, {**record, "seconds": times[-1]})
        ended = bool(asked) or finished(job.train, state)
        late = time.monotonic() - saved_at > 60 * job.train.save_minutes
        if ended or late or due(job.train.save_every, state.step) or state.best_step == state.step:
            job.save(state)
            saved_at = time.monotonic()
    return finished(job.train, state)


def finished(train: Train, state: State) -> bool:
    """Whether the last step is taken, or `patience` evaluations in a row were no better than the best."""
    return state.step == state.steps or bool(train.patience and state.stale >= train.patience)


def due(every: int | None, step: int) -> bool:
    """Whether something that is done every so many steps is to be done after `step` of them."""
    return every is not None and step % every == 0


def judge(state: State, loss: float) -> None:
    """Note whether a held-out loss is the best so far."""
    if not math.isfinite(loss):
        fix = "lower train.lr; the last checkpoint is from before"
        raise Refusal(f"the held-out loss must be finite (step {state.step})", loss, fix)
    better = state.best is None or loss < state.best
    state.stale = 0 if better else state.stale + 1
    if better:
        state.best, state.best_step = loss, state.step


def length(train: Train, data: Data | Experience) -> int | None:
    """The steps of a run, or None where `minutes` are given and the pace is to be measured."""
    if train.minutes is not None:
        return None
    return train.steps or math.ceil(train.epochs * data.steps_an_epoch)


def paced(minutes: float, times: list[float], step: int) -> int:
    """The step at which a run that took `times` seconds for its last steps ends after `minutes`."""
    return step + max(1, round((60 * minutes - sum(times)) / median(times)))
