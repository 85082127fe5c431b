"""The texts on which tokenizers are compared, by language."""

import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from viva.base.errors import Notice, Refusal, nearest
from viva.text.rows.corpus import files
from viva.text.rows.fields import text
from viva.text.rows.row import Row

LANGUAGE = "lang"
SHOWN = 20  # languages, where there are more and none is named


def by_language(path: str, field: str = "text", language: str | None = None) -> dict[str, list[str]]:
    """Language -> its texts, of files that `viva tokenizer train` takes.

    A row's language is its field `language` ("lang", where rows have one and nothing is said), else the name of its
    file without its ending, so that a folder may hold one file a language. Texts without a character are left out,
    with a Notice.
    """
    corpus, found, empty = files.Config(path=path), {}, []
    for row in corpus.rows():
        content, name = text(row, field), _language(row, language, path)
        if content.strip():
            found.setdefault(name, []).append(content)
        else:
            empty.append(f"{row.where} ({name})")
    notes = corpus.notes()
    if empty:
        notes.append(f"texts that are blank and left out: {len(empty)}, the first {', '.join(empty[:5])}")
    for note in notes:
        warnings.warn(Notice(note), stacklevel=2)
    if not found:
        raise Refusal(f"{path} must hold text to compare tokenizers on", "blank texts alone", "give other data")
    return dict(sorted(found.items()))


def chosen(languages: Mapping[str, list[str]], named: Sequence[str]) -> list[str]:
    """The languages that are named, in that order, and refused where they are not there; else those with most text."""
    for name in named:
        if name not in languages:
            near = get_close_matches(name, languages, n=10, cutoff=0)
            raise Refusal("a language to show must be in the data", repr(name), nearest(name, near))
    sizes = {name: sum(map(len, texts)) for name, texts in languages.items()}
    return list(named) or sorted(sizes, key=lambda name: -sizes[name])[:SHOWN]


def _language(row: Row, field: str | None, path: str) -> str:
    if field is not None or LANGUAGE in row.data:
        return text(row, field or LANGUAGE)
    file, root = Path(row.where.rpartition(":")[0]), Path(path).expanduser()
    inside = file.relative_to(root) if root.is_dir() else Path(file.name)
    ending = next(
        ending for ending in sorted(files.ENDINGS, key=len, reverse=True) if file.name.lower().endswith(ending)
    )
    return inside.as_posix()[: -len(ending)]
