"""Rows that their format refuses, such as a conversation that a chat template does not write."""

from viva.base.choice import Choice, tagged
from viva.base.errors import Refusal
from viva.text.rows.row import Row
from viva.text.rows.sift import Filter, Judge
from viva.text.tokens.tokenizer import Tokenizer


class Config(Filter):
    """format: as in the recipe, named; tokenizer: the folder of the one, with its chat template. A row goes if it would
    be refused, for the reason that the refusal has.
    """

    format: Choice("viva.text.rows.format")
    tokenizer: str

    def judge(self) -> Judge:
        tokenizer = Tokenizer.load(self.tokenizer)

        def refused(row: Row) -> str | None:
            try:
                self.format.example(row, tokenizer)
            except Refusal as refusal:
                return f"{refusal.must}, but found {refusal.found}".removeprefix(row.where).strip(" ,:")
            return None

        return refused

    def digest(self) -> list:
        fingerprint = Tokenizer.load(self.tokenizer).fingerprint
        return [tagged(self), fingerprint.model_dump(mode="json")]
