"""Preferences from a model's own mistakes: where the interpreter says otherwise, its answer is preferred."""

import json
from collections.abc import Sequence
from pathlib import Path

from viva import api
from viva.align.reply import Prompt
from viva.align.rollout import Rollout
from viva.base.files import write_text
from viva.base.seed import stream
from viva.evaluate.exact_match import LONGEST, as_chat
from viva.text.rows.tasks import FAMILIES, Task, task

ROWS = 256  # replies in work at a time


def asked(count: int, seed: int) -> list[Task]:
    """`count` tasks of every family in turn, with operands of those that training may see."""
    names = list(FAMILIES)
    return [task(names[i % len(names)], False, stream(seed, "asked", i)) for i in range(count)]


def pairs(model: api.LanguageModel, tasks: Sequence[Task], replies: int, seed: int) -> list[dict[str, str]]:
    """Rows of the format `preference`: for each task of which one of so many sampled replies is wrong, the right answer
    and the first wrong reply. The right answer to a task is one text, so that a right reply is that text too.
    """
    prompts = [Prompt(as_chat(model.tokenizer, each), each.question, each.answer, i) for i, each in enumerate(tasks)]
    rollout = Rollout(replies=replies, max_new_tokens=LONGEST)
    wrong: dict[int, str] = {}
    for reply in rollout.drawn(model.model, model.tokenizer, prompts, seed, ROWS):
        if reply.text != reply.prompt.answer:
            wrong.setdefault(reply.prompt.number, reply.text)
    return [
        {"prompt": tasks[i].question, "chosen": tasks[i].answer, "rejected": said} for i, said in sorted(wrong.items())
    ]


def write(file: Path, rows: list[dict[str, str]]) -> None:
    """One row a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
