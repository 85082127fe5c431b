"""The report as Markdown."""

from collections.abc import Callable, Mapping, Sequence

from viva.base.markdown import table
from viva.evaluate.tokens.report import Figures, Group, Report
from viva.evaluate.tokens.units import SPACES, counted_as

Cell = Callable[[Figures], str]
MUCH = 0.1  # of the tokens unknown: then few tokens are no merit


def page(report: Report, languages: Sequence[str]) -> str:
    """The tables: of all texts, of every script, and of the `languages` that are named."""
    chosen = {name: report.languages[name] for name in languages}
    tables = {
        "Tokens a word, by script": _by_script(report, _words),
        "Tokens a character, by script": _by_script(report, _characters),
        "Tokens that are unknown, or bytes of a character, by script": _by_script(report, _strange),
        "Speed in MB/s, by script": _by_script(report, lambda of: f"{of.mb_per_s:.2f}"),
        f"Tokens a word, by language ({len(chosen)} of {len(report.languages)})": _by_language(report, chosen, _words),
    }
    lines = [_texts(report), "", *_whole(report), "", *_remarks(report)]
    for title, rows in tables.items():
        lines += ["", f"## {title}", "", *rows]
    return "\n".join(lines) + "\n"


def _texts(report: Report) -> str:
    of = report.everything.units
    return (
        f"{of.texts:,} texts in {len(report.languages):,} languages and {len(report.scripts)} scripts: "
        f"{of.words:,} words, {of.characters:,} characters, {of.bytes:,} bytes."
    )


def _whole(report: Report) -> list[str]:
    head = (
        "tokenizer",
        "ids",
        "tokens a word",
        "a character",
        "a byte",
        "unknown tokens",
        "characters in them",
        "bytes of a character",
        "ids never met",
        "MB/s",
    )
    rows = []
    for name, figures in report.figures.items():
        of = figures[report.everything]
        rows.append(
            (
                name,
                f"{len(report.vocabularies[name].ordinary):,}",
                _number(of.per_word),
                _number(of.per_character),
                _number(of.per_byte),
                _percent(of.unknown),
                _percent(of.hidden),
                _percent(of.fragments),
                _percent(of.unused),
                f"{of.mb_per_s:.2f}",
            )
        )
    return table(*head, rows=rows)


def _remarks(report: Report) -> list[str]:
    """What the figures do not say by themselves."""
    said = [
        "Ids: those that plain text can give, special tokens not among them. Bytes of a character: tokens that stand "
        "for bytes and for no whole character; where a vocabulary has unknown tokens too, those come first.",
        "Words are those between Unicode's default borders (UAX 29), signs not counted. They know no dictionary: where "
        "words are written without spaces they are what the column says, and compare within their row only. Tokens of "
        "spaces and signs count as tokens of the words beside them.",
        f"Speed: the median of turns ({report.turns}) in rotation, one text at a time, one thread, caches warm.",
        f"`*`: more than {MUCH:.0%} of the tokens are unknown; each may hide a whole word.",
    ]
    whole = [name for name, known in report.vocabularies.items() if known.unknown is None and known.complete]
    leaky = [name for name, known in report.vocabularies.items() if known.unknown is None and not known.complete]
    byteless = [name for name, known in report.vocabularies.items() if known.fragments is None]
    kinds = {
        "No unknown token, as every byte has one of its own": whole,
        "No unknown token: characters that the vocabulary lacks are left out of the ids": leaky,
        "No tokens for bytes": byteless,
    }
    said += [f"{what}: {', '.join(names)}." for what, names in kinds.items() if names]
    return [f"- {line}" for line in said]


def _by_script(report: Report, cell: Cell) -> list[str]:
    rows = [(name, str(len(group.languages)), *_row(report, group, cell)) for name, group in report.scripts.items()]
    return table("script", "languages", "a word is", *report.figures, rows=rows)


def _by_language(report: Report, chosen: Mapping[str, Group], cell: Cell) -> list[str]:
    rows = [(name, group.script, *_row(report, group, cell)) for name, group in chosen.items()]
    return table("language", "script", "a word is", *report.figures, rows=rows)


def _row(report: Report, group: Group, cell: Cell) -> list[str]:
    """What a word is where it is cut out of a phrase, and every tokenizer's figure."""
    word = counted_as(group.script)
    return ["" if word == SPACES else word, *(cell(figures[group]) for figures in report.figures.values())]


def _words(of: Figures) -> str:
    return _number(of.per_word) + _star(of)


def _characters(of: Figures) -> str:
    return _number(of.per_character) + _star(of)


def _strange(of: Figures) -> str:
    """The two kinds, as far as the vocabulary has them."""
    return " / ".join(_percent(share) for share in (of.unknown, of.fragments) if share is not None) or "-"


def _star(of: Figures) -> str:
    return "*" if (of.unknown or 0) > MUCH else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
