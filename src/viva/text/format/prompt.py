"""A prompt and its completion as they are, without a chat template: only the completion is learned."""

from viva.text.example import Draft
from viva.text.fields import Format, ends, text
from viva.text.row import Row
from viva.text.tokenizer import Tokenizer


class Config(Format):
    """prompt, completion: the names of the two fields. The end token closes the completion and is learned."""

    prompt: str = "prompt"
    completion: str = "completion"

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        begin, end = ends(tokenizer)
        before = begin + tokenizer.shield(text(row, self.prompt))
        whole = before + tokenizer.shield(text(row, self.completion)) + end
        return Draft(whole, [(len(before), len(whole))])
