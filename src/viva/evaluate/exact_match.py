"""Exact match on Python tasks: the share of replies that are what the interpreter answers, to the character."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from viva.evaluate.paired import wilson
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model.transformer import Transformer
from viva.text.rows.tasks import Task
from viva.text.talk import chat
from viva.text.tokens.tokenizer import Tokenizer

LONGEST = 24  # tokens of a reply; every answer of the task families is shorter

Ask = Callable[[Tokenizer, Task], list[int]]  # the prompt's ids


@dataclass(frozen=True)
class Score:
    """Of each task its family, and whether it was answered right."""

    families: tuple[str, ...]
    right: tuple[bool, ...]

    @property
    def share(self) -> float:
        """Of all tasks."""
        return sum(self.right) / len(self.right)

    @property
    def interval(self) -> tuple[float, float]:
        """That of the share, with 95 % confidence."""
        return wilson(sum(self.right), len(self.right))

    @property
    def asked(self) -> Counter:
        """How many tasks of each family."""
        return Counter(self.families)

    def of(self, family: str) -> float:
        """The share of one family's tasks."""
        right = sum(each for name, each in zip(self.families, self.right, strict=True) if name == family)
        return right / self.asked[family]


def as_chat(tokenizer: Tokenizer, task: Task) -> list[int]:
    """The question as a user's turn, a reply opened: how a tuned model is asked."""
    return chat.render(tokenizer, [{"role": "user", "content": task.question}], reply=True).ids


def as_interpreter(tokenizer: Tokenizer, task: Task) -> list[int]:
    """The expression at the interpreter's prompt, as Python's documentation shows it: how a base model is asked."""
    return [tokenizer.bos_id, *tokenizer.encode(f">>> {task.expression}\n")]


def replies(model: Transformer, tokenizer: Tokenizer, tasks: Sequence[Task], ask: Ask) -> list[str]:
    """The most likely reply to each task, up to its end or the end of its line."""
    prompts = [ask(tokenizer, task) for task in tasks]
    sampling = Sampling(temperature=0.0, max_new_tokens=LONGEST)
    made = generate_batch(model, prompts, sampling, tokenizer.stops)
    return [tokenizer.decode([token for token in ids if token not in tokenizer.stops]).split("\n")[0] for ids in made]


def exact_match(model: Transformer, tokenizer: Tokenizer, tasks: Sequence[Task], ask: Ask) -> Score:
    """Which of the tasks are answered right."""
    said = replies(model, tokenizer, tasks, ask)
    right = tuple(reply == task.answer for task, reply in zip(tasks, said, strict=True))
    return Score(tuple(task.family for task in tasks), right)
