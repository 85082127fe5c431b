"""What a model reads of the prompt of a request, or why that cannot be."""

from typing import Any

from viva.serve.engine import Engine
from viva.serve.errors import Trouble, refusing
from viva.text.talk import chat
from viva.text.tokens.tokenizer import Tokenizer


def read(engine: Engine, prompt: Any, tools: list[dict] | None, adapter: str, field: str) -> list[int]:
    """The ids of a prompt of `field`, a text, messages or ids. It takes a second for a million characters."""
    tokenizer = engine.models[adapter].tokenizer
    _require_short(prompt, engine.room(adapter), tokenizer.longest, field)
    _require_placed(prompt, tokenizer, field)
    return refusing(lambda: engine.ids(prompt, tools, adapter), field)


def _require_short(prompt: Any, room: int, longest: int, field: str) -> None:
    """Refuse, before it is looked at, a text of more characters than tokens for all the room could have."""
    if (count := _length(prompt)) > room * longest:
        message = (
            f"{field} must have at most {room * longest:,} characters, {longest} (the longest token's) for each of"
            f" the {room} tokens that there is room for, but has {count:,}"
        )
        raise Trouble(400, message, field, "context_length_exceeded")


def _length(prompt: Any) -> int:
    """Characters of a text, or of what messages say; ids have none."""
    return len(prompt) if isinstance(prompt, str) else sum(len(each.get("content", "")) for each in _messages(prompt))


def _require_placed(prompt: Any, tokenizer: Tokenizer, field: str) -> None:
    """Refuse reasoning for which the chat template has no place. One that has may leave out that of earlier turns."""
    for place, message in enumerate(_messages(prompt)):
        if "reasoning_content" in message and not chat.has_reasoning(tokenizer):
            where = f"{field}.{place}.reasoning_content"
            raise Trouble(400, "reasoning_content has no place in this model's chat template: leave it out", where)


def _messages(prompt: Any) -> list[dict[str, Any]]:
    return [each for each in prompt if isinstance(each, dict)]
