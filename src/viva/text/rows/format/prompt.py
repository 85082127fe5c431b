"""A prompt and its completion as they are, without a chat template: only the completion is learned."""

from typing import ClassVar

from viva.text.rows.fields import Format, ends, say_empty, text
from viva.text.rows.row import Row
from viva.text.tokens.example import Draft
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """prompt, completion: the names of the two fields. The end token closes the completion and is learned."""

    told_by: ClassVar = (("prompt", "completion"),)

    prompt: str = "prompt"
    completion: str = "completion"

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        return completed(tokenizer, text(row, self.prompt), text(row, self.completion))


def completed(tokenizer: Tokenizer, prompt: str, completion: str) -> Draft:
    """The draft of a prompt with its completion, which is learned, between begin and end token."""
    begin, end = ends(tokenizer)
    if not completion.strip():
        say_empty()
    before = begin + tokenizer.shield(prompt)
    whole = before + tokenizer.shield(completion) + end
    return Draft(whole, [(len(before), len(whole))])
