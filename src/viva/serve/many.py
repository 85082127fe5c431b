"""The prompts of a file answered through an engine."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viva.base.errors import Notice, Refusal
from viva.base.progress import Progress
from viva.infer.engine.asked import Asked
from viva.infer.generate import tell_full
from viva.infer.spelled import tell_spelled
from viva.serve import rows
from viva.serve.bar import Bar
from viva.serve.begun import Begun, begun
from viva.serve.engine import Engine
from viva.serve.rows import Ask
from viva.text.rows.row import Corpus


@dataclass(frozen=True)
class Done:
    """How many `rows` have their replies, and how many had them `before`; of those answered now, how the replies ended,
    their tokens, and how many tokens a second; rows that `failed` have none.
    """

    rows: int
    before: int
    ends: dict[str, int]
    tokens: int
    speed: float
    failed: int


def answer(engine: Engine, corpus: Corpus, out: Path, sampling: dict[str, Any], facts: dict[str, Any]) -> Done:
    """Write each row with its reply to `out`, in their order, once all are there; until then they are kept as they end,
    and the same call goes on. Every row is looked through before the first is answered.

    `sampling` is for all rows, whose own fields go before it. `facts` say which model replies, so that no other one
    goes on. A row that fails is told by a Notice, and is tried again by the next call; one whose form leads nowhere,
    where trying again would lead, is told by a Notice and has the finish "error".
    """
    asks = [rows.ask(row, number, sampling) for number, row in enumerate(corpus.rows())]
    if not asks:
        raise Refusal(f"{corpus.label} must have a row to answer", "none", "write one JSON object a line")
    facts = {"input": corpus.digest(), **sampling, **facts}
    with begun(out, facts) as kept:
        before = len(kept)
        rest = {number: each for number, each in enumerate(asks) if number not in kept}
        _require_served(engine, rest.values())
        with Bar("replies", len(asks), before) as bar:
            ends = _answer(engine, rest, kept, bar)
        if len(kept) == len(asks):
            kept.finish()
    return Done(len(kept), before, ends, bar.tokens, bar.speed, len(asks) - len(kept))


def _require_served(engine: Engine, asks: Collection[Ask]) -> None:
    """Refuse what cannot be asked, before hours are spent on the rest."""
    tell_spelled(engine.model.tokenizer, [each.prompt for each in asks if isinstance(each.prompt, str)])
    with Progress("prompts are looked through") as progress:
        for count, each in enumerate(asks, start=1):
            with rows.at(each.row):
                engine.require(engine.ids(each.prompt, each.tools, each.adapter), each.asked, each.adapter)
            progress.say(f"{count:,}")


def _answer(engine: Engine, rest: dict[int, Ask], kept: Begun, bar: Bar) -> dict[str, int]:
    """Have the rows answered; how the replies ended. Of those that had no room to go on it is said."""
    ends, full, numbers = Counter(), Counter(), list(rest)

    def asked() -> Iterator[tuple[list[int], Asked, str]]:
        for each in rest.values():
            yield engine.ids(each.prompt, each.tools, each.adapter), each.asked, each.adapter

    with closing(engine.ended(asked(), bar.take)) as ended:
        for place, replies in ended:
            each = rest[numbers[place]]
            if failed := [reply for reply in replies if reply.error]:
                warnings.warn(Notice(f"{each.row.where} failed: {failed[0].error}"), stacklevel=2)
            if not all(reply.stuck for reply in failed):
                continue
            kept.add(numbers[place], rows.answered(each.row, replies, each.asked))
            ends.update(reply.finish for reply in replies)
            full.update(reply.full for reply in replies if reply.full)
    for what, count in full.items():
        tell_full(count, what)
    return dict(ends)
