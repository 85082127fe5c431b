"""A step of decoding that `tokenizers` cannot take on a short text, said by another of its steps."""

import json
import re
from typing import Any

import tokenizers


def steady(core: tokenizers.Tokenizer, decoder: dict[str, Any] | None) -> tokenizers.Tokenizer:
    """`core`, or a copy that decodes alike, and a text of nothing too; `decoder` is its own, as tokenizer.json has it.

    The library's Strip counts back from the end of a text without a look at its length, and stops the whole program
    where that is less than what it may take away.
    """
    steps = [] if decoder is None else decoder.get("decoders", [decoder])
    if not any(_counts_back(step) for step in steps):
        return core
    steps = [same for step in steps for same in _said_otherwise(step)]
    parts = json.loads(core.to_str()) | {"decoder": {"type": "Sequence", "decoders": steps}}
    return tokenizers.Tokenizer.from_str(json.dumps(parts))


def _counts_back(step: dict[str, Any]) -> bool:
    return step.get("type") == "Strip" and step["stop"] > 0


def _said_otherwise(step: dict[str, Any]) -> list[dict[str, Any]]:
    """Steps that do what `step` does."""
    if not _counts_back(step):
        return [step]
    tail = {"Regex": rf"{re.escape(step['content'])}{{1,{step['stop']}}}\z"}
    return [{**step, "stop": 0}, {"type": "Replace", "pattern": tail, "content": ""}]
