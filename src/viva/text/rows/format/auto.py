"""The format that the first rows tell by their fields; what cannot be told is refused with what it may be."""

import warnings
from collections import Counter
from itertools import islice

from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal
from viva.text.rows.fields import FORMATS, Format, told
from viva.text.rows.headless import headless
from viva.text.rows.row import Corpus, Row

FIRST = 16  # rows that are looked at
MANY = 3  # one of so many of them may be told as another format, for want of a field


class Config(Format):
    """No fields: rows tell their format by the names of their fields, and a Notice says which. Rows with other names
    are read by a format that names them, such as `{kind: prompt, prompt: question, completion: answer}`.
    """

    def settled(self, corpus: Corpus, known: tuple[str, ...] | None = None) -> Format:
        return self.told(corpus).settled(corpus, known)

    def told(self, corpus: Corpus) -> Format:
        """The format that the first rows tell, with the usual names of its fields. A row among them that lacks one of
        these is told as another format, and is for this one to refuse, as it would be further on.
        """
        rows = list(islice(corpus.rows(), FIRST))
        if not rows:
            raise Refusal(f"{corpus.label} must have rows that tell their format", "none", "give rows, or filter less")
        candidates = [told(row.data) for row in rows]
        if not any(candidates):
            raise _unknown(rows[0])
        kind, fields = _usual(rows, candidates)
        form = variant(FORMATS, kind).Config()
        said = f"format: {kind}, told by the fields {', '.join(fields)}{_unread(form, rows)}"
        warnings.warn(Notice(said), stacklevel=2)
        return form


def _usual(rows: list[Row], candidates: list[dict[str, tuple[str, ...]]]) -> tuple[str, tuple[str, ...]]:
    """The one format of the rows and the fields that tell it; refused where they are of several."""
    found = {kind: fields for each in candidates for kind, fields in each.items()}
    kind = Counter(kind for each in candidates for kind in each).most_common(1)[0][0]
    odd = [each for each in candidates if each and list(each) != [kind]]
    lacking = all(set(fields) < set(found[kind]) for each in odd for fields in each.values())
    if not lacking or MANY * len(odd) > len(rows):
        raise _several(rows, candidates)
    return kind, found[kind]


def _unread(form: Format, rows: list[Row]) -> str:
    """The fields that the format does not read, in half a sentence."""
    read = {name for fields in form.told_by for name in fields} | {str(name) for name in form.model_dump().values()}
    rest = dict.fromkeys(name for row in rows for name in row.data if name not in read)
    return f"; not read: {', '.join(rest)}" if rest else ""


def _unknown(row: Row) -> Refusal:
    fields = [*row.data, "...", "..."]
    own = f"{{kind: prompt, prompt: {fields[0]}, completion: {fields[1]}}}"
    sets = {kind: variant(FORMATS, kind).Config.told_by for kind in names(FORMATS)}
    known = "; ".join(f"{kind} ({', '.join(by[0])})" for kind, by in sets.items() if by)
    fix = (
        headless(row)
        or f"name one in the recipe, with your names of its fields, such as `format: {own}`. There are: {known}"
    )
    return Refusal(f"{row.where} must tell its format by its fields", ", ".join(map(repr, row.data)) or "none", fix)


def _several(rows: list[Row], candidates: list[dict[str, tuple[str, ...]]]) -> Refusal:
    """One row may be of several formats, or rows of different ones."""
    for row, found in zip(rows, candidates, strict=True):
        if len(found) > 1:
            listed = " and ".join(f"{kind} by {', '.join(fields)}" for kind, fields in found.items())
            fix = f"name one in the recipe: {' or '.join(f'format={kind}' for kind in found)}"
            return Refusal(f"{row.where} must tell one format by its fields", listed, fix)
    first: dict[str, str] = {}
    for row, found in zip(rows, candidates, strict=True):
        for kind in found:
            first.setdefault(kind, row.where)
    listed = ", ".join(f"{kind} at {where}" for kind, where in first.items())
    fix = "name one in the recipe, or make a mixture whose parts have a format each"
    return Refusal("rows must be of one format", listed, fix)
