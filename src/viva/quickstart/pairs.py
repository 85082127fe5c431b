"""Preferences from a model's own replies: the right one, as the interpreter says, rather than a wrong one."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from viva import api
from viva.align.reply import Prompt
from viva.align.rollout import Rollout
from viva.base.files import write_text
from viva.base.seed import stream
from viva.evaluate.exact_match import LONGEST, as_chat
from viva.text.rows.tasks import FAMILIES, Task, task

ROWS = 256  # replies in work at a time


def tasks_to_ask(count: int, seed: int) -> list[Task]:
    """`count` tasks of every family in turn, with operands that training may see."""
    names = list(FAMILIES)
    return [task(names[i % len(names)], False, stream(seed, "asked", i)) for i in range(count)]


def sampled(model: api.LanguageModel, tasks: Sequence[Task], replies: int, seed: int) -> list[list[str]]:
    """So many replies to each task, drawn at temperature 1."""
    prompts = [Prompt(as_chat(model.tokenizer, each), each.question, each.answer, i) for i, each in enumerate(tasks)]
    rollout = Rollout(replies=replies, max_new_tokens=LONGEST)
    said = [reply.text for reply in rollout.drawn(model.model, model.tokenizer, prompts, seed, ROWS)]
    return [said[at : at + replies] for at in range(0, len(said), replies)]


def pairs(tasks: Sequence[Task], said: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Rows of the format `preference`: the right answer and the first wrong reply, for each task of whose replies some
    are right and some wrong; where that is none, as of a model that is never right, for each with a wrong reply.
    """
    rows = [(_pair(asked, texts), asked.answer in texts) for asked, texts in zip(tasks, said, strict=True)]
    return [row for row, known in rows if row and known] or [row for row, _ in rows if row]


def _pair(asked: Task, texts: Sequence[str]) -> dict[str, str] | None:
    wrong = next((text for text in texts if text != asked.answer), None)
    return None if wrong is None else {"prompt": asked.question, "chosen": asked.answer, "rejected": wrong}


def write(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One row a line."""
    write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
