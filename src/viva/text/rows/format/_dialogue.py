"""Anthropic's dialogues, "\\n\\nHuman: ...\\n\\nAssistant: ..." in one text (Bai et al. 2022), as messages."""

import re
from typing import Any

TURN = re.compile(r"\n\n(Human|Assistant): ?")
ROLES = {"Human": "user", "Assistant": "assistant"}
OPENED = {"role": "assistant", "content": ""}


def is_dialogue(said: Any) -> bool:
    """Whether this is a text that begins with somebody's turn."""
    first, *rest = TURN.split(said, maxsplit=1) if isinstance(said, str) else [""]
    return bool(rest) and not first.strip()


def turns(dialogue: str) -> list[dict]:
    """The messages of a dialogue."""
    _, *rest = TURN.split(dialogue)
    return [{"role": ROLES[who], "content": said} for who, said in zip(rest[::2], rest[1::2], strict=True)]


def asked(dialogue: str) -> list[dict]:
    """The messages of a dialogue that is to be answered, whether the answer's turn is opened in it or not."""
    found = turns(dialogue)
    return found[:-1] if found[-1] == OPENED else found


def last_turn(dialogue: str) -> tuple[str, str]:
    """What stands before the words of the last turn, and these.

    >>> last_turn("\\n\\nHuman: Hi\\n\\nAssistant: Hello")
    ('\\n\\nHuman: Hi\\n\\nAssistant:', ' Hello')
    """
    *_, last = TURN.finditer(dialogue)
    at = last.end() - last[0].endswith(" ")
    return dialogue[:at], dialogue[at:]
