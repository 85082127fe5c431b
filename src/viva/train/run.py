"""From a recipe to a trained model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from viva.base import machine, product
from viva.base.files import sole_user
from viva.infer.trained import Trained
from viva.model import folder, size
from viva.model.head import Vocabulary
from viva.text.tokens.fingerprint import digest
from viva.train import checkpoint, metrics, rates, start
from viva.train.average import Average
from viva.train.flops import train_flops
from viva.train.job import Job, State
from viva.train.loop import fit
from viva.train.objective import Ground, together
from viva.train.precision import Precision
from viva.train.recipe import Recipe, claim
from viva.train.remarks import remarks
from viva.train.report import Report
from viva.train.start import Parts
from viva.train.stop import Asked
from viva.train.vitals import Trouble, Vitals

Watch = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Run:
    """A run's folder, its last record, the checkpoint to use, whether it came to its end, whether it `writes` text,
    whether it learned to do so in conversations, so that it `talks`, and its `troubles`; `halted`: one of them ended
    it, as `train.health.stop` asks.

    `metrics` is empty where it was asked to stop before the first step.
    """

    folder: Path
    metrics: dict[str, Any]
    checkpoint: Path
    finished: bool
    writes: bool
    talks: bool
    troubles: tuple[Trouble, ...] = ()
    halted: bool = False


def run(recipe: Recipe, watch: Watch = lambda record: False) -> Run:
    """Train as the recipe says, on from the newest valid checkpoint in `out` if there is one. `watch` is told each
    record, and asks the run to stop by True.
    """
    with sole_user(Path(recipe.out)), Asked() as asked:
        return _run(recipe, claim(recipe), asked, watch)


def _run(recipe: Recipe, out: Path, asked: Asked, watch: Watch) -> Run:
    checkpoint.clean(out)
    parts = start.parts(recipe, out)
    machine.keep_freed_memory()  # from here on: what it took to read a model goes back
    job, state = assembled(recipe, out, parts)
    metrics.rewind(out, state.step)
    peak = machine.matrix_rate(job.precision.matrices, job.precision.device)
    with Report(out, train_flops(parts.model, recipe.train.context), peak, recipe.train.tensorboard) as report:
        vitals = Vitals(recipe.train.health, recipe.objective.troubles, metrics.read(out))
        halted = False
        report.say(*_opening(parts, job, state), *([vitals.healthy()] if parts.begun else []))
        if hasattr(job.objective, "prepare"):
            job.objective.prepare(out, [data for data in (parts.train, parts.valid) if data], job.precision)

        def log(state: State, record: dict[str, Any]) -> None:
            nonlocal halted
            report.log(state, record)
            found = vitals.see(record)
            report.say(*([vitals.healthy()] if state.step == 1 else []), *map(str, found))
            halted |= recipe.train.health.stop and bool(found)
            asked.asked |= watch(record) or halted

        finished = fit(replace(job, log=log), state, asked)
        report.say(*vitals.closing(), _closing(out, state, finished, halted))
    records = metrics.read(out)
    writes = parts.model.decoder is not None and isinstance(parts.model.head, Vocabulary)
    last, talks = records[-1] if records else {}, writes and parts.form.talks()
    troubles = tuple(vitals.troubles.values())
    return Run(out, last, checkpoint.best(out), finished, writes, talks, troubles, halted and not finished)


def assembled(recipe: Recipe, out: Path, parts: Parts) -> tuple[Job, State]:
    """The job, and the state it begins in."""
    train, device = recipe.train, machine.required(recipe.train.device)
    model = parts.model.to(device)
    for stack in model.stacks:
        stack.recompute = train.recompute
        for layer in stack.layers if train.compile else ():
            layer.ffn.compile()  # attention's shapes change with every packed batch, and would be compiled anew
    before = checkpoint.facts(parts.begun) if parts.begun else None
    precision = Precision(before["precision"] if before else train.precision, device)
    ground = Ground(parts.train.documents, parts.tokenizer, model, parts.parent)
    objective, regularised = recipe.objective.build(ground), None
    for each in train.regularise:
        regularised = each.wrap(regularised or objective, ground)
    data, valid = recipe.objective.drawn(parts.train, parts.valid, replace(ground, objective=objective), precision)
    optimizer = train.optim.build(together(model, objective))
    rates.apportion(optimizer, model, train.rates, train.decays, train.layer_decay)
    job = Job(
        folder=out,
        model=model,
        optimizer=optimizer,
        data=data,
        objective=objective,
        regularised=regularised,
        precision=precision,
        train=train,
        valid=valid,
        seed=recipe.seed,
        average=Average(model, train.ema) if train.ema is not None else None,
        beside=ground.beside,
    )
    notes = {"recipe": digest(recipe.resolved()), "data": parts.train.documents.name, "parent": parts.parent}
    if parts.added:
        notes["added"] = parts.added
    if labels := parts.form.classes():
        notes["labels"] = labels
    known = Trained.told((parts.source and folder.manifest(parts.source)) or {}, str(parts.source))
    notes |= known.notes | Trained(texts=parts.form.texts(), **recipe.objective.asked(parts.tokenizer)).notes
    save = lambda state: checkpoint.save(job, state, parts.adapter or parts.config, parts.tokenizer, notes)  # noqa: E731
    return replace(job, save=save), checkpoint.restore(parts.begun, job) if before else State()


def _opening(parts: Parts, job: Job, state: State) -> list[str]:
    """What is about to happen, in sentences."""
    said = [f"passed over {reason}" for reason in parts.passed]
    if parts.begun:
        said.append(f"going on from {parts.begun}, step {state.step}")
    everything, trained = size.numbers(parts.model)
    part = "" if trained == everything else f", of which {trained / 1e6:.3g} M are trained"
    said.append(f"{everything / 1e6:.2f} M parameters{part}")
    said.append(f"precision {job.precision.name}: {job.precision.why}")
    if (job.precision.name, job.precision.device) == ("fp32", "cpu"):
        name, why = product.fastest(few=False)
        said.append(f"products by {name}: {why}")
    return said + remarks(parts, job, state)


def _closing(out: Path, state: State, finished: bool, halted: bool) -> str:
    if not finished:
        why = "by trouble, as train.health.stop asks," if halted else "as asked"
        return f"stopped {why} after step {state.step}, saved in {out}; the same command goes on from there"
    best = "" if state.best is None else f", the lowest held-out loss {state.best:z.3f} at step {state.best_step}"
    return f"finished after step {state.step}{best}; saved in {out}"
