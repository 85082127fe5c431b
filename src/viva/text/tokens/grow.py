"""Tokens added to a tokenizer: new ids behind those there are, and what their texts were made of before."""

import warnings
from dataclasses import dataclass
from typing import Self

from pydantic import model_validator
from tokenizers import AddedToken
from tokenizers import Tokenizer as Core

from viva.base.config import Config as BaseConfig
from viva.base.errors import Notice, Refusal
from viva.text.tokens.byte_level import require_read
from viva.text.tokens.characters import require_whole
from viva.text.tokens.tokenizer import Tokenizer


class Config(BaseConfig):
    """`tokens` are found in every text, `special` ones where a template sets them, and never in a person's text."""

    tokens: tuple[str, ...] = ()
    special: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        listed = [*self.tokens, *self.special]
        fix = "leave it out"
        if not listed:
            raise Refusal("there must be tokens to add", "none", "name them under tokens or special")
        for token in listed:
            if not require_whole(token, "a token").strip():
                raise Refusal("a token that is added must have characters", repr(token), fix)
        if twice := next((token for token in listed if listed.count(token) > 1), None):
            raise Refusal("each token must be added once", f"{twice!r} twice", fix)
        return self


@dataclass(frozen=True)
class Grown:
    """The tokenizer with the new tokens, and for each new id the ids that its text had before."""

    tokenizer: Tokenizer
    pieces: dict[int, list[int]]

    @property
    def added(self) -> dict[str, int]:
        """New token -> its id."""
        return {self.tokenizer.core.id_to_token(number): number for number in self.pieces}


def grow(tokenizer: Tokenizer, config: Config) -> Grown:
    """`tokenizer` with these tokens. Refused: one that is there, one whose text was nothing before, one that would be
    decoded to another text.
    """
    core = Core.from_str(tokenizer.core.to_str())
    first = max(core.get_vocab(with_added_tokens=True).values()) + 1
    pieces = {}
    for token, special in [*((token, False) for token in config.tokens), *((token, True) for token in config.special)]:
        if (there := _there(tokenizer, core, token)) is not None:
            raise Refusal("a token that is added must be new", f"{token!r}, which has the id {there}", "leave it out")
        pieces[first + len(pieces)] = _pieces(tokenizer, require_read(token) if tokenizer.byte_level else token)
        core.add_tokens([AddedToken(token, special=special, normalized=not special)])
        if core.token_to_id(token) != (number := first + len(pieces) - 1):
            fix = "give the vocabulary's ids one after another"
            raise Refusal(f"the next new token must get the id {number}", core.token_to_id(token), fix)
    return Grown(Tokenizer(core, tokenizer.config), pieces)


def _there(tokenizer: Tokenizer, core: Core, token: str) -> int | None:
    """The id of a token that is there, by its name or, where the vocabulary writes it otherwise, by its text."""
    ids = tokenizer.encode(token)
    by_text = ids[0] if len(ids) == 1 and tokenizer.decode(ids) == token else None
    return core.token_to_id(token) if by_text is None else by_text


def _pieces(tokenizer: Tokenizer, token: str) -> list[int]:
    ids = tokenizer.encode(token)
    if not ids:
        raise Refusal("a token that is added must have had pieces before", f"none for {token!r}", "leave it out")
    unknown = tokenizer.words.get("unk_token")
    if unknown and tokenizer.id(unknown) in ids:
        text = f"{token!r} was in part unknown to the tokenizer; its vector begins from that of {unknown} too"
        warnings.warn(Notice(text), stacklevel=4)
    return ids
