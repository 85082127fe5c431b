"""What a check of data or a dry run found, on the screen: figures, faults, documents by what of them is learned."""

import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from viva.cli import page
from viva.text.preflight import LEARNED, NOTE, READ, Part, Report, Run, Shown

STYLES = {LEARNED: "bold green", READ: "dim", NOTE: "italic"}
OPEN, CLOSE = "⟦", "⟧"  # around what is learned, where there is no colour
FATES = {  # of long documents
    "split": ": they are cut into pieces, and all of them is read",
    "drop": ": they are left out",
    "refuse": ": they are refused",
    None: ": train.long says whether they are cut into pieces or left out",
}
GIB = 2**30


def tell(report: Report, html: Path | None = None, as_json: bool = False) -> int:
    """Print the report, as JSON if asked, and write it as a page too; the exit code is 1 where something is wrong."""
    if html is not None:
        page.write(report, html)
    if as_json:
        print(json.dumps(report.plain(), ensure_ascii=False, indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        for line in lines(report, console.color_system is not None):
            console.print(line)
        if html is not None:
            console.print(f"written to {html}")
    return 1 if report.wrong else 0


def lines(report: Report, colour: bool) -> list[Text | str]:
    """All of it, a paragraph each."""
    told: list[Text | str] = [f"tokenizer: {report.tokenizer}"]
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


def figures(part: Part) -> list[str]:
    """What was read of a corpus, and what became of it, in sentences."""
    dropped = "".join(f"{count:,} left out by {name}, " for name, count in part.dropped.items())
    elsewhere = f"{part.elsewhere:,} in the other part, " if part.elsewhere else ""
    said = [
        f"{part.rows:,} rows: {part.refused:,} refused, {dropped}{elsewhere}{part.empty:,} empty, "
        f"{part.documents:,} documents; {part.duplicates:,} with a text that another row has"
    ]
    if part.documents:
        said.append(
            f"{part.tokens:,} tokens, {part.learned:,} of them learned ({part.learned / part.tokens:.1%}); "
            f"an end token is the last thing learned in {part.ends:,} of {part.masked:,} documents"
        )
        said.append("tokens of a document: " + ", ".join(f"{name} {n:,}" for name, n in part.lengths.items()))
    if part.context is not None and part.documents:
        longer = f"{part.longer:,} documents are longer than the {part.context:,} tokens read at once"
        said.append(f"{longer}{FATES[part.long] if part.longer else ''}")
    said += [f"refused {count:,} times: {kind}" for kind, count in part.kinds.items()]
    return said + part.notes


def costs(run: Run) -> list[str]:
    """What the run would do, and what it would take, in sentences."""
    memory = ", ".join(f"{name} {taken / GIB:.2f}" for name, taken in run.memory.items())
    steps = "as many steps as there is time for" if run.steps is None else f"{run.steps:,} steps"
    epochs = "" if run.epochs is None else f", {run.epochs:.2f} epochs"
    least = f"{run.least:.3g} s a step at the peak of {run.peak:,.0f} GFLOP/s"
    if run.seconds is None:
        taken, share = run.least, f"{least}; not measured, for it would take too long"
    else:
        taken = run.seconds
        share = f"{taken:.3g} s a step, of which {least} would take {run.least / taken:.0%}"
    whole = "" if run.steps is None else f"; in all {run.steps * taken / 60:.1f} minutes, evaluation and saving apart"
    return [
        f"{run.model}: {run.parameters:,} parameters, {run.trained:,} of them trained, {run.precision} on {run.device}",
        f"{run.tokens_an_epoch:,} tokens an epoch in {run.steps_an_epoch:,.1f} steps",
        f"length: {steps}{epochs}; a step reads {run.tokens_a_step:,} tokens",
        f"memory: {memory}: {sum(run.memory.values()) / GIB:.2f} of {run.available / GIB:.1f} GiB",
        f"time: {run.flops_a_token / 1e6:.3g} MFLOP a token; {share}{whole}",
        *run.notes,
    ]


def drawn(shown: Shown, colour: bool) -> Text:
    """A document; what is learned is green or, without colour, between ⟦ and ⟧."""
    legend = "green is learned" if colour else f"{OPEN}learned{CLOSE}"
    made = Text(visible(f"{shown.title} ({legend})\n"), style="bold")
    for text, mark in shown.pieces:
        marked = f"{OPEN}{text}{CLOSE}" if mark == LEARNED and not colour else text
        made.append(visible(marked), style=STYLES[mark])
    return made


def visible(text: str) -> str:
    r"""The text with what would steer a terminal, or turn the order of letters, written out.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(char if char in "\n\t" or not _steers(char) else repr(char)[1:-1] for char in text)


def _steers(char: str) -> bool:
    code = ord(char)
    return code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000 or code in BIDI


BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # marks of direction
