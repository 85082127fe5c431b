"""What a check of data or a dry run found, in sentences, and texts of any kind made safe to show."""

from viva.text.preflight import classes
from viva.text.preflight.report import Part, Run

FATES = {  # of long documents
    "split": ": they are cut into pieces, and all of them is read",
    "drop": ": they are left out",
    "refuse": ": they are refused",
    None: ": train.long says whether they are cut into pieces or left out",
}
BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # marks of direction
GIB = 2**30


def figures(part: Part) -> list[str]:
    """What was read of a corpus, and what became of it, in sentences."""
    dropped = "".join(f"{count:,} left out by {name}, " for name, count in part.dropped.items())
    elsewhere = f"{part.elsewhere:,} in the other part, " if part.elsewhere else ""
    said = [
        f"{part.rows:,} rows: {part.refused:,} refused, {dropped}{elsewhere}{part.empty:,} empty, "
        f"{part.documents:,} documents; {part.duplicates:,} equal to one before"
    ]
    if part.documents:
        said.append(f"{part.tokens:,} tokens, {_learned(part)}")
        if part.classes:
            said.append(classes.told(part.classes))
        if part.speaks and part.masked:
            said.append(f"an end token is the last thing learned in {part.ends:,} of {part.masked:,} documents")
        said.append("tokens of a document: " + ", ".join(f"{name} {n:,}" for name, n in part.lengths.items()))
    if part.context is not None and part.documents:
        longer = f"{part.longer:,} documents are longer than the {part.context:,} tokens read at once"
        said.append(f"{longer}{FATES[part.long] if part.longer else ''}")
    said += [f"{count:,} refused: {kind}" for kind, count in part.kinds.items()]
    return said + part.notes


def _learned(part: Part) -> str:
    """How much is learned as text: nothing where it is a class, a value or which texts belong together."""
    if not part.learned:
        return "none of them learned as text"
    return f"{part.learned:,} of them learned ({part.learned / part.tokens:.1%})"


def costs(run: Run) -> list[str]:
    """What the run would do, and what it would take, in sentences."""
    memory = ", ".join(f"{name} {taken / GIB:.2f}" for name, taken in run.memory.items())
    return [
        f"{run.model}: {run.parameters:,} parameters, {run.trained:,} of them trained, {run.precision} on {run.device}",
        f"{run.tokens_an_epoch:,} tokens an epoch in {run.steps_an_epoch:,.1f} steps of {run.tokens_a_step:,} tokens",
        f"memory: {memory}: {sum(run.memory.values()) / GIB:.2f} of {run.available / GIB:.1f} GiB",
        f"time: {_pace(run)}; {_length(run)}",
        *run.notes,
    ]


def _pace(run: Run) -> str:
    least = f"{run.least:.3g} s at the peak of {run.peak:,.0f} GFLOP/s ({run.flops_a_token / 1e6:,.4g} MFLOP a token)"
    if run.seconds is None:
        return f"a step takes at least {least}; it was not tried"
    return f"a step takes {run.seconds:.3g} s as measured, its update apart; {least}"


def _length(run: Run) -> str:
    step = run.seconds or run.least
    if run.steps is None:
        return f"about {60 * run.minutes / step:,.0f} steps in {run.minutes:g} minutes"
    epochs = f"{run.steps / run.steps_an_epoch:.2f} epochs"
    return f"{run.steps:,} steps, {epochs}, take {run.steps * step / 60:.1f} minutes, evaluation and saving apart"


def visible(text: str) -> str:
    r"""The text with what would steer a terminal, or turn the order of letters, written out.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(char if char in "\n\t" or not _steers(char) else repr(char)[1:-1] for char in text)


def _steers(char: str) -> bool:
    code = ord(char)
    return code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000 or code in BIDI
