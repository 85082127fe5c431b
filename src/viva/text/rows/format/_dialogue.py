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


def parted(one: str, other: str) -> tuple[str, str, str] | None:
    """What two dialogues begin with alike, up to where the assistant goes on in its own words, and the rest of each;
    None where they do not part there.

    >>> parted("\\n\\nHuman: Hi\\n\\nAssistant: Hello", "\\n\\nHuman: Hi\\n\\nAssistant: What?")
    ('\\n\\nHuman: Hi\\n\\nAssistant:', ' Hello', ' What?')
    """
    *_, last = [None, *(turn for turn in TURN.finditer(one) if other.startswith(one[: _said(turn)]))]
    if last is None or last[1] != "Assistant":
        return None
    return one[: _said(last)], one[_said(last) :], other[_said(last) :]


def later(text: str, without: int) -> str:
    """A dialogue without its `without` oldest turns of the user and what follows each, but with the last; a text that
    is none as it is.

    >>> later("\\n\\nHuman: Hi\\n\\nAssistant: Hello\\n\\nHuman: Who?\\n\\nAssistant:", 1)
    '\\n\\nHuman: Who?\\n\\nAssistant:'
    """
    asked = [turn.start() for turn in TURN.finditer(text) if turn[1] == "Human"]
    return text[asked[min(without, len(asked) - 1)] :] if without and asked and is_dialogue(text) else text


def _said(turn: re.Match) -> int:
    """Where the words of a turn begin."""
    return turn.end(1) + 1
