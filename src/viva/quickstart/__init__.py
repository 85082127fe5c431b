"""The main job: a language model from nothing, on this machine, from Python's own text.

Tokenizer, pretraining, tuning on tasks that the interpreter answers, alignment by what the interpreter says of the
model's own answers, measurement of every stage, a folder, a report.
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
from viva.quickstart import pairs, stages
from viva.quickstart.report import Findings, rendered
from viva.text.rows.split import split
from viva.text.rows.tasks import FAMILIES, Task, task
from viva.train.recipe import Recipe
from viva.train.run import Run
from viva.train.run import run as train

REPORT = "report.md"
REPLIES = 4  # to each task of which a preference may be made
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
    """Do the main job in about `minutes` of compute, and write `out`/report.md; if `fast`, everything once.

    The last stage is the run `out` itself, those before it are the runs in `out`/base, `out`/tuned and `out`/preferred.
    """
    plan, clock = stages.plan(minutes, fast), Clock()
    runs = trained(plan, out, clock)
    if not all(each.finished for each in runs.values()):
        return  # asked to stop; what was said there tells how to go on
    with clock.during("evaluation"):
        findings = measured(plan, runs, clock)
    write_text(out / REPORT, rendered(findings))
    print(f"\n{findings.summary}\n\nThe whole report: {out / REPORT}\n{findings.talk}", file=sys.stderr)


def trained(plan: stages.Plan, out: Path, clock: Clock) -> dict[str, Run]:
    """Each stage's run, up to the first that was asked to stop."""
    runs: dict[str, Run] = {}
    for name, recipe in stages.recipes(plan, out).items():
        if name == "preferences":
            with clock.during("pairs"):
                tasks = pairs.tasks_to_ask(plan.preferences, seed=2)
                said = pairs.sampled(api.load(recipe["init"]), tasks, REPLIES, seed=0)
                pairs.write(Path(recipe["data"]["path"]), pairs.pairs(tasks, said))
        with clock.during(name):
            runs[name] = train(parse(Recipe, recipe))
        if not runs[name].finished:
            break
    return runs


def measured(plan: stages.Plan, runs: dict[str, Run], clock: Clock) -> Findings:
    """Everything the report says, from the runs."""
    recipe = parse(Recipe, stages.pretraining(plan, runs["pretraining"].folder))
    held_out = [row.data["text"] for row in split(recipe.data.rows(), "valid", recipe.valid)]
    tasks = held_out_tasks(plan.asked)
    models = {name: api.load(each.folder) for name, each in runs.items()}
    base, last = models["pretraining"], models["reward"]
    return Findings(
        runs=runs,
        scores={
            name: exact_match(model.model, model.tokenizer, tasks, as_interpreter if model is base else as_chat)
            for name, model in models.items()
        },
        documents=len(held_out),
        bytes=sum(len(text.encode()) for text in held_out),
        compressors=compressor.bits_per_byte(held_out),
        samples=list(zip(tasks[: len(FAMILIES)], answers(last, tasks[: len(FAMILIES)]), strict=True)),
        dialogues=[(said, last.chat([{"role": "user", "content": said}], temperature=0.0)) for said in CONVERSATION],
        continuation=base.generate("def ", temperature=0.8, top_p=0.95, max_new_tokens=120, seed=0),
        seconds=clock.seconds,
    )


def held_out_tasks(each: int) -> list[Task]:
    """`each` tasks of every family, in turns, with operands that tuning never sees."""
    names = list(FAMILIES)
    return [task(name, True, stream(0, "quickstart", name, number)) for number in range(each) for name in names]


def answers(model: api.LanguageModel, tasks: list[Task]) -> list[str]:
    """The model's replies to these tasks."""
    return replies(model.model, model.tokenizer, tasks, as_chat)
