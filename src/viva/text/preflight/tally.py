"""What is counted while rows go by, and the first of what is to be shown."""

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from viva.base.errors import Refusal, counted
from viva.text.cache.pack import Long
from viva.text.preflight import classes, shown
from viva.text.preflight.report import Fault, Part
from viva.text.rows.fields import Format
from viva.text.rows.row import Row
from viva.text.tokens.example import Example
from viva.text.tokens.tokenizer import Tokenizer

FAULTS, EXAMPLES = 5, 3  # how many are kept whole
KINDS = 8  # of faults that are counted apart; the rarer ones are counted together
QUANTILES = {"least": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "most": 1.0}
NUMBER = re.compile(r"(?<![-\w])\d+")  # and no part of a name, such as UTF-8
PLACE = re.compile(r"(?P<of>the field '[^']*' of )?(?P<at>\S.*?:\d+(, item \d+)?)(?=[ ,:])[,:]? ?")


@dataclass
class Tally:
    """A `Part` in the making: the first `most_examples` documents and `most_faults` faults are kept whole. Memory grows
    by the lengths (8 bytes a document) and by what tells duplicates (a hash of 16 bytes a document).
    """

    part: Part
    tokenizer: Tokenizer
    most_faults: int = FAULTS
    most_examples: int = EXAMPLES
    why: Refusal | None = None
    kinds: Counter = field(default_factory=Counter)
    seen: Counter = field(default_factory=Counter)
    _lengths: array = field(default_factory=lambda: array("q"))
    _hashes: set[bytes] = field(default_factory=set)

    def row(self, row: Row, found: Example | Refusal | None, form: Format | None) -> None:
        """A row, and what its format made of it; `form` is None where rows do not tell one."""
        self.part.rows += 1
        if isinstance(found, Refusal):
            self._refused(found, row.where)
        elif found is not None:
            self._classes(found, form.classes())
            self.document(row.where, found, form)
        elif form is not None:
            self.part.empty += 1
        else:
            self._count(self.why)

    def unreadable(self, refusal: Refusal) -> None:
        """What cannot be read as a row, and counts as one."""
        self.part.rows += 1
        self._refused(refusal, parted(refusal.must)[0])

    def refuse(self, refusal: Refusal) -> None:
        """What keeps all rows from being used."""
        self.why, fault = refusal, Fault.of(refusal, parted(refusal.must)[0])
        self.part.faults += [fault] if fault not in self.part.faults else []

    def note(self, said: str) -> None:
        """What is said on the way, often of many rows alike."""
        self.seen[said] += 1

    def document(self, where: str, found: Example, form: Format) -> None:
        """A document, as its format made it."""
        part, ids, learned = self.part, found.ids, np.flatnonzero(found.mask)
        hashed = _hashed(ids, learned, (found.cut,), found.tags or (), str(found.label).encode())
        part.documents += 1
        part.duplicates += hashed in self._hashes
        self._hashes.add(hashed)
        part.tokens += len(ids)
        part.learned += len(learned)
        if len(learned):
            part.masked += 1
            # a token in front of all others begins the document, though it may be the one that ends it
            part.ends += bool(learned[-1]) and int(ids[learned[-1]]) in self.tokenizer.stops
        self._lengths.append(len(ids))
        if len(part.examples) < self.most_examples:
            part.examples.append(shown.document(where, found, self.tokenizer, form.aim(found, self.tokenizer)))

    def told(self, context: int | None = None, long: Long | None = None) -> Part:
        """The part, with the lengths beside a context of so many tokens of a document, and what was noted."""
        part, lengths = self.part, np.frombuffer(self._lengths, np.int64)
        if len(lengths):
            found = np.quantile(lengths, list(QUANTILES.values()), method="inverted_cdf")
            part.lengths = dict(zip(QUANTILES, map(int, found), strict=True))
        if context is not None:
            part.context, part.longer, part.long = context, int((lengths > context).sum()), long
        part.kinds = dict(self.kinds.most_common(KINDS))
        if rare := self.kinds.total() - sum(part.kinds.values()):
            part.kinds[f"{len(self.kinds) - KINDS} other reasons"] = rare
        part.notes += [*counted(self.seen), *classes.doubts(part.classes)]
        return part

    def _classes(self, found: Example, names: tuple[str, ...] | None) -> None:
        """Count what a row, or each of its words, is of."""
        if names is not None:
            self.part.classes = self.part.classes or dict.fromkeys(names, 0)
            for number in classes.numbers(found):
                self.part.classes[names[number]] += 1

    def _refused(self, refusal: Refusal, where: str) -> None:
        self._count(refusal)
        if len(self.part.faults) < self.most_faults:
            self.part.faults.append(Fault.of(refusal, where))

    def _count(self, refusal: Refusal) -> None:
        self.part.refused += 1
        self.kinds[parted(refusal.must)[1]] += 1


def parted(must: str) -> tuple[str, str]:
    """Where something is wrong, and what must hold there, whatever the row.

    >>> parted("a b.jsonl:7, the field 'messages': message 3 must have a known role")
    ('a b.jsonl:7', "the field 'messages': message ... must have a known role")
    >>> parted("the field 'text' of d.jsonl:3 must be whole Unicode characters")
    ('d.jsonl:3', "the field 'text' must be whole Unicode characters")
    >>> parted("d.json:1, item 31 must have the field 'text'")
    ('d.json:1, item 31', "must have the field 'text'")
    >>> parted("d.txt:1 must be UTF-8 text")
    ('d.txt:1', 'must be UTF-8 text')
    """
    found = PLACE.match(must)
    if found is None:
        return "", must
    rest = (found["of"] or "").removesuffix("of ") + must[found.end() :]
    return found["at"], NUMBER.sub("...", rest)


def _hashed(*told: Sequence[int] | bytes) -> bytes:
    """A hash of 16 bytes of several lists of numbers, or bytes, each with its length."""
    found = hashlib.blake2b(digest_size=16)
    for each in told:
        content = each if isinstance(each, bytes) else np.asarray(each, np.int64).tobytes()
        found.update(len(content).to_bytes(8))
        found.update(content)
    return found.digest()
