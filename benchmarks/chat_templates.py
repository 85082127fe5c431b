"""Conversations as viva and as transformers write them, with each of viva's chat templates and a published one.

    python benchmarks/chat_templates.py --data DIR [--each 50]

DIR holds the folders alpaca_en, alpaca_zh, sharegpt_zh, mt_bench, llama_factory_demo and tok_minimind (docs/chat.md).
A table says for each template and each kind of conversation how many gave equal ids, finished and with a reply opened,
how many both refused, how many viva alone refused, with the reasons below, and how many differ. It exits with 1 if any
does.
"""

import argparse
import gzip
import json
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from transformers import AutoTokenizer

from viva.base.errors import Refusal
from viva.text.talk import chat
from viva.text.tokens.templates import names
from viva.text.tokens.tokenizer import Tokenizer

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
SYSTEM = {"role": "system", "content": "You answer briefly. 回答要简短。"}


def rows(file: Path) -> list[dict]:
    """The rows of a .json or .jsonl file, perhaps gzipped."""
    packed = file.read_bytes()
    text = (gzip.decompress(packed) if file.suffix == ".gz" else packed).decode()
    return json.loads(text) if ".json." in f"{file.name}." else [json.loads(line) for line in text.splitlines() if line]


def alpaca(row: dict) -> list[dict]:
    asked = "\n\n".join(filter(None, [row["instruction"], row["input"]]))
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]


def sharegpt(turns: list[dict]) -> list[dict]:
    """ShareGPT's turns as messages; a function call becomes a tool call with an id of nine digits, as Mistral has."""
    messages: list[dict] = []
    for place, turn in enumerate(turns):
        if turn["from"] == "function_call":
            called = json.loads(turn["value"])
            called = called if isinstance(called, list) else [called]
            calls = [
                {"type": "function", "function": call, "id": f"{place * 10 + at:09}"} for at, call in enumerate(called)
            ]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        elif turn["from"] == "observation":
            number = messages[-1]["tool_calls"][0]["id"]
            messages.append({"role": "tool", "content": turn["value"], "tool_call_id": number})
        else:
            messages.append({"role": ROLES[turn["from"]], "content": turn["value"]})
    return messages


def conversations(data: Path, each: int) -> Iterator[tuple[str, list[dict], list[dict] | None]]:
    """(kind, messages, tools) of `each` conversations of every kind."""
    for language in ("en", "zh"):
        for row in rows(data / f"alpaca_{language}" / f"alpaca_{language}.jsonl.gz")[:each]:
            yield f"one turn, {language}", alpaca(row), None
            yield f"system, {language}", [SYSTEM, *alpaca(row)], None
    talks = [sharegpt(row["conversations"]) for row in rows(data / "sharegpt_zh" / "sharegpt_zh_1k.jsonl.gz")]
    for talk in [talk for talk in talks if len(talk) > 2 and talk[-1]["role"] == "assistant"][:each]:
        yield "many turns, zh", talk, None
    answers = {row["question_id"]: row for row in rows(data / "mt_bench" / "reference_answer_gpt-4.jsonl")}
    for row in rows(data / "mt_bench" / "question.jsonl"):
        if row["question_id"] in answers:
            said = zip(row["turns"], answers[row["question_id"]]["choices"][0]["turns"], strict=True)
            roles = ("user", "assistant")
            talk = [{"role": role, "content": text} for pair in said for role, text in zip(roles, pair, strict=True)]
            yield "many turns, en", talk, None
    for language in ("en", "zh"):
        found = rows(data / "llama_factory_demo" / f"glaive_toolcall_{language}_demo.json.gz")
        called = [row for row in found if any(turn["from"] == "function_call" for turn in row["conversations"])]
        for row in called[:each]:
            tools = [{"type": "function", "function": tool} for tool in json.loads(row["tools"])]
            yield f"tools, {language}", sharegpt(row["conversations"]), tools


def outcome(ours: Tokenizer, theirs, messages: list[dict], tools: list[dict] | None) -> tuple[str, str]:
    """("equal", "refused by both", "refused by viva" or "differ"; why, where viva alone refuses)."""
    last = max(place for place, message in enumerate(messages) if message["role"] in ("user", "tool"))
    for talk, reply in ((messages, False), (messages[: last + 1], True)):
        try:
            expected = theirs.apply_chat_template(talk, tools, add_generation_prompt=reply, return_dict=False)
        except Exception:  # whatever the template raises
            expected = None
        try:
            made = chat.render(ours, talk, reply, tools)
        except Refusal as refusal:
            return ("refused by both", "") if expected is None else ("refused by viva", refusal.must)
        if expected is None or made.ids != expected:
            return "differ", ""
    return "equal", ""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--each", type=int, default=50, help="conversations of each kind")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    talks = list(conversations(given.data, given.each))
    base = Tokenizer.load(given.data / "tok_minimind")
    kinds = list(dict.fromkeys(kind for kind, _, _ in talks))
    print(f"{len(talks)} conversations, each finished and with a reply opened\n")
    print(f"| template | {' | '.join(kinds)} |\n|{'---|' * (len(kinds) + 1)}")
    reasons, differing = Counter(), 0
    for name in (*names(), "minimind's own"):
        ours = base if name == "minimind's own" else base.with_template(name)
        with tempfile.TemporaryDirectory() as folder:
            ours.save(folder)
            theirs = AutoTokenizer.from_pretrained(folder)
        found = {kind: Counter() for kind in kinds}
        for kind, messages, tools in talks:
            said, why = outcome(ours, theirs, messages, tools)
            found[kind][said] += 1
            reasons[name, re.sub(r"message \d+", "a message", why)] += bool(why)
            differing += said == "differ"
        cells = (", ".join(f"{count} {said}" for said, count in found[kind].items()) for kind in kinds)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\nWhat viva alone refuses, since the template would leave something out:\n")
    for (name, why), count in sorted(reasons.items()):
        if count:
            print(f"- {name}: {count} times, {why}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
