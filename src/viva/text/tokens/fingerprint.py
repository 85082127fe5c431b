"""What makes two tokenizers the same: kept in checkpoints and token caches, compared before either is used."""

import hashlib
import json
from typing import Any

from viva.base.config import Config
from viva.base.errors import Refusal

PROBE = (
    "The quick brown fox doesn't jump over 13 lazy dogs; it costs $4.50 (naïve café).\n"
    "语言模型把文本切成词元，再预测下一个词元。今天是2024年5月6日，星期一。\n"
    "def mean(xs: list[float]) -> float:\n"
    '\tif not xs:\n        raise ValueError(f"empty: {xs!r}")\n'
    "    return sum(xs) / len(xs)  # <|endoftext|> </s> [SEP]\r\n\n\n  🙂👩‍👩‍👧"
)


PARTS = (  # in the order in which they are compared
    "specials",
    "added",
    "flags",
    "roles",
    "normalizer",
    "merges",
    "template",
    "frame",
    "other_roles",
    "segments",
)


def digest(value: Any) -> str:
    """The SHA-256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


UNWRITTEN = ("frame", "added", "flags", "other_roles", "segments")  # what older checkpoints and caches do not name


class Fingerprint(Config):
    """A tokenizer in a few lines.

    normalizer: SHA-256 of the normaliser, pre-tokeniser and decoder; merges: of the vocabulary with its merges;
    specials: special token -> id; roles: bos, eos, pad -> id; probe: the ids of PROBE, special tokens read as
    text; template: SHA-256 of the chat template's source; frame: of what it sets around a text and around two; added:
    token -> id of those added without being special; flags: added token, special or not, -> what its entry in
    tokenizer.json says it does (`lstrip`, ...), those that do nothing left out; other_roles: mask, cls, sep, unk, ...
    -> id; segments: SHA-256 of the type ids of a framed text and of two. None: not written down.
    """

    normalizer: str
    merges: str
    specials: dict[str, int]
    roles: dict[str, int | None]
    probe: tuple[int, ...]
    template: str | None
    frame: str | None = None
    added: dict[str, int] | None = None
    flags: dict[str, tuple[str, ...]] | None = None
    other_roles: dict[str, int | None] | None = None
    segments: str | None = None

    def require_ids(self, found: "Fingerprint", where: str) -> None:
        """Refuse when the ids of `found` do not mean what those of this one, which `where` was made with, do; another
        chat template, other roles or another frame may be given with them.
        """
        free = {part: getattr(found, part) for part in ("template", "roles", "other_roles", "frame", "segments")}
        self.model_copy(update=free).require(found, where)

    def require(self, found: "Fingerprint", where: str) -> None:
        """Refuse when `found`, the tokenizer at hand, is not this one, which `where` was made with."""
        fix = f"use the tokenizer that {where} was made with, or make {where} again with this one"
        for place, (ours, theirs) in enumerate(zip(self.probe, found.probe, strict=False)):
            if ours != theirs:
                must = f"{where} needs its own tokenizer: the id at place {place} of the probe text must be {ours}"
                raise Refusal(must, theirs, fix)
        if len(self.probe) != len(found.probe):
            must = f"{where} needs its own tokenizer: the probe text must give {len(self.probe)} ids"
            raise Refusal(must, len(found.probe), fix)
        for part in PARTS:
            ours, theirs = getattr(self, part), getattr(found, part)
            if ours != theirs and not (part in UNWRITTEN and ours is None):
                raise Refusal(f"{where} needs its own tokenizer: its {part} must be {ours}", theirs, fix)
