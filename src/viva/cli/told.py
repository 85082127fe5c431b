"""What a check of data or a dry run found, on the screen: in sentences, and documents by what of them is learned."""

import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from viva.cli import page
from viva.cli.sentences import costs, figures, visible
from viva.text.preflight.report import LEARNED, NOTE, READ, Report, Shown

STYLES = {LEARNED: "bold green", READ: "dim", NOTE: "italic"}
OPEN, CLOSE = "⟦", "⟧"  # around what is learned, where there is no colour


def tell(report: Report, html: Path | None = None, as_json: bool = False) -> int:
    """Print the report, as JSON if asked, and write it as a page too; the exit code is 1 where something is wrong."""
    if html is not None:
        page.write(report, html)
    if as_json:
        print(json.dumps(report.plain(), indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        for line in lines(report, console.color_system is not None):
            console.print(line)
        if html is not None:
            console.print(f"written to {html}")
    return 1 if report.wrong else 0


def lines(report: Report, colour: bool) -> list[Text | str]:
    """All of it, a paragraph each."""
    told: list[Text | str] = [visible(sentence) for sentence in (f"tokenizer: {report.tokenizer}", *report.notes)]
    for part in report.parts:
        told += ["", Text(visible(f"{part.name}, format {part.format or 'not told'}"), style="bold")]
        told += [visible(sentence) for sentence in figures(part)]
        told += [Text(visible(f"  {fault}"), style="red") for fault in part.faults]
        told += [document for shown in part.examples for document in ("", drawn(shown, colour))]
    if report.run is not None:
        told += ["", Text("the run", style="bold"), *map(visible, costs(report.run))]
        told += [document for shown in report.run.batch for document in ("", drawn(shown, colour))]
    told += [""] + [Text(visible(f"WRONG: {sentence}"), style="bold red") for sentence in report.wrong]
    return told if report.wrong else [*told, "nothing is wrong"]


def drawn(shown: Shown, colour: bool) -> Text:
    """A document; what is learned is green or, without colour, between ⟦ and ⟧."""
    legend = "green is learned" if colour else f"{OPEN}learned{CLOSE}"
    made = Text(visible(f"{shown.title} ({legend})\n"), style="bold")
    for text, mark in shown.pieces:
        marked = f"{OPEN}{text}{CLOSE}" if mark == LEARNED and not colour else text
        made.append(visible(marked), style=STYLES[mark])
    return made
