"""The main job: a language model from nothing, on this machine, from Python's own text.

Tokenizer, pretraining, tuning on tasks that the interpreter answers, measurement before and after, a folder, a report.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from viva import api
from viva.base.config import parse
from viva.base.files import write_text
from viva.base.seed import stream
from viva.evaluate import compressor
from viva.evaluate.exact_match import as_chat, as_interpreter, exact_match, replies
from viva.quickstart import stages
from viva.quickstart.report import Findings, rendered
from viva.text.rows.split import split
from viva.text.rows.tasks import FAMILIES, Task, task
from viva.train.recipe import Recipe
from viva.train.run import Run
from viva.train.run import run as train

REPORT = "report.md"
CONVERSATION = (
    "What is the value of `12 + 7`?",
    "`sorted([3, 1, 2])` 的值是多少?",
    "Who are you?",
)


@dataclass
class Clock:
    """Seconds spent in each part of the job."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] = time.perf_counter() - start


def run(minutes: float = 5.0, fast: bool = False, out: Path = Path("runs/quickstart")) -> None:
    """Do the main job in about `minutes` of compute, or in well under one if `fast`, and write `out`/report.md.

    The tuned model is the run `out` itself, the base model the run `out`/base.
    """
    plan, clock = stages.plan(minutes, fast), Clock()
    with clock.during("tokenizer and pretraining"):
        base = train(parse(Recipe, stages.pretraining(plan, out / "base")))
    if not base.finished:
        return  # asked to stop; what was said there tells how to go on
    with clock.during("tuning"):
        tuned = train(parse(Recipe, stages.tuning(plan, base.checkpoint, out)))
    if not tuned.finished:
        return
    with clock.during("evaluation"):
        findings = measured(plan, base, tuned, clock)
    write_text(out / REPORT, rendered(findings))
    print(
        f"\n{findings.summary}\n\nThe whole report: {out / REPORT}\nTalk to the model: viva chat {out}", file=sys.stderr
    )


def measured(plan: stages.Plan, base: Run, tuned: Run, clock: Clock) -> Findings:
    """Everything the report says, from the two runs."""
    recipe = parse(Recipe, stages.pretraining(plan, base.folder))
    held_out = [row.data["text"] for row in split(recipe.data.rows(), "valid", recipe.valid)]
    tasks = held_out_tasks(plan.asked)
    before, after = api.load(base.folder), api.load(tuned.folder)
    return Findings(
        base=base,
        tuned=tuned,
        documents=len(held_out),
        bytes=sum(len(text.encode()) for text in held_out),
        compressors=compressor.bits_per_byte(held_out),
        before=exact_match(before.model, before.tokenizer, tasks, as_interpreter),
        after=exact_match(after.model, after.tokenizer, tasks, as_chat),
        samples=list(zip(tasks[: len(FAMILIES)], answers(after, tasks[: len(FAMILIES)]), strict=True)),
        dialogues=[(said, after.chat([{"role": "user", "content": said}], temperature=0.0)) for said in CONVERSATION],
        continuation=before.generate("def ", temperature=0.8, top_p=0.95, max_new_tokens=120, seed=0),
        seconds=clock.seconds,
    )


def held_out_tasks(each: int) -> list[Task]:
    """`each` tasks of every family, in turns, with operands that tuning never sees."""
    names = list(FAMILIES)
    return [task(name, True, stream(0, "quickstart", name, number)) for number in range(each) for name in names]


def answers(model: api.LanguageModel, tasks: list[Task]) -> list[str]:
    """The model's replies to these tasks."""
    return replies(model.model, model.tokenizer, tasks, as_chat)
