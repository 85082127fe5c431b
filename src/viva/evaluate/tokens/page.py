"""The report as Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from viva.base.markdown import table
from viva.evaluate.tokens.report import Figures, Group, Report
from viva.evaluate.tokens.units import SPACES, counted_as

MUCH = 0.1  # of the tokens unknown: then few tokens are no merit


def page(report: Report, languages: Sequence[str]) -> str:
    """The tables: of all texts, of every script, and of the `languages` that are named."""
    chosen = {name: report.languages[name] for name in languages}
    parts = [
        _texts(report),
        "",
        *_whole(report),
        "",
        *_remarks(report),
        "",
        "## Tokens a word, by script",
        "",
        *_side_by_side(report, "script", report.scripts, _words),
        "",
        "## Tokens a character, by script",
        "",
        *_side_by_side(report, "script", report.scripts, _characters),
        "",
        "## Tokens that are unknown, or bytes of a character, by script",
        "",
        *_side_by_side(report, "script", report.scripts, _strange),
        "",
        "## Speed in MB/s, by script",
        "",
        *_side_by_side(report, "script", report.scripts, lambda figures: f"{figures.mb_per_s:.2f}"),
        "",
        f"## Tokens a word, by language ({len(chosen)} of {len(report.languages)})",
        "",
        *_side_by_side(report, "language", chosen, _words),
    ]
    return "\n".join(parts) + "\n"


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
        "for bytes and for no whole character.",
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


def _side_by_side(report: Report, head: str, groups: Mapping[str, Group], cell: Callable[[Figures], str]) -> list[str]:
    """A row a group, a column a tokenizer."""

    def cells(name: str, group: Group) -> Iterable[str]:
        yield name
        yield group.script if head == "language" else str(len(group.languages))
        yield "" if (word := counted_as(group.script)) == SPACES else word
        yield from (cell(figures[group]) for figures in report.figures.values())

    second = "script" if head == "language" else "languages"
    return table(head, second, "a word is", *report.figures, rows=[list(cells(*each)) for each in groups.items()])


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
