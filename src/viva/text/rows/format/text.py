"""Plain documents, for pretraining: every token is learned."""

from typing import ClassVar

from viva.text.rows.fields import Format, ends, text
from viva.text.rows.row import Row
from viva.text.tokens.example import Draft
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """field: where the text is. A document is the begin token, the text, the end token."""

    told_by: ClassVar = (("text",),)

    field: str = "text"

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        content = text(row, self.field)
        begin, end = ends(tokenizer)
        whole = begin + tokenizer.shield(content) + end
        return Draft(whole, [(0, len(whole))]) if content else None
