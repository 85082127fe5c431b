"""SentencePiece's two algorithms, as its own code computes them, from a list of pieces (Kudo and Richardson 2018)."""

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from viva.base.errors import Notice, Refusal
from viva.text.tokens.read._merges import recovered

SPACE = "\u2581"
TRIMMED = (
    "spaces beside one of the model's own symbols are trimmed otherwise than by SentencePiece: a text that holds such "
    "a symbol may get other ids"
)
BEGUN = (
    "a text that begins with one of the model's own symbols, or with spaces, may get other first ids than by "
    "SentencePiece, which puts one more space before it"
)


class Kind(IntEnum):
    """What a piece is: of these only NORMAL ones are found in texts by the algorithm, USER ones before it."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    text: str
    score: float
    kind: Kind


@dataclass(frozen=True)
class Pieces:
    """`charsmap`: SentencePiece's compiled rules of normalisation, b"" for none. `prefix`: a space is put before a
    text; `trim`: spaces at its ends go, and several become one.
    """

    all: list[Piece]
    unigram: bool
    charsmap: bytes = b""
    prefix: bool = True
    trim: bool = True

    def core(self) -> tokenizers.Tokenizer:
        """The tokenizer of these pieces; CONTROL and UNKNOWN ones are special."""
        self._require_usable()
        if self._users and (self.trim or self.prefix):
            warnings.warn(Notice(TRIMMED if self.trim else BEGUN), stacklevel=6)
        made = tokenizers.Tokenizer(self._unigram() if self.unigram else self._bpe())
        made.normalizer = self._normalizer()
        made.pre_tokenizer = self._pre_tokenizer()
        made.decoder = decoders.Sequence(
            [
                decoders.Replace(SPACE, " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                *([decoders.Strip(" ", 1, 0)] if self.prefix else []),
            ]
        )
        hidden = (Kind.CONTROL, Kind.UNKNOWN)
        made.add_special_tokens(
            [AddedToken(piece.text, normalized=False) for piece in self.all if piece.kind in hidden]
        )
        made.add_tokens([AddedToken(text, normalized=self._found_late(text)) for text in self._users])
        return made

    @property
    def _users(self) -> list[str]:
        return [piece.text for piece in self.all if piece.kind is Kind.USER]

    def _found_late(self, text: str) -> bool:
        """Whether a symbol of the user's is looked for where spaces are SPACE already, which runs of them need, and all
        others with them: the longest comes first. Where texts are rewritten in other ways too, these would be changed.
        """
        return not self.trim and (not self.charsmap or SPACE in text)

    @property
    def unknown(self) -> int:
        """The id of the piece for what no other stands for."""
        return next(number for number, piece in enumerate(self.all) if piece.kind is Kind.UNKNOWN)

    @property
    def _bytes(self) -> bool:
        return any(piece.kind is Kind.BYTE for piece in self.all)

    def _unigram(self) -> models.Unigram:
        vocab = [(piece.text, piece.score) for piece in self.all]
        return models.Unigram(vocab, self.unknown, self._bytes)

    def _bpe(self) -> models.BPE:
        ranks = {piece.text: -piece.score for piece in self.all if piece.kind is Kind.NORMAL}
        return models.BPE(
            vocab={piece.text: number for number, piece in enumerate(self.all)},
            merges=recovered(ranks),
            unk_token=self.all[self.unknown].text,
            fuse_unk=True,
            byte_fallback=self._bytes,
        )

    def _normalizer(self) -> normalizers.Normalizer | None:
        """Applied to each part between two special tokens, as all of this library are."""
        steps = [normalizers.Precompiled(self.charsmap)] if self.charsmap else []
        if not self.trim:
            return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
        # a space at the start stays where it is the one that `prefix` would put there
        ends = rf"[ {SPACE}]+\z" if self.prefix else rf"[ {SPACE}]+\z|\A "
        runs = [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Replace(Regex(ends), "")]
        return normalizers.Sequence([*steps, *runs])

    def _pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        # cut into words, which the library remembers, where no piece goes beyond one
        words = not any(SPACE in piece.text[1:] for piece in self.all)
        # the first puts a space before a text that has none, and where it is not trimmed before every text
        steps = [pre_tokenizers.Metaspace(" ", "first", split=False)] if self.prefix else []
        steps += [pre_tokenizers.Metaspace(SPACE, "never", split=words)]
        return pre_tokenizers.Sequence([*steps, self._apart()] if self.unigram else steps)

    def _apart(self) -> pre_tokenizers.PreTokenizer:
        """Keeps the pieces that no text may have from being found in one, as Unigram of this library would: a border
        before their last character.
        """
        hidden = [piece.text for piece in self.all if piece.kind in (Kind.CONTROL, Kind.UNKNOWN, Kind.BYTE)]
        borders = [rf"(?<={re.escape(text[:-1])})(?={re.escape(text[-1])})" for text in hidden if len(text) > 1]
        return pre_tokenizers.Split(Regex("|".join(borders)), "isolated")

    def _require_usable(self) -> None:
        texts, fix = Counter(piece.text for piece in self.all), "use a model of another form"
        if twice := [text for text, count in texts.items() if count > 1]:
            raise Refusal("a model must hold each piece once", f"{twice[0]!r} twice", fix)
        if unused := [piece.text for piece in self.all if piece.kind is Kind.UNUSED]:
            raise Refusal("the pieces of a model must all be in use", f"{unused[0]!r} marked as unused", fix)
        if not any(piece.kind is Kind.UNKNOWN for piece in self.all):
            raise Refusal("a model must have a piece for what is unknown", "none", fix)
        if not self.unigram:
            self._require_order()

    def _require_order(self) -> None:
        """Of equal scores the leftmost pair is joined first, which an order of merges can say of runs of one character
        alone.
        """
        tied: dict[float, set[str]] = {}
        for piece in self.all:
            if piece.kind is Kind.NORMAL and len(piece.text) > 1:
                tied.setdefault(piece.score, set()).add(piece.text)
        for score, texts in tied.items():
            if len(texts) > 1 and len(set("".join(texts))) > 1:
                fix = "use a model whose pieces have different scores"
                found = f"{len(texts)} with the score {score}, such as {min(texts)!r}"
                raise Refusal("the pieces of a BPE model must have an order", found, fix)
