"""Rows of a file as what is asked of an engine, and rows with the replies to them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from viva.api import Prompt
from viva.base.config import parse
from viva.base.errors import Refusal
from viva.base.seed import derive
from viva.infer.engine.asked import Asked
from viva.serve.columns import require_apart
from viva.serve.reply import Reply
from viva.text.rows.row import Row


@dataclass(frozen=True)
class Ask:
    """What a row asks: a text or messages, with the tools that may be called, how the reply is drawn, and by which
    adapter, "" without one.
    """

    row: Row
    prompt: Prompt
    tools: list[dict] | None
    asked: Asked
    adapter: str = ""


def ask(row: Row, number: int, sampling: dict[str, Any]) -> Ask:
    """What a row asks; a field of `Asked` in it that is not null takes the place of that of `sampling`. Of the seed
    there each row has a stream of its own, by its `number`.

    Refused: a row without a prompt, or with two; a field that is nearly one of ours; a column where a reply is written.
    """
    own = {name: row.data[name] for name in Asked.model_fields if row.data.get(name) is not None}
    seed = sampling.get("seed")
    drawn = {} if seed is None else {"seed": derive(seed, "row", number)}
    prompt = _prompt(row)
    require_apart(row)
    asked = parse(Asked, {**sampling, **drawn, **own}, name=row.where)
    return Ask(row, prompt, row.data.get("tools"), asked, _adapter(row))


def _prompt(row: Row) -> Prompt:
    found = {name: row.data[name] for name in ("prompt", "messages") if row.data.get(name) is not None}
    fix = 'write {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}'
    if len(found) != 1:
        raise Refusal(f"{row.where} must have a prompt or messages", " and ".join(found) or _fields(row), fix)
    [(name, prompt)] = found.items()
    if not isinstance(prompt, str if name == "prompt" else list):
        kind = "a text" if name == "prompt" else "a list"
        raise Refusal(f"{row.where}: {name} must be {kind}", repr(prompt)[:60], fix)
    return prompt


def _adapter(row: Row) -> str:
    name = row.data.get("adapter")
    if not isinstance(name, str | None):
        raise Refusal(f"{row.where}: adapter must be a name", repr(name)[:60], "write one of --adapter NAME=FOLDER")
    return name or ""


def _fields(row: Row) -> str:
    return f"the fields {', '.join(map(repr, row.data))}" if row.data else "no field"


@contextmanager
def at(row: Row) -> Iterator[None]:
    """Say of a refusal which row it is of."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(f"{row.where}: {refusal.must}", refusal.found, refusal.fix) from None


def answered(row: Row, replies: Sequence[Reply], asked: Asked) -> dict[str, Any]:
    """The row with the text of its reply, why it ended, and of how many tokens it is; lists of them where there are
    several. `token_logprobs` are there where logprobs were asked for.
    """
    told = {
        "reply": [reply.text for reply in replies],
        "finish": [reply.finish for reply in replies],
        "tokens": [len(reply.picked) for reply in replies],
    }
    if asked.logprobs is not None:
        told["token_logprobs"] = [[_logprobs(picked) for picked in reply.picked] for reply in replies]
    return {**row.data, **(told if asked.n > 1 else {name: values[0] for name, values in told.items()})}


def _logprobs(picked: Any) -> dict[str, Any]:
    top = [{"id": token, "logprob": logprob} for token, logprob in picked.top]
    return {"id": picked.token, "logprob": picked.logprob, "top": top}
