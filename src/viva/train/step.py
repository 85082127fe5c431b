"""One step: an update, gradients of all micro-batches, checked, clipped, applied; or, of an experience, several."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from viva.base.errors import Refusal
from viva.base.seed import derive
from viva.model.ffn.moe import forget
from viva.train import guard
from viva.train.batch import Batch
from viva.train.job import Job, State
from viva.train.objective import with_auxiliary

ENDLESS = 10**9  # the length of a run whose end is not known yet: its schedule is still at its beginning


def update(job: Job, state: State) -> dict[str, Any]:
    """Take step `state.step`, and say what was measured on the way: of several updates the means."""
    done, rate = state.step / (state.steps or ENDLESS), _set_rate(job, state)
    sums, tokens, read, updates, skipped = Counter(), 0, 0, 0, {}
    for given in job.data.updates(state.step):
        draw = derive(job.seed, "update", state.step, updates)
        batches = [replace(batch.to(job.precision.device), done=done, draw=draw) for batch in given]
        metrics, applied = _applied(job, state.step, batches, read)
        if applied and job.average is not None:
            job.average.take(first=state.step + updates == 0)
        sums.update(metrics)
        tokens, read, updates = tokens + sum(batch.tokens for batch in batches), read + len(batches), updates + 1
        skipped |= {} if applied else {"skipped": "fp16 overflow; the loss scale was halved"}
    if not updates:
        sums, updates, skipped = {"loss": 0.0, "norm": 0.0}, 1, {"skipped": "nothing to learn in this step"}
    state.step += 1
    state.tokens += tokens
    means = {name: value / updates for name, value in sums.items()} | job.data.measured
    return {"step": state.step, **means, "lr": rate, "tokens": tokens, **skipped}


def _applied(job: Job, step: int, batches: list[Batch], before: int) -> tuple[dict[str, float], bool]:
    """Take an update, `before` micro-batches of the step behind it: what was measured, and whether fp16 let it be."""
    metrics = backward(job, step, batches, learned(batches, step), before)
    norm = _finite_gradient(job, step, batches)
    applied = job.precision.step(job.optimizer)
    job.optimizer.zero_grad(set_to_none=True)
    return {**metrics, "norm": norm}, applied


def learned(batches: list[Batch], step: int) -> int:
    count = sum(batch.count for batch in batches)
    if not count:
        fix = "check the format and the chat template with --dry-run; where documents are longer than train.context, "
        fix += "pieces that hold none of the answer come of it: raise that, or train.batch"
        raise Refusal(f"an update must have tokens to learn (step {step})", "a loss mask that hides them all", fix)
    return count


def backward(job: Job, step: int, batches: list[Batch], count: int, before: int = 0) -> dict[str, float]:
    """Gradients of the mean over all `count` tokens, exact however they are spread over micro-batches; `before` of
    these came in the same step.
    """
    objective, sums = job.regularised or job.objective, Counter()
    for i, batch in enumerate(batches, start=before):
        torch.manual_seed(derive(job.seed, "dropout", step, i))
        with job.precision.autocast():
            loss = with_auxiliary(objective(job.model, batch), job.model, batch)
        job.precision.backward(loss.sum / count)
        forget(job.model)
        sums.update({"loss": loss.sum.item(), **loss.metrics})
    if not math.isfinite(sums["loss"]):
        guard.refuse_loss(job.folder, job.learned, step, batches, sums["loss"])
    return {name: value / count for name, value in sums.items()}


def _finite_gradient(job: Job, step: int, batches: list[Batch]) -> float:
    """The global norm of the gradient, which is clipped to `train.clip` (Pascanu et al. 2013, algorithm 1)."""
    job.precision.unscale(job.optimizer)
    norm = guard.total_norm(job.learned.parameters())
    if not norm.isfinite() and not job.precision.may_overflow:
        guard.refuse_gradient(job.folder, job.learned, step, batches, norm.item())
    if 0 < job.train.clip < norm:
        torch.nn.utils.clip_grads_with_norm_(job.learned.parameters(), job.train.clip, norm)
    return norm.item()


def _set_rate(job: Job, state: State) -> float:
    rate = job.train.lr * job.train.schedule.factor(state.step, state.steps or ENDLESS)
    for group in job.optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
    return rate
