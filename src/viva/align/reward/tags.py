"""1 where a reply is made of tagged parts, in order and nothing beside them, else 0."""

import re
from functools import cached_property

from pydantic import Field

from viva.align.reply import Reply
from viva.align.reward import Rule


class Config(Rule):
    """tags: the names, such as [think, answer] for `<think>...</think><answer>...</answer>` (DeepSeek-AI 2025,
    https://arxiv.org/abs/2501.12948, section 2.2.2). Space may stand between the parts, and no part may hold a tag.
    """

    tags: tuple[str, ...] = Field(min_length=1)

    @cached_property
    def _form(self) -> re.Pattern:
        marks = "|".join(re.escape(mark) for tag in self.tags for mark in (f"<{tag}>", f"</{tag}>"))
        inside = f"(?:(?!{marks}).)*"
        parts = (f"<{re.escape(tag)}>{inside}</{re.escape(tag)}>" for tag in self.tags)
        return re.compile(r"\s*".join(["", *parts, ""]), re.DOTALL)

    def of(self, reply: Reply) -> float:
        return float(self._form.fullmatch(reply.text) is not None)
